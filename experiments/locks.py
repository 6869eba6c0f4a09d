"""Locks on files. The system releases them however a process ends.

They always work on one machine. Between machines they work if the shared file
system passes `flock` on to its server. NFS on Linux does, unless it is mounted
with `nolock` or `local_lock`.
"""

from collections.abc import Iterator
import contextlib
import fcntl
import os
import pathlib
import time
from typing import IO

# `is_held` takes a lock for a moment, so a taken lock is tried for this long.
_PATIENCE_SECONDS = 0.2


@contextlib.contextmanager
def hold(path: pathlib.Path) -> Iterator[bool]:
  """Locks a file, which is created if it does not exist.

  Yields:
    Whether this process holds the lock; False if another process does.

  Raises:
    OSError: the file can't be written.
  """
  deadline = time.monotonic() + _PATIENCE_SECONDS
  while True:
    with path.open('a') as file:
      while not (held := _take(file.fileno(), fcntl.LOCK_EX)):
        if time.monotonic() > deadline:
          break
        time.sleep(0.01)
      if held and not _is_at(file, path):
        continue  # Its holder has removed it: what counts is the file there.
      yield held
      return


@contextlib.contextmanager
def wait_for(path: pathlib.Path) -> Iterator[None]:
  """Locks a file, after waiting until no other process holds the lock.

  Raises:
    OSError: the file can't be written.
  """
  while True:
    with path.open('a') as file:
      fcntl.flock(file, fcntl.LOCK_EX)
      if not _is_at(file, path):
        continue
      yield
      return


def is_held(path: pathlib.Path) -> bool:
  """Returns whether a process holds the lock of a file.

  Raises:
    OSError: the file exists and can't be read.
  """
  try:
    file = path.open('r')
  except FileNotFoundError:
    return False
  with file:
    # A shared lock, so that two callers do not see each other.
    return not _take(file.fileno(), fcntl.LOCK_SH)


def _take(descriptor: int, kind: int) -> bool:
  try:
    fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
  except BlockingIOError:
    return False
  return True


def _is_at(file: IO[str], path: pathlib.Path) -> bool:
  """Returns whether an open file is the one at a path."""
  try:
    return os.path.samestat(os.fstat(file.fileno()), path.stat())
  except FileNotFoundError:
    return False
