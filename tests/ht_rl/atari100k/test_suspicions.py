"""Scores in wrong shapes, made here, and right ones that stay unasked."""

import numpy as np
import pytest

from ht_rl import atari100k
from ht_rl.atari100k import paper, score_files
from ht_rl.atari100k.runs import by_method
from ht_rl.atari100k.suspicions import looks_transposed, suspicions
from tests import shared_data

SCORES = shared_data.FOLDER / 'scores'


def make_runs(runs=5, skill=0.5, seed=0):
  """Scores of runs in game points: means over episodes."""
  rng = np.random.default_rng(seed)
  return {
    game: random + (human - random) * skill * rng.gamma(4, 0.25, runs)
    for game, (random, human) in atari100k.REFERENCE_SCORES.items()
  }


def make_episodes(episodes):
  return {game: np.round(x) for game, x in make_runs(episodes).items()}


@pytest.mark.parametrize('skill', [0.0, 0.05, 0.5, 3.0])
@pytest.mark.parametrize('runs', [1, 5, 10, 100])
def test_runs_are_not_asked_for(runs, skill):
  scores = make_runs(runs, skill)
  if skill:
    assert suspicions({'a': scores, 'b': make_runs(5)}) == []
  assert suspicions({'few': {g: scores[g] for g in ('Pong', 'Hero')}}) == []


def test_published_scores_are_not_asked_for():
  means = {
    name: {game: [mean] for game, mean in of.items()}
    for name, of in paper.SCORES.items()
  }
  assert suspicions(means) == []
  of_random = {g: [s.random] for g, s in atari100k.REFERENCE_SCORES.items()}
  assert suspicions({'random': of_random}) == []


@pytest.mark.parametrize('name', ['RR2_BBF', 'RR2_BBF-SPR'])
def test_released_scores_are_not_asked_for(name):
  path = SCORES / f'{name}.csv'
  if not path.exists():
    pytest.skip(f'{path} is not here')
  scores = by_method(score_files.read([path]).runs)
  assert suspicions(scores) == []


class TestEpisodes:
  def test_a_hundred_of_them(self):
    (question,) = suspicions({'a': make_episodes(100)})
    assert question == (
      'a: are these runs? 100 whole numbers a game look like episodes. A run '
      'has one score, the mean of its episodes.'
    )

  def test_ten_where_others_have_five(self):
    scores = {'a': make_episodes(10), 'b': make_runs(5)}
    (question,) = suspicions(scores)
    assert question.startswith('a: are these runs? 10 whole numbers a game')

  def test_rounded_scores_of_runs(self):
    assert suspicions({'a': make_episodes(5), 'b': make_runs(5)}) == []
    assert suspicions({'a': make_episodes(10)}) == []


class TestUnits:
  def normalized(self, factor=1.0):
    return {
      game: factor * atari100k.human_normalized_score(game, x)
      for game, x in make_runs().items()
    }

  def test_human_normalised_scores(self):
    (question,) = suspicions({'a': self.normalized()})
    assert question.startswith('a: are these game points? ')
    assert question.endswith('as human-normalised scores would be.')

  def test_clipped_rewards(self):
    rng = np.random.default_rng(0)
    clipped = {game: rng.uniform(10, 80, 5) for game in atari100k.GAMES}
    (question,) = suspicions({'a': clipped})
    assert question.endswith('as sums of clipped rewards would be.')

  def test_points_that_were_taken_for_normalised_scores(self):
    wrong = {
      game: random + (human - random) * make_runs()[game]
      for game, (random, human) in atari100k.REFERENCE_SCORES.items()
    }
    (question,) = suspicions({'a': wrong})
    assert question.startswith('a: are these scores in the right unit? Half')

  def test_a_weak_agent_that_fails_some_games(self):
    scores = make_runs(skill=0.1)
    scores |= {game: [0.0] for game in ('Kangaroo', 'Frostbite', 'Seaquest')}
    assert suspicions({'a': scores}) == []


def test_copies_of_a_run():
  scores = {game: np.repeat(x[:1], 5) for game, x in make_runs().items()}
  assert suspicions({'a': scores}) == [
    'a: are these different runs? All runs of 26 of 26 games have the same '
    'score.'
  ]
  # Some games end alike, whatever the seed.
  scores = {**make_runs(), 'Freeway': [0.0] * 5, 'PrivateEye': [100.0] * 5}
  assert suspicions({'a': scores}) == []


class TestSpreads:
  @pytest.mark.parametrize(
    ('make', 'spread'),
    [
      (lambda mean, gap: mean + 3.0, '3 game points'),
      (lambda mean, gap: mean * 1.05, '5.0% of the mean'),
      (lambda mean, gap: mean + 0.1 * gap, '10.0% of the human score less'),
    ],
  )
  @pytest.mark.parametrize('rounded', [False, True])
  def test_runs_that_were_made_from_means(self, make, spread, rounded):
    scores = {}
    for game, (random, human) in atari100k.REFERENCE_SCORES.items():
      # The human score is in no game near 0, so that rounding does little.
      up = make(human, human - random)
      runs = np.array([2 * human - up, human, up])
      scores[game] = np.round(runs, 2) if rounded else runs
    (question,) = suspicions({'a': scores})
    assert question.startswith(
      f'a: are these runs? Their standard deviation is {spread}'
    )
    assert question.endswith('Runs differ more from game to game.')

  def test_half_of_the_games_are_not_enough(self):
    scores = make_runs()
    for game in atari100k.GAMES[:13]:
      mean = np.mean(scores[game])
      scores[game] = np.array([mean - 3, mean, mean + 3])
    assert suspicions({'a': scores}) == []

  def test_few_games_are_not_asked_for(self):
    scores = {'Alien': [900.0, 910.0], 'Hero': [9000.0, 9010.0]}
    assert suspicions({'a': scores}) == []


class TestSwappedColumns:
  @pytest.mark.parametrize('first', [0, 1])
  def test_seeds_in_place_of_scores(self, first):
    seeds = {game: np.arange(first, first + 5) for game in atari100k.GAMES}
    questions = suspicions({'a': seeds})
    assert (
      'a: are the columns of seeds and scores swapped? All 26 games have the '
      f'scores {first} to {first + 4}, as seeds do.'
    ) in questions

  @pytest.mark.parametrize('other', ['Alien', 'MsPacman', 'Kangaroo'])
  def test_columns_of_two_games(self, other):
    scores = make_runs(skill=0.3)
    scores['Pong'], scores[other] = scores[other], scores['Pong']
    (question,) = suspicions({'a': scores})
    assert question.startswith(
      'a: are the games in the right columns? No score of Pong is beyond 21, '
    )
    assert f'that of {other} is ' in question

  def test_a_weak_game_alone_is_not_asked_for(self):
    scores = make_runs() | {'Kangaroo': [0.0, 5.0]}
    assert suspicions({'a': scores}) == []


@pytest.mark.parametrize('seed', range(5))
def test_a_transposed_square(seed):
  matrix = np.array(
    [
      atari100k.human_normalized_score(game, x)
      for game, x in make_runs(26, seed=seed).items()
    ]
  ) * np.random.default_rng(seed).gamma(1, 1, (26, 1))
  assert looks_transposed(matrix)
  assert not looks_transposed(matrix.T)


def test_summaries_ask():
  summary = atari100k.summarize({'a': make_episodes(100)}, replicates=100)
  assert summary.notes[0].startswith('a: are these runs?')
