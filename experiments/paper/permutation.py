"""An exact test of which of two methods wins, over strata such as games."""

import collections
from collections.abc import Sequence
from fractions import Fraction
import itertools

Stratum = tuple[Sequence[float], Sequence[float]]


def wins(scores: Sequence[float], others: Sequence[float]) -> Fraction:
  """Returns the share of pairs that the first method wins; ties are halves.

  >>> wins([1.0, 2.0], [1.0, 0.0])
  Fraction(7, 8)
  """
  twice = sum(1 + (x > y) - (x < y) for x in scores for y in others)
  return Fraction(twice, 2 * len(scores) * len(others))


def mean_wins(strata: Sequence[Stratum]) -> Fraction:
  """Returns the mean of `wins`: Agarwal et al.'s probability of improvement."""
  return sum((wins(*of_one) for of_one in strata), Fraction()) / len(strata)


def p_value(strata: Sequence[Stratum]) -> float:
  """Returns how often chance alone takes `mean_wins` as far from a half.

  If the methods are alike, all ways to divide the scores of a stratum between
  the two are equally likely. All are counted, so the value is exact, for few
  runs and with ties. It is two-sided.

  >>> round(p_value([([1, 2, 3], [4, 5, 6])]), 2)  # 2 of 20 divisions.
  0.1

  Args:
    strata: for each stratum the scores of both methods.
  """
  sums = {Fraction(): 1.0}  # The probability of each sum over strata.
  for scores, others in strata:
    both = [*scores, *others]
    places = range(len(both))
    divided = collections.Counter(
      wins(
        [both[i] for i in chosen], [both[i] for i in places if i not in chosen]
      )
      for chosen in itertools.combinations(places, len(scores))
    )
    new: dict[Fraction, float] = collections.defaultdict(float)
    for (before, share), (won, count) in itertools.product(
      sums.items(), divided.items()
    ):
      new[before + won] += share * count / divided.total()
    sums = new
  half = Fraction(len(strata), 2)
  seen = abs(mean_wins(strata) * len(strata) - half)
  far = sum(share for won, share in sums.items() if abs(won - half) >= seen)
  return min(1.0, far)
