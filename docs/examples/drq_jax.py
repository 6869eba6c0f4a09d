# /// script
# requires-python = ">=3.11"
# dependencies = ["chex", "flax", "ht_rl"]
#
# [tool.uv.sources]
# ht_rl = { path = "../.." }
# ///
"""DrQ in plain JAX: environment and eight seeds in one program.

  python docs/examples/drq_jax.py

`agents.core` needs neither Dopamine nor Atari. Here its DrQ plays Catch (Osband
et al., 2020): a ball falls down a board of 10 x 5 cells, and the agent moves a
paddle at the bottom left, right, or not at all. The reward is 1 for a caught
ball and -1 for a missed one. Environment, replay, gradient steps and restarts
of all seeds are one jitted call.

`Loop.plan` divides the run into stretches of equal steps, and each stretch is a
scan. The last line prints the fraction of balls that the worst seed caught in
its last 900 steps, 100 balls.
"""

import functools
import pathlib
import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

# The agents are not in the wheel: import them from the checkout.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from agents.core.drq_learner import DrQLearner
from agents.core.loop import Due, Loop
from agents.core.networks import DuelingQNetwork
from agents.core.state import AgentState, Outcome
import ht_rl

ROWS, COLUMNS = 10, 5
SEEDS = 8
STEPS = 4000

LEARNER = DrQLearner(
  # The board is small, so the network needs no convolutions.
  network=DuelingQNetwork(3, channels=(), kernels=(), strides=(), hidden=64),
  num_actions=3,
  optimizer=ht_rl.hare_tortoise(
    optax.adam(1e-3), momentum=0.98, reset_every=1000
  ),
  observation_shape=(ROWS, COLUMNS),
  stack_size=1,
  update_horizon=3,
  replay_capacity=STEPS,
  min_replay_history=500,
  epsilon_decay_period=500,
  data_augmentation=False,  # A shift would change the position of the paddle.
)
LOOP = Loop(LEARNER, replay_ratio=1)


class Catch(NamedTuple):
  """Positions of ball and paddle, int32 scalars."""

  row: jax.Array
  column: jax.Array
  paddle: jax.Array


def reset(key: jax.Array) -> Catch:
  """Returns a game with the ball at the top and the paddle in the middle."""
  column = jax.random.randint(key, (), 0, COLUMNS)
  return Catch(jnp.int32(0), column, jnp.int32(COLUMNS // 2))


def frame(game: Catch) -> jax.Array:
  """Returns the board, uint8 [ROWS, COLUMNS]."""
  board = jnp.zeros((ROWS, COLUMNS), jnp.uint8)
  board = board.at[game.row, game.column].set(255)
  return board.at[ROWS - 1, game.paddle].set(255)


def advance(
  game: Catch, action: jax.Array, key: jax.Array
) -> tuple[Catch, Outcome]:
  """Moves paddle and ball; a ball that is down is followed by a new one."""
  paddle = jnp.clip(game.paddle + action - 1, 0, COLUMNS - 1)
  moved = Catch(game.row + 1, game.column, paddle)
  down = moved.row == ROWS - 1
  caught = jnp.where(moved.paddle == moved.column, 1.0, -1.0)
  game = jax.tree.map(lambda a, b: jnp.where(down, a, b), reset(key), moved)
  return game, Outcome(jnp.where(down, caught, 0.0), down, jnp.bool_(False))


def train(loop: Loop, key: jax.Array) -> jax.Array:
  """Trains one seed; returns the reward of every step, float32 [STEPS]."""
  learner = loop.learner
  agent_key, game_key = jax.random.split(key)
  game = reset(game_key)
  state, action = learner.begin(learner.init(agent_key), frame(game))
  run: tuple[AgentState, Catch, jax.Array] = (state, game, action)
  rewards, done = [], 0
  for due, count in loop.plan(STEPS):

    def step(run: Any, number: jax.Array, due: Due = due) -> Any:
      state, game, action = run
      key = jax.random.fold_in(game_key, number)
      game, outcome = advance(game, action, key)
      state, action, _ = loop.step(state, outcome, frame(game), due)
      return (state, game, action), outcome.reward

    run, piece = jax.lax.scan(step, run, done + jnp.arange(count))
    rewards.append(piece)
    done += count
  return jnp.concatenate(rewards)


def main() -> float:
  """Trains all seeds at once; returns the worst seed's fraction of catches."""
  keys = jax.random.split(jax.random.key(0), SEEDS)
  rewards = jax.jit(jax.vmap(functools.partial(train, LOOP)))(keys)
  caught = (rewards == 1).reshape(SEEDS, -1, STEPS // 4).sum(axis=2)
  balls = (rewards != 0).reshape(SEEDS, -1, STEPS // 4).sum(axis=2)
  for seed, fractions in enumerate(caught / balls):
    shown = ' '.join(f'{fraction:.2f}' for fraction in fractions)
    print(f'seed {seed}: caught in each quarter of the run: {shown}')
  return float((rewards[:, -900:] == 1).sum(axis=1).min() / 100)


if __name__ == '__main__':
  print(f'the worst seed caught {main():.2f} of its last balls')
