import json

import numpy as np
import pytest

from ht_rl.atari100k import curves, human_normalized_score
from ht_rl.atari100k.runs import Run, ScoreFileError, by_method
from ht_rl.atari100k.summary import summarize

STEPS = 1000


def make_run(folder, method, game, seed, score, rows):
  folder = folder / method / game / str(seed)
  folder.mkdir(parents=True)
  lines = [json.dumps(row) for row in rows]
  (folder / 'metrics.jsonl').write_text('\n'.join(lines) + '\n')
  return Run(method, game, seed, score, str(folder), STEPS, {}, folder)


def evaluation(step, value):
  return {'step': step, 'evaluation_return': value, 'evaluation_episodes': 3}


def episode(step, value):
  return {'step': step, 'episode_return': value, 'episode_length': 9}


def with_curves(runs):
  scores = by_method(runs)
  return curves.with_curves(summarize(scores, partial=True), runs).methods


def pong(score):
  return human_normalized_score('Pong', score)


def test_evaluations_at_the_steps_that_all_runs_have(tmp_path):
  runs = [
    make_run(
      tmp_path, 'drq', 'Pong', 0, 7.0,
      [evaluation(250, -20.0), evaluation(500, -10.0)],
    ),
    make_run(
      tmp_path, 'drq', 'Pong', 1, 5.0,
      [episode(100, -21.0), evaluation(500, 0.0), evaluation(750, 1.0)],
    ),
  ]  # fmt: skip
  [method] = with_curves(runs)
  assert method.curve.source == 'evaluation episodes'
  # The last point is the score; only step 500 is before it in both.
  np.testing.assert_array_equal(method.curve.steps, [500, STEPS])
  value, low, high = method.curve.iqm
  # Two runs: none is cut, the IQM is their mean; half of all replicates draw
  # one of them twice.
  np.testing.assert_allclose(value, [pong(-5.0), pong(6.0)])
  np.testing.assert_allclose(low, [pong(-10.0), pong(5.0)])
  np.testing.assert_allclose(high, [pong(0.0), pong(7.0)])
  assert method.curve.iqm.value[-1] == method.estimates['iqm'].value


def test_without_evaluations_training_episodes_tell(tmp_path):
  rows = [episode(step, float(step)) for step in (60, 120, 940, 960, STEPS)]
  runs = [
    make_run(tmp_path, 'drq', 'Pong', 0, 7.0, rows),
    make_run(
      tmp_path, 'drq_ht', 'Pong', 0, 7.0,
      [evaluation(500, 0.0), *rows, evaluation(750, 1.0)],
    ),
  ]  # fmt: skip
  # One run has no evaluations: like is compared with like.
  for method in with_curves(runs):
    curve = method.curve
    assert curve.source == 'training episodes'
    # No episode had ended by step 50, the first of twenty.
    np.testing.assert_array_equal(curve.steps, np.arange(100, 1001, 50))
    means = dict(zip(curve.steps.tolist(), curve.iqm.value, strict=True))
    assert means[100] == pytest.approx(pong(60))
    assert means[150] == pytest.approx(pong((60 + 120) / 2))
    assert means[200] == pytest.approx(pong(120))
    assert means[600] == pytest.approx(pong(120))  # The last one before.
    assert means[950] == pytest.approx(pong(940))
    assert means[1000] == pytest.approx(pong((940 + 960 + 1000) / 3))
    # One run of the only game: nothing to resample.
    assert np.isnan(curve.iqm.low).all()


def test_a_method_of_which_a_run_has_no_folder_has_no_curve(tmp_path):
  rows = [evaluation(500, 0.0)]
  runs = [
    make_run(tmp_path, 'drq', 'Pong', 0, 7.0, rows),
    Run('drq', 'Pong', 1, -21.0, 'scores.csv'),
    make_run(tmp_path, 'drq_ht', 'Pong', 0, 7.0, rows),
  ]
  summary = summarize(by_method(runs), partial=True)
  made = curves.with_curves(summary, runs)
  assert [method.curve is None for method in made.methods] == [True, False]
  assert made.notes[len(summary.notes) :] == (
    'drq has no curve: some of its runs have no folder.',
  )


def test_a_method_without_folders_has_no_curve(tmp_path):
  rows = [evaluation(500, 0.0)]
  runs = [
    make_run(tmp_path, 'drq', 'Pong', 0, 7.0, rows),
    Run('other', 'Pong', 0, 3.0, 'scores.csv, line 2'),
  ]
  drq, other = with_curves(runs)
  np.testing.assert_array_equal(drq.curve.steps, [500, STEPS])
  assert other.curve is None


def test_a_game_that_is_not_compared_does_not_count(tmp_path):
  runs = [
    make_run(tmp_path, 'a', 'Pong', 0, 7.0, [evaluation(500, 0.0)]),
    make_run(tmp_path, 'a', 'Hero', 0, 7.0, []),
    make_run(tmp_path, 'b', 'Pong', 0, 7.0, [evaluation(500, 1.0)]),
  ]
  a, _ = with_curves(runs)
  assert a.curve.source == 'evaluation episodes'
  np.testing.assert_allclose(a.curve.iqm.value, [pong(0.0), pong(7.0)])


def test_runs_that_logged_no_episode_have_no_curve(tmp_path):
  runs = [make_run(tmp_path, 'a', 'Pong', seed, 7.0, []) for seed in (0, 1)]
  [method] = with_curves(runs)
  assert method.curve is None
  summary = summarize(by_method(runs), partial=True)
  assert curves.with_curves(summary, runs).notes[-1] == (
    'a has no curve: not all of its runs have training episodes at common '
    'steps.'
  )


def test_steps_that_go_back_are_a_damaged_file(tmp_path):
  rows = [evaluation(500, 0.0), evaluation(200, 1.0)]
  run = make_run(tmp_path, 'a', 'Pong', 0, 7.0, rows)
  with pytest.raises(ScoreFileError) as error:
    with_curves([run])
  assert error.value.problems == (
    f'{run.folder}/metrics.jsonl, line 2: this must be JSON with a step, later '
    'than those before, and its evaluation_return',
  )
