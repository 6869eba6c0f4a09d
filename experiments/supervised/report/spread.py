"""Means and standard deviations over seeds."""

import math
from typing import NamedTuple

import numpy as np


class Spread(NamedTuple):
  """Mean and standard deviation over seeds.

  Attributes:
    mean: over seeds.
    std: the standard deviation of a seed, NaN if there is but one.
  """

  mean: float
  std: float


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
