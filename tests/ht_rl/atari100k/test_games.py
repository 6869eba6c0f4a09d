import csv
import re

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from ht_rl import atari100k
from ht_rl.atari100k.games import OTHER_GAMES
from tests import shared_data

SCORES = shared_data.FOLDER / 'scores' / 'RR2_BBF.csv'

# Lee et al. (2024), Table 8: game, DrQ, BBF. The last rows are the median and
# the mean human-normalised score that its authors got from these scores.
PUBLISHED = """
Alien 841.52 1121.7
Amidar 182.46 236.6
Assault 559.98 2004.5
Asterix 831.4 3169.7
BankHeist 138.94 768.8
BattleZone 6404.0 23681.4
Boxing 10.6 77.3
Breakout 11.95 331.0
CrazyClimber 12031.2 60864.5
ChopperCommand 917.2 4251.5
DemonAttack 663.93 18298.3
Freeway 27.28 23.1
Frostbite 828.96 2023.0
Gopher 397.52 1209.4
Hero 7198.58 5741.8
Jamesbond 349.0 1124.6
Kangaroo 3582.0 5032.0
Krull 3996.46 8069.8
KungFuMaster 17319.6 16616.8
MsPacman 1251.24 2217.8
Pong -7.13 13.6
Qbert 2304.05 3245.3
RoadRunner 12821.6 26419.0
Seaquest 498.12 988.6
PrivateEye 80.0 39.0
UpNDown 4214.26 15122.6
Median 0.193 0.755
Mean 0.468 2.175
"""


def test_known_scores():
  assert atari100k.REFERENCE_SCORES['Alien'] == (227.8, 7127.7)
  assert atari100k.REFERENCE_SCORES['Breakout'] == (1.7, 30.5)
  assert atari100k.REFERENCE_SCORES['Pong'] == (-20.7, 14.6)


@pytest.mark.parametrize('column', [1, 2])
def test_published_aggregates_follow_from_the_table(column):
  rows = [line.split() for line in PUBLISHED.strip().splitlines()]
  published = {row[0]: float(row[column]) for row in rows}
  median, mean = published.pop('Median'), published.pop('Mean')
  assert sorted(published) == sorted(atari100k.GAMES)
  normalized = [
    float(atari100k.human_normalized_score(game, score))
    for game, score in published.items()
  ]
  # Printed to three decimals, from scores that were rounded, too.
  np.testing.assert_allclose(np.median(normalized), median, atol=1e-3)
  np.testing.assert_allclose(np.mean(normalized), mean, atol=1e-3)


@pytest.mark.skipif(not SCORES.exists(), reason=f'{SCORES} is not here')
def test_table_agrees_with_released_normalised_scores():
  """Random and human scores solved for from a release's 14 runs a game."""
  points = {}
  with SCORES.open() as file:
    for row in csv.DictReader(file):
      points.setdefault(row['game'], []).append(
        (float(row['GameScoreAverage']), float(row['GameScoreNormalized']))
      )
  for game, (random, human) in atari100k.REFERENCE_SCORES.items():
    raw, normalized = np.array(points[game.lower()]).T
    slope, offset = np.polyfit(raw, normalized, 1)
    np.testing.assert_allclose(
      [-offset / slope, (1 - offset) / slope],
      [random, human],
      atol=0.01,
      err_msg=game,
    )


def test_normalised_score_by_hand():
  np.testing.assert_allclose(
    atari100k.human_normalized_score('pong', [-20.7, 14.6, -3.05]), [0, 1, 0.5]
  )


@pytest.mark.parametrize(
  'spelling',
  [
    'MsPacman',
    'mspacman',
    'ms_pacman',
    'ms-pacman',
    'Ms. Pacman',
    'MS PACMAN',
    'ALE/MsPacman-v5',
    'MsPacman-v4',
    'MsPacmanNoFrameskip-v4',
    'MsPacmanDeterministic-v0',
    'MsPacman-ramNoFrameskip-v4',
    'ale_py:ALE/MsPacman-v5',
    'atari_ms_pacman',
    'atari_mspacman',
    'Atari-MsPacman',
    'atari100k_ms_pacman',
    'Atari-100k/MsPacman',
    'atari/ms_pacman',
  ],
)
def test_spellings(spelling):
  assert atari100k.canonical_game(spelling) == 'MsPacman'


def test_every_game_is_found_by_its_usual_names():
  for game in atari100k.GAMES:
    assert atari100k.canonical_game(game) == game
    assert atari100k.canonical_game(f'ALE/{game}-v5') == game
  for name, game in {
    'Q*bert': 'Qbert',
    'H.E.R.O.': 'Hero',
    'James Bond': 'Jamesbond',
    'James Bond 007': 'Jamesbond',
    "Up 'n Down": 'UpNDown',
    'Up and Down': 'UpNDown',
    'Kung-Fu Master': 'KungFuMaster',
  }.items():
    assert atari100k.canonical_game(name) == game


@st.composite
def spellings(draw, games):
  """A game's name in words, cased and joined in any way that is usual."""
  game = draw(st.sampled_from(games))
  words = re.findall('[A-Z][a-z]*', game)
  joined = draw(st.sampled_from(['', ' ', '_', '-', '. '])).join(words)
  case = draw(st.sampled_from([str, str.lower, str.upper, str.title]))
  ends = [('', ''), ('ALE/', '-v5'), ('', 'NoFrameskip-v4'), (' ', ' ')]
  before, after = draw(st.sampled_from(ends))
  return game, f'{before}{case(joined)}{after}'


@given(spellings((*atari100k.GAMES, *OTHER_GAMES)))
def test_any_usual_spelling(game_and_name):
  game, name = game_and_name
  all_games = (*atari100k.GAMES, *OTHER_GAMES)
  assert atari100k.canonical_game(name, all_games) == game
  if game in OTHER_GAMES:
    with pytest.raises(ValueError, match='unknown game'):
      atari100k.canonical_game(name)


def test_the_other_games_make_57():
  all_games = {*atari100k.GAMES, *OTHER_GAMES}
  assert len(all_games) == len(atari100k.GAMES) + len(OTHER_GAMES) == 57
  assert list(OTHER_GAMES) == sorted(OTHER_GAMES)
  for name, game in {
    "Montezuma's Revenge": 'MontezumaRevenge',
    'Pitfall!': 'Pitfall',
    'River Raid': 'Riverraid',
    'Robot Tank': 'Robotank',
    "Yars' Revenge": 'YarsRevenge',
  }.items():
    assert atari100k.canonical_game(name, OTHER_GAMES) == game


def test_the_emulator_calls_them_so():
  atari = pytest.importorskip('agents.atari')
  assert {*atari100k.GAMES, *OTHER_GAMES} <= set(atari.all_games())


@pytest.mark.skipif(not SCORES.exists(), reason=f'{SCORES} is not here')
def test_a_release_of_55_games_knows_the_others():
  with SCORES.open() as file:
    there = {row['game'] for row in csv.DictReader(file)}
  all_games = {game.lower() for game in (*atari100k.GAMES, *OTHER_GAMES)}
  assert all_games - there == {'defender', 'surround'}
  assert there < all_games


@pytest.mark.parametrize(
  ('name', 'message'),
  [
    ('Breakot', "unknown game 'Breakot': did you mean Breakout?"),
    ('KungFu', "unknown game 'KungFu': the 26 games are Alien, Amidar"),
    ('', "unknown game '': the 26 games are Alien"),
  ],
)
def test_unknown_game(name, message):
  with pytest.raises(ValueError, match=f'^{re.escape(message)}'):
    atari100k.canonical_game(name)


def test_other_games_can_be_named():
  assert atari100k.canonical_game('tennis', ['Tennis', 'Pong']) == 'Tennis'
  with pytest.raises(ValueError, match='did you mean Tennis'):
    atari100k.canonical_game('tenis', ['Tennis', 'Pong'])
  with pytest.raises(ValueError, match='unknown game'):
    atari100k.canonical_game('Tennis')
