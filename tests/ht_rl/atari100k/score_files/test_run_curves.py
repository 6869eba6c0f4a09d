import pathlib

import numpy as np
import pytest

from ht_rl.atari100k import runs as runs_lib
from ht_rl.atari100k import score_files
from ht_rl.atari100k.runs import Run
from tests.ht_rl.atari100k.score_files.files import write, write_run

ROWS = (
  '{"step": 71, "episode_return": -21.0, "episode_length": 71}\n'
  '{"step": 100, "loss": 0.1}\n'
  '{"step": 100, "evaluation_return": 3, "evaluation_episodes": 10}\n'
  '{"step": 171, "episode_return": 4.5, "episode_length": 100}\n'
)


def make_run(metrics=None):
  write_run('runs/drq/Pong/0')
  if metrics is not None:
    write('runs/drq/Pong/0/metrics.jsonl', metrics)
  return score_files.read(['runs']).runs[0]


def test_curves_of_a_run():
  run = make_run(ROWS)
  steps, returns = runs_lib.training_episodes(run)
  assert (steps.dtype, returns.dtype) == (np.int64, np.float64)
  assert (steps.tolist(), returns.tolist()) == ([71, 171], [-21.0, 4.5])
  steps, returns = runs_lib.evaluations(run)
  assert (steps.dtype, returns.dtype) == (np.int64, np.float64)
  assert (steps.tolist(), returns.tolist()) == ([100], [3.0])


def test_curves_with_other_ends_of_lines():
  run = make_run(ROWS.replace('\n', '\r\n').rstrip())
  assert runs_lib.training_episodes(run).steps.tolist() == [71, 171]


@pytest.mark.parametrize('metrics', [None, '', '{"step": 100}\n'])
def test_a_run_without_curves(metrics):
  run = make_run(metrics)
  for curve in (runs_lib.evaluations, runs_lib.training_episodes):
    steps, returns = curve(run)
    assert (steps.shape, returns.shape) == ((0,), (0,))


def test_a_score_without_curves():
  run = Run('drq', 'Pong', 0, 1.0, 'scores.csv, line 2')
  assert len(runs_lib.evaluations(run).steps) == 0


@pytest.mark.parametrize(
  'line',
  [
    '{"step": 300, "evaluation_return": 3',
    '{"evaluation_return": 3}',
    '{"step": 300, "evaluation_return": NaN}',
    '{"step": 300, "evaluation_return": null}',
    '{"step": 2.5, "evaluation_return": 3}',
    '{"step": 300, "name": "evaluation_return"}',
    '{"step": 300} "evaluation_return"',
    '{"step": 300, "evaluation_return": 3} "evaluation_return"',
    '["step", "evaluation_return"]',
  ],
)
def test_damaged_curves(line):
  run = make_run(f'{ROWS}{line}\n')
  assert len(runs_lib.training_episodes(run).steps) == 2
  with pytest.raises(runs_lib.ScoreFileError) as caught:
    runs_lib.evaluations(run)
  assert caught.value.problems == (
    'runs/drq/Pong/0/metrics.jsonl, line 5: this must be JSON with a step, '
    'later than those before, and its evaluation_return',
  )


def test_curves_that_can_not_be_read():
  pathlib.Path('runs/drq/Pong/0/metrics.jsonl').mkdir(parents=True)
  with pytest.raises(runs_lib.ScoreFileError) as caught:
    runs_lib.evaluations(make_run())
  assert caught.value.problems == (
    'runs/drq/Pong/0/metrics.jsonl must be a file and is a folder; remove it',
  )
