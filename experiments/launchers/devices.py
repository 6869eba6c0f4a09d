"""GPUs of this machine, and the share of one run in a device."""

import dataclasses
import importlib.util
import os
import pathlib

from agents import machine
from experiments import accelerators

# Fraction of a GPU's memory for JAX; CUDA and the display need the rest.
_GPU_FRACTION = 0.9
# Another run may need a little more memory than the one that was measured.
_MARGIN = 1.1
# Environment variables that tell a run where it runs.
_DEVICE, _SHARING = 'HT_RL_DEVICE', 'HT_RL_SHARING'
_MEASURE = 'HT_RL_MEASURE_GPU'


@dataclasses.dataclass(frozen=True)
class Place:
  """The device of a process.

  Attributes:
    device: name, such as 'gpu 0' or 'cores 0-3'.
    sharing: how many runs share the device; None if unknown, as without a
      launcher of ours.
  """

  device: str
  sharing: int | None


def place() -> Place:
  """Returns the device of this process, from its launcher or the system."""
  gpu = os.environ.get('CUDA_VISIBLE_DEVICES')
  seen = f'gpu {gpu}' if gpu else f'cores {ranges(machine.cores())}'
  sharing = os.environ.get(_SHARING)
  return Place(
    os.environ.get(_DEVICE) or seen, int(sharing) if sharing else None
  )


def gpus() -> list[str]:
  """Returns the GPUs that JAX would use; none if it would use the CPU.

  Returns:
    Numbers of nvidia-smi or UUIDs, as in CUDA_VISIBLE_DEVICES.
  """
  if not _may_use('cuda', 'gpu') or not _has_build('cuda12', 'cuda13'):
    return []
  there = [line.split(', ') for line in accelerators.nvidia_smi('index,uuid')]
  visible = os.environ.get('CUDA_VISIBLE_DEVICES')
  if visible is None:
    return [index for index, _ in there]
  names = [name.strip() for name in visible.split(',')]
  return [
    name
    for name in names
    # CUDA takes numbers, beginnings of UUIDs, and instances of a GPU.
    if name.startswith('MIG-')
    or any(
      name == index or (name.startswith('GPU-') and uuid.startswith(name))
      for index, uuid in there
    )
  ]


def has_tpu() -> bool:
  """Returns whether JAX would use a TPU, which one process takes whole."""
  if not _may_use('tpu') or not _has_build('tpu'):
    return False
  found = accelerators.find()
  return found is not None and found.build == 'tpu'


def lines() -> list[str]:
  """Returns lines for the user on the devices that runs here would use.

  They are those of `experiments.device` for one run, without a JAX that would
  take the devices from the runs.
  """
  if there := gpus():
    names = accelerators.nvidia_smi('name') or ['unknown']
    return [accelerators.described('gpu', names[0], len(there))]
  if has_tpu():
    return [accelerators.described('tpu', 'for one run at a time', 1)]
  cpu = accelerators.described('cpu', f'cores {ranges(machine.cores())}', 1)
  missed = accelerators.find() if _may_use('gpu', 'cuda', 'tpu') else None
  warning = accelerators.warning(missed)
  return [cpu, warning] if warning else [cpu]


def memory_in_use(gpu: str) -> float:
  """Returns the fraction of a GPU's memory in use by all; 0 if unknown."""
  answer = accelerators.nvidia_smi('memory.used,memory.total', f'--id={gpu}')
  if not answer:
    return 0.0
  try:
    used, total = map(float, answer[0].split(', '))
  except ValueError:  # Some devices report '[N/A]'.
    return 0.0
  return used / total


def measured_gpu() -> str:
  """Returns the GPU whose memory use is to be measured; '' for none."""
  return os.environ.get(_MEASURE, '')


def cpu_environ(label: str, sharing: int, width: int) -> dict[str, str]:
  """Returns the environment variables of a run on some of the cores.

  Args:
    label: name of these cores.
    sharing: how many runs share the machine.
    width: number of cores of the run.
  """
  # JAX and TensorFlow see the number of cores; OpenMP may not.
  return {
    **common_environ(),
    _DEVICE: label,
    _SHARING: str(sharing),
    'OMP_NUM_THREADS': str(width),
    'OPENBLAS_NUM_THREADS': str(width),
  }


def gpu_environ(gpu: str, sharing: int, measure: bool) -> dict[str, str]:
  """Returns the environment variables of a run on a share of a GPU.

  Args:
    gpu: the GPU, as in CUDA_VISIBLE_DEVICES.
    sharing: how many runs share it.
    measure: whether the run allocates memory as needed, and is measured.
  """
  environ = {
    **common_environ(),
    _DEVICE: f'gpu {gpu}',
    _SHARING: str(sharing),
    'CUDA_VISIBLE_DEVICES': gpu,
    # The numbers are those of nvidia-smi. CUDA's own begin with the fastest.
    'CUDA_DEVICE_ORDER': 'PCI_BUS_ID',
  }
  if measure:
    return environ | {_MEASURE: gpu, 'XLA_PYTHON_CLIENT_PREALLOCATE': 'false'}
  fraction = f'{_GPU_FRACTION / sharing:.4f}'
  return environ | {'XLA_PYTHON_CLIENT_MEM_FRACTION': fraction}


def runs_that_fit(gpu_fraction: float) -> int:
  """Returns how many runs fit on a GPU, from the memory that one needs.

  >>> runs_that_fit(0.2)
  4
  >>> runs_that_fit(0.8)
  1
  """
  return max(1, int(_GPU_FRACTION / (_MARGIN * gpu_fraction)))


def common_environ() -> dict[str, str]:
  """Returns the environment variables of all runs: where this checkout is."""
  root = str(pathlib.Path(__file__).parents[2])
  path = os.environ.get('PYTHONPATH')
  return {'PYTHONPATH': f'{root}{os.pathsep}{path}' if path else root}


def ranges(numbers: list[int]) -> str:
  """Returns sorted numbers as text, with ranges.

  >>> ranges([0, 1, 2, 5])
  '0-2,5'
  """
  words: list[str] = []
  first = None
  for i, number in enumerate(numbers):
    if first is None:
      first = number
    if i + 1 == len(numbers) or numbers[i + 1] != number + 1:
      words.append(f'{first}-{number}' if number > first else str(first))
      first = None
  return ','.join(words)


def _may_use(*platforms: str) -> bool:
  """Returns whether JAX_PLATFORMS allows one of these."""
  allowed = os.environ.get('JAX_PLATFORMS')
  return not allowed or bool({*platforms} & {*allowed.split(',')})


def _has_build(*builds: str) -> bool:
  """Returns whether one of these builds of JAX is installed."""
  modules = [accelerators.BUILDS[build] for build in builds]
  return any(importlib.util.find_spec(name) for name in modules)
