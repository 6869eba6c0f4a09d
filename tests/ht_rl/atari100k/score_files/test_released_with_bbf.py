import csv

import numpy as np
import pytest

from ht_rl.atari100k import games, score_files
from ht_rl.atari100k import runs as runs_lib
from tests import shared_data
from tests.ht_rl.atari100k.score_files.files import scores_of, write

SCORES = shared_data.FOLDER / 'scores'


def test_both_orders_of_columns():
  write(
    'RR2_BBF.csv',
    ',seed,game,GameScoreAverage,GameScoreNormalized\n'
    '110,7779,alien,1265.0,0.15032\n111,7780,mspacman,2000.5,0.2\n'
    '112,7781,yarsrevenge,3.0,0.1\n',
  )
  write(
    'RR2_BBF+sticky_0.1.csv',
    ',GameScoreAverage,GameScoreNormalized,game,seed\n'
    '0,107.1,0.1257,bankheist,0\n',
  )
  scores, notes = scores_of('RR2_BBF.csv', 'RR2_BBF+sticky_0.1.csv')
  assert scores == {
    'RR2_BBF': {'Alien': [1265.0], 'MsPacman': [2000.5]},
    'RR2_BBF+sticky_0.1': {'BankHeist': [107.1]},
  }
  assert notes == (
    'RR2_BBF.csv: 1 game is not among the 26 of Atari-100k, so left out: '
    'YarsRevenge.',
  )


@pytest.mark.parametrize('name', ['RR2_BBF', 'RR2_BBF-SPR'])
def test_the_released_files(name):
  path = SCORES / f'{name}.csv'
  if not path.exists():
    pytest.skip(f'{path} is not here')
  read = score_files.read([path])
  scores = runs_lib.by_method(read.runs)
  assert list(scores) == [name]
  assert tuple(scores[name]) == games.GAMES
  assert {len(column) for column in scores[name].values()} == {14}
  (note,) = read.notes
  assert note == (
    f'{path}: 29 games are not among the 26 of Atari-100k, so left out: '
    'Asteroids, Atlantis, BeamRider, and 26 more.'
  )
  # The file's other column is an independent normalisation.
  with path.open() as file:
    for row in csv.DictReader(file):
      columns = {game.lower(): column for game, column in scores[name].items()}
      if row['game'] not in columns:
        continue
      game = games.canonical_game(row['game'])
      normalized = games.human_normalized_score(game, scores[name][game])
      expected = float(row['GameScoreNormalized'])
      assert np.min(np.abs(normalized - expected)) < 1e-4
