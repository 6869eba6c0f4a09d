"""Checks which phases settings and seeds share."""

import json
import shutil

import numpy as np
import pytest

from agents import checkpoint
from experiments.supervised import results
from tests.experiments.supervised.command.typed import (
  CELL,
  FIRST_PHASE,
  SEEDS,
  arguments,
  by_hand,
  contents,
  phase_folders,
  read_results,
  seed_folders,
  type_command,
)

pytest.importorskip('mlxtend')
pytestmark = pytest.mark.usefixtures('compile_fast', '_trace_once')


def arrays(base_dir):
  """Returns the arrays that each phase has left, by its folder."""
  left = {}
  for folder in seed_folders(base_dir):
    stored = checkpoint.Checkpoints(folder / 'checkpoints').restore(pytest.fail)
    left[folder.relative_to(base_dir)] = stored and {
      name: (array.dtype, array.shape, array.tobytes())
      for name, array in stored[1].items()
    }
  return left


def test_settings_that_begin_alike_share_what_they_have_in_common(
  finished, tmp_path
):
  settings = {
    CELL: {},
    'HR': {'head_reset': True},
    'EMA': {'reported': 'tortoise'},
    'shorter': FIRST_PHASE,
  }
  shared = tmp_path / 'shared'
  assert type_command(*by_hand(shared, settings)) == 0
  # One of the first phase, and one of the second without a reset and with it.
  assert len(phase_folders(shared)) == 3
  together = {result['name']: result for result in read_results(shared)}
  assert list(together) == list(settings)
  # The grid says the same of the same setting.
  assert read_results(finished[0]) == [together[CELL]]
  # And the other one has the same by itself.
  alone = tmp_path / 'alone'
  assert type_command(*by_hand(alone, {'HR': settings['HR']})) == 0
  assert read_results(alone) == [together['HR']]
  assert arrays(shared) == arrays(finished[0]) | arrays(alone)
  # Nothing goes on from the last phases: they keep no weights.
  assert [left is None for left in arrays(shared).values()].count(True) == 4
  rows = {name: result['rows'] for name, result in together.items()}
  assert rows['shorter'] == rows['EMA'][:3] == rows['HR'][:3]
  assert rows['EMA'] == rows[CELL]
  assert rows['HR'][3] != rows[CELL][3]


def test_a_last_phase_is_trained_again_where_another_goes_on_from_it(
  finished, tmp_path
):
  assert type_command(*by_hand(tmp_path, {'shorter': FIRST_PHASE})) == 0
  (shorter,) = read_results(tmp_path)
  assert list(arrays(tmp_path).values()) == [None, None]
  again = {'shorter': FIRST_PHASE, CELL: {}}
  assert type_command(*by_hand(tmp_path, again)) == 0
  assert read_results(tmp_path) == [shorter, *read_results(finished[0])]
  assert arrays(tmp_path) == arrays(finished[0])
  # When all is over, weights that a user has removed are not missed.
  for folder in seed_folders(tmp_path):
    shutil.rmtree(folder / 'checkpoints')
  before = {
    path: path.stat().st_mtime_ns for path in tmp_path.rglob('finished')
  }
  assert type_command(*by_hand(tmp_path, again)) == 0
  assert before == {
    path: path.stat().st_mtime_ns for path in tmp_path.rglob('finished')
  }
  assert read_results(tmp_path) == [shorter, *read_results(finished[0])]


def test_seeds_one_at_a_time_or_all_at_once(finished, tmp_path, capfd):
  by_one = '--gin_bindings=experiment.seeds_at_once = 1'
  typed = by_hand(tmp_path, {'shorter': FIRST_PHASE}, by_one)
  assert type_command(*typed) == 0
  (result,) = read_results(tmp_path)
  (beside,) = read_results(finished[0])
  assert result['seeds'] == list(SEEDS)
  assert len(result['rows']) == 3
  for row, other in zip(result['rows'], beside['rows'], strict=False):
    assert {name: row[name] for name in results.PLACE} == {
      name: other[name] for name in results.PLACE
    }
    assert row.keys() == other.keys()
    # A bias before a normalisation has rounding errors for gradients, and
    # Adam makes whole steps of them: only tests see it, by the running means.
    for name, rtol, atol in (
      ('train_loss', 1e-5, 0),
      ('weight_distance', 1e-3, 0),
      ('hare_test_loss', 1e-2, 0),
      ('tortoise_test_loss', 1e-2, 0),
      ('hare_test_accuracy', 0, 0.02),
    ):
      if name in row:
        np.testing.assert_allclose(row[name], other[name], rtol, atol, name)
  # Else the order of the seeds would not be seen.
  assert abs(np.subtract(*result['rows'][-1]['train_loss'])) > 0.01

  # The others are shown where one seed is not finished.
  for file in (tmp_path / 'phases').glob('*/8/finished'):
    file.unlink()
  capfd.readouterr()
  assert type_command(*typed, '--draw_only') == 0
  (part,) = read_results(tmp_path)
  assert part['seeds'] == [3]
  assert [row['hare_test_loss'] for row in part['rows']] == [
    row['hare_test_loss'][:1] for row in result['rows']
  ]


def test_seeds_are_added(finished, tmp_path, capfd):
  copy = tmp_path / 'copy'
  shutil.copytree(finished[0], copy)
  before = {path: contents(path) for path in seed_folders(copy)}
  (whole,) = read_results(copy)
  more = f'experiment.seeds = {(5, *SEEDS)}'
  capfd.readouterr()
  assert type_command(*arguments(copy, more)) == 0
  lines = capfd.readouterr().err.splitlines()
  ended = [line for line in lines if 'is finished' in line]
  assert [line.rpartition(' (seeds ')[2] for line in ended] == ['5)', '5)']
  (result,) = read_results(copy)
  assert result['seeds'] == [5, *SEEDS]
  for row, other in zip(result['rows'], whole['rows'], strict=True):
    assert {k: x[1:] if isinstance(x, list) else x for k, x in row.items()} == (
      other
    )
  added = [path for path in seed_folders(copy) if path not in before]
  assert [path.name for path in added] == ['5', '5']
  for path, content in before.items():
    written = {k: x for k, x in contents(path).items() if k.name != 'lock'}
    assert written == {k: x for k, x in content.items() if k.name != 'lock'}
  for path in (*before, *added):
    beside = json.loads((path / 'setting.json').read_text())['side_by_side']
    assert beside == ([5] if path in added else list(SEEDS))
  # A phase that is lost is trained again for its seed alone.
  lost = seed_folders(copy, 1)[-1]
  assert lost.name == '8'
  shutil.rmtree(lost)
  assert type_command(*arguments(copy, more), '--draw_only') == 0
  assert read_results(copy)[0]['seeds'] == [5, 3]
  capfd.readouterr()
  assert type_command(*arguments(copy, more)) == 0
  (line,) = [
    x for x in capfd.readouterr().err.splitlines() if 'is finished' in x
  ]
  assert line.endswith(' (seeds 8)')
