r"""Comparison of two methods: differences, and the number of runs they take.

The methods are paired by game and their runs are independent. A replicate
resamples the runs of each game of both methods and takes the difference of the
aggregates.

The intervals correct for few runs. Of the :math:`n` runs of a game a replicate
draws :math:`n-1` and weighs each with :math:`n/(n-1)`, so that the variance of
a game's mean is :math:`s^2/n` with the unbiased :math:`s^2`. (With :math:`n`
draws it is smaller by :math:`(n-1)/n`, and the intervals are too narrow.)

One run of a game cannot be resampled. What is left is the sign test. In each
game it compares the first runs, as many of both methods. It decides nothing
where the IQM of all runs says the opposite. If the methods are
equal in every game, each game is a fair coin. So :math:`w` wins of :math:`n`
games, without ties, have the two-sided

.. math::

  p = \min\Bigl(1,\; 2^{1-n} \sum_{k=\max(w, n-w)}^{n} \binom{n}{k}\Bigr)

References:
  Arbuthnott, 1710, "An Argument for Divine Providence".
  Rao and Wu, 1988, "Resampling Inference with Complex Survey Data".
  Agarwal et al., 2021, "Deep Reinforcement Learning at the Edge of the
  Statistical Precipice".
"""

from collections.abc import Mapping
import dataclasses
import difflib
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ht_rl.atari100k.aggregates import (
  METRICS,
  Estimate,
  aggregate,
  draw_counts,
  format_number,
  interval,
  probability_of_improvement,
)
from ht_rl.atari100k.power import (
  MAX_RUNS,
  POWER,
  Plan,
  Resampled,
  check_power,
  plan_sentence,
  power_grid,
)
from ht_rl.atari100k.summary import Method, Summary

_REPLICATES = 10_000


class SignTest(NamedTuple):
  """Wins and losses of the first method, over games.

  Attributes:
    wins: number of games in which it has the higher mean.
    losses: number of games in which the second one has.
    p: the two-sided p-value, in [0, 1], if the methods are equal in every game.
  """

  wins: int
  losses: int
  p: float


@dataclasses.dataclass(frozen=True)
class Comparison:
  """Two methods, paired by game.

  Attributes:
    first: name of the first method.
    second: name of the second method.
    games: the games that were compared.
    sign_test: on how many of them which method has the higher mean.
    runs: the fewest runs of a game of either method.
    is_balanced: whether both methods have as many runs of each game.
    differences: by the names of `aggregates.METRICS`, first minus second. The
      ends of the intervals are NaN if a game has one run.
    improvement: probability that a run of the first method beats one of the
      second on a random game.
    target: the IQM difference for which `runs_needed` and `power` are given.
    power: for each number of runs of `power_runs`, the probability that the
      interval of the IQM difference excludes 0 on the right side, float64
      [numbers].
    power_runs: numbers of runs of a game, int64 [numbers].
    runs_needed: runs of each game and method with which that probability is
      `wanted_power`; None if it is more than `MAX_RUNS` or unknown.
    detectable: the IQM difference that `runs` runs tell apart with
      `wanted_power`; NaN if unknown.
    wanted_power: as it was asked for.
    confidence: of the intervals.
  """

  first: str
  second: str
  games: tuple[str, ...]
  sign_test: SignTest
  runs: int
  is_balanced: bool
  differences: Mapping[str, Estimate]
  improvement: Estimate
  target: float
  power: np.ndarray
  power_runs: np.ndarray
  runs_needed: int | None
  detectable: float
  wanted_power: float
  confidence: float

  @property
  def has_intervals(self) -> bool:
    """Whether there are runs to resample."""
    return bool(np.isfinite(self.differences['iqm'].low))

  @property
  def better(self) -> str | None:
    """The better method, or None if the data do not tell the two apart.

    The interval of the IQM difference decides; where a game has one run, the
    sign test, unless the IQM says the opposite.
    """
    value, low, high = (float(x) for x in self.differences['iqm'])
    if self.has_intervals:
      is_decided, is_first = low > 0 or high < 0, value > 0
    else:
      wins, losses, p = self.sign_test
      is_opposite = value * (wins - losses) < 0
      is_decided = p < 1 - self.confidence and not is_opposite
      is_first = wins > losses
    if not is_decided:
      return None
    return self.first if is_first else self.second

  @property
  def sentences(self) -> tuple[str, ...]:
    """Returns what the data say, in words."""
    if not self.has_intervals:
      return self._sentences_of_single_runs()
    _, low, high = (float(x) for x in self.differences['iqm'])
    shown = f'{_end(low)}, {_end(high)}'
    ends = f'{100 * self.confidence:g}% interval [{shown}]'
    if self.better:
      verdict = (
        f'The data tell them apart: {self.better} has the higher IQM ({ends} '
        'of the difference).'
      )
    else:
      verdict = (
        f'The data do not tell them apart: the {ends} of the IQM difference '
        'contains 0.'
      )
    return (verdict, self._runs_sentence(), self._detectable_sentence())

  def _sentences_of_single_runs(self) -> tuple[str, ...]:
    wins, losses, p = self.sign_test
    name, do = self.first, 'do not tell'
    if self.better:
      name, do = self.better, 'tell'
      wins, losses = max(wins, losses), min(wins, losses)
    verdict = (
      f'The data {do} them apart: {name} is better on {wins} of '
      f'{len(self.games)} games and worse on {losses} (sign test, '
      f'{format_p(p)})'
    )
    if p < 1 - self.confidence and not self.better:
      is_higher = float(self.differences['iqm'].value) > 0
      verdict += f', but its IQM is {"higher" if is_higher else "lower"}'
    sentences = [
      f'{verdict}.',
      'There are no intervals of the difference: with one run of a game the '
      'variation between runs is unknown.',
    ]
    if not self.is_balanced:
      sentences.insert(
        1,
        'Where one method has more runs of a game, the sign test takes the '
        'first ones, as many of both.',
      )
    return tuple(sentences)

  def _runs_sentence(self) -> str:
    if not self.target:
      return (
        'The observed IQM difference is 0; name the one that matters '
        '(`difference`, or --detect) to see how many runs it takes.'
      )
    start = (
      f'To detect an IQM difference of {format_number(abs(self.target), 3)} '
      f'with {100 * self.wanted_power:g}% power, each method needs'
    )
    if self.runs_needed is None:
      return f'{start} more than {MAX_RUNS:,} runs of each game.'
    more = self.runs_needed - self.runs
    there = f'{more:,} more than there are' if more > 0 else 'which are there'
    return f'{start} about {self.runs_needed:,} runs of each game, {there}.'

  def _detectable_sentence(self) -> str:
    return plan_sentence(
      Plan(self.runs, self.detectable), len(self.games), self.wanted_power
    )


def compare(
  summary: Summary,
  first: str,
  second: str,
  *,
  difference: float | None = None,
  power: float = POWER,
  replicates: int = _REPLICATES,
) -> Comparison:
  """Compares two methods of a summary, paired by game.

  Each method has its own replicates, seeded by the seed of the summary and the
  method's name.

  >>> from ht_rl import atari100k
  >>> rng = np.random.default_rng(0)
  >>> scores = {
  ...   name: {game: rng.normal(mean, 50, 5) for game in atari100k.GAMES}
  ...   for name, mean in {'mine': 900, 'yours': 850}.items()
  ... }
  >>> summary = atari100k.summarize(scores, replicates=1000)
  >>> comparison = atari100k.compare(summary, 'mine', 'yours')
  >>> print(comparison.sentences[0])
  The data tell them apart: mine has the higher IQM (95% interval [0.005, \
0.018] of the difference).

  Args:
    summary: from `summarize`; its confidence, seed and games are used.
    first: name of a method with runs.
    second: name of another one.
    difference: the IQM difference for which to count the runs needed; None for
      the observed one.
    power: wanted probability that the interval of such a difference excludes 0,
      in (0.5, 1).
    replicates: of the bootstrap.

  Returns:
    The comparison.

  Raises:
    ValueError: a name is not that of a method with runs, an argument is out of
      its range, or a difference is given for single runs.
  """
  check_power(power)
  if difference is not None and not 0 < abs(difference) < np.inf:
    raise ValueError(
      f'difference must be a finite number other than 0, not {difference}'
    )
  if first == second:
    raise ValueError(f'name two different methods; both are {first}')
  x, y = _method(summary, first), _method(summary, second)
  values, other_values = aggregate(x.normalized), aggregate(y.normalized)
  improvement = probability_of_improvement(x.scores, y.scores)
  fewest = min(len(of) for m in (x, y) for of in m.scores.values())
  if fewest == 1 and difference is not None:
    raise ValueError('difference needs two runs of each game')
  observed = float(values['iqm'] - other_values['iqm'])
  target = observed if difference is None else difference
  result = Comparison(
    first=first,
    second=second,
    games=summary.games,
    sign_test=sign_test(x.scores, y.scores),
    runs=fewest,
    is_balanced=all(
      len(of) == len(y.scores[game]) for game, of in x.scores.items()
    ),
    differences={
      name: _unknown(values[name] - other_values[name]) for name in METRICS
    },
    improvement=_unknown(improvement),
    target=target,
    power=np.array([]),
    power_runs=np.array([], np.int64),
    runs_needed=None,
    detectable=np.nan,
    wanted_power=power,
    confidence=summary.confidence,
  )
  if fewest == 1:
    return result
  counts = rescaled_counts(x.scores, _rng(summary, x), replicates)
  other_counts = rescaled_counts(y.scores, _rng(summary, y), replicates)
  drawn = aggregate(x.normalized, counts)
  other_drawn = aggregate(y.normalized, other_counts)
  estimates = {
    name: Estimate(
      values[name] - other_values[name],
      *interval(drawn[name] - other_drawn[name], summary.confidence),
    )
    for name in METRICS
  }
  improvements = probability_of_improvement(
    x.scores, y.scores, counts, other_counts
  )
  resampled = Resampled(
    x.normalized,
    y.normalized,
    lambda runs: (_rng(summary, x, runs), _rng(summary, y, runs)),
    summary.confidence,
  )
  detectable = resampled.detectable(fewest, power)
  needed = resampled.runs_needed(target, power)
  grid = power_grid(max(fewest, needed or MAX_RUNS))
  return dataclasses.replace(
    result,
    differences=estimates,
    improvement=Estimate(
      improvement, *interval(improvements, summary.confidence)
    ),
    power_runs=grid,
    power=np.array([resampled.power(target, int(runs)) for runs in grid]),
    runs_needed=needed,
    detectable=detectable,
  )


def rescaled_counts(
  scores: Mapping[str, ArrayLike], rng: np.random.Generator, replicates: int
) -> np.ndarray:
  """Draws replicates with one draw less than there are runs, rescaled.

  >>> rescaled_counts({'Pong': [1, 2, 3]}, np.random.default_rng(0), 2)
  array([[0. , 1.5, 1.5],
         [1.5, 1.5, 0. ]], dtype=float32)

  Args:
    scores: for each game the scores of its runs; only their number is used. One
      run of a game is always drawn.
    rng: the source of randomness.
    replicates: number of replicates.

  Returns:
    How often each run counts, float32 [replicates, runs], as `aggregate` takes
    it.
  """
  columns = []
  for values in scores.values():
    runs = np.size(values)
    draws = max(1, runs - 1)
    counts = draw_counts(runs, draws, rng, replicates)
    columns.append(counts * np.float32(runs / draws))
  return np.concatenate(columns, axis=1)


def sign_test(
  scores: Mapping[str, np.ndarray], other_scores: Mapping[str, np.ndarray]
) -> SignTest:
  """Counts the games in which a method has the higher mean.

  The means are those of as many runs of both, the first ones: means of
  different numbers of runs need not be a fair coin.

  >>> ones = {game: [1.0, 9.0] for game in 'abcdef'}
  >>> sign_test({**ones, 'a': [0.5]}, {game: [0.5] for game in ones})
  SignTest(wins=5, losses=0, p=0.0625)

  Args:
    scores: for each game the scores of its runs.
    other_scores: those of the other method in the same games.
  """
  signs = []
  for game, of in scores.items():
    runs = min(len(of), len(other_scores[game]))
    # Rounded once, so that equal scores in another order are a tie.
    total, other_total = (
      math.fsum(values[:runs]) for values in (of, other_scores[game])
    )
    signs.append((total > other_total) - (total < other_total))
  wins, losses = signs.count(1), signs.count(-1)
  n = wins + losses
  tail = sum(math.comb(n, k) for k in range(max(wins, losses), n + 1))
  return SignTest(wins, losses, min(1.0, 2 * tail / 2**n))


def _end(value: float) -> str:
  """Returns the end of an interval: not 0 where it is not.

  >>> _end(0.0315), _end(-0.00026), _end(0.0)
  ('0.032', '-0.0003', '0.000')
  """
  is_small = 0 < abs(value) < 0.0005
  return f'{value:.1g}' if is_small else format_number(value, 3)


def format_p(value: float) -> str:
  """Returns a p-value with two significant digits.

  >>> format_p(0.02148), format_p(0.00012)
  ('p = 0.021', 'p < 0.001')
  """
  return 'p < 0.001' if value < 0.001 else f'p = {value:.2g}'


def _method(summary: Summary, name: str) -> Method:
  methods = {method.name: method for method in summary.methods}
  if name not in methods:
    near = difflib.get_close_matches(name, methods, n=1)
    advice = f'did you mean {near[0]}?' if near else 'there are '
    advice += '' if near else ', '.join(methods)
    raise ValueError(f'there is no method {name!r}: {advice}')
  if not methods[name].has_runs:
    raise ValueError(
      f'{name} has no scores of single runs, so it cannot be compared'
    )
  return methods[name]


def _rng(
  summary: Summary, method: Method, runs: int = 0
) -> np.random.Generator:
  return np.random.default_rng([summary.seed, runs, *method.name.encode()])


def _unknown(value: ArrayLike) -> Estimate:
  return Estimate(np.asarray(value), np.array(np.nan), np.array(np.nan))
