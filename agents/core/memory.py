"""Checks that a run fits in memory, before any of it is allocated."""

import math

import jax
import numpy as np

from agents.core.learner import Learner
from agents.machine import main_memory


def check_memory(learner: Learner, num_runs: int = 1) -> None:
  """Raises ValueError if the states of some runs cannot fit in memory.

  Args:
    learner: of the runs.
    num_runs: number of runs in memory at once.
  """
  name, available = learner.name, available_memory()
  frame = math.prod(learner.stored_shape)
  frame *= np.dtype(learner.observation_dtype).itemsize
  replay = learner.replay_capacity * frame
  # Before JAX sees the number: it takes no side of 2**31 and more.
  if replay > available or learner.replay_capacity >= 2**31:
    raise ValueError(
      f'{name}.replay_capacity must fit in memory: {learner.replay_capacity:,} '
      f'frames take {replay:,} bytes, and this machine has {available:,}'
    )
  state = jax.eval_shape(learner.init, jax.random.PRNGKey(0))
  train = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state.train))
  if train + replay > available:
    raise ValueError(
      f'{name}.network must fit in memory: weights and optimizer take '
      f'{train:,} bytes beside {replay:,} of the replay, and this machine has '
      f'{available:,}'
    )
  fit = available // (train + replay)
  memories = max(1, len(_limits()))
  # The runs are divided as evenly as can be.
  if num_runs > memories * fit:
    there = (
      f'this machine has {available:,}, enough for {fit}'
      if memories == 1
      else f'each of {memories} devices has {available:,}, enough for '
      f'{memories * fit} in all'
    )
    raise ValueError(
      f'{num_runs} runs must fit in memory together: each takes '
      f'{train + replay:,} bytes, and {there}; name fewer games or seeds, or '
      f'make {name}.replay_capacity smaller'
    )


def available_memory() -> int:
  """Returns the bytes of memory of a device, of the smallest if they differ.

  Devices without memory of their own, such as CPUs, share that of the machine
  or container.
  """
  if limits := _limits():
    return min(limits)
  return main_memory()


def _limits() -> list[int]:
  """Returns the bytes of each device that has memory of its own."""
  stats = [device.memory_stats() or {} for device in jax.local_devices()]
  return [of['bytes_limit'] for of in stats if 'bytes_limit' in of]
