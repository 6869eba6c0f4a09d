"""Trains an agent in an Atari game, as a run does."""

from collections.abc import Callable
from typing import Any

import jax

from agents import atari
from agents.core.loop import Driver, Loop

# `small` is that of `gin_configs/small/base.gin`.
NETWORKS: dict[str, dict[str, Any]] = {
  'small': {
    'channels': (16, 32),
    'kernels': (12, 3),
    'strides': (12, 2),
    'hidden': 128,
  },
  'full': {},
}


def training(game: str, loop: Loop) -> tuple[Driver, Callable[[int], None]]:
  """Returns a run, and a function that trains it for some steps."""
  environment = atari.AtariEnvironment(game, seed=0)
  driver = Driver(loop, seed=0)
  driver.begin(environment.reset())

  def train(steps: int) -> None:
    action = driver.action
    for _ in range(steps):
      timestep = environment.advance(int(action))
      action = driver.step(timestep.outcome, timestep.observation)
    jax.block_until_ready(driver.state)

  return driver, train


def num_actions(game: str) -> int:
  """Returns the number of actions of a game."""
  return int(atari.AtariEnvironment(game, seed=0).action_space.n)
