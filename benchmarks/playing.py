"""Trains an agent in an Atari game, as a run does."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from agents import atari
from agents.core.driver import Driver, Programs
from agents.core.loop import Loop
from agents.core.population import Population
from agents.core.state import Outcome
from agents.emulators import Emulators

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


def training(
  game: str, loop: Loop, seed: int = 0, programs: Programs | None = None
) -> tuple[Driver, Callable[[int], None]]:
  """Returns a run, and a function that trains it for some steps."""
  environment = atari.AtariEnvironment(game, seed)
  driver = Driver(loop, seed, programs=programs)
  driver.begin(environment.reset())

  def train(steps: int) -> None:
    action = driver.action
    for _ in range(steps):
      timestep = environment.advance(int(action))
      action = driver.step(timestep.outcome, timestep.observation)
    jax.block_until_ready(driver.state)

  return driver, train


def training_together(
  games: Emulators, loop: Loop, strategy: str
) -> tuple[Population, Callable[[int], None]]:
  """Returns runs of games as a population, and a function that trains them all.

  Raises:
    ValueError: they do not fit in memory.
  """
  size = len(games.environments)
  population = Population(loop, range(size), strategy=strategy)
  actions: Any = [
    member.begin(environment.reset())
    for member, environment in zip(
      population.members, games.environments, strict=True
    )
  ]

  def train(steps: int) -> None:
    nonlocal actions
    for _ in range(steps):
      timesteps = games.advance(range(size), list(map(int, actions)))
      outcomes = np.array([timestep.outcome for timestep in timesteps])
      frames = np.stack([timestep.observation for timestep in timesteps])
      actions = population.step(range(size), Outcome(*outcomes.T), frames)
    jax.block_until_ready([member.tortoise for member in population.members])

  return population, train


def num_actions(game: str) -> int:
  """Returns the number of actions of a game."""
  return int(atari.AtariEnvironment(game, seed=0).action_space.n)
