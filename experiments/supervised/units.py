"""A phase of a supervised run as a unit of work, in a folder of its own.

The folder is named by all that bears on the phase (`Setting.digest`). So runs
that begin alike share their first phases, an interrupted experiment goes on
where it was, and several processes can work on one experiment.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
import json
import pathlib
import shutil
import time
from typing import Any, TypeAlias

import numpy as np

from agents import checkpoint
from agents.errors import CheckpointError, DivergedError, StoppedError
from experiments.command import say
from experiments.supervised import code, data, named, rows
from experiments.supervised.prepare import load_dataset
from experiments.supervised.rows import Row
from experiments.supervised.settings import Setting
from experiments.supervised.training import Trainer, TrainState
from ht_rl import files

# Is told how many gradient steps of a phase its seeds have done in sum, whether
# these are restored from a checkpoint, and some figures.
Report: TypeAlias = Callable[[int, bool, Mapping[str, float]], None]

_FINISHED = 'finished'
_CODE = 'code.json'


@dataclasses.dataclass(frozen=True)
class Options:
  """How a phase is trained, which does not bear on its weights.

  Attributes:
    evaluate_every: epochs of the whole training set between two evaluations; a
      phase that has a part of it counts in proportion.
    evaluate_after: epochs of each phase after which there is one too.
    checkpoint_seconds: seconds between two checkpoints.
    report: is called after each epoch.
  """

  evaluate_every: int
  evaluate_after: tuple[int, ...]
  checkpoint_seconds: float
  report: Report


@dataclasses.dataclass(frozen=True)
class PhaseRun:
  """One phase of some seeds of a setting: a `runs.Unit`.

  Attributes:
    base_dir: where all phases are kept.
    setting: the setting.
    seeds: of the runs, which train side by side.
    phase: which phase, from 0.
    options: how it is trained.
    keeps_end: whether its last weights are kept, for a phase that needs them.
  """

  base_dir: pathlib.Path
  setting: Setting
  seeds: tuple[int, ...]
  phase: int
  options: Options
  keeps_end: bool

  @functools.cached_property
  def folder(self) -> pathlib.Path:
    """The folder of the phase."""
    dataset = named.short(data.name_of(self.setting.dataset))
    digest = self.setting.digest(self.phase, self.seeds)
    return self.base_dir / 'phases' / f'{dataset}-{digest}'

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
    if not (is_finished or any(self.folder.glob('checkpoints/*/sha256'))):
      return None
    try:
      there = self.rows
    except ValueError as error:
      return f'{self._rows_file} {error}'
    if is_finished and not rows.ends(there, self.setting.epochs[self.phase]):
      return f'{self._rows_file} has no evaluation at the end'
    return None

  @property
  def is_finished(self) -> bool:
    """Whether the phase is over, and its weights are there if they are kept."""
    # A complete checkpoint ends with the digest of its files.
    return self.is_over and (
      not self.keeps_end or any(self.folder.glob('checkpoints/*/sha256'))
    )

  @property
  def rows(self) -> list[Row]:
    """The evaluations so far; see `rows.read`."""
    return rows.read(self._rows_file, self.phase, len(self.seeds))

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

  def execute(self, should_stop: Callable[[], bool]) -> None:
    """Trains from the last checkpoint to the end; see `runs.Unit`.

    A phase that is over without its weights is trained again, and so is one
    whose evaluations are lost.
    """
    lost = self.lost
    (self.folder / _FINISHED).unlink(missing_ok=True)
    if lost is not None:
      say(f'{lost}: this phase is trained again')
      shutil.rmtree(self.folder / 'checkpoints', ignore_errors=True)
    checkpoints = checkpoint.Checkpoints(self.folder / 'checkpoints')
    training = _Training(self, self._make_trainer())
    training.begin(checkpoints.restore(say))
    if training.epoch == 0:  # Else it goes on with what older code has begun.
      files.write_text(
        self.folder / _CODE, _text(code.digests_of(self.setting))
      )
    files.write_text(
      self.folder / 'setting.json',
      _text({'setting': self.setting.to_json(), 'seeds': self.seeds}),
    )
    saved = time.monotonic()
    while not training.is_over:
      training.train_epoch()
      stopped = should_stop()
      seconds = time.monotonic() - saved
      is_due = stopped or seconds > self.options.checkpoint_seconds
      training.look(is_due)
      if is_due or training.is_over:
        # The rows first: rows of later epochs than a checkpoint are dropped.
        files.write_text(self._rows_file, _text(training.rows))
        if self.keeps_end or not training.is_over:
          checkpoints.save(training.epoch, training.state)
        saved = time.monotonic()
      training.report()
      if stopped and not training.is_over:
        raise StoppedError(f'stopped; {self.folder} has a checkpoint')
    if self.keeps_end:
      for step in checkpoints.steps()[:-1]:
        shutil.rmtree(checkpoints.directory / str(step))
      (self.folder / _FINISHED).touch()
    else:  # In this order: without a checkpoint it would begin again.
      (self.folder / _FINISHED).touch()
      shutil.rmtree(checkpoints.directory)

  def restore_end(self, trainer: Trainer) -> TrainState:
    """Returns the state that the finished phase has left.

    Raises:
      CheckpointError: its last checkpoint is missing.
    """
    stored = checkpoint.Checkpoints(self.folder / 'checkpoints').restore(say)
    if stored is None or stored[0] != trainer.schedule(self.phase).epochs:
      raise CheckpointError(
        f'{self.folder} has lost its last checkpoint; remove the folder to '
        'train this phase again'
      )
    return checkpoint.unflatten(trainer.template(self.phase), stored[1])

  def _make_trainer(self) -> Trainer:
    last = self.setting.num_phases - 1
    digest = self.setting.digest(last, self.seeds)
    return _trainer(self.setting, self.seeds, digest)

  @property
  def _rows_file(self) -> pathlib.Path:
    return self.folder / 'rows.json'


class _Training:
  """The training of a phase in memory.

  Attributes:
    epoch: number of epochs done.
    state: of the networks and the optimizer.
    rows: the evaluations so far.
  """

  def __init__(self, phase_run: PhaseRun, trainer: Trainer):
    self.epoch = 0
    self.state: TrainState
    self.rows: list[Row] = []
    self._run = phase_run
    self._trainer = trainer
    self._phase = phase_run.phase
    self._schedule = trainer.schedule(self._phase)
    self._seen: Mapping[str, Any] = {}
    self._shown: dict[str, float] = {}

  @property
  def is_over(self) -> bool:
    """Whether the phase is at its end."""
    return self.epoch == self._schedule.epochs

  def begin(self, stored: tuple[int, dict] | None) -> None:
    """Goes on from a checkpoint, or begins the phase where there is none."""
    if stored is None:
      before = [need.restore_end(self._trainer) for need in self._run.needs]
      self.state = self._trainer.begin_phase(self._phase, *before)
      self._add_row('start')
      return
    self.epoch, arrays = stored
    template = self._trainer.template(self._phase)
    self.state = self._trainer.restore(checkpoint.unflatten(template, arrays))
    self.rows = [row for row in self._run.rows if row['epoch'] <= self.epoch]
    self.report(restored=True)

  def train_epoch(self) -> None:
    """Trains for an epoch."""
    self.state, self._seen = self._trainer.epoch(
      self._phase, self.epoch, self.state
    )
    self.epoch += 1

  def look(self, is_due: bool) -> None:
    """Evaluates where the interval says so; checks the loss, also if it is due.

    Raises:
      DivergedError: a loss was NaN or infinite.
    """
    options = self._run.options
    every = self._schedule.as_long_as(options.evaluate_every)
    evaluates = self.epoch % every == 0 or self.epoch in options.evaluate_after
    if not (self.is_over or evaluates or is_due):
      return
    self._check('training', self._seen['train_loss'])
    self._shown['loss'] = float(np.mean(self._seen['train_loss']))
    if self.is_over:
      measured = self._trainer.measure(self._phase, self.state)
      self._add_row('end', **self._seen, **measured)
      self._check('test', self.rows[-1]['hare_test_loss'])
    elif evaluates:
      self._add_row('epoch', **self._seen)

  def report(self, restored: bool = False) -> None:
    """Tells how far the phase is."""
    steps = self.epoch * self._schedule.steps_per_epoch
    self._run.options.report(
      steps * len(self._run.seeds), restored, self._shown
    )

  def _add_row(self, moment: str, **figures: Any) -> None:
    before = sum(self._trainer.schedule(k).steps for k in range(self._phase))
    step = before + self.epoch * self._schedule.steps_per_epoch
    place = {'phase': self._phase, 'epoch': self.epoch, 'step': step}
    figures = self._trainer.evaluate(self.state) | figures
    listed = {name: np.asarray(x).tolist() for name, x in figures.items()}
    self.rows.append({**place, 'moment': moment, **listed})
    accuracy = figures[f'{self._run.setting.reported}_test_accuracy']
    self._shown['test_accuracy'] = float(np.mean(accuracy))

  def _check(self, kind: str, losses: Any) -> None:
    for seed, loss in zip(self._run.seeds, np.asarray(losses), strict=True):
      if not np.isfinite(loss):
        raise DivergedError(
          f'the {kind} loss of seed {seed} was {loss} in epoch {self.epoch} of '
          f'phase {self._phase + 1}'
        )


def chain(
  base_dir: pathlib.Path,
  setting: Setting,
  seeds: Sequence[int],
  options: Options,
) -> list[PhaseRun]:
  """Returns all phases of a setting, in order; the last keeps no weights."""
  last = setting.num_phases - 1
  return [
    PhaseRun(base_dir, setting, tuple(seeds), phase, options, phase < last)
    for phase in range(setting.num_phases)
  ]


@functools.lru_cache(maxsize=1)
def _trainer(setting: Setting, seeds: tuple[int, ...], digest: str) -> Trainer:
  """Returns the trainer of all phases of a run, which keeps its programs.

  The digest tells apart what equal settings mean under other gin settings.
  """
  del digest
  return Trainer(setting, seeds, load_dataset(setting))


def _text(content: Any) -> str:
  return json.dumps(content, indent=1)
