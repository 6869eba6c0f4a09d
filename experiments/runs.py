"""A unit of work: a folder that one process at a time brings to its end.

An Atari run and a phase of a supervised run are two kinds of it. The truth is
in the folders: which units are finished, and which a process holds. So any
number of processes can work on the same units, be killed and be started again.
"""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import pathlib
from typing import Protocol

from experiments import locks
from experiments.command import SettingsError
from ht_rl import files


class Unit(Protocol):
  """A unit of work on disk."""

  @property
  def folder(self) -> pathlib.Path:
    """The folder that is its own."""

  @property
  def needs(self) -> Sequence['Unit']:
    """The units that must be finished before it can start."""

  @property
  def is_finished(self) -> bool:
    """Whether its folder holds all of its results."""

  def execute(self, should_stop: Callable[[], bool]) -> None:
    """Goes on from the last checkpoint to the end; call it under a `claim`.

    Args:
      should_stop: is asked often; where it says so, the unit writes a
        checkpoint and raises StoppedError.

    Raises:
      StoppedError: it was asked to stop.
      DivergedError: a loss was NaN or infinite.
      CheckpointError: a checkpoint can't be written or read.
      OSError: another file can't be written.
    """


@contextlib.contextmanager
def claim(folder: pathlib.Path) -> Iterator[bool]:
  """Holds the folder of a unit, made where it is missing.

  What a killed process left half written in it is removed.

  Yields:
    Whether this process holds it; False where another one does.

  Raises:
    SettingsError: the folder can't be written.
  """
  with contextlib.ExitStack() as stack:
    try:
      folder.mkdir(parents=True, exist_ok=True)
      held = stack.enter_context(locks.hold(folder / 'lock'))
    except OSError as error:
      raise SettingsError(
        f'--base_dir: {folder} can not be written ({error.strerror})'
      ) from error
    if held:
      files.remove_unfinished(folder)
    yield held
