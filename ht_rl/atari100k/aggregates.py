"""Aggregates of scores over games, with stratified bootstrap intervals.

Every statistic takes the scores and the number of times that each run counts.
If each run counts once, the result is the point estimate. With the counts of a
stratified bootstrap (`bootstrap_counts`) the result is the statistic of every
replicate, computed at once: the scores are sorted only once.

Agarwal et al. (2021), "Deep Reinforcement Learning at the Edge of the
Statistical Precipice", define the aggregates and recommend the intervals.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

METRICS: tuple[str, ...] = ('iqm', 'median', 'mean', 'optimality_gap')

# Elements of the temporary arrays of one block of replicates, which then stay
# in the cache for any number of replicates.
_BLOCK = 1 << 17


class Estimate(NamedTuple):
  """A statistic and its confidence interval, floats or arrays of one shape."""

  value: np.ndarray
  low: np.ndarray
  high: np.ndarray


def format_number(number: ArrayLike, digits: int) -> str:
  """Formats a number with some decimals; a huge one as a power of ten.

  >>> [format_number(number, 3) for number in (-0.12345, -1e-9, 1e308)]
  ['-0.123', '0.000', '1e+308']
  """
  number = float(np.asarray(number))
  return f'{number:.3g}' if abs(number) >= 1e9 else f'{number:z.{digits}f}'


class _Sample(NamedTuple):
  """The scores of one method, the games' runs one after another.

  Attributes:
    values: float64 [runs].
    starts: where each game's runs begin, int [games].
    sizes: how many runs each game has, int [games].
  """

  values: np.ndarray
  starts: np.ndarray
  sizes: np.ndarray


def aggregate(
  scores: Mapping[str, ArrayLike], counts: ArrayLike | None = None
) -> dict[str, np.ndarray]:
  r"""Returns the four aggregates of a method's scores.

  With :math:`x_{g,i}` the normalised score of run :math:`i` of game :math:`g`
  and the same weight for every game, whatever its number of runs:

  - ``iqm``: the mean of the middle half of all :math:`x_{g,i}`: of :math:`N`
    runs, the lowest and the highest :math:`\lfloor N/4 \rfloor` are cut;
  - ``median``: the median over games of :math:`\bar x_g`, a game's mean;
  - ``mean``: the mean over games of :math:`\bar x_g`;
  - ``optimality_gap``: the mean of :math:`1 - \min(x_{g,i}, 1)`.

  >>> scores = {'Pong': [0.0, 0.2, 0.4, 0.6], 'Breakout': [1.0, 2.0, 3.0, 4.0]}
  >>> {name: round(float(x), 3) for name, x in aggregate(scores).items()}
  {'iqm': 1.0, 'median': 1.4, 'mean': 1.4, 'optimality_gap': 0.35}

  Args:
    scores: for each game the normalised scores of its runs, [runs of the game].
    counts: how often each run counts, [..., runs], the games' runs one after
      another in the order of `scores`; a game's counts must sum to the number
      of its runs. None counts every run once.

  Returns:
    For each of `METRICS` a float64 array of the leading shape of `counts`.

  Raises:
    ValueError: a game has no scores, or one that isn't a number.

  References:
    Agarwal et al., 2021, section 4.3.
  """
  sample = _sample(scores)
  weights = _weights(sample)
  order = np.argsort(sample.values, kind='stable')
  ascending = sample.values[order]
  shortfall = 1 - np.minimum(sample.values, 1)
  runs, games = len(sample.values), len(sample.sizes)
  total = np.sum(weights)
  cut = runs // 4 * total / runs

  def of_block(counts: np.ndarray) -> np.ndarray:
    mass = counts * weights
    below = np.cumsum(mass[:, order], axis=1)
    kept = np.diff(np.clip(below, cut, total - cut), axis=1, prepend=cut)
    game_means = (
      np.add.reduceat(counts * sample.values, sample.starts, axis=1)
      / sample.sizes
    )
    gaps = (
      np.add.reduceat(counts * shortfall, sample.starts, axis=1) / sample.sizes
    )
    return np.stack(
      [
        np.sum(kept * ascending, axis=1) / (total - 2 * cut),
        np.median(game_means, axis=1),
        np.sum(game_means, axis=1) / games,
        np.sum(gaps, axis=1) / games,
      ]
    )

  values = _in_blocks(of_block, _checked_counts(counts, sample))
  return dict(zip(METRICS, values, strict=True))


def aggregate_means(means: Mapping[str, float]) -> dict[str, float]:
  """Returns the two aggregates that follow from the mean score of each game.

  The interquartile mean and the optimality gap are taken over runs. Taken over
  means they are other quantities (0.280 instead of 0.243 for DrQ in Table 8 of
  Lee et al., 2024), so they are left out.

  >>> aggregate_means({'Pong': 0.5, 'Breakout': 1.5})
  {'median': 1.0, 'mean': 1.0}

  Args:
    means: for each game the mean normalised score of its runs.

  Returns:
    `median` and `mean` over the games.
  """
  values = np.array(list(means.values()), np.float64)
  return {'median': float(np.median(values)), 'mean': float(np.mean(values))}


def performance_profile(
  scores: Mapping[str, ArrayLike],
  thresholds: ArrayLike,
  counts: ArrayLike | None = None,
) -> np.ndarray:
  r"""Returns the share of runs that score above each threshold.

  :math:`F(\tau) = \frac 1 G \sum_g \frac 1 {n_g} \sum_i [x_{g,i} > \tau]`

  >>> performance_profile({'Pong': [0.1, 0.6], 'Breakout': [1, 2]}, [0.5, 1])
  array([0.75, 0.25])

  Args:
    scores: for each game the normalised scores of its runs.
    thresholds: normalised scores, [thresholds].
    counts: as in `aggregate`.

  Returns:
    Shares in [0, 1], float64 [..., thresholds].

  Raises:
    ValueError: as `aggregate`.

  References:
    Agarwal et al., 2021, section 4.2.
  """
  sample = _sample(scores)
  weights = _weights(sample)
  order = np.argsort(sample.values, kind='stable')
  not_above = np.searchsorted(
    sample.values[order], np.asarray(thresholds, np.float64), side='right'
  )
  total = np.sum(weights)

  def of_block(counts: np.ndarray) -> np.ndarray:
    below = np.cumsum((counts * weights)[:, order], axis=1)
    below = np.concatenate([np.zeros((len(counts), 1)), below], axis=1)
    return ((total - below[:, not_above]) / total).T

  return np.moveaxis(
    _in_blocks(of_block, _checked_counts(counts, sample)), 0, -1
  )


def probability_of_improvement(
  scores: Mapping[str, ArrayLike],
  other_scores: Mapping[str, ArrayLike],
  counts: ArrayLike | None = None,
  other_counts: ArrayLike | None = None,
) -> np.ndarray:
  r"""Returns the probability that a run of one method beats one of another.

  :math:`\frac 1 G \sum_g \frac 1 {n_g m_g} \sum_{i,j} \big( [x_{g,i} > y_{g,j}]
  + \tfrac 1 2 [x_{g,i} = y_{g,j}] \big)`

  >>> x, y = {'Pong': [1.0, 2.0]}, {'Pong': [1.0, 0.0]}
  >>> float(probability_of_improvement(x, y))
  0.875

  Args:
    scores: for each game the scores of the method's runs.
    other_scores: those of the other method, of the same games.
    counts: how often each run of the method counts, [..., runs].
    other_counts: the same for the other method, of the same leading shape.

  Returns:
    Probabilities in [0, 1], float64 of the leading shape of the counts.

  Raises:
    ValueError: the games differ, or as `aggregate`.

  References:
    Agarwal et al., 2021, section 4.3.
  """
  if set(scores) != set(other_scores):
    missing = sorted(set(scores) ^ set(other_scores))
    raise ValueError(f'only one of the methods has {", ".join(missing)}')
  sample = _sample(scores)
  other = _sample({game: other_scores[game] for game in scores})
  runs, others = _columns(sample), _columns(other)
  # Halves and small integers: float32 holds them, and their sums, exactly.
  wins = [
    (np.sign(sample.values[x, None] - other.values[y]).astype('f4') + 1) / 2
    for x, y in zip(runs, others, strict=True)
  ]

  def of_block(both: np.ndarray) -> np.ndarray:
    counts, other_counts = np.split(both.astype('f4'), [len(sample.values)], 1)
    total = np.zeros(len(both))
    for x, y, won in zip(runs, others, wins, strict=True):
      won_pairs = np.sum(counts[:, x] @ won * other_counts[:, y], axis=1)
      total += won_pairs.astype('f8') / won.size
    return total[None] / len(wins)

  both = np.concatenate(
    [_checked_counts(counts, sample), _checked_counts(other_counts, other)], -1
  )
  return _in_blocks(of_block, both)[0]


def bootstrap_counts(
  scores: Mapping[str, ArrayLike],
  rng: np.random.Generator,
  replicates: int = 50_000,
) -> np.ndarray:
  """Draws replicates of the runs of each game, with replacement.

  One set of replicates serves every statistic of a method. The same generator
  state gives the same replicates on any machine.

  >>> rng = np.random.default_rng(0)
  >>> bootstrap_counts({'Pong': [1, 2], 'Breakout': [3, 4, 5]}, rng, 2)
  array([[0, 2, 3, 0, 0],
         [1, 1, 2, 0, 1]], dtype=uint8)

  Args:
    scores: for each game the scores of its runs; only their number is used.
    rng: the source of randomness.
    replicates: how many sets of runs to draw.

  Returns:
    How often each run is in each set, unsigned integers [replicates, runs].
  """
  sizes = [np.size(values) for values in scores.values()]
  counts = [draw_counts(size, size, rng, replicates) for size in sizes]
  return np.concatenate(counts, axis=1)


def draw_counts(
  runs: int, draws: int, rng: np.random.Generator, replicates: int
) -> np.ndarray:
  """Draws from the runs of one game with replacement.

  Args:
    runs: number of runs.
    draws: how often to draw in each replicate.
    rng: the source of randomness.
    replicates: number of replicates.

  Returns:
    How often each run was drawn, unsigned integers [replicates, runs].
  """
  drawn = rng.integers(runs, size=(replicates, draws))
  drawn += runs * np.arange(replicates)[:, None]
  times = np.bincount(drawn.ravel(), minlength=runs * replicates)
  counts = times.astype(np.min_scalar_type(draws))
  return counts.reshape(replicates, runs)


def interval(
  replicates: ArrayLike, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the percentile interval of bootstrap replicates.

  Args:
    replicates: the statistic of each replicate, [replicates, ...].
    confidence: nominal probability that the interval contains the truth.

  Returns:
    Lower and upper end, arrays of the trailing shape.
  """
  tail = (1 - confidence) / 2
  low, high = np.quantile(np.asarray(replicates), [tail, 1 - tail], axis=0)
  return low, high


def aggregate_estimates(
  scores: Mapping[str, ArrayLike],
  rng: np.random.Generator,
  replicates: int = 50_000,
  confidence: float = 0.95,
) -> dict[str, Estimate]:
  """Returns the four aggregates with stratified bootstrap intervals.

  >>> scores = {'Pong': [0.9, 1.0, 1.1], 'Breakout': [1.9, 2.0, 2.1]}
  >>> estimates = aggregate_estimates(scores, np.random.default_rng(0))
  >>> [round(float(x), 2) for x in estimates['mean']]
  [1.5, 1.43, 1.57]

  Args:
    scores: for each game the normalised scores of its runs.
    rng: the source of randomness.
    replicates: how many sets of runs to draw.
    confidence: of the intervals.

  Returns:
    For each of `METRICS` its value and interval; the ends are NaN if all games
    have one run, since the variation between runs is unknown then.

  Raises:
    ValueError: as `aggregate`.
  """
  values = aggregate(scores)
  if max(map(np.size, scores.values())) == 1:
    unknown = np.array(np.nan)
    return {name: Estimate(values[name], unknown, unknown) for name in METRICS}
  drawn = aggregate(scores, bootstrap_counts(scores, rng, replicates))
  return {
    name: Estimate(values[name], *interval(drawn[name], confidence))
    for name in METRICS
  }


def _sample(scores: Mapping[str, ArrayLike]) -> _Sample:
  """Joins the scores of the games; raises ValueError if one is unusable."""
  columns = [np.atleast_1d(np.asarray(x, np.float64)) for x in scores.values()]
  if not columns:
    raise ValueError('there are no scores')
  for game, column in zip(scores, columns, strict=True):
    if column.ndim > 1:
      raise ValueError(
        f'{game} must have one score for each run, not an array of shape '
        f'{list(column.shape)}'
      )
    if not column.size:
      raise ValueError(f'{game} has no scores')
    if not np.isfinite(column).all():
      raise ValueError(f'{game} has a score that is not a finite number')
  sizes = np.array([column.size for column in columns])
  return _Sample(np.concatenate(columns), np.cumsum(sizes) - sizes, sizes)


def _columns(sample: _Sample) -> list[slice]:
  """Returns the place of each game's runs."""
  stops = sample.starts + sample.sizes
  return [slice(*ends) for ends in zip(sample.starts, stops, strict=True)]


def _weights(sample: _Sample) -> np.ndarray:
  """Weights that give each game the same sum; 1 where all have as many runs."""
  return np.repeat(np.max(sample.sizes) / sample.sizes, sample.sizes)


def _checked_counts(counts: ArrayLike | None, sample: _Sample) -> np.ndarray:
  runs = len(sample.values)
  counts = np.ones(runs) if counts is None else np.asarray(counts)
  if counts.shape[-1:] != (runs,):
    raise ValueError(
      f'counts must be of shape [..., {runs}], not {list(counts.shape)}'
    )
  return counts


def _in_blocks(
  statistic: Callable[[np.ndarray], np.ndarray], counts: np.ndarray
) -> np.ndarray:
  """Applies a statistic, [block, runs] to [values, block], block by block."""
  leading, runs = counts.shape[:-1], counts.shape[-1]
  rows = counts.reshape(-1, runs)
  step = max(1, _BLOCK // runs)
  blocks = [
    statistic(rows[start : start + step]) for start in range(0, len(rows), step)
  ]
  values = np.concatenate(blocks, axis=1)
  return values.reshape(len(values), *leading)
