"""Flags that choose a launcher."""

import pathlib

from absl import flags

from experiments.command import SettingsError, say
from experiments.launchers import devices
from experiments.launchers.base import Launcher
from experiments.launchers.local import LocalLauncher
from experiments.launchers.ray_launcher import RayLauncher
from experiments.launchers.slurm_launcher import SlurmLauncher, slurm_executor

# Main memory of a run in bytes, as long as none has been measured. (A whole run
# of `drq_ht` on a CPU takes 3.5 GB at its peak.)
_FIRST_GUESS = 4 << 30

EXECUTOR = flags.DEFINE_enum(
  'executor',
  'local',
  ('local', 'ray', 'slurm', 'print'),
  'What starts the runs.',
)
_RUNS_PER_DEVICE = flags.DEFINE_string(
  'runs_per_device',
  'auto',
  'How many runs share a GPU or, without GPUs, the cores of a machine; '
  "'auto' for as many as fit, as measured.",
)
_ADDRESS = flags.DEFINE_string(
  'address', None, 'Ray: address of a cluster, such as auto or 10.0.0.1:6379.'
)
_PARTITION = flags.DEFINE_string('partition', None, 'Slurm: partition.')
_ACCOUNT = flags.DEFINE_string('account', None, 'Slurm: account.')
_TIME_LIMIT = flags.DEFINE_integer(
  'time_limit', 240, 'Slurm: minutes of a job; the next job continues.', 10
)
_GPUS = flags.DEFINE_integer('gpus', 0, 'Slurm: GPUs of a job.', 0)
_CPUS = flags.DEFINE_integer('cpus', 4, 'Slurm: cores of a job.', 1)
_MEMORY_GB = flags.DEFINE_integer(
  'memory_gb', None, 'Slurm: main memory of a job in GB.', 1
)
_RUNS_PER_TASK = flags.DEFINE_integer(
  'runs_per_task', 1, 'Slurm: runs of a job.', 1
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


def check_flags(*, is_used: bool) -> None:
  """Raises SettingsError if a launcher's flag is given that has no effect.

  Args:
    is_used: whether a launcher is going to be used.
  """
  allowed = FLAGS[EXECUTOR.value] if is_used else ()
  names = [name for of_one in FLAGS.values() for name in of_one]
  for name in sorted({*names, 'executor'} - {*allowed}):
    if flags.FLAGS[name].present and not (name == 'executor' and is_used):
      where = f'with --executor={EXECUTOR.value}' if is_used else 'here'
      raise SettingsError(f'--{name} has no effect {where}')


def say_devices() -> None:
  """Prints the devices of this machine, if the runs are to be on it."""
  if EXECUTOR.value == 'local':
    for line in devices.lines():
      say(line)


def launcher(folder: pathlib.Path, memory: int, runs: int) -> Launcher:
  """Makes the launcher that the flags choose.

  Args:
    folder: folder of the runs, on a file system that all machines share.
    memory: measured main memory of a run in bytes; 0 if unknown.
    runs: number of runs in all, also of those that are done: a sweep that goes
      on gives each run as many cores as before.

  Raises:
    SettingsError: a flag is wrong, or the launcher is not available.
  """
  sharing = runs_per_device()
  memory = int(1.1 * memory) or _FIRST_GUESS
  if EXECUTOR.value == 'ray':
    return RayLauncher(sharing, memory, _ADDRESS.value, runs)
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
    return SlurmLauncher(
      executor, sharing, _RUNS_PER_TASK.value, memory, _GPUS.value
    )
  return LocalLauncher(sharing, memory, runs)


def runs_per_device() -> int | None:
  """Returns `--runs_per_device`; None for 'auto'.

  Raises:
    SettingsError: it is neither 'auto' nor a positive number, or a job of Slurm
      has fewer runs.
  """
  text = _RUNS_PER_DEVICE.value
  if text == 'auto':
    return None
  if not text.isdigit() or int(text) < 1:
    raise SettingsError(
      f"--runs_per_device must be 'auto' or at least 1, not {text!r}"
    )
  if EXECUTOR.value == 'slurm' and int(text) > _RUNS_PER_TASK.value:
    raise SettingsError(
      f'--runs_per_device={text} needs --runs_per_task={text} or more: only '
      'runs of one job share a device'
    )
  return int(text)
