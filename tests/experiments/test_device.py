"""What a command says of the device that it runs on."""

import os
import pathlib
import subprocess
import sys

import jax
import pytest

from agents import machine
from experiments import accelerators, device
from experiments.accelerators import Accelerator
from experiments.command import MachineError


@pytest.fixture
def platforms():
  """Sets JAX_PLATFORMS of this process, as read at the start of JAX."""
  before = jax.config.jax_platforms
  yield lambda value: jax.config.update('jax_platforms', value)
  jax.config.update('jax_platforms', before)


class Gpu:
  platform = 'gpu'
  device_kind = 'NVIDIA H100 80GB HBM3'


def test_an_accelerator_that_jax_uses(monkeypatch):
  monkeypatch.setattr(jax, 'local_devices', lambda: [Gpu()] * 2)
  monkeypatch.setattr(accelerators, 'find', lambda: Accelerator('it', 'cuda13'))
  assert device.lines() == ['devices: 2 gpu (NVIDIA H100 80GB HBM3)']


def test_an_accelerator_that_jax_does_not_use(monkeypatch, platforms):
  monkeypatch.setattr(jax, 'local_devices', lambda: jax.devices()[:1])
  monkeypatch.setattr(accelerators, 'find', lambda: Accelerator('it', 'cuda13'))
  monkeypatch.setattr(machine, 'cores', lambda: [0, 1, 3])
  platforms('')
  told, warning = device.lines()
  assert told == 'devices: 1 cpu (cores 0-1,3)'
  assert 'make install JAX=cuda13' in warning
  platforms('cpu')
  assert device.lines() == [told]


@pytest.mark.parametrize('error', [AssertionError(), RuntimeError('why\nmore')])
def test_a_platform_that_jax_cannot_start(monkeypatch, platforms, error):
  def fails():
    raise error

  monkeypatch.setattr(jax, 'local_devices', fails)
  platforms('cuda')
  with pytest.raises(MachineError, match='JAX_PLATFORMS=cuda names') as raised:
    device.lines()
  assert '\n' not in str(raised.value)


@pytest.mark.parametrize('command', ['train', 'supervised'])
def test_commands_on_a_platform_that_is_not_there(command, tmp_path):
  file = {'train': 'demo', 'supervised': 'supervised/warm_start_mnist'}[command]
  gin_file = pathlib.Path(__file__).parents[2] / f'gin_configs/{file}.gin'
  words = [f'--gin_files={gin_file}', f'--base_dir={tmp_path}']
  more = ['--game=Pong'] if command == 'train' else []
  result = subprocess.run(
    [sys.executable, '-m', f'experiments.{command}', *words, *more],
    env=os.environ | {'JAX_PLATFORMS': 'nonsense'},
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 1
  (line,) = result.stderr.splitlines()
  assert line.startswith('error: JAX cannot start what JAX_PLATFORMS=nonsense ')
  assert not list(tmp_path.iterdir())
