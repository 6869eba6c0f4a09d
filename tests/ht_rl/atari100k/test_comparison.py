"""Comparisons, against scipy, theory and simulations with a known truth."""

import dataclasses

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
import scipy.stats

from ht_rl import atari100k
from ht_rl.atari100k import comparison as comparison_lib
from ht_rl.atari100k import score_files
from ht_rl.atari100k.aggregates import METRICS, Estimate, aggregate
from ht_rl.atari100k.power import BBF_SPREAD, plan, plan_sentence
from ht_rl.atari100k.runs import by_method
from tests import shared_data

SCORES = shared_data.FOLDER / 'scores'
SLOPE = {
  game: human - random
  for game, (random, human) in atari100k.REFERENCE_SCORES.items()
}


def in_points(normalized):
  return {
    game: atari100k.REFERENCE_SCORES[game].random + SLOPE[game] * values
    for game, values in normalized.items()
  }


def draw(rng, runs, shift=0.0, noise=0.3, skewed=False):
  """Normalised scores of games at levels from 0 to 3; the truth is known."""
  levels = np.linspace(0, 3, 26)
  sample = rng.exponential(size=(26, runs)) - 1 if skewed else None
  if sample is None:
    sample = rng.normal(size=(26, runs))
  values = shift + levels[:, None] + noise * sample
  return dict(zip(atari100k.GAMES, values, strict=True))


def summary_of(**normalized):
  return atari100k.summarize(
    {name: in_points(scores) for name, scores in normalized.items()},
    replicates=100,
  )


def compare(x, y, **settings):
  return atari100k.compare(summary_of(x=x, y=y), 'x', 'y', **settings)


@pytest.fixture(scope='module')
def pair():
  rng = np.random.default_rng(0)
  return draw(rng, 5, 0.1), draw(rng, 7)


class TestDifferences:
  def test_values(self, pair):
    compared = compare(*pair)
    x, y = (np.array(list(scores.values())) for scores in pair)
    expected = {
      'iqm': scipy.stats.trim_mean(x, 0.25, axis=None)
      - scipy.stats.trim_mean(y, 0.25, axis=None),
      'median': np.median(x.mean(1)) - np.median(y.mean(1)),
      'mean': x.mean() - y.mean(),
      'optimality_gap': np.minimum(y, 1).mean() - np.minimum(x, 1).mean(),
    }
    assert list(compared.differences) == list(METRICS)
    for name, value in expected.items():
      np.testing.assert_allclose(
        compared.differences[name].value, value, rtol=1e-9
      )
    wins = [np.mean(a[:, None] > b) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(compared.improvement.value, np.mean(wins))
    # 5 and 7 runs: the first five of each count.
    wins = int(np.sum(x.mean(1) > y[:, :5].mean(1)))
    assert compared.sign_test[:2] == (wins, 26 - wins)
    assert (compared.runs, len(compared.games)) == (5, 26)

  def test_the_interval_of_the_mean_is_that_of_theory(self, pair):
    compared = compare(*pair, replicates=40_000)
    variance = sum(
      np.var(values, ddof=1) / len(values)
      for scores in pair
      for values in scores.values()
    )
    half_width = 1.96 * np.sqrt(variance) / 26
    value, low, high = compared.differences['mean']
    np.testing.assert_allclose(high - value, half_width, rtol=0.04)
    np.testing.assert_allclose(value - low, half_width, rtol=0.04)

  def test_the_other_way_round(self, pair):
    summary = summary_of(x=pair[0], y=pair[1])
    there = atari100k.compare(summary, 'x', 'y')
    back = atari100k.compare(summary, 'y', 'x')
    for name in METRICS:
      value, low, high = there.differences[name]
      np.testing.assert_allclose(back.differences[name], (-value, -high, -low))
    assert back.sign_test[:2] == there.sign_test[1::-1]
    assert back.sign_test.p == there.sign_test.p
    np.testing.assert_allclose(back.detectable, there.detectable)

  def test_the_same_seed_gives_the_same_numbers(self, pair):
    first, again = compare(*pair), compare(*pair)
    assert first.differences == again.differences
    assert first.runs_needed == again.runs_needed

  def test_equal_scores_are_not_won(self):
    scores = {game: np.array([1.0, 2.0]) for game in atari100k.GAMES}
    compared = compare(scores, scores)
    assert compared.sign_test == (0, 0, 1.0)
    assert compared.runs_needed is None
    assert float(compared.improvement.value) == 0.5


class TestRescaledCounts:
  def test_a_mean_varies_as_theory_says(self):
    values = np.array([0.3, 1.7, 2.2, 9.0])
    rng = np.random.default_rng(0)
    counts = comparison_lib.rescaled_counts({'Pong': values}, rng, 100_000)
    assert set(np.unique(counts * 3 / 4)) == {0, 1, 2, 3}
    np.testing.assert_allclose(counts.sum(1), 4, rtol=1e-6)
    means = counts @ values / 4
    np.testing.assert_allclose(means.mean(), values.mean(), rtol=0.01)
    np.testing.assert_allclose(
      means.var(), np.var(values, ddof=1) / 4, rtol=0.02
    )

  def test_one_run_is_always_drawn(self):
    rng = np.random.default_rng(0)
    scores = {'Pong': [1.0], 'Hero': [1.0, 2.0]}
    counts = comparison_lib.rescaled_counts(scores, rng, 50)
    assert counts[:, 0].tolist() == [1] * 50
    assert set(counts[:, 1].tolist()) == {0, 2}


class TestSimulations:
  """Seeded: the shares are the same on every run."""

  @pytest.mark.parametrize(
    ('runs', 'skewed'), [(2, False), (3, False), (5, False), (5, True)]
  )
  def test_intervals_contain_the_truth(self, runs, skewed):
    rng = np.random.default_rng([runs, skewed])
    held, simulations = np.zeros(3), 300
    for _ in range(simulations):
      x, y = draw(rng, runs, 0.2, skewed=skewed), draw(rng, runs, skewed=skewed)
      counts, others = (
        comparison_lib.rescaled_counts(scores, rng, 400) for scores in (x, y)
      )
      drawn, other_drawn = aggregate(x, counts), aggregate(y, others)
      for i, name in enumerate(('iqm', 'median', 'mean')):
        ends = atari100k.interval(drawn[name] - other_drawn[name])
        held[i] += ends[0] <= 0.2 <= ends[1]
    # Two standard errors of a share of 300 are 0.025. Without the correction
    # the shares of IQM and mean are 0.90 or less. The median's are less exact.
    assert 0.925 <= held[0] / simulations <= 0.975  # IQM
    assert 0.89 <= held[1] / simulations <= 0.995  # median
    assert 0.925 <= held[2] / simulations <= 0.975  # mean

  def test_a_detectable_difference_is_found_as_often_as_said(self):
    rng = np.random.default_rng(1)
    pilot = draw(rng, 6), draw(rng, 6)
    detectable = compare(*pilot).detectable
    found, simulations = 0, 300
    for _ in range(simulations):
      x, y = draw(rng, 6, detectable), draw(rng, 6)
      counts, others = (
        comparison_lib.rescaled_counts(scores, rng, 400) for scores in (x, y)
      )
      drawn = aggregate(x, counts)['iqm'] - aggregate(y, others)['iqm']
      found += atari100k.interval(drawn)[0] > 0
    assert 0.72 <= found / simulations <= 0.9


class TestPower:
  def test_runs_needed_are_those_of_fresh_experiments(self, pair):
    compared = compare(*pair, difference=0.08)
    rng = np.random.default_rng(5)
    fresh = [
      scipy.stats.trim_mean(list(draw(rng, 20).values()), 0.25, axis=None)
      for _ in range(2000)
    ]
    one_run = np.std(fresh) * np.sqrt(20)
    needed = 2 * ((1.96 + 0.842) * one_run / 0.08) ** 2
    # The pair's own spread is an estimate from 5 and 7 runs of 26 games.
    assert 0.7 * needed <= compared.runs_needed <= 1.4 * needed
    assert compared.target == 0.08

  def test_power_grows_to_what_is_wanted(self, pair):
    compared = compare(*pair, difference=0.08, power=0.9)
    assert np.all(np.diff(compared.power) > -0.02)
    reached = np.interp(
      compared.runs_needed, compared.power_runs, compared.power
    )
    assert reached == pytest.approx(0.9, abs=0.03)
    assert compared.power_runs[0] == 2

  def test_too_small_a_difference(self, pair):
    compared = compare(*pair, difference=1e-4)
    assert compared.runs_needed is None
    assert compared.sentences[1] == (
      'To detect an IQM difference of 0.000 with 80% power, each method needs '
      'more than 1,000 runs of each game.'
    )

  def test_no_difference(self, pair):
    compared = compare(pair[0], pair[0])
    assert compared.sentences[1] == (
      'The observed IQM difference is 0; name the one that matters '
      '(`difference`, or --detect) to see how many runs it takes.'
    )

  def test_more_runs_detect_less(self, pair):
    few = compare(*({g: v[:3] for g, v in s.items()} for s in pair))
    assert compare(*pair).detectable < few.detectable


class TestPlan:
  def test_by_hand(self):
    z = scipy.stats.norm.ppf(0.975) + scipy.stats.norm.ppf(0.8)
    expected = z * BBF_SPREAD * np.sqrt(2 / 5)
    assert plan(5).detectable == pytest.approx(expected, rel=1e-9)
    z = scipy.stats.norm.ppf(0.95) + scipy.stats.norm.ppf(0.9)
    made = plan(20, power=0.9, confidence=0.9)
    expected = z * BBF_SPREAD * np.sqrt(2 / 20)
    assert made.detectable == pytest.approx(expected, rel=1e-9)
    assert plan_sentence(plan(5), 26).startswith(
      '5 runs of each of 26 games detect an IQM difference of about 0.25'
    )

  def test_a_pilot(self):
    pilot = draw(np.random.default_rng(0), 30)
    rng = np.random.default_rng(1)
    fresh = [
      scipy.stats.trim_mean(list(draw(rng, 4).values()), 0.25, axis=None)
      for _ in range(2000)
    ]
    expected = 2.8016 * np.sqrt(2) * np.std(fresh)
    assert plan(4, pilot).detectable == pytest.approx(expected, rel=0.1)

  @pytest.mark.parametrize(
    ('arguments', 'message'),
    [
      ((1,), 'at least 2 runs, not 1'),
      ((5, {'Pong': [1.0]}), 'two runs of each game; Pong has fewer'),
    ],
  )
  def test_wrong_arguments(self, arguments, message):
    with pytest.raises(ValueError, match=message):
      plan(*arguments)


class TestSentences:
  def test_apart(self, pair):
    verdict, runs, detectable = compare(*pair).sentences
    assert verdict.startswith(
      'The data tell them apart: x has the higher IQM (95% interval [0.0'
    )
    assert runs.startswith('To detect an IQM difference of 0.')
    assert detectable.startswith('5 runs of each of 26 games detect an ')

  def test_not_apart(self):
    rng = np.random.default_rng(3)
    x, y = draw(rng, 3, 0.02), draw(rng, 3)
    verdict, runs, _ = compare(x, y).sentences
    assert verdict.startswith(
      'The data do not tell them apart: the 95% interval [-0.'
    )
    assert verdict.endswith('of the IQM difference contains 0.')
    assert 'more than there are.' in runs

  def test_one_run_of_a_game(self, pair):
    x = {**pair[0], 'Pong': pair[0]['Pong'][:1]}
    compared = compare(x, pair[1])
    wins, losses, p = compared.sign_test
    assert p > 0.05
    assert compared.sentences == (
      f'The data do not tell them apart: x is better on {wins} of 26 games and '
      f'worse on {losses} (sign test, p = {p:.2g}).',
      'Where one method has more runs of a game, the sign test takes the first '
      'ones, as many of both.',
      'There are no intervals of the difference: with one run of a game the '
      'variation between runs is unknown.',
    )
    assert np.isnan(compared.differences['iqm'].low)
    assert np.isfinite(compared.differences['iqm'].value)
    assert np.isnan(compared.detectable)
    assert compared.better is None

  def test_the_first_runs_do_not_outvote_all_others(self, pair):
    # x has one run of each game, above the first but below the others of y.
    x = {game: of[:1] for game, of in pair[0].items()}
    y = {game: np.append(of - 1, [of + 1000] * 4) for game, of in x.items()}
    compared = compare(x, y)
    assert compared.sign_test[:2] == (26, 0)
    assert compared.better is None
    assert compared.sentences[0] == (
      'The data do not tell them apart: x is better on 26 of 26 games and '
      'worse on 0 (sign test, p < 0.001), but its IQM is lower.'
    )
    back = atari100k.compare(summary_of(x=x, y=y), 'y', 'x')
    assert back.better is None
    assert back.sentences[0].endswith('p < 0.001), but its IQM is higher.')

  @pytest.mark.parametrize(
    ('low', 'high', 'shown'),
    [
      (0.00031, 0.0151, '[0.0003, 0.015]'),
      (-0.00026, 0.0151, '[-0.0003, 0.015]'),
    ],
  )
  def test_the_end_that_decides_is_not_rounded_away(
    self, low, high, shown, pair
  ):
    compared = compare(*pair)
    iqm = Estimate(np.array(0.008), np.array(low), np.array(high))
    changed = dataclasses.replace(compared, differences={'iqm': iqm})
    assert shown in changed.sentences[0]
    assert ('do not' in changed.sentences[0]) == (low < 0)

  def test_one_run_of_each_game_tells_apart(self, pair):
    y = {game: of[:1] for game, of in pair[1].items()}
    x = {game: of + 1 for game, of in y.items()}
    x['Pong'] = y['Pong'] - 1
    sentence = (
      'The data tell them apart: x is better on 25 of 26 games and worse on 1 '
      '(sign test, p < 0.001).'
    )
    there = compare(x, y)
    back = atari100k.compare(summary_of(x=x, y=y), 'y', 'x')
    for compared in (there, back):
      assert compared.sentences[0] == sentence
      assert compared.better == 'x'


class TestSignTest:
  @given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 3))
  def test_is_the_exact_binomial_test(self, wins, losses, ties):
    signs = [1] * wins + [-1] * losses + [0] * ties
    found = comparison_lib.sign_test(
      {str(i): np.array([5.0 + sign]) for i, sign in enumerate(signs)},
      {str(i): np.array([5.0]) for i in range(len(signs))},
    )
    assert found[:2] == (wins, losses)
    if wins + losses:
      expected = scipy.stats.binomtest(wins, wins + losses).pvalue
      assert found.p == pytest.approx(expected, rel=1e-12)
    else:
      assert found.p == 1

  @given(st.permutations([0.1, 0.2, 0.3, 0.7, 1e17]))
  def test_equal_scores_in_another_order_are_a_tie(self, order):
    x = {'Pong': np.array([0.1, 0.2, 0.3, 0.7, 1e17])}
    assert comparison_lib.sign_test(x, {'Pong': np.array(order)}) == (0, 0, 1.0)

  def test_ties_do_not_count(self):
    y = {game: np.array([1.0]) for game in atari100k.GAMES}
    x = {game: of + (i < 6) for i, (game, of) in enumerate(y.items())}
    assert compare(x, y).sentences[0] == (
      'The data tell them apart: x is better on 6 of 26 games and worse on 0 '
      '(sign test, p = 0.031).'
    )

  def test_as_many_runs_of_both_count(self):
    x, y = {'Pong': np.array([1.0, 1.0])}, {'Pong': np.array([0.0])}
    assert comparison_lib.sign_test(x, y)[:2] == (1, 0)
    y = {'Pong': np.array([0.0, 2.0, 9.0])}
    assert comparison_lib.sign_test(x, y)[:2] == (0, 0)


@pytest.mark.parametrize(
  ('names', 'settings', 'message'),
  [
    (('x', 'z'), {}, "no method 'z': there are x, y, one, means"),
    (('mean', 'x'), {}, "there is no method 'mean': did you mean means?"),
    (('x', 'means'), {}, 'means has no scores of single runs'),
    (('x', 'x'), {}, '^name two different methods; both are x$'),
    (('x', 'y'), {'power': 0.5}, 'above 0.5 and below 1, not 0.5'),
    (('x', 'y'), {'power': 1}, 'above 0.5 and below 1, not 1'),
    (('x', 'y'), {'difference': 0}, 'a finite number other than 0, not 0$'),
    (
      ('x', 'y'),
      {'difference': np.nan},
      'a finite number other than 0, not nan$',
    ),
    (('x', 'one'), {'difference': 0.1}, 'needs two runs of each game'),
  ],
)
def test_wrong_arguments(pair, names, settings, message):
  means = {game: float(np.mean(x)) for game, x in pair[0].items()}
  summary = atari100k.summarize(
    {
      'x': in_points(pair[0]),
      'y': in_points(pair[1]),
      'one': {game: of[:1] for game, of in in_points(pair[0]).items()},
    },
    means={'means': means},
    replicates=100,
  )
  with pytest.raises(ValueError, match=message):
    atari100k.compare(summary, *names, **settings)


def test_the_worth_of_spr_in_the_released_runs():
  paths = [SCORES / f'{name}.csv' for name in ('RR2_BBF', 'RR2_BBF-SPR')]
  if not all(path.exists() for path in paths):
    pytest.skip(f'{paths[0]} is not here')
  summary = atari100k.summarize(
    by_method(score_files.read(paths).runs), replicates=100
  )
  compared = atari100k.compare(summary, 'RR2_BBF', 'RR2_BBF-SPR')
  # The paper's Table 1 prints 0.940 and 0.826.
  assert compared.differences['iqm'].value == pytest.approx(0.114, abs=1e-3)
  assert compared.better == 'RR2_BBF'
  assert compared.sign_test[:2] == (16, 10)
  assert 17 <= compared.runs_needed <= 26
  for method in summary.methods:
    pilot = plan(5, method.normalized).detectable
    assert plan(5).detectable == pytest.approx(pilot, rel=0.15)
