"""Sets how the C library of this process treats memory that is freed."""

import ctypes
import os
import sys

# Parameters of glibc's mallopt, from its malloc.h, and their values here: one
# heap for all threads, since the others end at 64 MB; no array outside of it;
# nothing given back; and how much more than is asked for it grows at once.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8
_VALUES = (
  (_M_ARENA_MAX, 1),
  (_M_MMAP_MAX, 0),
  (_M_TRIM_THRESHOLD, 2**31 - 1),
  (_M_TOP_PAD, 64 << 20),
)


def keep_freed_memory() -> bool:
  """Makes glibc keep freed memory for later use; call it before JAX starts.

  XLA's CPU backend allocates the temporary arrays of a program in each call. By
  default glibc gives large ones back to the system, which clears each of their
  pages again in the next call (`python -m benchmarks.page_faults`). It changes
  no result.

  Returns:
    Whether it was done. It is not where the C library is not glibc, nor where
    the user has set a variable such as MALLOC_TOP_PAD_ or GLIBC_TUNABLES.
  """
  if not sys.platform.startswith('linux') or any(
    name.startswith('MALLOC_') or name == 'GLIBC_TUNABLES'
    for name in os.environ
  ):
    return False
  library = ctypes.CDLL(None)
  if not hasattr(library, 'gnu_get_libc_version'):
    return False
  done = [library.mallopt(name, value) for name, value in _VALUES]
  return all(done)
