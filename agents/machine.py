"""Cores and memory of this machine that a process may use."""

import os
import pathlib


def cores() -> list[int]:
  """Returns the cores that this process may use."""
  if hasattr(os, 'sched_getaffinity'):
    return sorted(os.sched_getaffinity(0))
  return list(range(os.cpu_count() or 1))


def main_memory() -> int:
  """Returns the main memory of this machine or container in bytes."""
  pages = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
  try:  # The limit of the container.
    limit = pathlib.Path('/sys/fs/cgroup/memory.max').read_text()
    return min(pages, int(limit))
  except (OSError, ValueError):  # No file, or 'max'.
    return pages
