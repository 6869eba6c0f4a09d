"""Shared parts of all commands: exit codes and one-line errors."""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import errno
import io
import os
import pathlib
import re
import signal
import sys
from typing import Any

from absl import flags, logging

from agents.errors import (
  CheckpointError,
  DivergedError,
  StoppedError,
  is_out_of_memory,
)
from experiments.exit_codes import (
  EXIT_DIVERGED,
  EXIT_FAILED,
  EXIT_STOPPED,
  EXIT_WRONG_SETTING,
)
from ht_rl.atari100k.run_folder import RunFolderError

# Errors of a path that the user named. Others, such as a full disk, are of the
# machine and may pass.
_OF_THE_PATH = (
  errno.EACCES,
  errno.EISDIR,
  errno.ELOOP,
  errno.ENAMETOOLONG,
  errno.ENOENT,
  errno.ENOTDIR,
  errno.EPERM,
  errno.EROFS,
)
_FROM_GIN = re.compile(r"\n\s*In call to configurable '.*")


class SettingsError(Exception):
  """A setting is wrong; the message is one line for the user."""


class SeveralSettingsError(SettingsError):
  """Several settings are wrong.

  Attributes:
    problems: one line for each.
  """

  def __init__(self, problems: Sequence[str]):
    super().__init__('; '.join(problems))
    self.problems = tuple(problems)


class MachineError(SettingsError):
  """This machine can't do it now; another machine or a later attempt may."""


class HeldError(Exception):
  """Another process holds the run; trying again later may work."""


def unwritable(folder: pathlib.Path, error: OSError) -> SettingsError:
  """Returns the error of a folder below --base_dir that can't be written.

  Returns:
    A MachineError if the error may pass, so is not that of the path.
  """
  kind = SettingsError if error.errno in _OF_THE_PATH else MachineError
  return kind(f'--base_dir: {folder} cannot be written ({error.strerror})')


def say(line: str) -> None:
  """Prints a line for the user, to stderr."""
  print(line, file=sys.stderr, flush=True)


def print_out(text: str) -> None:
  """Writes to standard output, replacing what it cannot encode.

  A reader that has closed it, such as `head`, is no error.
  """
  if isinstance(sys.stdout, io.TextIOWrapper):
    sys.stdout.reconfigure(errors='replace')
  try:
    print(text, end='', flush=True)
  except BrokenPipeError:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def fail(error: Exception, code: int) -> int:
  """Prints the error in one line and returns the exit code."""
  say(f'error: {one_line(error)}')
  return code


def one_line(error: Exception) -> str:
  """Returns an error's message and notes as one line."""
  text = _FROM_GIN.sub('', str(error))
  parts = [text, *getattr(error, '__notes__', ())]
  return ' '.join('; '.join(parts).split())


def parse_flags(argv: Sequence[str]) -> list[str]:
  """Parses the command line; exits with one line if it is wrong."""
  try:
    return flags.FLAGS(argv)
  except flags.Error as error:
    sys.exit(fail(error, EXIT_WRONG_SETTING))


def guarded(action: Callable[[], None]) -> int:
  """Runs a command's action, and prints its error in one line.

  Args:
    action: raises SettingsError if a setting is wrong; MachineError,
      CheckpointError, DivergedError, RunFolderError or OSError if a run fails;
      StoppedError if a signal stopped it; HeldError if another process holds
      the run.

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
  except MachineError as error:
    return fail(error, EXIT_FAILED)
  except SettingsError as error:
    return fail(error, EXIT_WRONG_SETTING)
  except HeldError as error:
    return fail(error, EXIT_STOPPED)
  except DivergedError as error:
    return fail(error, EXIT_DIVERGED)
  except (CheckpointError, RunFolderError, OSError) as error:
    return fail(error, EXIT_FAILED)
  except (MemoryError, RuntimeError) as error:
    if not is_out_of_memory(error):
      raise
    # The message of JAX has many lines.
    first = str(error).partition('\n')[0]
    shown = f'out of memory ({first})' if first else 'out of memory'
    say('; '.join([f'error: {shown}', *getattr(error, '__notes__', ())]))
    return EXIT_FAILED
  except StoppedError as error:
    say(f'{one_line(error)}; the same command goes on from there')
    return EXIT_STOPPED
  except KeyboardInterrupt:  # Where there is nothing to go on from.
    say('stopped')
    return EXIT_STOPPED
  return 0


@contextlib.contextmanager
def on_stop_signals(stop: Callable[[], None]) -> Iterator[None]:
  """Calls `stop` on SIGTERM and SIGINT instead of ending the process.

  A second SIGTERM is ignored: the system and its user may both send one, and
  the second call of `stop` may not wait for checkpoints. A second Ctrl-C calls
  `stop` again.
  """
  asked = False

  def handle(signum: int, frame: Any) -> None:
    nonlocal asked
    del frame
    if signum == signal.SIGTERM and asked:
      return
    asked = True
    stop()

  signals = (signal.SIGTERM, signal.SIGINT)
  before = [signal.signal(number, handle) for number in signals]
  try:
    yield
  finally:
    for number, handler in zip(signals, before, strict=True):
      signal.signal(number, handler)
