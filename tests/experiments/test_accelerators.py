"""What is told of accelerators, on machines that a folder stands for."""

import pathlib

import pytest

from experiments import accelerators
from experiments.accelerators import Accelerator

OPEN = (
  'NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release '
  'Build  (dvs-builder@U22-I3-AM02-24-3)  Sun Jul 27 07:21:15 UTC 2025\n'
  'GCC version:  gcc version 12.3.0 (Ubuntu 12.3.0-1ubuntu1~22.04)\n'
)
CLOSED = (
  'NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 '
  '01:15:15 UTC 2023\nGCC version:  gcc version 11.4.0\n'
)


def machine(folder: pathlib.Path, **files: str) -> pathlib.Path:
  """Makes a root folder; `__` in a name stands for a slash."""
  for name, text in files.items():
    path = folder / name.replace('__', '/')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
  return folder


def silent(*_):
  return []


def found(root, environ=None, nvidia_smi=silent):
  return accelerators.find(root, environ or {}, nvidia_smi)


def test_a_machine_without_an_accelerator(tmp_path):
  assert found(tmp_path) is None
  assert accelerators.warning(None) is None


@pytest.mark.parametrize(
  ('text', 'name', 'build'),
  [
    (OPEN, 'an NVIDIA GPU (driver 580)', 'cuda13'),
    (CLOSED, 'an NVIDIA GPU (driver 535)', 'cuda12'),
    (CLOSED.replace('535', '470'), 'an NVIDIA GPU (driver 470)', None),
  ],
)
def test_the_driver_without_nvidia_smi(tmp_path, text, name, build):
  root = machine(tmp_path, dev__nvidia0='', proc__driver__nvidia__version=text)
  assert found(root) == Accelerator(name, build)


def test_a_container_that_sees_the_driver_without_the_gpu(tmp_path):
  root = machine(
    tmp_path, dev__nvidiactl='', proc__driver__nvidia__version=OPEN
  )
  assert found(root) is None


@pytest.mark.parametrize(
  ('rows', 'build'),
  [
    (['580.65.06, 9.0', '580.65.06, 8.0'], 'cuda13'),
    (['580.65.06, 9.0', '580.65.06, 7.0'], 'cuda12'),  # One is a V100.
    (['570.124.06, 9.0'], 'cuda12'),
    (['580.65.06, 3.7'], None),  # A K80.
    (['460.32.03, 7.5'], None),
  ],
)
def test_the_answer_of_nvidia_smi(tmp_path, rows, build):
  accelerator = found(tmp_path, nvidia_smi=lambda *_: rows)
  assert accelerator is not None
  assert accelerator.build == build


@pytest.mark.parametrize(
  'rows', [['No devices were found'], ['580.65.06, [N/A]']]
)
def test_an_answer_that_tells_nothing(tmp_path, rows):
  assert found(tmp_path, nvidia_smi=lambda *_: rows) is None
  root = machine(tmp_path, dev__nvidia0='', proc__driver__nvidia__version=OPEN)
  accelerator = found(root, nvidia_smi=lambda *_: rows)
  assert accelerator is not None
  assert accelerator.build == 'cuda13'


@pytest.mark.parametrize('hidden', ['', '-1'])
def test_a_gpu_that_the_user_hides(tmp_path, hidden):
  root = machine(tmp_path, dev__nvidia0='', proc__driver__nvidia__version=OPEN)
  assert found(root, {'CUDA_VISIBLE_DEVICES': hidden}) is None
  assert found(root, {'CUDA_VISIBLE_DEVICES': '0'}) is not None


@pytest.mark.parametrize(
  ('vendor', 'kind', 'is_tpu'),
  [
    ('0x1ae0', '0x0063', True),
    ('0x1ae0', '0x0042', False),  # Google's network card.
    ('0x8086', '0x0063', False),
  ],
)
def test_a_tpu(tmp_path, vendor, kind, is_tpu):
  root = machine(
    tmp_path,
    sys__bus__pci__devices__00__vendor=f'{vendor}\n',
    sys__bus__pci__devices__00__device=f'{kind}\n',
  )
  assert found(root) == (Accelerator('a TPU', 'tpu') if is_tpu else None)


def test_the_ids_are_those_of_jax():
  hardware = pytest.importorskip('jax._src.hardware_utils')
  assert hardware._GOOGLE_PCI_VENDOR_ID == accelerators._GOOGLE
  assert {*accelerators._TPUS} == {*hardware._TPU_PCI_DEVICE_IDS}


def test_warnings():
  def warned(*accelerator, installed=()):
    line = accelerators.warning(
      Accelerator(*accelerator), lambda name: name in installed
    )
    assert line is not None
    assert '\n' not in line
    return line

  gpu = 'an NVIDIA GPU (driver 580)'
  assert warned(gpu, 'cuda13') == (
    'warning: JAX runs on the CPU, although there is an NVIDIA GPU (driver '
    '580); `make install JAX=cuda13` installs the build for it '
    '(JAX_PLATFORMS=cpu turns this warning off)'
  )
  # The build of another driver does not count.
  assert '`make install JAX=cuda13`' in warned(
    gpu, 'cuda13', installed=['jax_cuda12_plugin']
  )
  assert 'JAX_PLATFORMS=cuda shows why' in warned(
    gpu, 'cuda13', installed=['jax_cuda13_plugin']
  )
  assert 'JAX_PLATFORMS=tpu shows why' in warned(
    'a TPU', 'tpu', installed=['libtpu']
  )
  assert 'driver 525 and compute capability 5.2' in warned(gpu, None)
