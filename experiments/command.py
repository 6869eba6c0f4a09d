"""What all commands share: exit codes, and errors of one line."""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import signal
import sys
from typing import Any

from absl import flags, logging

from agents.errors import CheckpointError, DivergedError, StoppedError
from experiments.exit_codes import (
  EXIT_DIVERGED,
  EXIT_FAILED,
  EXIT_STOPPED,
  EXIT_WRONG_SETTING,
)
from ht_rl.atari100k.run_folder import RunFolderError


class SettingsError(Exception):
  """A setting is wrong; the message is one line for the person who set it."""


class SeveralSettingsError(SettingsError):
  """Several settings are wrong.

  Attributes:
    problems: a line for each.
  """

  def __init__(self, problems: Sequence[str]):
    super().__init__('; '.join(problems))
    self.problems = tuple(problems)


class HeldError(Exception):
  """Another process works on the same; later it can be tried again."""


def say(line: str) -> None:
  """Prints a line for the person who watches."""
  print(line, file=sys.stderr, flush=True)


def fail(error: Exception, code: int) -> int:
  """Says in one line what went wrong; returns the exit code."""
  say(f'error: {one_line(error)}')
  return code


def one_line(error: Exception) -> str:
  """What an error says, with the notes that were added to it."""
  parts = [str(error), *getattr(error, '__notes__', ())]
  return ' '.join('; '.join(parts).split())


def parse_flags(argv: Sequence[str]) -> list[str]:
  """Parses the command line; a wrong one ends the process with one line."""
  try:
    return flags.FLAGS(argv)
  except flags.Error as error:
    sys.exit(fail(error, EXIT_WRONG_SETTING))


def guarded(action: Callable[[], None]) -> int:
  """Calls what a command does, and says in one line what stopped it.

  Args:
    action: raises SettingsError where a setting is wrong; CheckpointError,
      DivergedError, RunFolderError or OSError where a run fails; StoppedError
      where a signal stopped it; HeldError where another process works on the
      same.

  Returns:
    The exit code.
  """
  if not flags.FLAGS['verbosity'].present:
    logging.set_verbosity(logging.WARNING)
  try:
    action()
  except SeveralSettingsError as errors:
    for problem in errors.problems:
      say(f'error: {problem}')
    return EXIT_WRONG_SETTING
  except SettingsError as error:
    return fail(error, EXIT_WRONG_SETTING)
  except HeldError as error:
    return fail(error, EXIT_STOPPED)
  except DivergedError as error:
    return fail(error, EXIT_DIVERGED)
  except (CheckpointError, RunFolderError, OSError) as error:
    return fail(error, EXIT_FAILED)
  except StoppedError as error:
    say(f'{one_line(error)}; the same command goes on from there')
    return EXIT_STOPPED
  return 0


@contextlib.contextmanager
def on_stop_signals(stop: Callable[[], None]) -> Iterator[None]:
  """Calls `stop` where SIGTERM or SIGINT would end the process."""

  def handle(signum: int, frame: Any) -> None:
    del signum, frame
    stop()

  signals = (signal.SIGTERM, signal.SIGINT)
  before = [signal.signal(number, handle) for number in signals]
  try:
    yield
  finally:
    for number, handler in zip(signals, before, strict=True):
      signal.signal(number, handler)
