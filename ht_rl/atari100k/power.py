"""Power: how many runs it takes to tell two methods apart by their IQM.

Experiments with any number of runs are resampled from the runs at hand. The
power is the share of them whose interval excludes 0 on the right side.
"""

from collections.abc import Callable, Mapping
import math
import statistics
from typing import NamedTuple

import numpy as np

from ht_rl.atari100k.aggregates import aggregate

POWER = 0.8
MAX_RUNS = 1000

# Standard deviation of the IQM of one run of each of the 26 games, in the
# released runs of BBF with replay ratio 2 (Schwarzer et al., 2023).
BBF_SPREAD = 0.14

_REPLICATES = 2000
_FIRST_GUESS, _GUESSES = 10, 3


class Plan(NamedTuple):
  """What an experiment can tell apart.

  Attributes:
    runs: runs of each game and method.
    detectable: the smallest IQM difference whose interval excludes 0 with the
      wanted power.
  """

  runs: int
  detectable: float


def plan(
  runs: int,
  pilot: Mapping[str, np.ndarray] | None = None,
  *,
  power: float = POWER,
  confidence: float = 0.95,
  seed: int = 0,
) -> Plan:
  r"""Plans an experiment with two methods that vary alike.

  With :math:`\sigma_n` the standard deviation of the IQM of :math:`n` runs of
  each game, the difference of two has :math:`\sqrt 2 \sigma_n`. The interval
  excludes 0 with the wanted power from a difference of :math:`(z_{1-\alpha/2} +
  z_{power}) \sqrt 2 \sigma_n` on.

  >>> round(plan(5).detectable, 2)
  0.25

  Args:
    runs: runs of each game and method.
    pilot: normalised scores of runs that vary like those to come, two or more
      of each game. None takes the variation of BBF, which is larger than that
      of weaker methods.
    power: wanted probability that the interval excludes 0.
    confidence: of the interval.
    seed: of the resampling.

  Returns:
    The plan.

  Raises:
    ValueError: `runs` is less than 2, `power` or `confidence` is out of its
      range, or a game of the pilot has one run.
  """
  if runs < 2:
    raise ValueError(f'an experiment needs at least 2 runs, not {runs}')
  check_power(power)
  if not 0 < confidence < 1:
    raise ValueError(
      f'confidence must be above 0 and below 1, not {confidence}'
    )
  if pilot is None:
    deviation = BBF_SPREAD / np.sqrt(runs)
  else:
    if few := [game for game, of in pilot.items() if len(of) < 2]:
      raise ValueError(
        f'a plan needs at least two runs of each game; {few[0]} has fewer'
      )
    rng = np.random.default_rng(seed)
    deviation = np.std(_resampled_iqm(pilot, runs, rng))
  normal = statistics.NormalDist()
  z = normal.inv_cdf((1 + confidence) / 2) + normal.inv_cdf(power)
  return Plan(runs, float(z * np.sqrt(2) * deviation))


def check_power(power: float) -> None:
  """Raises ValueError if it is none that can be asked for."""
  if not 0.5 < power < 1:
    raise ValueError(f'power must be above 0.5 and below 1, not {power}')


def plan_sentence(planned: Plan, games: int, power: float = POWER) -> str:
  """Returns a plan in words.

  >>> plan_sentence(Plan(5, 0.2476), 26)
  '5 runs of each of 26 games detect an IQM difference of about 0.25 or more \
(80% power).'

  Args:
    planned: the plan.
    games: number of games.
    power: of the plan.

  Returns:
    A sentence.
  """
  return (
    f'{planned.runs} runs of each of {games} games detect an IQM difference of '
    f'about {planned.detectable:.2g} or more ({100 * power:g}% power).'
  )


class Resampled:
  """The IQM differences of resampled experiments, for any number of runs."""

  def __init__(
    self,
    scores: Mapping[str, np.ndarray],
    other_scores: Mapping[str, np.ndarray],
    rngs: Callable[[int], tuple[np.random.Generator, np.random.Generator]],
    confidence: float,
  ):
    """Takes the runs at hand.

    Args:
      scores: for each game the normalised scores of its runs, two or more.
      other_scores: those of the other method.
      rngs: makes the sources of randomness of both methods, given a number of
        runs.
      confidence: of the intervals.
    """
    self._scores, self._other_scores = scores, other_scores
    self._rngs = rngs
    self._z = statistics.NormalDist().inv_cdf((1 + confidence) / 2)
    self._drawn: dict[int, np.ndarray] = {}

  def power(self, difference: float, runs: int) -> float:
    """Returns the probability that the interval of a difference excludes 0."""
    deviations = self._deviations(runs)
    half_width = self._z * np.std(deviations)
    return float(np.mean(deviations + abs(difference) > half_width))

  def detectable(self, runs: int, power: float) -> float:
    """Returns the difference whose interval excludes 0 with some power."""
    deviations = self._deviations(runs)
    half_width = self._z * np.std(deviations)
    return float(half_width - np.quantile(deviations, 1 - power))

  def runs_needed(self, difference: float, power: float) -> int | None:
    """Returns the number of runs that gives some power.

    Returns:
      At least 2; None if it is more than `MAX_RUNS`.
    """
    if not difference:
      return None
    runs = _FIRST_GUESS
    for _ in range(_GUESSES):
      # What can be detected falls about with the square root of the runs.
      ratio = self.detectable(runs, power) / abs(difference)
      runs = math.ceil(min(max(2, runs * ratio**2), 2 * MAX_RUNS))
    return runs if runs <= MAX_RUNS else None

  def _deviations(self, runs: int) -> np.ndarray:
    """Returns deviations of the differences from their mean, of both signs."""
    if runs not in self._drawn:
      rng, other_rng = self._rngs(runs)
      difference = _resampled_iqm(self._scores, runs, rng)
      difference -= _resampled_iqm(self._other_scores, runs, other_rng)
      deviations = difference - np.mean(difference)
      self._drawn[runs] = np.concatenate([deviations, -deviations])
    return self._drawn[runs]


def power_grid(largest: int) -> np.ndarray:
  """Returns numbers of runs from 2 to twice the largest, evenly in logs.

  >>> power_grid(5)
  array([ 2,  3,  4,  5,  6,  7,  8, 10])
  """
  last = max(2 * largest, 10)
  return np.unique(np.geomspace(2, last, 10).round().astype(np.int64))


def _resampled_iqm(
  scores: Mapping[str, np.ndarray], runs: int, rng: np.random.Generator
) -> np.ndarray:
  """Returns the IQM of experiments with `runs` runs of each game.

  Resampled runs vary less than new ones: by the factor (n-1)/n in variance.
  Moving the n runs away from the mean of their game makes up for it.
  """
  counts, moved = [], {}
  for game, values in scores.items():
    size = len(values)
    drawn = rng.multinomial(runs, np.full(size, 1 / size), size=_REPLICATES)
    counts.append(drawn.astype(np.float32) * np.float32(size / runs))
    mean = np.mean(values)
    moved[game] = mean + (values - mean) * np.sqrt(size / (size - 1))
  return aggregate(moved, np.concatenate(counts, axis=1))['iqm']
