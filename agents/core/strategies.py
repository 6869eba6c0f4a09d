"""Steps several runs on one device, in one of five ways.

`agents.core.placement` divides runs among several devices.

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
  ) -> tuple[Any, list[Any]]:
    """Starts one environment step of some runs, and does not wait for it.

    Args:
      indices: of the runs. The states of others are undefined afterwards.
      outcomes: arrays [N], results of the last actions of all runs.
      frames: [N, *observation_shape], to act on.
      due: from `Loop.due`.

    Returns:
      Actions of `indices`, an int32 array or a list of them, and metrics (None
      without a gradient step): all on the device, perhaps not computed yet.
    """


def maker(strategy: str, programs: Programs) -> Callable[[int], Runs]:
  """Returns a function that makes room for N runs; write each of them first.

  All that it makes share their compiled programs.

  Args:
    strategy: one of `STRATEGIES`.
    programs: of the runs' loop.
  """
  if strategy == 'turns':
    return functools.partial(Apart, functools.partial(_each, programs.step))
  # XLA inlines the programs of single runs.
  step = (
    functools.partial(_each, programs.loop.step)
    if strategy == 'unrolled'
    else stacked_step(programs, strategy)
  )
  compiled = jax.jit(step, donate_argnums=0, static_argnames='due')
  return functools.partial(
    Apart if strategy == 'unrolled' else Stacked, compiled
  )


class Apart:
  """Keeps states apart: `turns` and `unrolled`."""

  def __init__(self, step: Callable[..., Any], num_runs: int):
    """Makes room for the states; `write` each before anything else.

    Args:
      step: `_each` of the step of one run.
      num_runs: N.
    """
    self._states: list[Any] = [None] * num_runs
    self._step = step

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
  ) -> tuple[Any, list[Any]]:
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
    return actions, metrics


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

  def __init__(self, step: Callable[..., Any], num_runs: int):
    """Makes room for the states; `write` each before anything else.

    Args:
      step: `stacked_step`, compiled.
      num_runs: N.
    """
    self._states: Any = None
    self._num_runs = num_runs
    self._step = step

  def read(self, index: int) -> AgentState:
    """Returns a copy of the state of a run."""
    return _read(self._states, index)

  def write(self, index: int, state: AgentState) -> None:
    """Replaces the state of a run."""
    if self._states is None:
      # Copies, to have arrays on the device where the state is.
      self._states = jax.tree.map(
        lambda x: jnp.broadcast_to(x, (self._num_runs, *x.shape)), state
      )
    self._states = _write(self._states, index, state)

  def clear(self) -> None:
    """Frees all states."""
    self._states = None

  def step(
    self,
    indices: Sequence[int],
    outcomes: Outcome,
    frames: np.ndarray,
    due: Due,
  ) -> tuple[Any, list[Any]]:
    """See `Runs`; runs that are not among `indices` step too, for nothing."""
    chosen = list(indices)
    self._states, actions, metrics = self._step(
      self._states, outcomes, frames, due=due
    )
    if chosen != list(range(self._num_runs)):
      actions = actions[np.array(chosen)]
    return actions, [metrics[index] for index in chosen]


@jax.jit
def _read(states: AgentState, index: int) -> AgentState:
  return jax.tree.map(lambda x: x[index], states)


@functools.partial(jax.jit, donate_argnums=0)
def _write(states: AgentState, index: int, state: AgentState) -> AgentState:
  return jax.tree.map(lambda x, new: x.at[index].set(new), states, state)


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
