"""A launcher for the cores or the GPUs of this machine."""

from collections.abc import Sequence
import os
import signal
import subprocess
import tempfile
from typing import IO, NamedTuple

from agents import machine
from experiments.launchers import child, devices
from experiments.launchers.base import Command, Ended, last_line
from experiments.launchers.sharing import SharedDevices, at_most


class _Running(NamedTuple):
  process: subprocess.Popen
  output: IO[bytes]
  device: int
  slot: int


class LocalLauncher(SharedDevices):
  """A `base.Launcher` that starts commands on this machine.

  Each command gets a block of cores, or a share of a GPU's memory. If this
  process ends, for any reason, its commands receive SIGTERM.
  """

  def __init__(
    self, runs_per_device: int | None, memory: int, runs: int | None = None
  ):
    """Finds the cores and GPUs.

    Args:
      runs_per_device: how many commands share a GPU or, without GPUs, the
        cores; None for as many as fit.
      memory: main memory of a command in bytes, measured or guessed.
      runs: number of commands in all, so that few of them get more cores each;
        None if unknown.
    """
    self._gpus = devices.gpus()
    self._cores = machine.cores()
    fit = max(1, int(0.9 * machine.main_memory() / memory))
    self._at_once = 1 if devices.has_tpu() else min(len(self._cores), fit)
    fit_each = max(1, self._at_once // max(1, len(self._gpus)))
    super().__init__(
      runs_per_device,
      at_most(fit_each, runs, len(self._gpus)),
      has_gpus=bool(self._gpus),
    )
    self._width = max(1, len(self._cores) // self.runs_per_device)
    self._running: dict[str, _Running] = {}
    self._not_started: list[Ended] = []
    self._is_stopping = False

  @property
  def is_busy(self) -> bool:
    """Whether there are commands that `ended` has not returned yet."""
    return bool(self._running or self._not_started)

  def room(self, waiting: int) -> int:
    """See `base.Launcher`."""
    free = sum(
      max(0, self.runs_per_device - self._load(device))
      for device in range(len(self._gpus) or 1)
    )
    if self._is_auto:  # There may be more GPUs than runs that fit in memory.
      free = min(free, max(0, self._at_once - len(self._running)))
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
          measure=self._is_measured,
        )
      else:
        cores = self._block(slot)
        label = f'cores {devices.ranges(list(cores))}'
        environ = devices.cpu_environ(label, self.runs_per_device, len(cores))
      output = tempfile.TemporaryFile()  # noqa: SIM115 (`ended` closes it)
      try:
        process = subprocess.Popen(
          child.command(command.argv, cores),
          stdin=subprocess.DEVNULL,
          stdout=output,
          stderr=subprocess.STDOUT,
          env={**os.environ, **environ},
          start_new_session=True,  # A terminal's Ctrl-C reaches us only.
        )
      except OSError as error:  # Such as too many processes.
        output.close()
        self._not_started.append(Ended(command.name, None, str(error)))
        continue
      self._running[command.name] = _Running(process, output, device, slot)
      if self._is_stopping:  # The signal came in the meantime.
        process.terminate()

  def ended(self) -> list[Ended]:
    """See `base.Launcher`."""
    ended, self._not_started = self._not_started, []
    for name, running in list(self._running.items()):
      code = running.process.poll()
      if code is not None:
        with running.output as output:
          output.seek(0)
          text = output.read().decode(errors='replace')
        ended.append(Ended(name, code, last_line(text)))
        del self._running[name]
    return ended

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
    """Returns the cores of a slot; slots share cores if there are too few."""
    start = slot * self._width % len(self._cores)
    return self._cores[start : start + self._width]
