"""Starts commands on the cores or the GPUs of this machine."""

from collections.abc import Sequence
import os
import signal
import subprocess
import tempfile
from typing import IO, NamedTuple

from experiments.launchers import child, devices
from experiments.launchers.base import Command, Ended, last_line


class _Running(NamedTuple):
  process: subprocess.Popen
  output: IO[bytes]
  device: int
  slot: int


class LocalLauncher:
  """Starts commands on this machine; a `base.Launcher`.

  A command has a block of cores, or a GPU with a share of its memory. Commands
  are sent SIGTERM when this process ends, however it does.
  """

  name = 'local'

  def __init__(self, runs_per_device: int | None, memory: int):
    """Looks what there is.

    Args:
      runs_per_device: how many commands share a GPU or, without GPUs, the
        cores; None for as many as fit.
      memory: bytes of main memory that a command is known or guessed to need.
    """
    self._gpus = devices.gpus()
    self._cores = devices.cores()
    self._is_auto = runs_per_device is None
    self._limit = runs_per_device or 1_000_000
    if runs_per_device is None:
      # Of a GPU's memory, what the first commands are seen to need decides.
      fit = max(1, int(0.9 * devices.main_memory() / memory))
      runs_per_device = 1 if self._gpus else min(len(self._cores), fit)
    self.runs_per_device = runs_per_device
    self._width = max(1, len(self._cores) // runs_per_device)
    self._running: dict[str, _Running] = {}
    self._is_stopping = False

  @property
  def is_busy(self) -> bool:
    """Whether a command has not been told to have ended."""
    return bool(self._running)

  def room(self, waiting: int) -> int:
    """See `base.Launcher`."""
    free = sum(
      max(0, self.runs_per_device - self._load(device))
      for device in range(len(self._gpus) or 1)
    )
    return min(waiting, free)

  def start(self, commands: Sequence[Command]) -> None:
    """See `base.Launcher`."""
    for command in commands:
      device = min(range(len(self._gpus) or 1), key=self._load)
      slot = self._free_slot(device)
      cores: Sequence[int] = ()
      if self._gpus:
        environ = devices.gpu_environ(
          self._gpus[device],
          self.runs_per_device,
          measure=self._is_auto and self.runs_per_device == 1,
        )
      else:
        cores = self._block(slot)
        label = f'cores {devices.ranges(list(cores))}'
        environ = devices.cpu_environ(label, self.runs_per_device, len(cores))
      output = tempfile.TemporaryFile()  # noqa: SIM115 (`ended` closes it)
      process = subprocess.Popen(
        child.command(command.argv, cores),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env={**os.environ, **environ},
        start_new_session=True,  # Ctrl-C is told by `stop`.
      )
      self._running[command.name] = _Running(process, output, device, slot)

  def ended(self) -> list[Ended]:
    """See `base.Launcher`."""
    ended = []
    for name, running in list(self._running.items()):
      code = running.process.poll()
      if code is not None:
        with running.output as output:
          output.seek(0)
          text = output.read().decode(errors='replace')
        ended.append(Ended(name, code, last_line(text)))
        del self._running[name]
    return ended

  def fit(self, gpu_fraction: float) -> None:
    """See `base.Launcher`."""
    if self._is_auto and self._gpus:
      fit = devices.runs_that_fit(gpu_fraction)
      self.runs_per_device = min(fit, self._limit)

  def limit(self, runs_per_device: int) -> None:
    """See `base.Launcher`."""
    self._limit = max(1, min(self._limit, runs_per_device))
    self.runs_per_device = min(self.runs_per_device, self._limit)

  def stop(self) -> str | None:
    """See `base.Launcher`."""
    signum = signal.SIGINT if self._is_stopping else signal.SIGTERM
    self._is_stopping = True
    for running in self._running.values():
      running.process.send_signal(signum)
    return None

  def _load(self, device: int) -> int:
    return sum(x.device == device for x in self._running.values())

  def _free_slot(self, device: int) -> int:
    taken = {x.slot for x in self._running.values() if x.device == device}
    return next(slot for slot in range(len(taken) + 1) if slot not in taken)

  def _block(self, slot: int) -> list[int]:
    """The cores of a slot; those of others where there are more slots."""
    start = slot * self._width % len(self._cores)
    return self._cores[start : start + self._width]
