"""A launcher that starts tasks on a Ray cluster."""

from collections.abc import Mapping, Sequence
import logging
import os
import signal
import subprocess
from typing import Any

from agents import machine
from experiments.command import SettingsError
from experiments.exit_codes import EXIT_STOPPED
from experiments.launchers import child, devices
from experiments.launchers.base import Command, Ended, last_line
from experiments.launchers.sharing import SharedDevices, at_most

# How often Ray restarts a task after the loss of its node or worker.
_MAX_RETRIES = 3


class RayLauncher(SharedDevices):
  """A `base.Launcher` that starts each command as a task of Ray.

  All nodes must have this checkout, its environment and the folder of the runs
  under the same paths. Ray chooses the node of a task, and restarts the task on
  another node if the first is lost.
  """

  def __init__(
    self,
    runs_per_device: int | None,
    memory: int,
    address: str | None = None,
    runs: int | None = None,
  ):
    """Connects to a cluster.

    Args:
      runs_per_device: how many commands share a GPU or, without GPUs, the
        cores of a node; None for as many as fit.
      memory: main memory of a command in bytes, measured or guessed.
      address: address of a running cluster; None starts Ray on this machine,
        even if there is a cluster.
      runs: number of commands in all, so that few of them get more cores each;
        None if unknown.

    Raises:
      SettingsError: Ray is not installed, or no cluster answers.
    """
    try:
      import ray
    except ImportError as error:
      raise SettingsError(
        "--executor=ray needs Ray: pip install '.[ray]'"
      ) from error
    self._ray = ray
    if not ray.is_initialized():
      try:
        ray.init(
          address=address or 'local',
          include_dashboard=None if address else False,
          log_to_driver=False,
          logging_level=logging.ERROR,
        )
      except (ConnectionError, ValueError, RuntimeError) as error:
        raise SettingsError(
          f'--address: no Ray cluster answers at {address} '
          f'({last_line(str(error))})'
        ) from error
    nodes = [node['Resources'] for node in ray.nodes() if node['Alive']]
    # A head node may offer no cores, and then runs nothing.
    cores = [node['CPU'] for node in nodes if node.get('CPU')]
    self._cores = min(cores, default=1.0)
    self._memory = min(
      [memory, *(node.get('memory', memory) for node in nodes)]
    )
    gpus = [int(node.get('GPU', 0)) for node in nodes]
    self._num_gpus = sum(gpus)
    fit = max(1, int(self._cores) // max(1, *gpus))
    super().__init__(
      runs_per_device,
      at_most(fit, runs, self._num_gpus or len(cores)),
      has_gpus=self._num_gpus > 0,
    )
    self._task = ray.remote(max_retries=_MAX_RETRIES)(_execute)
    self._running: dict[Any, str] = {}
    self._is_stopping = False

  def room(self, waiting: int) -> int:
    """See `base.Launcher`; Ray queues all of them.

    While one run has a GPU to itself, only as many as there are GPUs: a queued
    one would have one to itself, too.
    """
    if self._is_measured:
      return max(0, min(waiting, self._num_gpus - len(self._running)))
    return waiting

  def start(self, commands: Sequence[Command]) -> None:
    """See `base.Launcher`."""
    sharing = self.runs_per_device
    needs: dict[str, Any] = {'num_cpus': self._cores / sharing}
    if self._has_gpus:
      needs = {'num_cpus': 1, 'num_gpus': 1 / sharing}
    if self._is_auto:
      needs['memory'] = self._memory
    task = self._task.options(**needs)
    for command in commands:
      ref = task.remote(command.argv, os.getcwd(), sharing, self._is_measured)
      self._running[ref] = command.name
      if self._is_stopping:  # The signal came in the meantime.
        self._ray.cancel(ref)

  def ended(self) -> list[Ended]:
    """See `base.Launcher`."""
    refs = list(self._running)
    if not refs:
      return []
    ready, _ = self._ray.wait(refs, num_returns=len(refs), timeout=0)
    return [self._result(ref, self._running.pop(ref)) for ref in ready]

  def stop(self) -> str | None:
    """See `base.Launcher`."""
    self._is_stopping = True
    for ref in self._running:
      self._ray.cancel(ref)
    return None

  def _result(self, ref: Any, name: str) -> Ended:
    exceptions = self._ray.exceptions
    try:
      return Ended(name, *self._ray.get(ref))
    except exceptions.TaskCancelledError:
      return Ended(name, EXIT_STOPPED, 'stopped')
    except exceptions.OutOfMemoryError as error:  # Ray's monitor killed it.
      self.limit(self.runs_per_device - 1)
      return Ended(name, None, last_line(str(error)))
    except exceptions.RayError as error:
      return Ended(name, None, f'Ray lost it: {last_line(str(error))}')


def _execute(
  argv: Sequence[str], folder: str, sharing: int, is_measured: bool
) -> tuple[int, str]:
  """Runs a command on the node of the task.

  Args:
    argv: the command.
    folder: working directory.
    sharing: how many commands share a device.
    is_measured: whether to measure the memory in use on the GPU.

  Returns:
    The exit code, and the last line of the output.
  """
  environ: Mapping[str, str]
  gpu = os.environ.get('CUDA_VISIBLE_DEVICES')  # Set by Ray.
  if gpu:
    environ = devices.gpu_environ(gpu, sharing, is_measured)
  else:
    width = max(1, len(machine.cores()) // sharing)
    environ = devices.cpu_environ('cores of a node', sharing, width)
  process = subprocess.Popen(
    child.command(argv),
    cwd=folder,
    env={**os.environ, **environ},
    stdin=subprocess.DEVNULL,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    start_new_session=True,
  )
  signum = signal.SIGTERM
  while True:
    try:
      text, _ = process.communicate()
      return process.returncode, last_line(text)
    except KeyboardInterrupt:  # How Ray cancels a task.
      process.send_signal(signum)
      signum = signal.SIGINT  # The second time, it does not wait.
