"""The status of each run of a sweep, read from the folders of the runs."""

from collections.abc import Iterable, Sequence
import dataclasses
import enum
import pathlib
from typing import Any

from experiments import locks
from experiments.sweep import history
from experiments.sweep.history import Attempt, History, Outcome
from experiments.sweep.plan import Run, Sweep
from ht_rl.atari100k.run_folder import RunFolderError


class Status(enum.StrEnum):
  """The status of a run."""

  DONE = 'done'
  RUNNING = 'running'
  WAITING = 'waiting'
  FAILED = 'failed'


@dataclasses.dataclass(frozen=True)
class Look:
  """What a look at a run's folder shows.

  Attributes:
    status: status of the run.
    history: attempts at the run.
    cause: attempt because of which the run has failed; it may be that of
      another run of the same configuration. None if it has not failed.
    cause_run: run of that attempt.
  """

  status: Status
  history: History = dataclasses.field(default_factory=History)
  cause: Attempt | None = None
  cause_run: Run | None = None


class Monitor:
  """Looks at the runs of a sweep.

  Attributes:
    sweep: the sweep.
    runs: the runs to look at.
  """

  def __init__(self, sweep: Sweep, runs: Sequence[Run]):
    self.sweep = sweep
    self.runs = tuple(runs)
    self._own: dict[Run, Look] = {}
    self._wrong: dict[str, tuple[Run, Attempt]] = {}

  def refresh(self, runs: Iterable[Run] | None = None) -> None:
    """Looks again at some runs, by default at all that are not done."""
    for run in self.runs if runs is None else runs:
      if run in self._own and self._own[run].status is Status.DONE:
        continue
      self._own[run] = look = _look(self.sweep, run)
      cause = look.cause
      if cause is not None and cause.outcome is Outcome.WRONG_SETTING:
        self._wrong[run.config] = run, cause
      elif self._wrong.get(run.config, (None,))[0] == run:
        del self._wrong[run.config]  # It is going to be tried again.

  def look(self, run: Run) -> Look:
    """Returns the result of the last look at a run."""
    look = self._own[run]
    if look.status is Status.WAITING and run.config in self._wrong:
      cause_run, cause = self._wrong[run.config]
      return Look(Status.FAILED, look.history, cause, cause_run)
    return look

  def looks(self) -> dict[Run, Look]:
    """Returns the results of the last looks at all runs."""
    return {run: self.look(run) for run in self.runs}

  def footprint(self) -> tuple[int, float]:
    """Returns the largest peaks of memory of the attempts.

    Returns:
      Main memory in bytes, and the fraction of a GPU's memory; 0 if unknown,
      which they are until a run is done.
    """
    attempts = [x for look in self._own.values() for x in look.history.attempts]
    done = [x for x in attempts if x.outcome is Outcome.DONE]
    if not done:  # The others may not have begun to train.
      return 0, 0.0
    return (
      # One that only evaluated takes less than those that trained before it.
      max(x.memory or 0 for x in attempts),
      # That of another version may have been measured beside others.
      max(x.gpu_fraction or 0.0 for x in done),
    )


def _look(sweep: Sweep, run: Run) -> Look:
  folder = sweep.folder(run)
  try:
    if not folder.path.exists():
      return Look(Status.WAITING)
    # The locks first: a run that ends in between is seen as running or done.
    is_held = locks.is_held(folder.lock_file) or locks.is_held(
      folder.path / history.LOCK
    )
    attempts = history.read(folder.path)
  except OSError:  # An attempt will fail, and say why.
    return Look(Status.WAITING)
  if folder.is_finished:
    return Look(Status.DONE, attempts)
  if is_held:
    return Look(Status.RUNNING, attempts)
  cause = attempts.verdict(sweep.retries)
  if cause is not None:
    return Look(Status.FAILED, attempts, cause, run)
  return Look(Status.WAITING, attempts)


def logged_step(sweep: Sweep, run: Run) -> int:
  """Returns the last agent step that a run has logged; 0 without one."""
  try:
    return sweep.folder(run).progress().step or 0
  except (RunFolderError, OSError):  # The run itself reports it.
    return 0


def as_json(monitor: Monitor) -> dict[str, Any]:
  """Returns the status of the runs as JSON."""
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
  """Returns the log of the attempt because of which a run has failed."""
  assert look.cause is not None
  assert look.cause_run is not None
  return sweep.folder(look.cause_run).path / look.cause.log
