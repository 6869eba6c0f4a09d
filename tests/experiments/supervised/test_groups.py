"""Seeds are runs of their own, whatever trains side by side."""

import dataclasses
import functools
import json
import pathlib
import shutil
import types

import numpy as np
import pytest

from agents import checkpoint
from experiments.supervised import groups, units
from experiments.supervised.settings import Setting


@dataclasses.dataclass
class Part:
  """What a phase of a seed has on disk."""

  seed: int
  beside: tuple = ()
  is_finished: bool = False


def grouped(parts, at_most=9):
  found = groups.side_by_side(parts, at_most)
  return [[part.seed for part in group] for group in found]


def test_seeds_that_were_begun_together_go_on_together():
  new = [Part(seed) for seed in (5, 1, 4)]
  assert grouped(new) == [[5, 1, 4]]
  assert grouped(new, 2) == [[5, 1], [4]]
  done = [Part(7, (7, 8), is_finished=True), Part(8, (7, 8), is_finished=True)]
  assert grouped(done) == []
  # Seeds are added to finished ones, and to some that were stopped.
  assert grouped([*done, *new]) == [[5, 1, 4]]
  stopped = [Part(2, (2, 3)), Part(3, (2, 3))]
  assert grouped([new[0], *stopped, *done]) == [[2, 3], [5]]
  assert grouped([new[0], *stopped], 1) == [[2], [3], [5]]
  # It was killed when not all had their record.
  assert grouped([Part(2, (2, 3)), Part(3), new[0]]) == [[2, 3], [5]]
  # Some are not asked for now; some were begun in another group since.
  assert grouped([Part(2, (2, 3, 4))]) == [[2]]
  assert grouped([Part(2, (2, 3)), Part(3, (3, 4))]) == [[2], [3]]


def make_training(tmp_path, *of_seeds):
  """A training whose seeds have checkpoints of some epochs."""
  training = object.__new__(groups._Training)
  training._parts, training._checkpoints = [], []
  for seed, epochs in enumerate(of_seeds):
    folder = tmp_path / str(seed)
    remove = functools.partial(shutil.rmtree, folder)
    training._parts.append(
      types.SimpleNamespace(checkpoints=folder, remove_checkpoints=remove)
    )
    training._checkpoints.append(checkpoint.Checkpoints(folder))
    for epoch in epochs:
      training._checkpoints[-1].save(epoch, {'x': np.array(100 * seed + epoch)})
  return training


def test_seeds_go_on_from_the_last_epoch_that_all_have(tmp_path):
  # It was killed when the first seed had written its checkpoint.
  training = make_training(tmp_path, (4, 5), (3, 4), (3, 4))
  epoch, arrays = training._restore()
  assert epoch == 4
  assert [int(of_seed['x']) for of_seed in arrays] == [4, 104, 204]
  assert training._checkpoints[0].steps() == [4]
  for checkpoints in training._checkpoints:
    checkpoints.save(5, {'x': np.array(0)})


@pytest.mark.parametrize('of_seeds', [((1,), ()), ((2, 3), (0, 1)), ((), ())])
def test_seeds_begin_anew_where_they_have_no_epoch_in_common(
  tmp_path, of_seeds
):
  training = make_training(tmp_path, *of_seeds)
  assert training._restore() is None
  for checkpoints in training._checkpoints:
    assert checkpoints.steps() == []
    checkpoints.save(1, {'x': np.array(0)})


def test_what_a_seed_was_begun_beside(tmp_path):
  setting = Setting()
  ((part, other), _) = units.phase_runs(tmp_path, setting, (3, 8))
  assert part.folder == other.folder.parent / '3'
  assert part.beside == ()
  part.begin((3, 8))
  assert part.beside == (3, 8)
  assert other.beside == ()
  content = json.loads((part.folder / 'setting.json').read_text())
  assert content['setting'] == setting.to_json()
  assert content['seed'] == 3
  # Evaluations that were lost begin anew, and so do records that were.
  (part.folder / 'finished').touch()
  assert part.beside == ()
  (part.folder / 'finished').unlink()
  for damage in ('{', '[]', '{}', '{"side_by_side": 3}'):
    (part.folder / 'setting.json').write_text(damage)
    assert part.beside == ()


_PLACE = {'phase': 0, 'step': 5}
_TESTED = {'hare_test_accuracy': 0.5, 'tortoise_test_accuracy': 0.5}
ROWS = [
  {**_PLACE, **_TESTED, 'epoch': epoch, 'moment': moment}
  for epoch, moment in ((0, 'start'), (5, 'end'))
]


def make_parts(tmp_path, keeps_end=False):
  """Two seeds with checkpoints of epoch 4 of 5."""
  setting = Setting(ratios=(1.0,), noises=(0.0,), epochs=(5,))
  (parts,) = units.phase_runs(tmp_path, setting, (3, 8))
  parts = [dataclasses.replace(part, keeps_end=keeps_end) for part in parts]
  for part in parts:
    part.begin((3, 8))
    part.write_rows(ROWS[:1])
    (part.checkpoints / '4').mkdir(parents=True)
    (part.checkpoints / '4' / 'sha256').touch()
  return parts


def test_a_group_that_was_killed_in_its_last_save_goes_on_whole(
  tmp_path, monkeypatch
):
  parts = make_parts(tmp_path)
  parts[0].write_rows(ROWS)
  assert [part.is_complete for part in parts] == [True, False]
  trained = []

  def train(group, parts, should_stop):
    trained.append([part.seed for part in parts])
    for part in parts:
      part.write_rows(ROWS)

  monkeypatch.setattr(groups.Group, '_train', train)
  groups.Group(tuple(parts), None).execute(pytest.fail)
  assert trained == [[3, 8]]
  assert [part.is_finished for part in parts] == [True, True]


def test_a_phase_whose_last_weights_are_not_there_is_not_finished(tmp_path):
  """As after a kill between the mark and the removal of other checkpoints."""
  (part, _) = make_parts(tmp_path, keeps_end=True)
  part.write_rows(ROWS)
  (part.folder / 'finished').touch()
  assert not part.is_finished
  (part.checkpoints / '5').mkdir()
  (part.checkpoints / '5' / 'sha256').touch()
  assert part.is_finished


def test_a_group_that_was_killed_between_two_marks_is_only_marked(tmp_path):
  """Else its last seeds would go on by themselves, to other bits."""
  parts = make_parts(tmp_path)
  for part in parts:
    part.write_rows(ROWS)
  parts[0].mark_finished()
  assert [part.is_finished for part in parts] == [True, False]
  assert [part.is_complete for part in parts] == [True, True]
  groups.Group(tuple(parts), None).execute(pytest.fail)
  assert [part.is_finished for part in parts] == [True, True]
  assert not any(pathlib.Path(tmp_path).rglob('sha256'))
