"""Steps several runs on one device, in one of five ways.

===========  ================================================================
`turns`      one after another, each by the program of a single run
`unrolled`   one program, in which the runs stand one after another
`vmap`       one program with a leading axis of runs; convolutions are slices
             and one batched matrix product (`agents.core.batching`)
`map`        the same, but XLA's convolutions: networks and their gradients
             are computed for one run after another, by `jax.lax.map`
`grouped`    the same, with XLA's grouped convolutions
===========  ================================================================

The first two compute each run with the operations of a single run. A run in
`turns` is bit for bit the run alone; so is one in `unrolled` as long as XLA
compiles the same operations in the same way (tests compare). The other three
add up in another order, so that weights differ in their last bits from those of
the run alone. No strategy lets one run see anything of another.
"""

from collections.abc import Callable, Sequence
import functools
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from agents.core import batching
from agents.core.driver import Programs
from agents.core.loop import Due
from agents.core.state import AgentState, Outcome

STRATEGIES = ('turns', 'unrolled', 'vmap', 'map', 'grouped')


class Runs(Protocol):
  """The states of several runs, and how they step together."""

  def read(self, index: int) -> AgentState:
    """Returns the state of a run."""

  def write(self, index: int, state: AgentState) -> None:
    """Replaces the state of a run."""

  def clear(self) -> None:
    """Frees all states; `write` each before anything else."""

  def step(
    self,
    indices: Sequence[int],
    outcomes: Outcome,
    frames: np.ndarray,
    due: Due,
  ) -> tuple[np.ndarray, list[Any]]:
    """Does one environment step of some runs.

    Args:
      indices: of the runs. The states of others are undefined afterwards.
      outcomes: arrays [N], results of the last actions of all runs.
      frames: [N, *observation_shape], to act on.
      due: from `Loop.due`.

    Returns:
      Actions, int32, and metrics (None without a gradient step) of `indices`.
    """


def make(strategy: str, programs: Programs, num_runs: int) -> Runs:
  """Returns room for the states of N runs.

  Args:
    strategy: one of `STRATEGIES`.
    programs: of the runs' loop.
    num_runs: N.
  """
  if strategy in ('turns', 'unrolled'):
    return Apart(programs, num_runs, in_one_program=strategy == 'unrolled')
  return Stacked(programs, num_runs, strategy)


class Apart:
  """Keeps states apart: `turns` and `unrolled`."""

  def __init__(self, programs: Programs, num_runs: int, in_one_program: bool):
    """Makes room for the states; `write` each before anything else.

    Args:
      programs: of the runs' loop.
      num_runs: N.
      in_one_program: whether the N steps are one program.
    """
    self._states: list[Any] = [None] * num_runs
    self._step: Callable[..., Any] = functools.partial(_each, programs.step)
    if in_one_program:
      # XLA inlines the inner programs.
      self._step = jax.jit(
        functools.partial(_each, programs.loop.step),
        donate_argnums=0,
        static_argnames='due',
      )

  def read(self, index: int) -> AgentState:
    """Returns the state of a run."""
    return self._states[index]

  def write(self, index: int, state: AgentState) -> None:
    """Replaces the state of a run."""
    self._states[index] = state

  def clear(self) -> None:
    """Frees all states."""
    self._states = [None] * len(self._states)

  def step(
    self,
    indices: Sequence[int],
    outcomes: Outcome,
    frames: np.ndarray,
    due: Due,
  ) -> tuple[np.ndarray, list[Any]]:
    """See `Runs`."""
    chosen = list(indices)
    states, actions, metrics = self._step(
      [self._states[index] for index in chosen],
      Outcome(*(x[chosen] for x in outcomes)),
      frames[chosen],
      due=due,
    )
    for index, state in zip(chosen, states, strict=True):
      self._states[index] = state
    return np.array(jax.device_get(actions)), metrics


def _each(
  step: Callable[..., Any],
  states: list[AgentState],
  outcomes: Outcome,
  frames: Any,
  due: Due,
) -> tuple[list[Any], ...]:
  """Steps runs one after another; returns lists of what `step` returns."""
  done = [
    step(state, Outcome(*(x[i] for x in outcomes)), frames[i], due=due)
    for i, state in enumerate(states)
  ]
  return tuple(map(list, zip(*done, strict=True)))


class Stacked:
  """Keeps states in arrays with a leading axis: `vmap`, `map`, `grouped`."""

  def __init__(self, programs: Programs, num_runs: int, strategy: str):
    """Makes room for the states; `write` each before anything else.

    Args:
      programs: of the runs' loop.
      num_runs: N.
      strategy: 'vmap', 'map' or 'grouped'.
    """
    self._states: Any = None
    self._num_runs = num_runs
    self._step = jax.jit(
      stacked_step(programs, strategy),
      donate_argnums=0,
      static_argnames='due',
    )
    self._read = jax.jit(
      lambda states, index: jax.tree.map(lambda x: x[index], states)
    )
    self._write = jax.jit(
      lambda states, index, state: jax.tree.map(
        lambda x, new: x.at[index].set(new), states, state
      ),
      donate_argnums=0,
    )

  def read(self, index: int) -> AgentState:
    """Returns a copy of the state of a run."""
    return self._read(self._states, index)

  def write(self, index: int, state: AgentState) -> None:
    """Replaces the state of a run."""
    if self._states is None:
      self._states = jax.tree.map(
        lambda x: jnp.zeros((self._num_runs, *x.shape), x.dtype), state
      )
    self._states = self._write(self._states, index, state)

  def clear(self) -> None:
    """Frees all states."""
    self._states = None

  def step(
    self,
    indices: Sequence[int],
    outcomes: Outcome,
    frames: np.ndarray,
    due: Due,
  ) -> tuple[np.ndarray, list[Any]]:
    """See `Runs`; runs that are not among `indices` step too, for nothing."""
    self._states, actions, metrics = self._step(
      self._states, outcomes, frames, due=due
    )
    return (
      np.asarray(actions)[list(indices)],
      [metrics[index] for index in indices],
    )


def stacked_step(programs: Programs, strategy: str) -> Callable[..., Any]:
  """Returns `Loop.step` of stacked runs, to be compiled.

  Args:
    programs: of the runs' loop.
    strategy: 'vmap', 'map' or 'grouped'.

  Returns:
    A function of states, outcomes, frames (each with a leading axis of runs)
    and what is due. It returns the new states, the actions, and a list with the
    metrics of each run.
  """
  way = 'slices' if strategy == 'vmap' else strategy

  def step(
    states: AgentState, outcomes: Outcome, frames: Any, due: Due
  ) -> tuple[AgentState, Any, list[Any]]:
    one = functools.partial(programs.loop.step, due=due)
    with batching.tracing(way):
      states, actions, metrics = jax.vmap(one)(states, outcomes, frames)
    unstacked = [
      jax.tree.map(lambda x: x[i], metrics)  # noqa: B023
      for i in range(len(frames))
    ]
    return states, actions, unstacked

  return step
