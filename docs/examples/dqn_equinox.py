# /// script
# requires-python = ">=3.11"
# dependencies = ["equinox", "gymnasium", "ht_rl"]
#
# [tool.uv.sources]
# ht_rl = { path = "../.." }
# ///
"""DQN with Equinox on CartPole: the tortoise is the target network.

  python docs/examples/dqn_equinox.py

The network is split once into its parameters, which the optimizer trains, and
the rest. The tortoise is a tree like the parameters (None in place of the
rest), and ``eqx.combine`` makes a network of it. If you keep the whole network
(with ``eqx.filter_jit``), its slow copy is
``eqx.combine(ht_rl.tortoise_params(opt_state), network)``.

Every 1000 steps it prints the mean return of ten episodes that the tortoise
plays greedily, until all of them last the full 500 steps. The last line is the
mean return of ten episodes from other starts.
"""

import functools
from typing import Any

import equinox as eqx
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

optimizer = ht_rl.hare_tortoise(
  optax.adam(1e-3), momentum=0.98, reset_every=2000
)


def make_network(key: jax.Array) -> tuple[eqx.nn.MLP, eqx.nn.MLP]:
  """Returns a network's parameters, and all that is not a parameter."""
  network = eqx.nn.MLP(4, 2, width_size=128, depth=2, key=key)
  return eqx.partition(network, eqx.is_inexact_array)


# All networks share what is not a parameter.
_, static = make_network(jax.random.key(0))


@jax.jit
def greedy_action(params: eqx.nn.MLP, observation: jax.Array) -> jax.Array:
  """Returns the action with the largest Q-value."""
  network = eqx.combine(params, static)
  return jnp.argmax(network(observation), axis=-1)


def loss_fn(
  params: eqx.nn.MLP, target_params: eqx.nn.MLP, batch: Any
) -> jax.Array:
  """Returns the mean squared error of one-step targets."""
  observation, action, reward, discount, next_observation = batch
  network = jax.vmap(eqx.combine(params, static))
  target_network = jax.vmap(eqx.combine(target_params, static))
  q = network(observation)[jnp.arange(BATCH_SIZE), action]
  next_q = target_network(next_observation).max(axis=-1)
  return jnp.mean(jnp.square(reward + discount * next_q - q))


# One call does the whole step and donates what it replaces: for a network this
# small, most of the time of a call is its overhead.
@functools.partial(jax.jit, donate_argnums=(0, 1, 2))
def learn(
  params: eqx.nn.MLP,
  opt_state: optax.OptState,
  replay: Any,
  transition: Any,
  step: int,
  key: jax.Array,
) -> tuple[eqx.nn.MLP, optax.OptState, Any]:
  """Stores the transition of a step, then does its gradient steps."""
  replay = jax.tree.map(lambda r, x: r.at[step].set(x), replay, transition)

  def gradient_step(carry: Any, key: jax.Array) -> tuple[Any, None]:
    params, opt_state = carry
    rows = jax.random.randint(key, (BATCH_SIZE,), 0, step + 1)
    batch = [x[rows] for x in replay]
    target_params = ht_rl.tortoise_params(opt_state)
    gradients = jax.grad(loss_fn)(params, target_params, batch)
    updates, opt_state = optimizer.update(gradients, opt_state, params)
    return (optax.apply_updates(params, updates), opt_state), None

  keys = jax.random.split(jax.random.fold_in(key, step), REPLAY_RATIO)
  carry, _ = jax.lax.scan(gradient_step, (params, opt_state), keys)
  return *carry, replay


def evaluate(params: eqx.nn.MLP, seed: int, episodes: int = 10) -> float:
  """Returns the mean return of greedy episodes."""
  env = gymnasium.make('CartPole-v1')
  env.reset(seed=seed)
  total = 0.0
  for _ in range(episodes):
    observation, _ = env.reset()
    over = False
    while not over:
      action = int(greedy_action(params, observation))
      observation, reward, terminated, truncated, _ = env.step(action)
      total += float(reward)
      over = terminated or truncated
  return total / episodes


def main(seed: int = 0) -> float:
  """Trains, and returns the mean return of ten fresh episodes."""
  rng = np.random.default_rng(seed)
  init_key, learn_key = jax.random.split(jax.random.key(seed))
  params, _ = make_network(init_key)
  opt_state = optimizer.init(params)
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
      params_to_act = ht_rl.tortoise_params(opt_state)
      action = int(greedy_action(params_to_act, observation))
    next_observation, reward, terminated, truncated, _ = env.step(action)
    # Bootstrap at the time limit: only a fall ends the task.
    discount = 0.0 if terminated else GAMMA
    transition = (observation, action, reward, discount, next_observation)
    params, opt_state, replay = learn(
      params, opt_state, replay, transition, step, learn_key
    )
    observation = next_observation
    if terminated or truncated:
      observation, _ = env.reset()

    if (step + 1) % 1000 == 0:
      score = evaluate(ht_rl.tortoise_params(opt_state), seed)
      print(f'step {step + 1}: mean return {score:.1f}', flush=True)
      if score == 500:
        break

  score = evaluate(ht_rl.tortoise_params(opt_state), seed + 1000)
  print(f'mean return in ten fresh episodes: {score:.1f}')
  return score


if __name__ == '__main__':
  main()
