import numpy as np
import pytest

from ht_rl import atari100k
from ht_rl.atari100k import aggregates, paper
from ht_rl.atari100k.summary import THRESHOLDS, summarize

GAMES = atari100k.GAMES


def make_scores(seed, runs=4, games=GAMES):
  rng = np.random.default_rng(seed)
  return {
    game: random + (human - random) * rng.gamma(1, 1, runs)
    for game, (random, human) in atari100k.REFERENCE_SCORES.items()
    if game in games
  }


def normalized(scores):
  return {g: atari100k.human_normalized_score(g, x) for g, x in scores.items()}


@pytest.fixture(scope='module')
def pair():
  scores = {'a': make_scores(0), 'b': make_scores(1, runs=5)}
  return scores, summarize(scores, replicates=3000, seed=2)


def method_of(summary, name):
  [method] = [m for m in summary.methods if m.name == name]
  return method


def test_estimates_are_those_of_the_normalized_scores(pair):
  scores, summary = pair
  assert [m.name for m in summary.methods] == ['a', 'b']
  assert summary.games == GAMES
  for name, of in scores.items():
    method = method_of(summary, name)
    values = aggregates.aggregate(normalized(of))
    for metric in aggregates.METRICS:
      value, low, high = method.estimates[metric]
      assert value == values[metric]
      assert low < value < high
    np.testing.assert_array_equal(
      method.profile.value,
      aggregates.performance_profile(normalized(of), THRESHOLDS),
    )
    assert (method.profile.low <= method.profile.value).all()
    assert (method.profile.high >= method.profile.value).all()
    assert method.has_runs
    assert not method.is_published
  assert summary.notes == ()


def test_improvement_is_that_of_all_pairs_in_both_orders(pair):
  scores, summary = pair
  value, low, high = summary.improvement['a', 'b']
  assert value == aggregates.probability_of_improvement(
    scores['a'], scores['b']
  )
  assert low < value < high
  assert summary.improvement['b', 'a'] == (1 - value, 1 - high, 1 - low)
  assert set(summary.improvement) == {('a', 'b'), ('b', 'a')}


def test_intervals_do_not_depend_on_what_a_method_is_compared_with(pair):
  scores, summary = pair
  alone = summarize({'b': scores['b']}, replicates=3000, seed=2)
  assert method_of(alone, 'b').estimates == method_of(summary, 'b').estimates
  other_seed = summarize({'b': scores['b']}, replicates=3000, seed=3)
  iqm = method_of(other_seed, 'b').estimates['iqm']
  assert iqm.value == method_of(summary, 'b').estimates['iqm'].value
  assert iqm.low != method_of(summary, 'b').estimates['iqm'].low


def test_the_same_scores_under_two_names_are_resampled_separately(pair):
  scores, _ = pair
  summary = summarize({'a': scores['a'], 'twin': scores['a']}, replicates=3000)
  value, low, high = summary.improvement['a', 'twin']
  assert value == 0.5
  # Were both resampled alike, every replicate would be a half.
  assert low < 0.49
  assert high > 0.51


def test_one_run_a_game_has_no_interval():
  summary = summarize({'a': make_scores(0, runs=1), 'b': make_scores(1)})
  estimate = method_of(summary, 'a').estimates['iqm']
  assert np.isfinite(estimate.value)
  assert np.isnan([estimate.low, estimate.high]).all()
  assert np.isnan(method_of(summary, 'a').profile.low).all()
  assert np.isnan(summary.improvement['b', 'a'].low)
  assert summary.notes == (
    'a has one run of each game, so it has no intervals.',
  )


def test_unequal_numbers_of_runs_are_told():
  scores = make_scores(0)
  scores['Pong'] = scores['Pong'][:1]
  summary = summarize({'a': scores})
  assert summary.notes == (
    'a has 1 to 4 runs of a game (fewest of Pong); every game weighs the same.',
    'The intervals of a are too narrow: with one run the spread of Pong is '
    'unknown.',
  )


def test_too_little_to_rely_on_is_told():
  summary = summarize({'a': make_scores(0, 2, ['Pong', 'Hero'])}, partial=True)
  assert summary.notes[1:] == (
    'Intervals over so few games are not reliable.',
    'a has games with two runs only: its intervals are too narrow.',
  )


def test_a_missing_game_is_named_unless_the_rest_will_do():
  scores = {
    'a': make_scores(0, games=[g for g in GAMES if g != 'Pong']),
    'b': make_scores(1, games=[g for g in GAMES if g not in ('Hero', 'Krull')]),
  }
  message = 'a has no score of Pong; b has no score of Hero, Krull'
  with pytest.raises(ValueError, match=f'^{message}$'):
    summarize(scores)
  summary = summarize(scores, partial=True)
  assert len(summary.games) == 23
  assert not {'Pong', 'Hero', 'Krull'} & set(summary.games)
  assert summary.notes == (
    'a has no score of Pong: left out for all methods.',
    'b has no score of Hero, Krull: left out for all methods.',
  )
  # Methods that lack the same games share a note.
  alike = summarize({**scores, 'c': scores['a']}, partial=True)
  assert alike.notes[0] == (
    'a, c have no score of Pong: left out for all methods.'
  )
  expected = aggregates.aggregate(
    {g: x for g, x in normalized(scores['a']).items() if g in summary.games}
  )
  assert method_of(summary, 'a').estimates['iqm'].value == expected['iqm']


def test_no_game_in_common():
  with pytest.raises(ValueError, match=r'^there is no game of which all'):
    summarize(
      {
        'a': make_scores(0, games=['Pong']),
        'b': make_scores(0, games=['Hero']),
      },
      partial=True,
    )
  with pytest.raises(ValueError, match=r'^there is no game of which all'):
    summarize({})


def test_means_have_no_iqm_and_no_intervals():
  summary = summarize({}, means={'drq': paper.SCORES['drq']})
  method = method_of(summary, 'drq')
  assert set(method.estimates) == {'median', 'mean'}
  assert f'{method.estimates["mean"].value:.3f}' == '0.468'
  assert np.isnan(method.estimates['mean'].low)
  assert not method.has_runs
  assert not method.is_published
  assert summary.improvement == {}


def test_published_aggregates_are_shown_for_all_games_only():
  settings = {
    'means': {'drq (paper)': paper.SCORES['drq']},
    'published': {'drq (paper)': paper.AGGREGATES['drq']},
  }
  method = method_of(summarize({}, **settings), 'drq (paper)')
  assert method.is_published
  values = {metric: e.value for metric, e in method.estimates.items()}
  assert values == paper.AGGREGATES['drq']

  # Of fewer games the paper says nothing, but the means do.
  mine = make_scores(0, games=['Pong', 'Hero'])
  summary = summarize({'mine': mine}, partial=True, **settings)
  method = method_of(summary, 'drq (paper)')
  assert set(method.estimates) == {'median', 'mean'}
  assert not method.is_published
  expected = np.mean(
    [
      atari100k.human_normalized_score(game, paper.SCORES['drq'][game])
      for game in ('Pong', 'Hero')
    ]
  )
  assert method.estimates['mean'].value == pytest.approx(expected)


def test_means_of_any_spelling():
  summary = summarize({}, means={'mine': {'ALE/Pong-v5': 14.6}}, partial=True)
  assert summary.games == ('Pong',)
  assert method_of(summary, 'mine').estimates['mean'].value == 1


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    (
      {'confidence': 95},
      r'^confidence must be a number from above 0 .*, not 95$',
    ),
    (
      {'replicates': 0},
      r'^replicates must be an integer of at least 1, not 0$',
    ),
    ({'replicates': 1e3}, r'^replicates must be an integer of at least 1, not'),
    ({'seed': -1}, r'^seed must be an integer of at least 0, not -1$'),
    ({'means': {'m': {'Pong': float('nan')}}}, '^m: Pong: the score must be '),
    ({'means': {'m': {'Pung': 3}}}, "^m: unknown game 'Pung'"),
    ({'means': {1: {'Pong': 3}}}, '^1: the method must have a name, not 1$'),
    ({'scores': {1: {'Pong': [3]}}}, '^1: the method must have a name, not 1$'),
  ],
)
def test_wrong_settings(settings, message):
  with pytest.raises(ValueError, match=message):
    summarize(**{'scores': {}, 'partial': True} | settings)


def test_the_heading_names_intervals_that_are_there():
  heading = summarize({'mine': make_scores(0)}).heading
  assert 'with 95% intervals' in heading
  title = 'Atari-100k, 26 games: human-normalised scores'
  assert summarize({'mine': make_scores(0, runs=1)}).heading == title
  assert summarize({}, means={'drq': paper.SCORES['drq']}).heading == title


def test_runs_and_means_of_one_name():
  with pytest.raises(ValueError, match=r'^drq has both runs and means$'):
    summarize({'drq': make_scores(0)}, means={'drq': paper.SCORES['drq']})
