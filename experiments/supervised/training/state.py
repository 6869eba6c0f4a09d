"""The state of training, and the random streams of a run."""

import functools
from typing import Any, NamedTuple, TypeAlias

import jax
import optax

PyTree: TypeAlias = Any


class Stream:
  """The purposes of the random numbers that a seed gives.

  Append new ones: the numbers are part of every result.
  """

  INIT, EPOCH, RENEW, BETWEEN, ANALYSIS, SAMPLE, BATCH = range(7)


class TrainState(NamedTuple):
  """All that training changes.

  Attributes:
    params: the weights of the hare.
    batch_stats: its running statistics of batch normalisation.
    tortoise_stats: those of the tortoise, whose weights are in `opt_state`.
    opt_state: the state of the optimizer.
  """

  params: PyTree
  batch_stats: PyTree
  tortoise_stats: PyTree
  opt_state: optax.OptState


def stream(key: jax.Array, *purpose: Any) -> jax.Array:
  """Returns the key for a purpose: a `Stream`, then phase, epoch and so on."""
  return functools.reduce(jax.random.fold_in, purpose, key)


@jax.jit
def streams(keys: jax.Array, *purpose: Any) -> jax.Array:
  """Returns the keys of all seeds for a purpose, see `stream`."""
  return jax.vmap(lambda key: stream(key, *purpose))(keys)
