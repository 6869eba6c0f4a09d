"""The loop of a sweep: it starts waiting runs and reports their ends."""

from collections.abc import Callable
import dataclasses
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


@dataclasses.dataclass
class _Pause:
  """The pause before a run that stopped or failed is started again."""

  until: float = 0.0
  seconds: float = 0.0


class Driver:
  """Starts waiting runs until no run waits or runs.

  All state that matters is in the folders of the runs. So a driver can be
  killed and started again, and several drivers can share the same runs.

  Attributes:
    monitor: status of the runs.
    launched: runs that this driver has started and that have not ended.
    lost: runs whose attempts could not even start, and the reasons. They count
      as failed.
  """

  def __init__(
    self,
    monitor: Monitor,
    launcher: Launcher,
    say: Callable[[str], None],
  ):
    """Looks at all runs.

    Args:
      monitor: status of the runs.
      launcher: starts the runs.
      say: called with a line about each run that ended.
    """
    self.monitor = monitor
    self.launched: set[Run] = set()
    self.lost: dict[Run, str] = {}
    self._launcher = launcher
    self._say = say
    self._names = {str(run): run for run in monitor.runs}
    self._pauses: dict[Run, _Pause] = {}
    self._ends_before: dict[Run, int] = {}
    self._not_attempted: dict[Run, int] = {}
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
    if self._stopping:
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
    if look.status is Status.FAILED:
      cause = look.cause
      assert cause is not None
      self._say(f'{run}: {cause.outcome}: {cause.last_line} (no retry)')
    elif last is None:
      self._pause(run)
      if ended.code != EXIT_STOPPED:
        self._not_attempted[run] = self._not_attempted.get(run, 0) + 1
        why = ended.last_line or f'its process ended with code {ended.code}'
        if self._not_attempted[run] > self.monitor.sweep.retries:
          self.lost[run] = why
          self._say(f'{run}: {why} (no retry)')
        else:
          self._say(f'{run}: {why} (retry)')
    elif last.outcome is Outcome.STOPPED:
      self._pause(run)
      self._say(f'{run}: {last.last_line}')
    elif last.outcome is Outcome.OUT_OF_MEMORY:
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
    pause = self._pauses.setdefault(run, _Pause())
    pause.seconds = min(max(1.0, 2 * pause.seconds), _LONGEST_PAUSE_SECONDS)
    pause.until = time.monotonic() + pause.seconds


def _ends(look: Look) -> int:
  """Returns how many attempts at a run have an end."""
  return sum(x.end is not None for x in look.history.attempts)
