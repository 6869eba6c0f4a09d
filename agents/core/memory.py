"""Checks that a run fits in memory, before any of it is allocated."""

import math
import os

import jax
import numpy as np

from agents.core.learner import Learner


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
  if num_runs > fit:
    raise ValueError(
      f'{num_runs} runs must fit in memory together: each takes '
      f'{train + replay:,} bytes, and this machine has {available:,}, enough '
      f'for {fit}; name fewer games or seeds, or make {name}.replay_capacity '
      'smaller'
    )


def available_memory() -> int:
  """Returns the bytes of memory of the first device."""
  limits = jax.devices()[0].memory_stats() or {}
  if 'bytes_limit' in limits:
    return limits['bytes_limit']
  return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
