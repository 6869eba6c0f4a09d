"""A launcher that submits array jobs to Slurm, through submitit."""

from collections.abc import Sequence
import pathlib
import time
from typing import Any

from experiments.command import SettingsError
from experiments.launchers import devices
from experiments.launchers.base import Command, Ended, last_line
from experiments.launchers.local import LocalLauncher
from experiments.launchers.sharing import at_most

# Time for checkpoints, between Slurm's signal and the end of a job.
_SIGNAL_SECONDS = 120
# Tasks of an array; Slurm refuses larger ones unless it is configured for them.
_ARRAY_SIZE = 1000
_TURN_SECONDS = 0.1
# Pause between two polls of all jobs: at least so many seconds, and so many
# times the duration of a poll. For each job, submitit asks the file system that
# all nodes share.
_POLL_SECONDS, _POLL_FACTOR = 10.0, 20.0


class SlurmLauncher:
  """A `base.Launcher` that submits array jobs to Slurm.

  A task of the array runs several commands on its part of a node. Before the
  time limit it stops them, and Slurm puts the task back into its queue. The
  jobs continue when this process ends.
  """

  def __init__(
    self,
    executor: Any,
    runs_per_device: int | None,
    runs_per_task: int,
    memory: int,
    gpus: int = 0,
  ):
    """Prepares the jobs.

    Args:
      executor: an executor of submitit, see `slurm_executor`.
      runs_per_device: how many commands of a task share its GPU or, without
        GPUs, its cores; None for as many as fit, and for one per GPU until a
        command has been measured.
      runs_per_task: how many commands a task of the array runs.
      memory: main memory of a command in bytes, measured or guessed.
      gpus: GPUs of a task.
    """
    self._executor = executor
    self._is_auto = runs_per_device is None
    self._sharing = runs_per_device
    self._memory = memory
    self._runs_per_task = runs_per_task
    self._gpus = gpus
    self._jobs: dict[Any, list[str]] = {}
    self._has_submitted = False
    self._refused: list[Ended] = []
    self._next_poll = 0.0

  def room(self, waiting: int) -> int:
    """See `base.Launcher`; Slurm has a queue of its own."""
    return waiting

  def start(self, commands: Sequence[Command]) -> None:
    """See `base.Launcher`.

    Raises:
      SettingsError: Slurm refuses the first jobs.
    """
    size = self._runs_per_task
    groups = [commands[i : i + size] for i in range(0, len(commands), size)]
    for i in range(0, len(groups), _ARRAY_SIZE):
      self._submit(groups[i : i + _ARRAY_SIZE])

  def ended(self) -> list[Ended]:
    """See `base.Launcher`; commands of a task are returned together.

    Most calls do not look at the jobs: the driver calls many times a second.
    """
    ended, self._refused = self._refused, []
    begun = time.monotonic()
    if begun < self._next_poll:
      return ended
    done = [job for job in self._jobs if job.done()]
    now = time.monotonic()
    self._next_poll = now + max(_POLL_SECONDS, _POLL_FACTOR * (now - begun))
    for job in done:
      names = self._jobs.pop(job)
      error = job.exception()
      if error is None:
        ended += job.result()
      else:
        why = f'the job {job.job_id} was lost: {last_line(str(error))}'
        ended += [Ended(name, None, why) for name in names]
    return ended

  def fit(self, gpu_fraction: float) -> None:
    """See `base.Launcher`."""
    if self._is_auto:
      fit = devices.runs_that_fit(gpu_fraction)
      self._sharing = at_most(fit, self._runs_per_task, self._gpus)

  def limit(self, runs_per_device: int) -> None:
    """See `base.Launcher`."""
    self._is_auto = False
    self._sharing = max(
      1, min(self._sharing or runs_per_device, runs_per_device)
    )

  def stop(self) -> str | None:
    """See `base.Launcher`; the jobs continue."""
    ids = sorted({job.job_id.split('_')[0] for job in self._jobs})
    if not ids:
      return None
    return (
      'the jobs continue without this command (scancel '
      f'{" ".join(ids)} stops them)'
    )

  def _submit(self, groups: Sequence[Sequence[Command]]) -> None:
    """Submits an array in which each task runs a group of commands."""
    size = self._runs_per_task  # The last group may be smaller.
    batches = [
      Batch(group, self._sharing, self._memory, size) for group in groups
    ]
    try:
      with self._executor.batch():
        jobs = [self._executor.submit(batch) for batch in batches]
    except RuntimeError as error:  # How submitit tells that sbatch failed.
      why = f'Slurm refuses the jobs: {last_line(str(error))}'
      if not self._has_submitted:
        raise SettingsError(why) from error
      # The flags are right; the controller may be busy, or the queue full.
      self._refused += [
        Ended(command.name, None, why) for group in groups for command in group
      ]
      return
    self._has_submitted = True
    for job, group in zip(jobs, groups, strict=True):
      self._jobs[job] = [command.name for command in group]


class Batch:
  """The work of a task of the array: commands, each of which is run once."""

  def __init__(
    self,
    commands: Sequence[Command],
    runs_per_device: int | None,
    memory: int,
    runs: int,
  ):
    """Stores the commands.

    Args:
      commands: the commands; a task that is requeued runs all of them again.
      runs_per_device: see `LocalLauncher`.
      memory: see `LocalLauncher`.
      runs: see `LocalLauncher`. It is the same for all tasks, so that their
        commands have the same number of cores.
    """
    self._arguments = tuple(commands), runs_per_device, memory, runs
    self._launcher: LocalLauncher | None = None

  def __call__(self) -> list[Ended]:
    """Runs the commands, and returns their ends."""
    commands, runs_per_device, memory, runs = self._arguments
    self._launcher = LocalLauncher(runs_per_device, memory, runs)
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
    """Stops the commands; returns the task that submitit requeues."""
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
  """Makes an executor of submitit.

  Args:
    folder: folder for the files of the jobs.
    partition: None for Slurm's default.
    account: None for Slurm's default.
    minutes: time limit of a task, after which it is requeued.
    gpus: GPUs of a task.
    cpus: cores of a task.
    memory_gb: main memory of a task in GB; None for Slurm's default.

  Raises:
    SettingsError: submitit is not installed, or this machine has no Slurm.
  """
  try:
    import submitit
  except ImportError as error:
    raise SettingsError(
      "--executor=slurm needs submitit: pip install '.[slurm]'"
    ) from error
  try:
    # A run may need any number of time limits.
    executor = submitit.SlurmExecutor(folder, max_num_timeout=10_000)
  except RuntimeError as error:
    raise SettingsError(
      'this machine has no Slurm: run the command where jobs are submitted'
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
