"""How the local launcher shares out cores and GPUs."""

import json
import os
import sys
import time

import pytest

from agents import machine
from experiments import accelerators
from experiments.launchers import devices
from experiments.launchers.base import Command
from experiments.launchers.local import LocalLauncher

TELL = """
import json, os
names = ('CUDA_VISIBLE_DEVICES', 'XLA_PYTHON_CLIENT_MEM_FRACTION',
         'XLA_PYTHON_CLIENT_PREALLOCATE', 'HT_RL_DEVICE', 'HT_RL_SHARING',
         'JAX_COMPILATION_CACHE_DIR', 'CUDA_DEVICE_ORDER')
told = {name: os.environ.get(name) for name in names}
print(json.dumps({**told, 'cores': sorted(os.sched_getaffinity(0))}))
"""
NVIDIA_SMI = """#!/bin/sh
case "$*" in
  *index,uuid*) echo '0, GPU-a'; echo '1, GPU-b';;
  *=name*) echo 'NVIDIA H100'; echo 'NVIDIA H100';;
  *driver_version*) echo '580.65.06, 9.0'; echo '580.65.06, 9.0';;
  *--id=0) echo '16000, 80000';;
  *) echo 'no such GPU' >&2; exit 1;;
esac
"""


@pytest.fixture
def two_gpus(tmp_path, monkeypatch):
  """A machine with two GPUs, as far as nvidia-smi and JAX's plugin tell."""
  (tmp_path / 'nvidia-smi').write_text(NVIDIA_SMI)
  (tmp_path / 'nvidia-smi').chmod(0o755)
  monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
  monkeypatch.delenv('JAX_PLATFORMS', raising=False)
  monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
  monkeypatch.setattr(devices.importlib.util, 'find_spec', lambda name: name)


def told(launcher, count):
  """What `count` commands that run at once say of their places."""
  assert launcher.room(1000) == count
  names = [str(i) for i in range(count)]
  argv = (sys.executable, '-c', TELL)
  launcher.start([Command(name, argv) for name in names])
  assert launcher.room(1000) == 0
  ended = {}
  deadline = time.monotonic() + 300
  while launcher.is_busy:
    assert time.monotonic() < deadline
    ended |= {end.name: end for end in launcher.ended()}
    time.sleep(0.01)
  assert all(end.code == 0 for end in ended.values())
  return [json.loads(ended[name].last_line) for name in names]


def test_blocks_of_cores(monkeypatch):
  cores = machine.cores()
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  places = told(LocalLauncher(len(cores), 1), len(cores))
  assert [place['cores'] for place in places] == [[core] for core in cores]
  assert places[0]['HT_RL_DEVICE'] == f'cores {cores[0]}'
  (place,) = told(LocalLauncher(1, 1), 1)
  assert place['cores'] == cores
  # More runs than cores share them.
  places = told(LocalLauncher(len(cores) + 1, 1), len(cores) + 1)
  assert places[-1]['cores'] == cores[:1]


def test_only_the_user_names_a_folder_for_compiled_programs(monkeypatch):
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  for folder in ('/named', None):
    if folder is None:
      monkeypatch.delenv('JAX_COMPILATION_CACHE_DIR')
    else:
      monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', folder)
    (place,) = told(LocalLauncher(1, 1), 1)
    assert place['JAX_COMPILATION_CACHE_DIR'] == folder


def test_as_many_as_the_memory_holds(monkeypatch):
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  monkeypatch.setattr(machine, 'cores', lambda: list(range(64)))
  monkeypatch.setattr(machine, 'main_memory', lambda: 100 << 30)
  assert LocalLauncher(None, 2 << 30).runs_per_device == 45
  assert LocalLauncher(None, 1 << 30).runs_per_device == 64
  assert LocalLauncher(None, 200 << 30).runs_per_device == 1


def test_few_runs_have_more_cores_each(monkeypatch):
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  monkeypatch.setattr(machine, 'cores', lambda: list(range(64)))
  monkeypatch.setattr(machine, 'main_memory', lambda: 100 << 30)
  for runs, shared in ((1, 1), (5, 5), (64, 64), (1000, 64)):
    assert LocalLauncher(None, 1, runs).runs_per_device == shared
  assert LocalLauncher(None, 20 << 30, 5).runs_per_device == 4
  assert LocalLauncher(8, 1, 5).runs_per_device == 8  # As the user says.


def test_the_devices_are_told(two_gpus, monkeypatch):
  assert devices.lines() == ['devices: 2 gpu (NVIDIA H100)']
  cpu = f'devices: 1 cpu (cores {devices.ranges(machine.cores())})'
  # Without JAX's build for them.
  monkeypatch.setattr(devices.importlib.util, 'find_spec', lambda name: None)
  told, warning = devices.lines()
  assert told == cpu
  assert 'NVIDIA GPU (driver 580); `make install JAX=cuda13`' in warning
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  assert devices.lines() == [cpu]
  monkeypatch.setenv('JAX_PLATFORMS', '')
  monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
  assert devices.lines() == [cpu]


def test_a_tpu_runs_one_command_at_a_time(monkeypatch):
  monkeypatch.delenv('JAX_PLATFORMS', raising=False)
  tpu = accelerators.Accelerator('a TPU', 'tpu')
  monkeypatch.setattr(accelerators, 'find', lambda: tpu)
  monkeypatch.setattr(machine, 'cores', lambda: list(range(64)))
  libtpu = {'libtpu': 'there'}.get
  monkeypatch.setattr(devices.importlib.util, 'find_spec', libtpu)
  assert LocalLauncher(None, 1).runs_per_device == 1
  assert devices.lines() == ['devices: 1 tpu (for one run at a time)']
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  assert LocalLauncher(None, 1).runs_per_device == 64


def test_shares_of_gpus(two_gpus):
  assert devices.gpus() == ['0', '1']
  places = told(LocalLauncher(2, 1), 4)
  visible = [place['CUDA_VISIBLE_DEVICES'] for place in places]
  assert visible == ['0', '1', '0', '1']
  assert {place['CUDA_DEVICE_ORDER'] for place in places} == {'PCI_BUS_ID'}
  assert [place['HT_RL_DEVICE'] for place in places[:2]] == ['gpu 0', 'gpu 1']
  assert {place['HT_RL_SHARING'] for place in places} == {'2'}
  for place in places:
    assert float(place['XLA_PYTHON_CLIENT_MEM_FRACTION']) == 0.45


def test_gpus_are_filled_by_what_is_measured(two_gpus, monkeypatch):
  monkeypatch.setattr(machine, 'cores', lambda: list(range(64)))
  launcher = LocalLauncher(None, 1)
  places = told(launcher, 2)
  # The first take memory as they need it, so that it can be measured.
  assert {x['XLA_PYTHON_CLIENT_PREALLOCATE'] for x in places} == {'false'}
  assert {x['XLA_PYTHON_CLIENT_MEM_FRACTION'] for x in places} == {None}
  assert devices.memory_in_use('0') == 0.2
  launcher.fit(devices.memory_in_use('0'))
  places = told(launcher, 8)  # 4 runs of 0.2 and a margin fit into 0.9.
  for place in places:
    assert float(place['XLA_PYTHON_CLIENT_MEM_FRACTION']) == 0.225
  # What was out of memory is not tried again.
  launcher.limit(3)
  launcher.fit(0.1)
  assert launcher.room(1000) == 6


def test_a_gpu_has_no_more_runs_than_cores(two_gpus, monkeypatch):
  monkeypatch.setattr(machine, 'cores', lambda: list(range(6)))
  launcher = LocalLauncher(None, 1)
  assert launcher.room(1000) == 2
  launcher.fit(0.01)
  assert launcher.room(1000) == 6
  launcher = LocalLauncher(None, 1, runs=3)
  launcher.fit(0.01)
  assert launcher.runs_per_device == 2
  launcher = LocalLauncher(None, int(0.3 * machine.main_memory()))
  launcher.fit(0.01)  # Three runs fit into main memory.
  assert launcher.room(1000) == 2


def test_not_each_gpu_has_a_run_if_main_memory_is_too_small(
  two_gpus, monkeypatch
):
  monkeypatch.setattr(machine, 'main_memory', lambda: 6 << 30)
  launcher = LocalLauncher(None, 4 << 30)
  assert len(told(launcher, 1)) == 1
  assert launcher.room(1000) == 1
  assert LocalLauncher(1, 4 << 30).room(1000) == 2  # As the user says.


@pytest.mark.parametrize(
  ('name', 'value', 'gpus'),
  [
    ('CUDA_VISIBLE_DEVICES', '1', ['1']),
    ('CUDA_VISIBLE_DEVICES', 'GPU-b,GPU-a', ['GPU-b', 'GPU-a']),
    ('CUDA_VISIBLE_DEVICES', '0, 1', ['0', '1']),
    ('CUDA_VISIBLE_DEVICES', 'GPU-', ['GPU-']),  # The beginning of a UUID.
    ('CUDA_VISIBLE_DEVICES', 'MIG-1234', ['MIG-1234']),
    ('CUDA_VISIBLE_DEVICES', '', []),
    ('JAX_PLATFORMS', 'cpu', []),
    ('JAX_PLATFORMS', 'cuda,cpu', ['0', '1']),
  ],
)
def test_gpus_that_the_user_names(two_gpus, monkeypatch, name, value, gpus):
  monkeypatch.setenv(name, value)
  assert devices.gpus() == gpus


def test_a_gpu_that_does_not_report_its_memory(monkeypatch):
  monkeypatch.setattr(
    devices.accelerators, 'nvidia_smi', lambda *_: ['[N/A], [N/A]']
  )
  assert devices.memory_in_use('0') == 0
