"""What has become of each run of a sweep, read from the runs' folders."""

from collections.abc import Iterable, Sequence
import dataclasses
import enum
import pathlib
from typing import Any

from experiments import locks
from experiments.sweep import history
from experiments.sweep.history import Attempt, History, Outcome
from experiments.sweep.plan import Run, Sweep


class Status(enum.StrEnum):
  """What has become of a run."""

  DONE = 'done'
  RUNNING = 'running'
  WAITING = 'waiting'
  FAILED = 'failed'


@dataclasses.dataclass(frozen=True)
class Look:
  """What has become of a run.

  Attributes:
    status: in a word.
    history: the attempts at it.
    cause: the attempt for which it is not tried again, its own or one of
      another run of its configuration; None where it did not fail.
    cause_run: the run of that attempt.
  """

  status: Status
  history: History = dataclasses.field(default_factory=History)
  cause: Attempt | None = None
  cause_run: Run | None = None


class Monitor:
  """Looks at the runs of a sweep.

  Attributes:
    sweep: the sweep.
    runs: those that are looked at.
  """

  def __init__(self, sweep: Sweep, runs: Sequence[Run]):
    self.sweep = sweep
    self.runs = tuple(runs)
    self._own: dict[Run, Look] = {}
    self._wrong: dict[str, tuple[Run, Attempt]] = {}

  def refresh(self, runs: Iterable[Run] | None = None) -> None:
    """Looks again at some runs; at all that may have changed by default.

    Raises:
      OSError: a run's folder can't be read.
    """
    for run in self.runs if runs is None else runs:
      if run in self._own and self._own[run].status is Status.DONE:
        continue
      self._own[run] = look = _look(self.sweep, run)
      cause = look.cause
      if cause is not None and cause.outcome is Outcome.WRONG_SETTING:
        self._wrong[run.config] = run, cause
      elif self._wrong.get(run.config, (None,))[0] == run:
        del self._wrong[run.config]  # It is to be tried again.

  def look(self, run: Run) -> Look:
    """What has become of a run, when it was last looked at."""
    look = self._own[run]
    if look.status is Status.WAITING and run.config in self._wrong:
      cause_run, cause = self._wrong[run.config]
      return Look(Status.FAILED, look.history, cause, cause_run)
    return look

  def looks(self) -> dict[Run, Look]:
    """What has become of each run."""
    return {run: self.look(run) for run in self.runs}

  def footprint(self) -> tuple[int, float]:
    """Most main memory, in bytes, and most of a GPU's that a run needed.

    Returns:
      0 for what is not known.
    """
    attempts = [x for look in self._own.values() for x in look.history.attempts]
    return (
      max((x.memory or 0 for x in attempts), default=0),
      max((x.gpu_fraction or 0.0 for x in attempts), default=0.0),
    )


def _look(sweep: Sweep, run: Run) -> Look:
  folder = sweep.folder(run)
  if not folder.path.exists():
    return Look(Status.WAITING)
  told = history.read(folder.path)
  # In this order: a run that ends in between is seen as running or as done.
  is_held = locks.is_held(folder.lock_file) or locks.is_held(
    folder.path / history.LOCK
  )
  if folder.is_finished:
    return Look(Status.DONE, told)
  if is_held:
    return Look(Status.RUNNING, told)
  told = history.read(folder.path)  # With the end of one that ended just now.
  cause = told.verdict(sweep.retries)
  if cause is not None:
    return Look(Status.FAILED, told, cause, run)
  return Look(Status.WAITING, told)


def as_json(monitor: Monitor) -> dict[str, Any]:
  """What has become of the runs, for other programs."""
  return {
    'base_dir': str(monitor.sweep.base_dir),
    'runs': [
      {
        **run._asdict(),
        'status': look.status,
        'attempts': len(look.history.attempts),
        'last_line': look.cause.last_line if look.cause else None,
        'log': str(log_file(monitor.sweep, look)) if look.cause else None,
      }
      for run, look in monitor.looks().items()
    ],
  }


def log_file(sweep: Sweep, look: Look) -> pathlib.Path:
  """The log of the attempt for which a run is not tried again."""
  assert look.cause is not None
  assert look.cause_run is not None
  return sweep.folder(look.cause_run).path / look.cause.log
