"""What an experiment shows while it trains."""

from collections.abc import Mapping, Sequence
import pathlib

import numpy as np

from agents.errors import DivergedError
from experiments.command import one_line, say
from experiments.progress import Progress
from experiments.supervised import results
from experiments.supervised.groups import Group
from experiments.supervised.prepare import make_schedule
from experiments.supervised.units import PhaseRun


class Display:
  """Shows how far an experiment is, and how accurate each phase ends."""

  def begin(self, of_settings: Mapping[str, Sequence[PhaseRun]]) -> None:
    """Takes the phases of each setting, of all seeds."""
    self._names: dict[pathlib.Path, str] = {}
    self._steps: dict[pathlib.Path, int] = {}
    self._units: dict[pathlib.Path, PhaseRun] = {}
    for name, units in of_settings.items():
      for unit in units:
        # A phase that settings share is shown as a part of the first.
        self._names.setdefault(unit.folder, name)
        steps = make_schedule(unit.setting, unit.phase).steps
        self._steps[unit.folder] = steps
        self._units.setdefault(unit.folder, unit)
    self._before = self._done()
    self._progress = Progress(
      'training', 'step', sum(self._steps.values()), self._before
    )

  def started(self, group: Group) -> None:
    """A phase is begun, or gone on with."""
    del group
    self._before = self._done()
    self._progress.skip(self._before)

  def report(
    self, steps: int, restored: bool, figures: Mapping[str, float]
  ) -> None:
    """So many steps of the phase are done; see `Options`."""
    if restored:
      self._progress.skip(self._before + steps)
    else:
      self._progress.update(self._before + steps, **figures)

  def finished(self, group: Group) -> None:
    """Says how accurate a phase is at its end."""
    ends = [part.rows[-1] for part in group.parts]
    accuracies = {
      network: np.mean([end[f'{network}_test_accuracy'] for end in ends])
      for network in results.NETWORKS
    }
    said = ', '.join(f'{name} {x:.4f}' for name, x in accuracies.items())
    first = group.parts[0]
    seeds = ', '.join(str(part.seed) for part in group.parts)
    say(
      f'{self._names[first.folder]}: phase {first.phase + 1} of '
      f'{first.setting.num_phases} is finished, test accuracy: {said} '
      f'(seeds {seeds})'
    )

  def failed(self, group: Group, error: DivergedError) -> None:
    """Says why a phase can't go on."""
    say(f'{self._names[group.parts[0].folder]}: {one_line(error)}')

  def close(self) -> None:
    """Ends the line."""
    self._progress.close()

  def _done(self) -> int:
    """Returns the number of steps of all finished phases."""
    return sum(
      self._steps[path] for path, u in self._units.items() if u.is_over
    )
