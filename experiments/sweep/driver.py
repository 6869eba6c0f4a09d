"""The loop of a sweep: it starts waiting runs and reports their ends."""

from collections.abc import Callable
import dataclasses
import pathlib
import tempfile
import time

from agents.errors import StoppedError
from experiments.exit_codes import EXIT_STOPPED
from experiments.launchers.base import Command, Ended, Launcher
from experiments.sweep.history import Outcome
from experiments.sweep.monitor import Look, Monitor, Status
from experiments.sweep.plan import Run

_TURN_SECONDS = 0.05
# Pause between two looks at all runs: at least so many seconds, and so many
# times the duration of a look.
_LOOK_SECONDS, _LOOK_FACTOR = 1.0, 20.0
_LONGEST_PAUSE_SECONDS = 60.0
# How long a run is tried whose attempts cannot start: the reason may pass.
_PATIENCE_SECONDS = 600.0
# What must be free on the disk after a failure, before other runs start.
_FREE_BYTES = 1 << 20


@dataclasses.dataclass
class _Pause:
  """A pause before something is tried again."""

  until: float = 0.0
  seconds: float = 0.0

  def extend(self) -> None:
    """Begins a pause that is twice as long as the last one."""
    self.seconds = min(max(1.0, 2 * self.seconds), _LONGEST_PAUSE_SECONDS)
    self.until = time.monotonic() + self.seconds


class Driver:
  """Starts waiting runs until no run waits or runs.

  All state that matters is in the folders of the runs. So a driver can be
  killed and started again, and several drivers can share the same runs.

  Attributes:
    monitor: status of the runs.
    launched: runs that this driver has started and that have not ended.
    lost: runs whose attempts could not even start, however often they were
      tried, and the reasons. They count as failed.
  """

  def __init__(
    self,
    monitor: Monitor,
    launcher: Launcher,
    say: Callable[[str], None],
    patience: float = _PATIENCE_SECONDS,
  ):
    """Looks at all runs.

    Args:
      monitor: status of the runs.
      launcher: starts the runs.
      say: called with a line about each run that ended.
      patience: for how many seconds a run is tried whose attempts do not start.
    """
    self.monitor = monitor
    self.launched: set[Run] = set()
    self.lost: dict[Run, str] = {}
    self._launcher = launcher
    self._say = say
    self._names = {str(run): run for run in monitor.runs}
    self._pauses: dict[Run, _Pause] = {}
    self._ends_before: dict[Run, int] = {}
    self._patience = patience
    self._not_attempted_since: dict[Run, float] = {}
    # Whether a run has failed since the disk was last seen to be writable.
    self._may_be_full = False
    self._disk_pause = _Pause()
    self._stopping = False
    self._detached: str | None = None
    self._next_look = 0.0
    self._look_at_all()

  def status(self, run: Run) -> Status:
    """Returns the status of a run."""
    status = self.monitor.look(run).status
    is_lost = run in self.lost and status is Status.WAITING
    return Status.FAILED if is_lost else status

  def run(self, show: Callable[['Driver'], None]) -> None:
    """Starts runs until no run waits or runs.

    Args:
      show: called in each turn of the loop.

    Raises:
      StoppedError: `stop` was called, and all runs have stopped.
    """
    while True:
      self._turn()
      show(self)
      if self._detached:
        raise StoppedError(self._detached)
      if not self.launched:
        statuses = {self.status(run) for run in self.monitor.runs}
        if not statuses & {Status.RUNNING, Status.WAITING}:
          return
        if self._stopping:
          raise StoppedError('stopped')
      time.sleep(_TURN_SECONDS)

  def stop(self) -> None:
    """Asks the runs to stop, and starts no others; see `Launcher.stop`."""
    self._stopping = True
    self._detached = self._launcher.stop()

  def _turn(self) -> None:
    for ended in self._launcher.ended():
      self._end(self._names[ended.name], ended)
    now = time.monotonic()
    if now >= self._next_look:
      self._look_at_all()
    if self._stopping or not self._can_write():
      return
    waiting = [
      run
      for run in self.monitor.runs
      if run not in self.launched
      and self.status(run) is Status.WAITING
      and self._pauses.get(run, _Pause()).until <= now
    ]
    taken = waiting[: self._launcher.room(len(waiting))]
    for run in taken:
      self.launched.add(run)
      self._ends_before[run] = _ends(self.monitor.look(run))
    sweep = self.monitor.sweep
    self._launcher.start(
      [Command(str(run), sweep.attempt(run)) for run in taken]
    )

  def _look_at_all(self) -> None:
    started = time.monotonic()
    self.monitor.refresh()
    _, gpu_fraction = self.monitor.footprint()
    if gpu_fraction:
      self._launcher.fit(gpu_fraction)
    ended = time.monotonic()
    pause = max(_LOOK_SECONDS, _LOOK_FACTOR * (ended - started))
    self._next_look = ended + pause

  def _can_write(self) -> bool:
    """Returns whether runs can be recorded; looks only after a failure.

    A full disk would fail all waiting runs, one after another.
    """
    pause = self._disk_pause
    if not self._may_be_full:
      return True
    if time.monotonic() < pause.until:
      return False
    base_dir = self.monitor.sweep.base_dir
    why = _why_not_writable(base_dir)
    self._may_be_full = why is not None
    if why is None:
      if pause.seconds:
        self._say(f'{base_dir} can be written again')
      self._disk_pause = _Pause()
    else:
      if not pause.seconds:
        self._say(
          f'{base_dir} cannot be written ({why}): no other run starts until it '
          'can'
        )
      pause.extend()
    return why is None

  def _end(self, run: Run, ended: Ended) -> None:
    """Handles the end of a run that this driver started."""
    self.launched.discard(run)
    self.monitor.refresh([run])
    look = self.monitor.look(run)
    if look.status is Status.DONE:
      self._pauses.pop(run, None)
      self._say(f'{run}: done')
      return
    if self._stopping:
      return
    has_ended = _ends(look) > self._ends_before[run]
    last = look.history.attempts[-1] if has_ended else None
    self._may_be_full |= last is None or last.outcome is Outcome.FAILED
    if last is not None:
      self._not_attempted_since.pop(run, None)
    if look.status is Status.FAILED:
      cause = look.cause
      assert cause is not None
      self._say(f'{run}: {cause.outcome}: {cause.last_line} (no retry)')
    elif last is None:
      self._pause(run)
      if ended.code != EXIT_STOPPED:
        now = time.monotonic()
        since = self._not_attempted_since.setdefault(run, now)
        why = ended.last_line or f'its process ended with code {ended.code}'
        if now - since >= self._patience:
          self.lost[run] = why
          self._say(f'{run}: {why} (given up; the next `sweep run` tries it)')
        else:
          self._say(f'{run}: {why} (retry)')
    elif last.outcome is Outcome.STOPPED:
      self._pause(run)
      self._say(f'{run}: {last.last_line}')
    elif last.outcome is Outcome.OUT_OF_MEMORY and last.sharing is not None:
      self._launcher.limit(last.sharing - 1)
      self._say(
        f'{run}: out of memory (retry with at most {last.sharing - 1} runs per '
        'device)'
      )
    else:
      self._pause(run)  # What it failed of may pass, such as a full disk.
      self._say(f'{run}: {last.outcome}: {last.last_line} (retry)')

  def _pause(self, run: Run) -> None:
    """Delays the next start of a run, each time for longer."""
    self._pauses.setdefault(run, _Pause()).extend()


def _why_not_writable(folder: pathlib.Path) -> str | None:
  """Returns why nothing can be written to a folder; None if it can."""
  try:
    with tempfile.TemporaryFile(dir=folder) as file:
      file.write(bytes(_FREE_BYTES))
      file.flush()
  except OSError as error:
    return error.strerror or str(error)
  return None


def _ends(look: Look) -> int:
  """Returns how many attempts at a run have an end."""
  return sum(x.end is not None for x in look.history.attempts)
