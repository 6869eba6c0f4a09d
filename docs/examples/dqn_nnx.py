# /// script
# requires-python = ">=3.11"
# dependencies = ["flax", "gymnasium", "ht_rl"]
#
# [tool.uv.sources]
# ht_rl = { path = "../.." }
# ///
"""DQN with Flax NNX on CartPole: the tortoise is the target network.

  python docs/examples/dqn_nnx.py

The model is the hare. The tortoise is in the state of the ``nnx.Optimizer``;
``nnx.merge`` makes a model of it where a DQN needs its target network. (Its
variables are ``nnx.optimizer.OptVariable``, like all variables of that state; a
filter for ``nnx.Param`` does not find them.)

Every 1000 steps it prints the mean return of ten episodes that the tortoise
plays greedily, until all of them last the full 500 steps. The last line is the
mean return of ten episodes from other starts.
"""

import functools
from typing import Any

from flax import nnx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import optax

import ht_rl

MAX_STEPS = 20_000
REPLAY_RATIO = 4  # Gradient steps per environment step.
BATCH_SIZE = 64
GAMMA = 0.99
EPSILON = 0.05
EPSILON_DECAY_STEPS = 1000


def make_model(seed: int) -> nnx.Module:
  """Returns a network from observations to the Q-values of both actions."""
  rngs = nnx.Rngs(seed)
  return nnx.Sequential(
    nnx.Linear(4, 128, rngs=rngs),
    nnx.relu,
    nnx.Linear(128, 128, rngs=rngs),
    nnx.relu,
    nnx.Linear(128, 2, rngs=rngs),
  )


@functools.partial(jax.jit, static_argnums=0)
def greedy_action(
  graphdef: nnx.GraphDef, params: nnx.State, observation: jax.Array
) -> jax.Array:
  """Returns the action with the largest Q-value."""
  model = nnx.merge(graphdef, params)
  return jnp.argmax(model(observation), axis=-1)


def loss_fn(model: Any, target_model: Any, batch: Any) -> jax.Array:
  """Returns the mean squared error of one-step targets."""
  observation, action, reward, discount, next_observation = batch
  q = model(observation)[jnp.arange(BATCH_SIZE), action]
  next_q = target_model(next_observation).max(axis=-1)
  return jnp.mean(jnp.square(reward + discount * next_q - q))


# One call does the whole step: for a network this small, most of the time of a
# call is its overhead.
@functools.partial(nnx.jit, donate_argnums=2)
def learn(
  model: nnx.Module,
  optimizer: nnx.Optimizer,
  replay: Any,
  transition: Any,
  step: int,
  key: jax.Array,
) -> Any:
  """Stores the transition of a step, then does its gradient steps."""
  key = jax.random.fold_in(key, step)
  replay = jax.tree.map(lambda r, x: r.at[step].set(x), replay, transition)
  for update_key in jax.random.split(key, REPLAY_RATIO):
    rows = jax.random.randint(update_key, (BATCH_SIZE,), 0, step + 1)
    batch = [x[rows] for x in replay]
    target_params = ht_rl.tortoise_params(optimizer.opt_state)
    target_model = nnx.merge(nnx.graphdef(model), target_params)
    gradients = nnx.grad(loss_fn)(model, target_model, batch)
    optimizer.update(model, gradients)
  return replay


def evaluate(
  graphdef: nnx.GraphDef, params: nnx.State, seed: int, episodes: int = 10
) -> float:
  """Returns the mean return of greedy episodes."""
  env = gymnasium.make('CartPole-v1')
  env.reset(seed=seed)
  total = 0.0
  for _ in range(episodes):
    observation, _ = env.reset()
    over = False
    while not over:
      action = int(greedy_action(graphdef, params, observation))
      observation, reward, terminated, truncated, _ = env.step(action)
      total += float(reward)
      over = terminated or truncated
  return total / episodes


def main(seed: int = 0) -> float:
  """Trains, and returns the mean return of ten fresh episodes."""
  rng = np.random.default_rng(seed)
  model = make_model(seed)
  optimizer = nnx.Optimizer(
    model,
    ht_rl.hare_tortoise(optax.adam(1e-3), momentum=0.98, reset_every=2000),
    wrt=nnx.Param,
  )
  # Without the cache, nnx.jit spends more time on its arguments than the step.
  train = nnx.cached_partial(learn, model, optimizer)
  graphdef, key = nnx.graphdef(model), jax.random.key(seed)
  replay = (
    jnp.zeros((MAX_STEPS, 4)),
    jnp.zeros(MAX_STEPS, jnp.int32),
    jnp.zeros(MAX_STEPS),
    jnp.zeros(MAX_STEPS),
    jnp.zeros((MAX_STEPS, 4)),
  )

  env = gymnasium.make('CartPole-v1')
  observation, _ = env.reset(seed=seed)
  for step in range(MAX_STEPS):
    # The tortoise also acts in training, since its policy changes smoothly.
    if rng.random() < max(EPSILON, 1 - step / EPSILON_DECAY_STEPS):
      action = int(rng.integers(2))
    else:
      params = ht_rl.tortoise_params(optimizer.opt_state)
      action = int(greedy_action(graphdef, params, observation))
    next_observation, reward, terminated, truncated, _ = env.step(action)
    # Bootstrap at the time limit: only a fall ends the task.
    discount = 0.0 if terminated else GAMMA
    transition = (observation, action, reward, discount, next_observation)
    replay = train(replay, transition, step, key)
    observation = next_observation
    if terminated or truncated:
      observation, _ = env.reset()

    if (step + 1) % 1000 == 0:
      params = ht_rl.tortoise_params(optimizer.opt_state)
      score = evaluate(graphdef, params, seed)
      print(f'step {step + 1}: mean return {score:.1f}', flush=True)
      if score == 500:
        break

  params = ht_rl.tortoise_params(optimizer.opt_state)
  score = evaluate(graphdef, params, seed + 1000)
  print(f'mean return in ten fresh episodes: {score:.1f}')
  return score


if __name__ == '__main__':
  main()
