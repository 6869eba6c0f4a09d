"""Divides several runs among the devices of this process.

Of D devices, run i is on device i mod D, with all its arrays. A device steps
its runs by a strategy (`agents.core.strategies`), as it would without the other
devices: nothing of a run goes from one device to another, and D need not divide
the number of runs. The steps of all devices are started before any action is
waited for, so that the devices compute at the same time.

(A mesh of devices with a sharded axis of runs would start one program for all
devices. It would need runs that fill up the last row, could not step runs by
the program of a single run, and would read a run through all devices.)
"""

from collections.abc import Sequence
import math
from typing import Any

import jax
import numpy as np

from agents.core import strategies
from agents.core.driver import Programs
from agents.core.loop import Due
from agents.core.state import AgentState, Outcome


def devices(num_runs: int) -> list[jax.Device]:
  """Returns the devices for some runs: those of this process, or the first N.

  Args:
    num_runs: N, at least 1.
  """
  return jax.local_devices()[:num_runs]


def largest_share(num_runs: int) -> int:
  """Returns the number of runs of the device that has most of them.

  Args:
    num_runs: N, at least 1.
  """
  return math.ceil(num_runs / len(devices(num_runs)))


class Divided:
  """The states of several runs on `devices`."""

  def __init__(self, strategy: str, programs: Programs, num_runs: int):
    """Makes room for the states; `write` each before anything else.

    Args:
      strategy: one of `strategies.STRATEGIES`.
      programs: of the runs' loop.
      num_runs: N.
    """
    there = devices(num_runs)
    # A single device is the one that JAX would take.
    self._devices = there if len(there) > 1 else [None]
    # In `turns` a run is stepped where its state is, so one part can start the
    # runs in their order: one on each device, then the next on each.
    parts = 1 if strategy == 'turns' else len(self._devices)
    make = strategies.maker(strategy, programs)
    self._parts = [
      make(len(range(first, num_runs, parts))) for first in range(parts)
    ]

  def device(self, index: int) -> jax.Device | None:
    """Returns the device of a run; None for JAX's default device."""
    return self._devices[index % len(self._devices)]

  def read(self, index: int) -> AgentState:
    """Returns the state of a run, on its device."""
    place, part = divmod(index, len(self._parts))
    return self._parts[part].read(place)

  def write(self, index: int, state: AgentState) -> None:
    """Replaces the state of a run."""
    place, part = divmod(index, len(self._parts))
    self._parts[part].write(place, jax.device_put(state, self.device(index)))

  def clear(self) -> None:
    """Frees all states; `write` each before anything else."""
    for part in self._parts:
      part.clear()

  def step(
    self,
    indices: Sequence[int],
    outcomes: Outcome,
    frames: np.ndarray,
    due: Due,
  ) -> tuple[np.ndarray, list[Any]]:
    """See `strategies.Runs`; waits for the actions, not for the metrics."""
    stride = len(self._parts)
    started = []
    for first, part in enumerate(self._parts):
      mine = [index for index in indices if index % stride == first]
      if not mine:  # All runs of the device have left.
        continue
      every = slice(first, None, stride)
      actions, metrics = part.step(
        [index // stride for index in mine],
        Outcome(*(x[every] for x in outcomes)),
        frames[every],
        due,
      )
      started.append((mine, actions, metrics))
    found: dict[int, tuple[Any, Any]] = {}
    fetched = jax.device_get([actions for _, actions, _ in started])
    for (mine, _, metrics), actions in zip(started, fetched, strict=True):
      found.update(zip(mine, zip(actions, metrics, strict=True), strict=True))
    return (
      np.array([found[index][0] for index in indices]),
      [found[index][1] for index in indices],
    )
