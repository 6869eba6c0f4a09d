"""The processor of this machine; cores and memory that a process may use."""

from collections.abc import Iterator
import os
import pathlib
import platform

_ROOT = pathlib.Path('/')


def cpu(root: pathlib.Path = _ROOT) -> str:
  """Returns the model of this machine's processor.

  Args:
    root: folder with `proc`.
  """
  try:
    lines = (root / 'proc/cpuinfo').read_text('utf-8').splitlines()
  except OSError:  # Not on Linux.
    lines = []
  models = [x.partition(':')[2] for x in lines if x.startswith('model name')]
  return models[0].strip() if models else platform.processor() or 'unknown'


def cores() -> list[int]:
  """Returns the cores that this process may use."""
  if hasattr(os, 'sched_getaffinity'):
    return sorted(os.sched_getaffinity(0))
  return list(range(os.cpu_count() or 1))


def main_memory(root: pathlib.Path = _ROOT) -> int:
  """Returns the main memory in bytes that this process may use.

  It is that of the machine, or less in a container, a service of systemd or a
  job of Slurm.

  Args:
    root: folder with `proc` and `sys`.
  """
  pages = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
  return min([pages, *_limits(root)])


def _limits(root: pathlib.Path) -> Iterator[int]:
  """Yields the limits of this process's control group and those above it."""
  for file in _limit_files(root):
    try:
      yield int(file.read_text())
    except (OSError, ValueError):  # No file, or 'max'.
      continue


def _limit_files(root: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields where limits may be, by versions 1 and 2 of control groups."""
  try:
    lines = (root / 'proc/self/cgroup').read_text().splitlines()
  except OSError:  # Not on Linux.
    return
  top = root / 'sys/fs/cgroup'
  for line in lines:
    _, controllers, path = line.split(':', 2)
    if not controllers:
      base, name = top, 'memory.max'
    elif 'memory' in controllers.split(','):
      base, name = top / 'memory', 'memory.limit_in_bytes'
    else:
      continue
    # A container may show the path of its host. Then only the top is there.
    group = base / path.lstrip('/')
    for folder in (group, *group.parents):
      if folder.is_relative_to(base):
        yield folder / name
