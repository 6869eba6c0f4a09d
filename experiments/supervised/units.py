"""A phase of a supervised run of one seed, in a folder of its own.

The folder is named by all that bears on the phase (`Setting.digest`), and in it
one by the seed. So runs that begin alike share their first phases, seeds can be
added, an interrupted experiment goes on where it was, and several processes can
work on one experiment.
"""

from collections.abc import Sequence
import dataclasses
import functools
import json
import pathlib
import shutil
from typing import Any

from experiments.supervised import code, data, named, rows
from experiments.supervised.rows import Row
from experiments.supervised.settings import Setting
from ht_rl import files

_SETTING, _CODE, _FINISHED = 'setting.json', 'code.json', 'finished'


@dataclasses.dataclass(frozen=True)
class PhaseRun:
  """One phase of a setting with one seed: a `runs.Part`.

  Attributes:
    base_dir: where all phases are kept.
    setting: the setting.
    seed: of the run.
    phase: which phase, from 0.
    keeps_end: whether its last weights are kept, for a phase that needs them.
  """

  base_dir: pathlib.Path
  setting: Setting
  seed: int
  phase: int
  keeps_end: bool

  @functools.cached_property
  def folder(self) -> pathlib.Path:
    """The folder of the phase of this seed."""
    dataset = named.short(data.name_of(self.setting.dataset))
    name = f'{dataset}-{self.setting.digest(self.phase)}'
    return self.base_dir / 'phases' / name / str(self.seed)

  @functools.cached_property
  def needs(self) -> Sequence['PhaseRun']:
    """The phase that this one goes on from, if it is not the first."""
    if self.phase == 0:
      return ()
    return (dataclasses.replace(self, phase=self.phase - 1, keeps_end=True),)

  @property
  def is_over(self) -> bool:
    """Whether the phase is trained to its end, and all its rows are there."""
    return (self.folder / _FINISHED).exists() and self.lost is None

  @property
  def lost(self) -> str | None:
    """Why what was trained can't be used; None where it can, or none was."""
    is_finished = (self.folder / _FINISHED).exists()
    if not (is_finished or self.has_checkpoint):
      return None
    try:
      there = self.rows
    except ValueError as error:
      return f'{self._rows_file} {error}'
    if is_finished and not rows.ends(there, self._epochs):
      return f'{self._rows_file} has no evaluation at the end'
    return None

  @property
  def is_finished(self) -> bool:
    """Whether the phase is over, and its weights are there if they are kept."""
    return self.is_over and (not self.keeps_end or self.has_end)

  @property
  def is_complete(self) -> bool:
    """Whether all is there that makes a phase finished, but for the mark."""
    try:
      ended = rows.ends(self.rows, self._epochs)
    except ValueError:
      return False
    return ended and (not self.keeps_end or self.has_end)

  @property
  def checkpoints(self) -> pathlib.Path:
    """The folder of its checkpoints."""
    return self.folder / 'checkpoints'

  @property
  def has_checkpoint(self) -> bool:
    """Whether there is a complete checkpoint: one with its digest."""
    return any(self.checkpoints.glob('*/sha256'))

  @property
  def has_end(self) -> bool:
    """Returns whether the last epoch has a complete checkpoint."""
    return (self.checkpoints / str(self._epochs) / 'sha256').exists()

  @property
  def rows(self) -> list[Row]:
    """The evaluations so far; see `rows.read`."""
    return rows.read(self._rows_file, self.phase)

  @property
  def beside(self) -> tuple[int, ...]:
    """The seeds beside which this one was begun, and itself; () if it wasn't.

    Also () where what was trained can't be used.
    """
    try:
      content = json.loads((self.folder / _SETTING).read_text())
      seeds = tuple(content['side_by_side'])
    except (OSError, ValueError, TypeError, KeyError):
      return ()
    return seeds if self.seed in seeds and self.lost is None else ()

  @property
  def foreign_files(self) -> Sequence[str]:
    """The files of code that were not as now when the phase was trained.

    None are known of a phase that was trained before such records were kept.
    """
    try:
      then = json.loads((self.folder / _CODE).read_text())
    except (OSError, ValueError):
      return ()
    if not isinstance(then, dict):
      return ()
    return code.differing(then, code.digests_of(self.setting))

  def begin(self, beside: Sequence[int]) -> None:
    """Writes what is trained, beside which seeds, and the code that does it."""
    content = {
      'setting': self.setting.to_json(),
      'seed': self.seed,
      'side_by_side': beside,
    }
    digests = code.digests_of(self.setting)
    files.write_text(self.folder / _SETTING, _text(content))
    files.write_text(self.folder / _CODE, _text(digests))

  def write_rows(self, content: Sequence[Row]) -> None:
    """Writes the evaluations so far."""
    files.write_text(self._rows_file, _text(content))

  def mark_begun(self) -> None:
    """Takes back the mark of a finished phase."""
    (self.folder / _FINISHED).unlink(missing_ok=True)

  def mark_finished(self) -> None:
    """Marks a complete phase as finished; removes checkpoints without use."""
    # The mark first: without a checkpoint the phase would begin again.
    (self.folder / _FINISHED).touch()
    self.remove_checkpoints(str(self._epochs) if self.keeps_end else None)

  def remove_checkpoints(self, but: str | None = None) -> None:
    """Removes all checkpoints but one; their folder stays, it may be a link."""
    for path in self.checkpoints.glob('*'):
      if path.name != but:
        shutil.rmtree(path, ignore_errors=True)

  @property
  def _epochs(self) -> int:
    return self.setting.epochs[self.phase]

  @property
  def _rows_file(self) -> pathlib.Path:
    return self.folder / 'rows.json'


def phase_runs(
  base_dir: pathlib.Path, setting: Setting, seeds: Sequence[int]
) -> list[list[PhaseRun]]:
  """Returns for each phase its runs, by seed; the last phase keeps no weights.

  Args:
    base_dir: where all phases are kept.
    setting: the setting.
    seeds: of the runs.
  """
  last = setting.num_phases - 1
  return [
    [PhaseRun(base_dir, setting, seed, phase, phase < last) for seed in seeds]
    for phase in range(setting.num_phases)
  ]


def _text(content: Any) -> str:
  return json.dumps(content, indent=1)
