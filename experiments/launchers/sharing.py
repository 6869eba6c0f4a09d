"""A launcher that decides how many commands share a device."""

from experiments.launchers import devices


def at_most(fit: int, runs: int | None, count: int) -> int:
  """Returns how many commands can come to share a device.

  >>> at_most(8, 6, 2), at_most(8, 100, 2), at_most(8, None, 2)
  (3, 8, 8)

  Args:
    fit: how many fit.
    runs: number of commands in all; None if unknown.
    count: number of devices; 0 without GPUs, where the cores are one device.
  """
  return fit if runs is None else min(fit, max(1, -(-runs // max(1, count))))


class SharedDevices:
  """Decides how many commands share a device, for a launcher.

  Attributes:
    runs_per_device: how many commands share a GPU or, without GPUs, the cores.
  """

  def __init__(self, asked: int | None, fit: int, has_gpus: bool):
    """Begins with what was asked for, or what fits.

    Args:
      asked: how many commands shall share a device; None for as many as fit.
      fit: how many fit on the cores and in main memory, for each GPU if there
        are some, but no more than there are.
      has_gpus: whether the devices are GPUs. One command runs on each until
        `fit` says how much of its memory a command needs.
    """
    self._is_auto = asked is None
    self._has_gpus = has_gpus
    self._limit = asked or fit
    self.runs_per_device = asked or (1 if has_gpus else fit)

  @property
  def _is_measured(self) -> bool:
    """Returns whether to measure the next command, alone on its GPU."""
    return self._is_auto and self._has_gpus and self.runs_per_device == 1

  def fit(self, gpu_fraction: float) -> None:
    """See `base.Launcher`."""
    if self._is_auto and self._has_gpus:
      fit = devices.runs_that_fit(gpu_fraction)
      self.runs_per_device = min(fit, self._limit)

  def limit(self, runs_per_device: int) -> None:
    """See `base.Launcher`."""
    self._limit = max(1, min(self._limit, runs_per_device))
    self.runs_per_device = min(self.runs_per_device, self._limit)
