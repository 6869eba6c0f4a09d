"""Published systems: what is printed of them, and their order."""

import dataclasses

import numpy as np
import pytest

from ht_rl import atari100k
from ht_rl.atari100k import figures, paper, score_files, tables
from ht_rl.atari100k.published import SYSTEMS, ranked
from ht_rl.atari100k.runs import by_method
from tests import shared_data

SCORES = shared_data.FOLDER / 'scores'
BY_NAME = {system.name: system.aggregates for system in SYSTEMS}


@pytest.fixture(scope='module')
def summary():
  """Runs at 0.8 of human level in every game, beside the systems."""
  scores = {
    game: np.array([0.79, 0.81]) * (human - random) + random
    for game, (random, human) in atari100k.REFERENCE_SCORES.items()
  }
  made = atari100k.summarize({'mine': scores}, replicates=100)
  return dataclasses.replace(made, with_published=True)


def test_headlines_of_the_papers():
  # Of abstracts and of the leaderboard of Papers with Code.
  assert round(BY_NAME['IRIS']['mean'], 3) == 1.046
  assert round(BY_NAME['DIAMOND']['mean'], 2) == 1.46
  assert round(100 * BY_NAME['STORM']['mean'], 1) == 126.7
  assert round(100 * BY_NAME['EfficientZero']['mean'], 1) == 194.3
  assert round(100 * BY_NAME['EfficientZero']['median'], 1) == 109.0
  assert BY_NAME['BBF, replay ratio 8']['mean'] == 2.245
  assert BY_NAME['BBF, replay ratio 8']['median'] == 0.917


def test_another_paper_prints_the_same():
  assert BY_NAME['BBF, replay ratio 2'] == paper.AGGREGATES['bbf']


def test_released_runs_of_bbf():
  path = SCORES / 'RR2_BBF.csv'
  if not path.exists():
    pytest.skip(f'{path} is not here')
  [scores] = by_method(score_files.read([path]).runs).values()
  values = atari100k.aggregate(
    {g: atari100k.human_normalized_score(g, x) for g, x in scores.items()}
  )
  for name, value in BY_NAME['BBF, replay ratio 2'].items():
    assert round(float(values[name]), 3) == value


def test_the_order(summary):
  names = [method.name for method in ranked(summary)]
  assert len(names) == len(set(names)) == len(SYSTEMS) + 1
  at = names.index('mine')
  assert names[at - 1 : at + 2] == ['REM', 'mine', 'BBF, replay ratio 2']
  assert names[-2:] == ['STORM', 'EfficientZero']


def test_the_table(summary):
  header, *rows = tables.published_rows(summary)
  assert header[-2:] == ['source', 'evaluation']
  row = next(row for row in rows if row[0] == 'EfficientZero')
  assert row[1:6] == ['3', tables.UNKNOWN, '1.090', '1.943', tables.UNKNOWN]
  assert row[6] == 'Ye et al. (2021)'
  for style in tables.STYLES:
    assert 'EfficientZero' in tables.render(summary, style)


def test_the_figure(summary):
  drawn = figures.all_figures(summary)
  assert list(drawn)[:2] == ['intervals', 'published']
  axes = drawn['published'].axes[0]
  labels = [text.get_text() for text in axes.get_yticklabels()]
  assert labels == [method.name for method in ranked(summary)]
