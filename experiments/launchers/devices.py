"""What this machine has for runs: cores, GPUs, memory; and a run's share."""

import dataclasses
import importlib.util
import os
import pathlib
import socket
import subprocess

# Of a GPU's memory, what JAX may take; the rest is for CUDA and the display.
_GPU_FRACTION = 0.9
# What is measured of one run may be a little less than the next one needs.
_MARGIN = 1.1
# Variables of a run's environment that say where it runs.
_DEVICE, _SHARING = 'HT_RL_DEVICE', 'HT_RL_SHARING'
_MEASURE = 'HT_RL_MEASURE_GPU'


@dataclasses.dataclass(frozen=True)
class Place:
  """Where a process runs.

  Attributes:
    device: such as 'gpu 0' or 'cores 0-3'.
    sharing: how many runs the device is meant for.
  """

  device: str
  sharing: int


def place() -> Place:
  """Where this process runs, as its launcher said or as the system does."""
  gpu = os.environ.get('CUDA_VISIBLE_DEVICES')
  seen = f'gpu {gpu}' if gpu else f'cores {ranges(cores())}'
  return Place(
    os.environ.get(_DEVICE) or seen, int(os.environ.get(_SHARING) or 1)
  )


def cores() -> list[int]:
  """The cores that this process may use."""
  if hasattr(os, 'sched_getaffinity'):
    return sorted(os.sched_getaffinity(0))
  return list(range(os.cpu_count() or 1))


def main_memory() -> int:
  """Bytes of main memory that processes of this machine may use."""
  pages = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
  try:  # Of the container.
    limit = pathlib.Path('/sys/fs/cgroup/memory.max').read_text()
    return min(pages, int(limit))
  except (OSError, ValueError):  # There is none, or it says 'max'.
    return pages


def gpus() -> list[str]:
  """The GPUs that JAX would use here; empty where it would use the CPU.

  Returns:
    Their numbers or UUIDs, as CUDA_VISIBLE_DEVICES takes them.
  """
  platforms = os.environ.get('JAX_PLATFORMS', '')
  plugins = ('jax_cuda12_plugin', 'jax_cuda13_plugin')
  if (platforms and not {'cuda', 'gpu'} & set(platforms.split(','))) or not any(
    importlib.util.find_spec(name) for name in plugins
  ):
    return []
  there = [line.split(', ') for line in _nvidia_smi('index,uuid')]
  visible = os.environ.get('CUDA_VISIBLE_DEVICES')
  if visible is None:
    return [index for index, _ in there]
  known = {name for names in there for name in names}
  return [name for name in visible.split(',') if name in known]


def memory_in_use(gpu: str) -> float:
  """The fraction of a GPU's memory in use, by whomever; 0 if unknown."""
  lines = _nvidia_smi('memory.used,memory.total', f'--id={gpu}')
  if not lines:
    return 0.0
  used, total = map(float, lines[0].split(', '))
  return used / total


def measured_gpu() -> str:
  """The GPU whose memory tells what this process needs; '' for none."""
  return os.environ.get(_MEASURE, '')


def cpu_environ(label: str, sharing: int, width: int) -> dict[str, str]:
  """The variables of a run on its share of the cores.

  Args:
    label: what the share is called.
    sharing: how many runs the machine is meant for.
    width: how many cores are its own.
  """
  # JAX and TensorFlow ask how many cores there are for them; OpenMP need not.
  return {
    **common_environ(),
    _DEVICE: label,
    _SHARING: str(sharing),
    'OMP_NUM_THREADS': str(width),
    'OPENBLAS_NUM_THREADS': str(width),
  }


def gpu_environ(gpu: str | None, sharing: int, measure: bool) -> dict[str, str]:
  """The variables of a run on its share of a GPU.

  Args:
    gpu: its name; None where CUDA_VISIBLE_DEVICES is set by somebody else.
    sharing: how many runs share it.
    measure: whether to take memory as it is needed, so that it can be measured.
  """
  environ = {**common_environ(), _SHARING: str(sharing)}
  if gpu is not None:
    environ |= {_DEVICE: f'gpu {gpu}', 'CUDA_VISIBLE_DEVICES': gpu}
  if measure and gpu is not None:
    return environ | {_MEASURE: gpu, 'XLA_PYTHON_CLIENT_PREALLOCATE': 'false'}
  fraction = f'{_GPU_FRACTION / sharing:.4f}'
  return environ | {'XLA_PYTHON_CLIENT_MEM_FRACTION': fraction}


def runs_that_fit(gpu_fraction: float) -> int:
  """How many runs share a GPU whose memory one needs a fraction of.

  >>> runs_that_fit(0.2)
  4
  >>> runs_that_fit(0.8)
  1
  """
  return max(1, int(_GPU_FRACTION / (_MARGIN * gpu_fraction)))


def common_environ() -> dict[str, str]:
  """The variables of every run.

  Compiled programs are kept for each host by itself, unless the user says
  where; and a run finds this checkout from any folder.
  """
  home = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
  cache = os.path.join(home, 'ht_rl', f'xla-{socket.gethostname()}')
  root = str(pathlib.Path(__file__).parents[2])
  path = os.environ.get('PYTHONPATH')
  return {
    'JAX_COMPILATION_CACHE_DIR': os.environ.get(
      'JAX_COMPILATION_CACHE_DIR', cache
    ),
    'PYTHONPATH': f'{root}{os.pathsep}{path}' if path else root,
  }


def ranges(numbers: list[int]) -> str:
  """Writes sorted numbers in short.

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


def _nvidia_smi(query: str, *more: str) -> list[str]:
  argv = ['nvidia-smi', f'--query-gpu={query}', '--format=csv,noheader,nounits']
  try:
    return subprocess.run(
      [*argv, *more], capture_output=True, text=True, check=True, timeout=30
    ).stdout.splitlines()
  except (OSError, subprocess.SubprocessError):
    return []
