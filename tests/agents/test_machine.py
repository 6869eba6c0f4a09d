"""The limit of a container or a job counts, not the machine's memory."""

import os
import platform

import pytest

from agents import machine
from agents.core import memory

PAGES = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
JOB = 'system.slice/slurmstepd.scope/job_7/step_0'


def make(root, groups, limits):
  """Writes the control groups of a process, and limits of some."""
  (root / 'proc' / 'self').mkdir(parents=True)
  (root / 'proc/self/cgroup').write_text(groups)
  for path, limit in limits.items():
    file = root / 'sys/fs/cgroup' / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'{limit}\n')


@pytest.mark.parametrize(
  ('limit', 'expected'),
  [('12345678', 12345678), ('max', PAGES), (2 * PAGES, PAGES)],
)
@pytest.mark.parametrize(
  ('groups', 'file'),
  [
    # A container that sees its own groups, or those of its host.
    ('0::/\n', 'memory.max'),
    ('0::/docker/4711\n', 'memory.max'),
    # A job, whose limit is at its step or above it.
    (f'0::/{JOB}\n', f'{JOB}/memory.max'),
    (f'0::/{JOB}/user/task_0\n', f'{JOB}/memory.max'),
    # Version 1, and both.
    ('4:memory:/\n1:cpu,cpuacct:/x\n', 'memory/memory.limit_in_bytes'),
    (
      '9:hugetlb,memory:/slurm/job_7/step_0\n0::/\n',
      'memory/slurm/job_7/memory.limit_in_bytes',
    ),
  ],
)
def test_the_limit_of_a_group(tmp_path, groups, file, limit, expected):
  make(tmp_path, groups, {file: limit})
  assert machine.main_memory(tmp_path) == expected


def test_the_lowest_limit_counts(tmp_path):
  limits = {'memory.max': 'max', 'a/memory.max': 1000, 'a/b/memory.max': 2000}
  make(tmp_path, '0::/a/b\n', limits | {'c/memory.max': 10})
  assert machine.main_memory(tmp_path) == 1000


def test_a_machine_without_groups(tmp_path):
  assert machine.main_memory(tmp_path) == PAGES


def test_it_is_the_memory_of_devices_that_have_none(monkeypatch):
  monkeypatch.setattr(memory, '_limits', list)
  assert memory.available_memory() == machine.main_memory() <= PAGES


def test_the_processor_is_that_of_linux_or_what_python_knows(tmp_path):
  (tmp_path / 'proc').mkdir()
  known = machine.cpu(tmp_path)
  assert known == (platform.processor() or 'unknown')
  core = 'processor\t: 0\nmodel name\t: Z80 @ 4 MHz\n'
  (tmp_path / 'proc/cpuinfo').write_text(core * 2)
  assert machine.cpu(tmp_path) == 'Z80 @ 4 MHz'
