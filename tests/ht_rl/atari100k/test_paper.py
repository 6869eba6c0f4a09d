import csv
import pathlib

import numpy as np
import pytest

from ht_rl.atari100k import aggregates, games, paper
from tests import shared_data

ROOT = pathlib.Path(__file__).parents[3]
SCORES = shared_data.FOLDER / 'scores'

# The two columns of Table 8 that are means of released runs. They are cut off,
# not rounded, to one decimal.
RELEASED = {'bbf_no_ssl': 'RR2_BBF-SPR', 'bbf': 'RR2_BBF'}


def normalized(method):
  # In the middle of what was cut off.
  more = 0.05 if method in RELEASED else 0.0
  return {
    game: float(games.human_normalized_score(game, score + more))
    for game, score in paper.SCORES[method].items()
  }


def test_methods_and_games():
  assert list(paper.SCORES) == list(paper.AGGREGATES)
  assert len(paper.SCORES) == 9
  for method, scores in paper.SCORES.items():
    assert tuple(scores) == games.GAMES, method
    assert tuple(paper.AGGREGATES[method]) == aggregates.METRICS, method


def test_some_numbers_of_each_column():
  assert [scores['Pong'] for scores in paper.SCORES.values()] == [
    *(-7.13, -20.34, -15.01, -10.82, -13.96, -4.11),
    *(13.0, 12.8, 13.6),
  ]
  assert [scores['KungFuMaster'] for scores in paper.SCORES.values()] == [
    *(17319.6, 5106.2, 12035.4, 13909.2, 13032.4, 19138.8),
    *(18166.8, 17296.7, 16616.8),
  ]


@pytest.mark.parametrize('method', paper.SCORES)
def test_median_and_mean_follow_from_the_scores(method):
  found = aggregates.aggregate_means(normalized(method))
  for metric in ('median', 'mean'):
    np.testing.assert_allclose(
      found[metric],
      paper.AGGREGATES[method][metric],
      rtol=0,
      atol=1e-3,
      err_msg=metric,
    )


@pytest.mark.parametrize('method', paper.SCORES)
def test_iqm_and_optimality_gap_do_not(method):
  """They were taken over runs, and can't be had from means over runs."""
  as_if_runs = {game: [score] for game, score in normalized(method).items()}
  found = aggregates.aggregate(as_if_runs)
  published = paper.AGGREGATES[method]
  assert found['iqm'] > published['iqm'] + 0.01
  assert found['optimality_gap'] < published['optimality_gap'] - 0.005
  if method == 'drq':
    assert (round(float(found['iqm']), 3), published['iqm']) == (0.280, 0.243)


@pytest.mark.parametrize('method', RELEASED)
def test_means_of_the_released_runs(method):
  path = SCORES / f'{RELEASED[method]}.csv'
  if not path.exists():
    pytest.skip(f'{path} is not here')
  scores = {}
  with path.open() as file:
    for row in csv.DictReader(file):
      score = float(row['GameScoreAverage'])
      scores.setdefault(row['game'], []).append(score)
  for game, mean in paper.SCORES[method].items():
    released = np.mean(scores[game.lower()])
    assert mean == np.floor(10 * released) / 10, game


def test_every_method_that_has_a_gin_file_is_called_like_it():
  there = {path.stem for path in (ROOT / 'gin_configs').glob('*.gin')}
  of_drq = {method for method in paper.SCORES if method.startswith('drq')}
  assert of_drq <= there
