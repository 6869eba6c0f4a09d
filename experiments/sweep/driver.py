"""The loop of a sweep: starts what waits, and tells what came of it."""

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
# Between two looks at runs that others may have changed, at the least; and how
# many times as long as a look takes.
_LOOK_SECONDS, _LOOK_FACTOR = 1.0, 20.0
_LONGEST_PAUSE_SECONDS = 60.0


@dataclasses.dataclass
class _Pause:
  """How long a run that ended without a word is left alone."""

  until: float = 0.0
  seconds: float = 0.0


class Driver:
  """Starts the runs that wait, until nothing waits and nothing runs.

  Nothing that matters is kept here: it can be killed and started again, and
  several can work on the same runs.

  Attributes:
    monitor: what has become of the runs.
    launched: the runs that this driver has started and that have not ended.
    lost: runs that could not even be attempted, and why. They count as failed.
  """

  def __init__(
    self,
    monitor: Monitor,
    launcher: Launcher,
    say: Callable[[str], None],
  ):
    """Looks at all runs.

    Args:
      monitor: of the runs.
      launcher: starts them.
      say: is given a line for each run that ended.
    """
    self.monitor = monitor
    self.launched: set[Run] = set()
    self.lost: dict[Run, str] = {}
    self._launcher = launcher
    self._say = say
    self._names = {str(run): run for run in monitor.runs}
    self._pauses: dict[Run, _Pause] = {}
    self._told: dict[Run, int] = {}
    self._not_attempted: dict[Run, int] = {}
    self._stopping = False
    self._goes_on: str | None = None
    self._next_look = 0.0
    self._look_at_all()

  def status(self, run: Run) -> Status:
    """What has become of a run."""
    status = self.monitor.look(run).status
    is_lost = run in self.lost and status is Status.WAITING
    return Status.FAILED if is_lost else status

  def run(self, show: Callable[['Driver'], None]) -> None:
    """Goes on until nothing waits and nothing runs.

    Args:
      show: is called every turn.

    Raises:
      StoppedError: `stop` was called, and all has stopped.
    """
    while True:
      self._turn()
      show(self)
      if self._goes_on:
        raise StoppedError(self._goes_on)
      if not self.launched:
        statuses = {self.status(run) for run in self.monitor.runs}
        if not statuses & {Status.RUNNING, Status.WAITING}:
          return
        if self._stopping:
          raise StoppedError('stopped')
      time.sleep(_TURN_SECONDS)

  def stop(self) -> None:
    """Starts nothing more, and asks what runs to stop; may be called twice."""
    self._stopping = True
    self._goes_on = self._launcher.stop()

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
      self._told[run] = _ends(self.monitor.look(run))
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
    """Notes how a run that this driver started has ended."""
    self.launched.discard(run)
    self.monitor.refresh([run])
    look = self.monitor.look(run)
    if look.status is Status.DONE:
      self._pauses.pop(run, None)
      self._say(f'{run}: done')
      return
    if self._stopping:
      return
    is_told = _ends(look) > self._told[run]
    last = look.history.counted[-1] if is_told else None
    if look.status is Status.FAILED:
      cause = look.cause
      assert cause is not None
      self._say(f'{run}: {cause.outcome}: {cause.last_line} (not tried again)')
    elif last is None:
      self._pause(run)
      if ended.code != EXIT_STOPPED:
        self._not_attempted[run] = self._not_attempted.get(run, 0) + 1
        why = ended.last_line or f'its process ended with {ended.code}'
        if self._not_attempted[run] > self.monitor.sweep.retries:
          self.lost[run] = why
          self._say(f'{run}: {why} (not tried again)')
        else:
          self._say(f'{run}: {why}')
    elif last.outcome is Outcome.STOPPED:
      self._pause(run)
      self._say(f'{run}: {last.last_line}')
    else:
      if last.outcome is Outcome.OUT_OF_MEMORY:
        self._launcher.limit(last.sharing - 1)
        self._say(
          f'{run}: out of memory; from now on {last.sharing - 1} runs share a '
          'device'
        )
      else:
        self._say(f'{run}: {last.outcome}: {last.last_line} (tried again)')

  def _pause(self, run: Run) -> None:
    """Leaves a run alone for a while, each time for longer."""
    pause = self._pauses.setdefault(run, _Pause())
    pause.seconds = min(max(1.0, 2 * pause.seconds), _LONGEST_PAUSE_SECONDS)
    pause.until = time.monotonic() + pause.seconds


def _ends(look: Look) -> int:
  """How many attempts at a run have an end."""
  return sum(x.end is not None for x in look.history.attempts)
