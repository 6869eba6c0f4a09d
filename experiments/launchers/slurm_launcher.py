"""Starts commands as array jobs of Slurm, through submitit."""

from collections.abc import Sequence
import pathlib
import time
from typing import Any

from experiments.command import SettingsError
from experiments.launchers.base import Command, Ended, last_line
from experiments.launchers.local import LocalLauncher

# Between Slurm's signal and the end of a job, for the checkpoints.
_SIGNAL_SECONDS = 120
_TURN_SECONDS = 0.1


class SlurmLauncher:
  """Starts commands as array jobs of Slurm; a `base.Launcher`.

  A task of the array runs several commands on its share of a node. Where Slurm
  ends it for its time or for others, the commands are stopped and Slurm puts
  the task back into its queue. The jobs outlive this process.
  """

  name = 'slurm'

  def __init__(
    self,
    executor: Any,
    runs_per_device: int | None,
    runs_per_task: int,
    memory: int,
  ):
    """Prepares the jobs.

    Args:
      executor: of submitit, such as `slurm_executor` makes.
      runs_per_device: how many commands share the GPU or, without one, the
        cores of a task; None for as many as fit.
      runs_per_task: how many commands a task of the array runs.
      memory: bytes of main memory that a command is known or guessed to need.
    """
    self._executor = executor
    self._is_auto = runs_per_device is None
    self._memory = memory
    self._runs_per_task = runs_per_task
    self.runs_per_device = runs_per_device or runs_per_task
    self._jobs: dict[Any, list[str]] = {}

  def room(self, waiting: int) -> int:
    """See `base.Launcher`; Slurm has a queue of its own."""
    return waiting

  def start(self, commands: Sequence[Command]) -> None:
    """See `base.Launcher`."""
    size = self._runs_per_task
    groups = [commands[i : i + size] for i in range(0, len(commands), size)]
    if not groups:
      return
    is_free = self._is_auto and self.runs_per_device == self._runs_per_task
    sharing = None if is_free else self.runs_per_device
    batches = [Batch(group, sharing, self._memory) for group in groups]
    with self._executor.batch():
      jobs = [self._executor.submit(batch) for batch in batches]
    for job, group in zip(jobs, groups, strict=True):
      self._jobs[job] = [command.name for command in group]

  def ended(self) -> list[Ended]:
    """See `base.Launcher`; told when the whole task of the array has ended."""
    ended: list[Ended] = []
    for job in [job for job in self._jobs if job.done()]:
      names = self._jobs.pop(job)
      error = job.exception()
      if error is None:
        ended += job.result()
      else:
        why = f'the job {job.job_id} was lost: {last_line(str(error))}'
        ended += [Ended(name, None, why) for name in names]
    return ended

  def fit(self, gpu_fraction: float) -> None:
    """See `base.Launcher`; a task of the array finds out for itself."""

  def limit(self, runs_per_device: int) -> None:
    """See `base.Launcher`."""
    self.runs_per_device = max(1, min(self.runs_per_device, runs_per_device))

  def stop(self) -> str | None:
    """See `base.Launcher`; the jobs go on."""
    ids = sorted({job.job_id.split('_')[0] for job in self._jobs})
    if not ids:
      return None
    return f'the jobs go on without this command; scancel {" ".join(ids)} ends'


class Batch:
  """What a task of the array does: it runs commands, each once."""

  def __init__(
    self, commands: Sequence[Command], runs_per_device: int | None, memory: int
  ):
    """Notes what to do.

    Args:
      commands: they are run again where the task is, which must do no harm.
      runs_per_device: as `LocalLauncher` takes it.
      memory: as `LocalLauncher` takes it.
    """
    self._arguments = tuple(commands), runs_per_device, memory
    self._launcher: LocalLauncher | None = None

  def __call__(self) -> list[Ended]:
    """Runs the commands; returns how they ended."""
    commands, runs_per_device, memory = self._arguments
    self._launcher = LocalLauncher(runs_per_device, memory)
    waiting = list(commands)
    ended: list[Ended] = []
    while len(ended) < len(commands):
      room = self._launcher.room(len(waiting))
      self._launcher.start(waiting[:room])
      waiting = waiting[room:]
      ended += self._launcher.ended()
      time.sleep(_TURN_SECONDS)
    return ended

  def checkpoint(self) -> Any:
    """Stops the commands; returns what submitit puts back into the queue."""
    from submitit.helpers import DelayedSubmission

    if self._launcher is not None:
      self._launcher.stop()
      while self._launcher.is_busy:
        self._launcher.ended()
        time.sleep(_TURN_SECONDS)
    return DelayedSubmission(Batch(*self._arguments))


def slurm_executor(
  folder: pathlib.Path,
  *,
  partition: str | None,
  account: str | None,
  minutes: int,
  gpus: int,
  cpus: int,
  memory_gb: int | None,
) -> Any:
  """Makes what submits jobs to Slurm.

  Args:
    folder: for the jobs' files.
    partition: None for Slurm's default.
    account: None for Slurm's default.
    minutes: time limit of a task; it goes back into the queue after that.
    gpus: of a task.
    cpus: of a task.
    memory_gb: main memory of a task; None for Slurm's default.

  Raises:
    SettingsError: submitit is not installed, or there is no Slurm here.
  """
  try:
    import submitit
  except ImportError as error:
    raise SettingsError(
      "--executor=slurm needs submitit: pip install '.[slurm]'"
    ) from error
  try:
    # A run may go beyond any number of time limits.
    executor = submitit.SlurmExecutor(folder, max_num_timeout=10_000)
  except RuntimeError as error:
    raise SettingsError(
      'this machine has no sbatch: type the command where jobs are submitted'
    ) from error
  optional = {
    'partition': partition,
    'account': account,
    'mem': f'{memory_gb}GB' if memory_gb else None,
    'gpus_per_node': gpus or None,
  }
  executor.update_parameters(
    job_name='sweep',
    time=minutes,
    cpus_per_task=cpus,
    signal_delay_s=_SIGNAL_SECONDS,
    array_parallelism=10_000,
    **{name: value for name, value in optional.items() if value is not None},
  )
  return executor
