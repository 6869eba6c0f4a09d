"""Means, standard deviations and intervals over seeds."""

import math
from typing import NamedTuple

import numpy as np
from scipy import stats


class Spread(NamedTuple):
  """Mean and standard deviation over seeds.

  Attributes:
    mean: over seeds.
    std: the standard deviation of a seed, NaN if there is but one.
  """

  mean: float
  std: float


class Interval(NamedTuple):
  """A mean and the interval that it is in with a confidence.

  Attributes:
    mean: over seeds.
    low: lower end, NaN for one seed.
    high: upper end, NaN for one seed.
  """

  mean: float
  low: float
  high: float


NOTHING = Spread(math.nan, math.nan)


def spread(values: np.ndarray) -> Spread:
  """Returns mean and standard deviation (with n - 1) over seeds.

  Args:
    values: one of each seed, [seeds].

  Returns:
    Both; the deviation is NaN for one seed.

  >>> spread(np.array([0.5, 0.7]))
  Spread(mean=0.6, std=0.1414...)
  """
  std = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
  return Spread(float(np.mean(values)), std)


def interval(values: np.ndarray, confidence: float = 0.95) -> Interval:
  r"""Returns the mean over seeds with Student's interval.

  .. math::

    \bar x \pm t_{n-1} \, s / \sqrt{n}

  Args:
    values: one of each seed, [seeds]; at least one.
    confidence: of the interval, a number in (0, 1).

  >>> interval(np.array([0.5, 0.75]))
  Interval(mean=0.625, low=-0.963..., high=2.213...)
  """
  mean, std = spread(values)
  quantile = float(stats.t.ppf((1 + confidence) / 2, max(len(values) - 1, 1)))
  half = quantile * std / math.sqrt(len(values))
  return Interval(mean, mean - half, mean + half)
