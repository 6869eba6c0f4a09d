"""Phases of supervised runs on disk: each is trained once, and kept.

A phase lies in a folder that is named by all that bears on it
(`Setting.digest`). So runs that begin alike share what they have in common, an
experiment that was stopped goes on where it was, and several processes can work
on one experiment: each takes a phase that no other holds.
"""

from collections.abc import Callable, Sequence
import dataclasses
import json
import pathlib
import shutil
import time
from typing import Any

import numpy as np

from agents import checkpoint
from agents.errors import CheckpointError, DivergedError, StoppedError
from experiments.command import say
from experiments.supervised.settings import Setting
from experiments.supervised.training import Trainer, TrainState
from ht_rl import files

_FINISHED = 'finished'


@dataclasses.dataclass(frozen=True)
class PhaseRun:
  """One phase of some seeds of a setting, as it is on disk.

  Attributes:
    base_dir: where all phases are kept.
    setting: the setting.
    seeds: of the runs, which train side by side.
    phase: which phase, from 0.
  """

  base_dir: pathlib.Path
  setting: Setting
  seeds: tuple[int, ...]
  phase: int

  @property
  def folder(self) -> pathlib.Path:
    """Where it is."""
    digest = self.setting.digest(self.phase, self.seeds)
    return self.base_dir / 'phases' / f'{self.setting.dataset}-{digest}'

  @property
  def previous(self) -> 'PhaseRun | None':
    """The phase that this one goes on from; None for the first."""
    if self.phase == 0:
      return None
    return dataclasses.replace(self, phase=self.phase - 1)

  @property
  def rows(self) -> list[dict[str, Any]]:
    """The evaluations so far, as `results.Result` has them."""
    try:
      return json.loads(self._rows_file.read_text())
    except FileNotFoundError:
      return []

  @property
  def is_finished(self) -> bool:
    """Whether it is trained to its end."""
    return is_finished(self.folder)

  def train(
    self,
    trainer: Trainer,
    *,
    evaluate_every: int,
    checkpoint_seconds: float,
    report: Callable[[int, dict[str, float]], None],
    stop: Callable[[], bool],
  ) -> None:
    """Trains the phase to its end, from its last checkpoint if there is one.

    Args:
      trainer: of the setting and the seeds.
      evaluate_every: how many epochs of the whole training set lie between two
        evaluations; a phase that has a part of it counts in proportion.
      checkpoint_seconds: time between two checkpoints.
      report: is told the steps of the phase done, and some figures.
      stop: is asked after each epoch whether to stop.

    Raises:
      StoppedError: it was stopped.
      DivergedError: a loss was NaN or infinite.
      CheckpointError: no checkpoint can be written or read.
      OSError: a file can't be written.
    """
    schedule = trainer.schedule(self.phase)
    every = schedule.as_long_as(evaluate_every)
    before = sum(trainer.schedule(k).steps for k in range(self.phase))
    _write(
      self.folder / 'setting.json',
      {'setting': self.setting.to_json(), 'seeds': self.seeds},
    )
    checkpoints = checkpoint.Checkpoints(self.folder / 'checkpoints')
    stored = checkpoints.restore(say)
    rows: list[dict[str, Any]] = []
    shown: dict[str, float] = {}

    def add_row(moment: str, epoch: int, **figures: Any) -> None:
      step = epoch * schedule.steps_per_epoch
      row = {'phase': self.phase, 'epoch': epoch, 'step': before + step}
      figures = trainer.evaluate(state) | figures
      listed = {name: np.asarray(x).tolist() for name, x in figures.items()}
      rows.append({**row, 'moment': moment, **listed})
      accuracy = figures[f'{self.setting.reported}_test_accuracy']
      shown['test_accuracy'] = float(np.mean(accuracy))

    if stored is None:
      epoch = 0
      state = trainer.begin_phase(self.phase, self._load_previous(trainer))
      add_row('start', epoch)
    else:
      epoch, arrays = stored
      template = trainer.template(self.phase)
      state = trainer.restore(checkpoint.unflatten(template, arrays))
      rows = [row for row in self.rows if row['epoch'] <= epoch]

    def save() -> None:
      # The rows first: those of later epochs than a checkpoint are dropped.
      _write(self._rows_file, rows)
      checkpoints.save(epoch, state)

    saved = time.monotonic()
    while epoch < schedule.epochs:
      state, seen = trainer.epoch(self.phase, epoch, state)
      epoch += 1
      at_end = epoch == schedule.epochs
      stopped = stop()
      due = time.monotonic() - saved > checkpoint_seconds
      if at_end or epoch % every == 0 or stopped or due:
        self._check(epoch, 'training', seen['train_loss'])
        shown['loss'] = float(np.mean(seen['train_loss']))
      if at_end:
        measured = trainer.measure(self.phase, state)
        add_row('end', epoch, **seen, **measured)
        self._check(epoch, 'test', rows[-1]['hare_test_loss'])
      elif epoch % every == 0:
        add_row('epoch', epoch, **seen)
      if at_end or stopped or due:
        save()
        saved = time.monotonic()
      report(epoch * schedule.steps_per_epoch, shown)
      if stopped and not at_end:
        raise StoppedError(f'stopped; {self.folder} has a checkpoint')
    for step in checkpoints.steps()[:-1]:
      shutil.rmtree(checkpoints.directory / str(step))
    (self.folder / _FINISHED).touch()

  def _load_previous(self, trainer: Trainer) -> TrainState | None:
    """The state that the phase before left; None before the first phase."""
    previous = self.previous
    if previous is None:
      return None
    checkpoints = checkpoint.Checkpoints(previous.folder / 'checkpoints')
    stored = checkpoints.restore(say)
    epochs = trainer.schedule(previous.phase).epochs
    if stored is None or stored[0] != epochs:
      raise CheckpointError(
        f'{previous.folder} has lost its last checkpoint; remove the folder to '
        'train this phase again'
      )
    return checkpoint.unflatten(trainer.template(previous.phase), stored[1])

  def _check(self, epoch: int, kind: str, losses: Any) -> None:
    for seed, loss in zip(self.seeds, np.asarray(losses), strict=True):
      if not np.isfinite(loss):
        raise DivergedError(
          f'the {kind} loss of seed {seed} was {loss} in epoch {epoch} of '
          f'phase {self.phase + 1}'
        )

  @property
  def _rows_file(self) -> pathlib.Path:
    return self.folder / 'rows.json'


def is_finished(folder: pathlib.Path) -> bool:
  """Whether the phase in a folder is trained to its end."""
  return (folder / _FINISHED).exists()


def chain(
  base_dir: pathlib.Path, setting: Setting, seeds: Sequence[int]
) -> list[PhaseRun]:
  """All phases of a setting, in order."""
  return [
    PhaseRun(base_dir, setting, tuple(seeds), phase)
    for phase in range(setting.num_phases)
  ]


def _write(path: pathlib.Path, content: Any) -> None:
  files.write_text(path, json.dumps(content, indent=1))
