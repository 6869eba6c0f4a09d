"""A unit of work: what one process at a time brings to its end, in folders.

An Atari run and a phase of some supervised runs are two kinds of it. The
folders tell which units are finished, and which a process holds. So any number
of processes can work on the same units, be killed and be started again.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
import contextlib
import pathlib
import shutil
import time
from typing import Protocol, TypeVar

from agents.errors import DivergedError, StoppedError
from experiments import locks
from experiments.command import SettingsError, unwritable
from ht_rl import files


class Part(Protocol):
  """What a unit of work leaves on disk."""

  @property
  def folder(self) -> pathlib.Path:
    """A folder of its own."""

  @property
  def is_finished(self) -> bool:
    """Whether its folder holds all of its results."""


class Unit(Protocol):
  """A unit of work, of one part or of several that are worked on at once."""

  @property
  def parts(self) -> Sequence[Part]:
    """What it brings to its end."""

  @property
  def needs(self) -> Sequence[Part]:
    """What must be finished before it can start."""

  def execute(self, should_stop: Callable[[], bool]) -> None:
    """Goes on from the last checkpoint to the end.

    Call it under a `claim` of the folder of each part. It leaves alone the
    parts that are finished.

    Args:
      should_stop: is asked often; where it returns True, the unit writes a
        checkpoint and raises StoppedError.

    Raises:
      StoppedError: it was asked to stop.
      DivergedError: a loss was NaN or infinite.
      CheckpointError: a checkpoint can't be written or read.
      OSError: another file can't be written.
    """


U = TypeVar('U', bound=Unit)


@contextlib.contextmanager
def claim(folder: pathlib.Path, *, wait: bool = False) -> Iterator[bool]:
  """Holds a folder, made where it is missing.

  Files that a killed process left half written in it are removed: a live
  process writes only in a folder that it holds. A folder that the claim made is
  removed again if a setting is refused under it.

  Args:
    folder: of a unit, or one that several processes write.
    wait: whether to wait while another process holds it.

  Yields:
    Whether this process holds it; False where another one does.

  Raises:
    SettingsError: the folder can't be written; MachineError if not because of
      its path.
  """
  with contextlib.ExitStack() as stack:
    try:
      made = _make(folder)
      lock = folder / 'lock'
      if wait:
        stack.enter_context(locks.wait_for(lock))
        held = True
      else:
        held = stack.enter_context(locks.hold(lock))
    except OSError as error:
      raise unwritable(folder, error) from error
    if held:
      files.remove_unfinished(folder)
    try:
      yield held
    except SettingsError:
      if held and made:
        shutil.rmtree(folder, ignore_errors=True)
        for parent in made[1:]:
          with contextlib.suppress(OSError):  # Others have their runs in it.
            parent.rmdir()
      raise


def _make(folder: pathlib.Path) -> list[pathlib.Path]:
  """Makes a folder and returns what had to be made: itself, then its parents.

  Returns:
    The folders made; empty if the folder itself was there.
  """
  missing = [path for path in folder.parents if not path.exists()]
  try:
    folder.mkdir(parents=True)
  except FileExistsError:
    return []
  return [folder, *missing]


def execute_all(
  units: Iterable[U],
  *,
  should_stop: Callable[[], bool],
  started: Callable[[U], None],
  finished: Callable[[U], None],
  failed: Callable[[U, DivergedError], None],
  poll_seconds: float = 2.0,
) -> dict[pathlib.Path, DivergedError]:
  """Brings units to their ends, together with all processes that do the same.

  A unit of which another process holds a part is waited for. Where a unit
  diverges, those that need it are left out, and the others go on.

  Args:
    units: all units in the order of preference, with all that they need; of two
      with the same parts the first counts.
    should_stop: is asked between units and, by them, while they run.
    started: is called before a unit is executed, under its claim.
    finished: is called after that.
    failed: is called where the unit diverged instead.
    poll_seconds: time between two looks at what other processes hold.

  Returns:
    For the folder of each part that is left out: the error that its unit, or
    one that it needs, ended with.

  Raises:
    StoppedError: it was asked to stop.
    SettingsError: a folder can't be written.
    CheckpointError: a checkpoint can't be written or read.
    OSError: another file can't be written.
  """
  pending: dict[tuple[pathlib.Path, ...], U] = {}
  for unit in units:
    pending.setdefault(tuple(part.folder for part in unit.parts), unit)
  errors: dict[pathlib.Path, DivergedError] = {}
  while pending:
    waiting: dict[tuple[pathlib.Path, ...], U] = {}
    for folders, unit in pending.items():
      if _is_finished(unit):
        continue
      lost = [need.folder for need in unit.needs if need.folder in errors]
      if lost:
        errors.update(dict.fromkeys(folders, errors[lost[0]]))
        continue
      if not all(need.is_finished for need in unit.needs):
        waiting[folders] = unit
        continue
      with contextlib.ExitStack() as stack:
        if not all(stack.enter_context(claim(folder)) for folder in folders):
          waiting[folders] = unit
          continue
        if _is_finished(unit):  # By another process, a moment ago.
          continue
        if should_stop():
          raise StoppedError(f'stopped before {folders[0]}')
        started(unit)
        try:
          unit.execute(should_stop)
        except DivergedError as error:
          errors.update(dict.fromkeys(folders, error))
          failed(unit, error)
        else:
          finished(unit)
    if len(waiting) == len(pending):
      if should_stop():
        raise StoppedError('stopped while other processes work')
      time.sleep(poll_seconds)
    pending = waiting
  return errors


def _is_finished(unit: Unit) -> bool:
  return all(part.is_finished for part in unit.parts)
