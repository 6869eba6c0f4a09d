"""The flags that choose a launcher, for all commands that have one."""

import pathlib

from absl import flags

from experiments.command import SettingsError
from experiments.launchers.base import Launcher
from experiments.launchers.local import LocalLauncher
from experiments.launchers.ray_launcher import RayLauncher
from experiments.launchers.slurm_launcher import SlurmLauncher, slurm_executor

# Bytes of main memory that a run is taken to need before one is measured.
_FIRST_GUESS = 2 << 30

EXECUTOR = flags.DEFINE_enum(
  'executor', 'local', ('local', 'ray', 'slurm', 'print'), 'What starts runs.'
)
_RUNS_PER_DEVICE = flags.DEFINE_string(
  'runs_per_device',
  'auto',
  'How many runs share a GPU or, without GPUs, the cores of a machine; '
  "'auto' for as many as fit, by what the runs are seen to need.",
)
_ADDRESS = flags.DEFINE_string(
  'address', None, 'Of a running Ray cluster, such as auto or 10.0.0.1:6379.'
)
_PARTITION = flags.DEFINE_string('partition', None, 'Of Slurm.')
_ACCOUNT = flags.DEFINE_string('account', None, 'Of Slurm.')
_TIME_LIMIT = flags.DEFINE_integer(
  'time_limit', 240, 'Minutes of a job of Slurm; it goes on in the next.', 10
)
_GPUS = flags.DEFINE_integer('gpus', 0, 'GPUs of a job of Slurm.', 0)
_CPUS = flags.DEFINE_integer('cpus', 4, 'Cores of a job of Slurm.', 1)
_MEMORY_GB = flags.DEFINE_integer(
  'memory_gb', None, 'Main memory of a job of Slurm.', 1
)
_RUNS_PER_TASK = flags.DEFINE_integer(
  'runs_per_task', 1, 'How many runs a job of Slurm does.', 1
)

FLAGS = {
  'local': ('runs_per_device',),
  'ray': ('runs_per_device', 'address'),
  'slurm': (
    'runs_per_device',
    'partition',
    'account',
    'time_limit',
    'gpus',
    'cpus',
    'memory_gb',
    'runs_per_task',
  ),
  'print': (),
}


def launcher(folder: pathlib.Path, memory: int) -> Launcher:
  """Makes the launcher that the flags ask for.

  Args:
    folder: where the runs are; all machines must see it.
    memory: bytes of main memory that a run was seen to need; 0 if unknown.

  Raises:
    SettingsError: a flag is wrong, or what it names is not there.
  """
  sharing = runs_per_device()
  memory = int(1.1 * memory) or _FIRST_GUESS
  if EXECUTOR.value == 'ray':
    return RayLauncher(sharing, memory, _ADDRESS.value)
  if EXECUTOR.value == 'slurm':
    executor = slurm_executor(
      (folder / 'submitit').absolute(),
      partition=_PARTITION.value,
      account=_ACCOUNT.value,
      minutes=_TIME_LIMIT.value,
      gpus=_GPUS.value,
      cpus=_CPUS.value,
      memory_gb=_MEMORY_GB.value,
    )
    return SlurmLauncher(executor, sharing, _RUNS_PER_TASK.value, memory)
  return LocalLauncher(sharing, memory)


def runs_per_device() -> int | None:
  """What `--runs_per_device` says; None for as many as fit.

  Raises:
    SettingsError: it is no number.
  """
  text = _RUNS_PER_DEVICE.value
  if text == 'auto':
    return None
  if not text.isdigit() or int(text) < 1:
    raise SettingsError(
      f"--runs_per_device must be 'auto' or 1 and more, not {text!r}"
    )
  return int(text)
