import csv

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from scipy import stats

from ht_rl.atari100k import aggregates, games
from tests import shared_data

SCORES = shared_data.FOLDER / 'scores'
REPLICATES = 20_000


def released_scores(name):
  """Normalised scores of the 26 games in a file that BBF's authors released."""
  path = SCORES / f'{name}.csv'
  if not path.exists():
    pytest.skip(f'needs {path}')
  scores = {}
  with path.open() as file:
    for row in csv.DictReader(file):
      try:
        game = games.canonical_game(row['game'])
      except ValueError:
        continue  # Not one of the 26.
      score = games.human_normalized_score(game, float(row['GameScoreAverage']))
      scores.setdefault(game, []).append(float(score))
  return scores


def random_scores(rng, sizes):
  return {f'game{i}': rng.gamma(1, 1, size) for i, size in enumerate(sizes)}


def resampled(scores, counts):
  """The scores of each game as often as they count."""
  replicate, start = {}, 0
  for game, values in scores.items():
    stop = start + len(values)
    replicate[game] = np.repeat(values, counts[start:stop])
    start = stop
  return replicate


def slow_aggregates(scores):
  """The definitions, with SciPy, for games of equally many runs."""
  table = np.stack(list(scores.values()))
  return {
    'iqm': stats.trim_mean(table, 0.25, axis=None),
    'median': np.median(table.mean(axis=1)),
    'mean': table.mean(),
    'optimality_gap': np.maximum(1 - table, 0).mean(),
  }


@pytest.mark.parametrize(
  ('name', 'expected'),
  [
    ('RR2_BBF', ['0.940', '0.755', '2.175', '0.377']),
    ('RR2_BBF-SPR', ['0.826', '0.711', '1.737', '0.397']),
  ],
)
def test_released_scores_aggregate_to_what_is_published(name, expected):
  values = aggregates.aggregate(released_scores(name))
  assert [f'{values[m]:.3f}' for m in aggregates.METRICS] == expected


def test_four_scores_by_hand():
  # Of four runs one is cut at each end: the middle ones are 0.5 and 1.
  scores = {'Pong': [0.0, 1.0], 'Breakout': [0.5, 3.0]}
  values = aggregates.aggregate(scores)
  assert values == {
    'iqm': 0.75,
    'median': (0.5 + 1.75) / 2,
    'mean': (0.5 + 1.75) / 2,
    'optimality_gap': (1 + 0 + 0.5 + 0) / 4,
  }


@given(
  num_games=st.integers(1, 8),
  runs=st.integers(1, 9),
  seed=st.integers(0, 2**32 - 1),
)
def test_aggregates_are_those_of_the_definitions(num_games, runs, seed):
  scores = random_scores(np.random.default_rng(seed), [runs] * num_games)
  values = aggregates.aggregate(scores)
  expected = slow_aggregates(scores)
  for name in aggregates.METRICS:
    np.testing.assert_allclose(values[name], expected[name], rtol=1e-12)


@given(
  sizes=st.lists(st.integers(1, 6), min_size=1, max_size=6),
  seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None)
def test_a_replicate_is_the_aggregate_of_its_runs(sizes, seed):
  rng = np.random.default_rng(seed)
  scores = random_scores(rng, sizes)
  counts = aggregates.bootstrap_counts(scores, rng, 7)
  values = aggregates.aggregate(scores, counts)
  thresholds = [0.0, 0.3, 1.0, 2.5]
  profile = aggregates.performance_profile(scores, thresholds, counts)
  for i in range(7):
    replicate = resampled(scores, counts[i])
    expected = aggregates.aggregate(replicate)
    for name in aggregates.METRICS:
      np.testing.assert_allclose(values[name][i], expected[name], rtol=1e-9)
    shares = [
      np.mean([np.mean(x > t) for x in replicate.values()]) for t in thresholds
    ]
    np.testing.assert_allclose(profile[i], shares, atol=1e-12)


def test_every_game_weighs_the_same_however_many_runs_it_has():
  few = {'Pong': [0.0, 0.4, 0.8, 1.2], 'Breakout': [1.0, 2.0, 3.0, 4.0]}
  # The same distributions, one of them known from three times as many runs.
  many = {'Pong': np.repeat(few['Pong'], 3), 'Breakout': few['Breakout']}
  expected, values = aggregates.aggregate(few), aggregates.aggregate(many)
  for name in aggregates.METRICS:
    np.testing.assert_allclose(values[name], expected[name], rtol=1e-12)
  thresholds = np.linspace(0, 4, 9)
  np.testing.assert_allclose(
    aggregates.performance_profile(many, thresholds),
    aggregates.performance_profile(few, thresholds),
    atol=1e-12,
  )


def test_counts_keep_the_number_of_runs_of_each_game():
  scores = random_scores(np.random.default_rng(0), [2, 5, 1])
  counts = aggregates.bootstrap_counts(scores, np.random.default_rng(0), 1000)
  assert counts.shape == (1000, 8)
  per_game = np.add.reduceat(counts, [0, 2, 7], axis=1)
  np.testing.assert_array_equal(per_game, np.tile([2, 5, 1], (1000, 1)))


def test_counts_are_those_of_drawing_with_replacement():
  scores = {'Pong': np.zeros(5)}
  counts = aggregates.bootstrap_counts(scores, np.random.default_rng(0), 40_000)
  for column in counts.T:
    # A run is drawn Binomial(5, 1/5) times.
    expected = 40_000 * stats.binom(5, 0.2).pmf(np.arange(6))
    observed = np.bincount(column, minlength=6)
    # The last two classes together, since the last is expected 13 times.
    observed = np.append(observed[:4], observed[4:].sum())
    expected = np.append(expected[:4], expected[4:].sum())
    assert stats.chisquare(observed, expected).pvalue > 1e-3
  correlation = np.corrcoef(counts[:, 0], counts[:, 1])[0, 1]
  assert correlation == pytest.approx(-0.25, abs=0.02)  # -1 / (5 - 1)


def test_more_runs_than_a_byte_counts():
  scores = {'Pong': np.arange(300.0)}
  counts = aggregates.bootstrap_counts(scores, np.random.default_rng(0), 10)
  np.testing.assert_array_equal(counts.sum(axis=1), 300)
  mean = aggregates.aggregate(scores, counts)['mean']
  np.testing.assert_allclose(mean, counts @ np.arange(300.0) / 300)


def test_the_same_seed_gives_the_same_intervals_everywhere():
  # Recorded digits: they must not depend on machine, BLAS or NumPy's version.
  x = {f'game{i}': 0.1 * np.arange(i, i + 5) ** 2 for i in range(6)}
  y = {game: values + 0.3 for game, values in x.items()}
  estimates = aggregates.aggregate_estimates(x, np.random.default_rng(7), 1000)
  digits = {
    name: [f'{float(number):.12f}' for number in estimate]
    for name, estimate in estimates.items()
  }
  assert digits == RECORDED
  counts = [
    aggregates.bootstrap_counts(s, np.random.default_rng(i), 1000)
    for i, s in enumerate((x, y))
  ]
  low, high = aggregates.interval(
    aggregates.probability_of_improvement(x, y, *counts)
  )
  assert [f'{low:.12f}', f'{high:.12f}'] == RECORDED_IMPROVEMENT


RECORDED = {
  'iqm': ['2.125000000000', '1.631093750000', '2.756406250000'],
  'median': ['2.250000000000', '1.520000000000', '2.970000000000'],
  'mean': ['2.516666666667', '2.046666666667', '3.053416666667'],
  'optimality_gap': ['0.166666666667', '0.080000000000', '0.253333333333'],
}
RECORDED_IMPROVEMENT = ['0.240000000000', '0.540000000000']


def test_the_blocks_do_not_show(monkeypatch):
  rng = np.random.default_rng(0)
  scores = random_scores(rng, [3, 4])
  counts = aggregates.bootstrap_counts(scores, rng, 50)
  whole = aggregates.aggregate(scores, counts)
  monkeypatch.setattr(aggregates, '_BLOCK', 21)
  pieces = aggregates.aggregate(scores, counts.reshape(5, 10, 7))
  for name in aggregates.METRICS:
    np.testing.assert_array_equal(pieces[name].ravel(), whole[name])


def test_probability_of_improvement_is_that_of_all_pairs():
  rng = np.random.default_rng(0)
  x = {f'game{i}': rng.integers(0, 4, n) for i, n in enumerate([3, 5, 2])}
  y = {f'game{i}': rng.integers(0, 4, n) for i, n in enumerate([4, 5, 1])}
  expected = np.mean(
    [np.mean([(a > b) + 0.5 * (a == b) for a in x[g] for b in y[g]]) for g in x]
  )
  assert aggregates.probability_of_improvement(x, y) == pytest.approx(expected)
  # Ties count half on both sides.
  backwards = aggregates.probability_of_improvement(y, x)
  assert backwards == pytest.approx(1 - expected)


def test_probability_of_improvement_of_replicates():
  rng = np.random.default_rng(0)
  x, y = random_scores(rng, [3, 5]), random_scores(rng, [4, 2])
  counts = [aggregates.bootstrap_counts(s, rng, 9) for s in (x, y)]
  values = aggregates.probability_of_improvement(x, y, *counts)
  for i in range(9):
    expected = aggregates.probability_of_improvement(
      resampled(x, counts[0][i]), resampled(y, counts[1][i])
    )
    assert values[i] == pytest.approx(expected)


def test_the_order_of_games_does_not_matter_to_improvement():
  rng = np.random.default_rng(0)
  x, y = random_scores(rng, [3, 5]), random_scores(rng, [4, 2])
  backwards = dict(reversed(y.items()))
  assert aggregates.probability_of_improvement(
    x, backwards
  ) == aggregates.probability_of_improvement(x, y)


@pytest.mark.parametrize(
  ('scores', 'message'),
  [
    ({}, 'there are no scores'),
    ({'Pong': []}, 'Pong has no scores'),
    ({'Pong': [1.0, np.nan]}, 'Pong has a score that is not a finite number'),
    ({'Pong': [np.inf]}, 'Pong has a score that is not a finite number'),
  ],
)
def test_bad_scores_are_named(scores, message):
  with pytest.raises(ValueError, match=f'^{message}$'):
    aggregates.aggregate(scores)


def test_other_games_are_named():
  with pytest.raises(ValueError, match=r'^only one of the methods has Pong$'):
    aggregates.probability_of_improvement(
      {'Pong': [1], 'Breakout': [1]}, {'Breakout': [1]}
    )


def test_counts_of_another_shape_are_refused():
  with pytest.raises(ValueError, match=r'shape \[\.\.\., 2\], not \[3\]'):
    aggregates.aggregate({'Pong': [1, 2]}, [1, 1, 1])


@pytest.fixture(scope='module')
def rliable_library():
  return pytest.importorskip('rliable.library', exc_type=Exception)


@pytest.mark.parametrize('name', ['RR2_BBF', 'RR2_BBF-SPR'])
def test_intervals_agree_with_rliable(rliable_library, name):
  from rliable import metrics

  scores = released_scores(name)
  table = np.stack(list(scores.values()), axis=1)  # [runs, games]
  theirs = [
    metrics.aggregate_iqm,
    metrics.aggregate_median,
    metrics.aggregate_mean,
    metrics.aggregate_optimality_gap,
  ]
  np.random.seed(0)  # The only source of randomness that rliable hears.
  points, intervals = rliable_library.get_interval_estimates(
    {name: table}, lambda x: np.array([f(x) for f in theirs]), reps=2000
  )
  estimates = aggregates.aggregate_estimates(
    scores, np.random.default_rng(0), REPLICATES
  )
  for i, metric in enumerate(aggregates.METRICS):
    value, low, high = estimates[metric]
    assert value == pytest.approx(points[name][i], rel=1e-12)
    # Both ends are random: with 2000 replicates an end has a standard error of
    # sqrt(.025 * .975 / 2000) / density, a tenth of a normal's deviation.
    deviation = (high - low) / 3.92
    assert abs(low - intervals[name][0, i]) < 0.4 * deviation
    assert abs(high - intervals[name][1, i]) < 0.4 * deviation


def test_improvement_and_profiles_agree_with_rliable(rliable_library):
  from rliable import metrics

  x, y = released_scores('RR2_BBF'), released_scores('RR2_BBF-SPR')
  x_table, y_table = (
    np.stack([scores[game] for game in x], axis=1) for scores in (x, y)
  )
  np.random.seed(0)
  points, intervals = rliable_library.get_interval_estimates(
    {'pair': (x_table, y_table)}, metrics.probability_of_improvement, reps=500
  )
  value = aggregates.probability_of_improvement(x, y)
  assert value == pytest.approx(points['pair'], rel=1e-12)
  rng = np.random.default_rng(0)
  counts = [aggregates.bootstrap_counts(s, rng, REPLICATES) for s in (x, y)]
  low, high = aggregates.interval(
    aggregates.probability_of_improvement(x, y, *counts)
  )
  deviation = (high - low) / 3.92
  assert abs(low - intervals['pair'][0, 0]) < 0.6 * deviation
  assert abs(high - intervals['pair'][1, 0]) < 0.6 * deviation

  thresholds = np.linspace(0, 8, 41)
  profiles, _ = rliable_library.create_performance_profile(
    {'x': x_table}, thresholds, reps=10
  )
  np.testing.assert_allclose(
    aggregates.performance_profile(x, thresholds), profiles['x'], atol=1e-12
  )


@pytest.mark.parametrize('runs', [3, 5, 10])
def test_intervals_cover_the_truth_as_often_as_theory_says(runs):
  # Normal scores around levels that are symmetric about 0, which so is the true
  # mean, median and interquartile mean. The bootstrap takes the sample's
  # deviation for the population's, so its 95% interval is 1.96 *
  # sqrt((runs - 1) / runs) deviations wide on each side.
  rng = np.random.default_rng(runs)
  levels, simulations = np.linspace(-1, 1, 26), 1000
  covered = {'mean': 0, 'iqm': 0, 'median': 0}
  for _ in range(simulations):
    table = levels[:, None] + rng.normal(size=(26, runs))
    scores = {str(game): row for game, row in enumerate(table)}
    estimates = aggregates.aggregate_estimates(scores, rng, 1000)
    for name in covered:
      covered[name] += bool(estimates[name].low <= 0 <= estimates[name].high)
  theory = 2 * stats.norm.cdf(1.96 * np.sqrt((runs - 1) / runs)) - 1
  allowed = 3 * np.sqrt(theory * (1 - theory) / simulations)
  for name in ('mean', 'iqm'):
    assert covered[name] / simulations == pytest.approx(theory, abs=allowed)
  # Resampled medians jump from game to game: a wider interval.
  assert covered['median'] / simulations > theory


def test_single_runs_have_no_interval():
  scores = {'Pong': [0.5], 'Breakout': [1.0]}
  estimates = aggregates.aggregate_estimates(scores, np.random.default_rng(0))
  value, low, high = estimates['mean']
  assert value == 0.75
  assert np.isnan([low, high]).all()


def test_episodes_are_no_runs():
  with pytest.raises(ValueError, match=r'Pong must have one .* \[2, 3\]$'):
    aggregates.aggregate({'Pong': np.zeros((2, 3))})
