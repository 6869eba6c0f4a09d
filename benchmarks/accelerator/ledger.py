"""The figures that are measured so far, in one JSON file."""

from collections.abc import Callable
import datetime
import json
import pathlib
from typing import Any

import jax

from agents.commit import commit
from agents.machine import cpu
from ht_rl.files import write_text

Figure = dict[str, Any]


class LedgerError(ValueError):
  """The file does not belong to this device, or is damaged."""


class Ledger:
  """Figures by name, written whole after each.

  Attributes:
    path: the file.
    machine: what all figures were measured on.
    figures: by name, what was measured; `error` says why one could not be.
  """

  def __init__(self, path: pathlib.Path, scale: str):
    """Reads the file if it exists.

    Args:
      path: the file.
      scale: 'full' or 'small'.

    Raises:
      LedgerError: the file has figures of another device, version or scale, or
        is damaged.
    """
    self.path = path
    self.machine = {**machine(), 'scale': scale}
    self.figures: dict[str, Figure] = {}
    if not path.exists():
      return
    try:
      saved = json.loads(path.read_text('utf-8'))
      there, self.figures = dict(saved['machine']), dict(saved['figures'])
    except (ValueError, KeyError, TypeError) as error:
      raise LedgerError(
        f'{path} is no file of this benchmark: move it away'
      ) from error
    for key, value in self.machine.items():
      if there.get(key) != value:
        raise LedgerError(
          f'{path} has figures with {key} {there.get(key)}; here it is '
          f'{value}: choose another --json'
        )

  def measure(self, name: str, figure: Callable[[], Figure | None]) -> None:
    """Measures a figure unless it is there, and writes the file.

    Args:
      name: of the figure.
      figure: measures it. A lack of memory, or a program that the device
        cannot run, is a figure too: `{'error': why}`. None: it was stopped,
        and goes on next time.
    """
    if name in self.figures:
      return
    print(f'{name} ...', flush=True)
    found: Figure | None
    try:
      found = figure()
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
      found = {'error': str(error).partition('\n')[0][:200]}
    if found is None:
      return
    now = datetime.datetime.now(datetime.UTC)
    self.figures[name] = {**found, 'time': now.isoformat('T', 'seconds')}
    self.write()

  def write(self) -> None:
    """Writes the file.

    Raises:
      OSError: it can't be written.
    """
    content = {'machine': self.machine, 'figures': self.figures}
    write_text(self.path, json.dumps(content, indent=1) + '\n')


def machine() -> dict[str, Any]:
  """Returns what the figures depend on."""
  device = jax.devices()[0]
  return {
    'platform': device.platform,
    'device': device.device_kind,
    'devices': jax.local_device_count(),
    'host': cpu(),
    'jax': jax.__version__,
    'commit': commit(),
  }
