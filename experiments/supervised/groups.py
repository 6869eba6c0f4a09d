"""Trains a phase for several seeds side by side: a unit of work."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
import time
from typing import Any, TypeAlias

import jax
import numpy as np

from agents import checkpoint
from agents.errors import CheckpointError, DivergedError, StoppedError
from experiments.command import say
from experiments.supervised.prepare import load_dataset
from experiments.supervised.rows import Row
from experiments.supervised.settings import Setting
from experiments.supervised.training import Trainer, TrainState
from experiments.supervised.units import PhaseRun

# Is told how many gradient steps of a phase its seeds have done in sum, whether
# these are restored from a checkpoint, and some figures.
Report: TypeAlias = Callable[[int, bool, Mapping[str, float]], None]


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
class Group:
  """One phase of a setting for seeds that train side by side: a `runs.Unit`.

  Attributes:
    parts: the phase of each seed.
    options: how they are trained.
  """

  parts: tuple[PhaseRun, ...]
  options: Options

  @functools.cached_property
  def needs(self) -> Sequence[PhaseRun]:
    """The phases that these go on from."""
    return [need for part in self.parts for need in part.needs]

  def execute(self, should_stop: Callable[[], bool]) -> None:
    """Trains from the last checkpoints to the end; see `runs.Unit`.

    A phase that is over without its weights is trained again, and so is one
    whose evaluations are lost.
    """
    unfinished = [part for part in self.parts if not part.is_finished]
    for part in unfinished:
      lost = part.lost
      part.mark_begun()
      if lost is not None:
        say(f'{lost}: this phase is trained again')
        part.remove_checkpoints()
    # All of them, though a kill during the last save may have left some seeds
    # complete: by themselves, the others would go on in another program.
    if not all(part.is_complete for part in unfinished):
      self._train(unfinished, should_stop)
    # When all are complete, for the same reason.
    for part in unfinished:
      part.mark_finished()

  def _train(
    self, parts: Sequence[PhaseRun], should_stop: Callable[[], bool]
  ) -> None:
    training = _Training(parts, self.options)
    training.begin()
    saved = time.monotonic()
    while not training.is_over:
      training.train_epoch()
      stopped = should_stop()
      seconds = time.monotonic() - saved
      is_due = stopped or seconds > self.options.checkpoint_seconds
      training.look(is_due)
      if is_due or training.is_over:
        training.save()
        saved = time.monotonic()
      training.report()
      if stopped and not training.is_over:
        folder = parts[0].folder.parent
        raise StoppedError(f'stopped; {folder} has a checkpoint of each seed')


def side_by_side(
  phase: Sequence[PhaseRun], at_most: int
) -> list[tuple[PhaseRun, ...]]:
  """Returns which of the unfinished seeds of a phase train side by side.

  Those that were begun together go on together: the number of seeds in a
  program bears on the rounding of their numbers.

  Args:
    phase: of each seed.
    at_most: how many train side by side.
  """
  records = {part.seed: part.beside for part in phase if not part.is_finished}
  groups: list[list[int]] = []
  while records:
    together = next((seeds for seeds in records.values() if seeds), None)
    group = [
      seed
      for seed, seeds in records.items()
      # One that was not begun is of a group that was killed as it began.
      if together is None or (seed in together and seeds in ((), together))
    ]
    for seed in group:
      del records[seed]
    groups += [
      group[start : start + at_most] for start in range(0, len(group), at_most)
    ]
  by_seed = {part.seed: part for part in phase}
  return [tuple(by_seed[seed] for seed in group) for group in groups]


class _Training:
  """The training of a phase in memory.

  Attributes:
    epoch: number of epochs done.
    state: of the networks and the optimizer, with the seeds as leading axis.
    rows: the evaluations of each seed so far.
  """

  def __init__(self, parts: Sequence[PhaseRun], options: Options):
    first = parts[0]
    self.epoch = 0
    self.state: TrainState
    self.rows: list[list[Row]] = [[] for _ in parts]
    self._parts = parts
    self._seeds = tuple(part.seed for part in parts)
    self._options = options
    self._setting = first.setting
    self._phase = first.phase
    digest = self._setting.digest(self._setting.num_phases - 1)
    self._trainer = _trainer(self._setting, self._seeds, digest)
    self._schedule = self._trainer.schedule(self._phase)
    self._checkpoints = [
      checkpoint.Checkpoints(part.checkpoints) for part in parts
    ]
    self._seen: Mapping[str, Any] = {}
    self._shown: dict[str, float] = {}

  @property
  def is_over(self) -> bool:
    """Whether the phase is at its end."""
    return self.epoch == self._schedule.epochs

  def begin(self) -> None:
    """Goes on from checkpoints, or begins the phase where there are none."""
    stored = self._restore()
    if stored is not None:
      self.epoch, of_seeds = stored
      self.state = self._trainer.restore(self._stacked(self._phase, of_seeds))
      self.rows = [
        [row for row in part.rows if row['epoch'] <= self.epoch]
        for part in self._parts
      ]
      self.report(restored=True)
      return
    for part in self._parts:  # Else they go on with what older code has begun.
      part.begin(self._seeds)
    if self._phase == 0:
      self.state = self._trainer.begin_phase(0)
    else:
      ends = [_end_of(*part.needs) for part in self._parts]
      previous = self._stacked(self._phase - 1, ends)
      self.state = self._trainer.begin_phase(self._phase, previous)
    self._add_row('start')

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
    options = self._options
    every = self._schedule.as_long_as(options.evaluate_every)
    evaluates = self.epoch % every == 0 or self.epoch in options.evaluate_after
    if not (self.is_over or evaluates or is_due):
      return
    self._check('training', self._seen['train_loss'])
    self._shown['loss'] = float(np.mean(self._seen['train_loss']))
    if self.is_over:
      measured = self._trainer.measure(self._phase, self.state)
      self._add_row('end', **self._seen, **measured)
      losses = [rows[-1]['hare_test_loss'] for rows in self.rows]
      self._check('test', losses)
    elif evaluates:
      self._add_row('epoch', **self._seen)

  def save(self) -> None:
    """Writes the evaluations and, where they are needed, the weights."""
    # The rows first: rows of later epochs than a checkpoint are dropped.
    for part, rows in zip(self._parts, self.rows, strict=True):
      part.write_rows(rows)
    arrays = checkpoint.flatten(self.state)
    for i, (part, checkpoints) in enumerate(
      zip(self._parts, self._checkpoints, strict=True)
    ):
      if part.keeps_end or not self.is_over:
        own = {name: array[i] for name, array in arrays.items()}
        checkpoints.save(self.epoch, own)

  def report(self, restored: bool = False) -> None:
    """Tells how far the phase is."""
    steps = self.epoch * self._schedule.steps_per_epoch
    self._options.report(steps * len(self._parts), restored, self._shown)

  def _restore(self) -> tuple[int, list[dict[str, np.ndarray]]] | None:
    """Returns the last epoch of which all seeds have a checkpoint, and these.

    Later checkpoints are removed; all of them, where there is no such epoch.
    """
    last: int | None = None
    while True:
      stored = [x.restore(say, last) for x in self._checkpoints]
      there = [one for one in stored if one is not None]
      if len(there) < len(stored):
        for part in self._parts:
          part.remove_checkpoints()
        self._checkpoints = [
          checkpoint.Checkpoints(part.checkpoints) for part in self._parts
        ]
        return None
      epochs = [epoch for epoch, _ in there]
      if len(set(epochs)) == 1:
        return epochs[0], [arrays for _, arrays in there]
      last = min(epochs)

  def _stacked(
    self, phase: int, of_seeds: Sequence[dict[str, np.ndarray]]
  ) -> TrainState:
    """Returns the state of a phase from the arrays of each seed."""
    template = self._trainer.template(phase)
    states = [checkpoint.unflatten(template, arrays) for arrays in of_seeds]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *states)

  def _add_row(self, moment: str, **figures: Any) -> None:
    before = sum(self._trainer.schedule(k).steps for k in range(self._phase))
    step = before + self.epoch * self._schedule.steps_per_epoch
    place = {'phase': self._phase, 'epoch': self.epoch, 'step': step}
    figures = self._trainer.evaluate(self._phase, self.state) | figures
    listed = {name: np.asarray(x).tolist() for name, x in figures.items()}
    for i, rows in enumerate(self.rows):
      own = {name: x[i] for name, x in listed.items()}
      rows.append({**place, 'moment': moment, **own})
    accuracy = figures[f'{self._setting.reported}_test_accuracy']
    self._shown['test_accuracy'] = float(np.mean(accuracy))

  def _check(self, kind: str, losses: Any) -> None:
    for seed, loss in zip(self._seeds, np.asarray(losses), strict=True):
      if not np.isfinite(loss):
        raise DivergedError(
          f'the {kind} loss of seed {seed} was {loss} in epoch {self.epoch} of '
          f'phase {self._phase + 1}'
        )


def _end_of(finished: PhaseRun) -> dict[str, np.ndarray]:
  """Returns the arrays that a finished phase has left.

  Raises:
    CheckpointError: its last checkpoint is missing.
  """
  stored = checkpoint.Checkpoints(finished.checkpoints).restore(say)
  if stored is None or stored[0] != finished.setting.epochs[finished.phase]:
    raise CheckpointError(
      f'{finished.folder} has lost its last checkpoint; remove the folder to '
      'train this phase again'
    )
  return stored[1]


@functools.lru_cache(maxsize=1)
def _trainer(setting: Setting, seeds: tuple[int, ...], digest: str) -> Trainer:
  """Returns the trainer of all phases of a run, which keeps its programs.

  The digest tells apart what equal settings mean under other gin settings.
  """
  del digest
  return Trainer(setting, seeds, load_dataset(setting))
