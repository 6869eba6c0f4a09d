"""Locks on files, which the system gives back however a process ends.

On one machine they always hold. Between machines they hold where the shared
file system passes `flock` on to its server, as NFS does on Linux unless it is
mounted with `nolock` or `local_lock`.
"""

from collections.abc import Iterator
import contextlib
import fcntl
import pathlib
import time

# `is_held` takes a lock for a moment; whoever holds it longer means it.
_PATIENCE_SECONDS = 0.2


@contextlib.contextmanager
def hold(path: pathlib.Path) -> Iterator[bool]:
  """Holds the lock of a file, which is made where it is missing.

  Yields:
    Whether this process holds it; False where another one does.

  Raises:
    OSError: the file can't be written.
  """
  with path.open('a') as file:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not (held := _take(file.fileno(), fcntl.LOCK_EX)):
      if time.monotonic() > deadline:
        break
      time.sleep(0.01)
    yield held


@contextlib.contextmanager
def wait_for(path: pathlib.Path) -> Iterator[None]:
  """Holds the lock of a file as soon as no other process does.

  Raises:
    OSError: the file can't be written.
  """
  with path.open('a') as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    yield


def is_held(path: pathlib.Path) -> bool:
  """Whether a process holds the lock of a file.

  Raises:
    OSError: the file is there and can't be read.
  """
  try:
    file = path.open('r')
  except FileNotFoundError:
    return False
  with file:
    # Shared, so that two who look at once don't see each other.
    return not _take(file.fileno(), fcntl.LOCK_SH)


def _take(descriptor: int, kind: int) -> bool:
  try:
    fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
  except BlockingIOError:
    return False
  return True
