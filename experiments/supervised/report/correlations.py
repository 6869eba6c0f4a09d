"""Correlations of plasticity after phase 1 with the final accuracy."""

from collections.abc import Sequence
import math
from typing import NamedTuple

import numpy as np

from experiments.supervised.report.selection import subject
from experiments.supervised.report.tables import Table
from experiments.supervised.results import (
  Result,
  at_phase_end,
  final_accuracy,
  finished,
  num_phases,
)

# The metrics of Fig. 8.
METRICS: tuple[str, ...] = (
  'weight_magnitude',
  'weight_distance',
  'zero_gradients',
  'zero_activations',
  'feature_rank',
)


class Points(NamedTuple):
  """A metric at the end of phase 1 and the final accuracy, of each seed.

  Attributes:
    metric: float array [points].
    accuracy: float array [points].
  """

  metric: np.ndarray
  accuracy: np.ndarray

  def pearson(self) -> tuple[float, int]:
    """Returns Pearson's correlation and the number of points that it is of.

    The correlation is NaN where it is unknown: of fewer than two points, or
    where all are alike.

    >>> Points(np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 1.0])).pearson()
    (-1.0, 3)
    """
    is_known = np.isfinite(self.metric) & np.isfinite(self.accuracy)
    x, y = self.metric[is_known], self.accuracy[is_known]
    if len(x) < 2 or not np.ptp(x) or not np.ptp(y):
      return math.nan, len(x)
    return float(np.corrcoef(x, y)[0, 1]), len(x)


def warm_starts(results: Sequence[Result]) -> list[Result]:
  """Returns the results with more than one phase, finished or not."""
  return [result for result in results if num_phases(result) > 1]


def points(results: Sequence[Result], metric: str) -> Points:
  """Returns a metric and the final accuracy of each seed of each result.

  Args:
    results: those with one phase, and unfinished ones, are left out.
    metric: its name in the results.

  Raises:
    ValueError: it was not measured.
  """
  used = finished(warm_starts(results))
  return Points(
    np.concatenate([[], *(at_phase_end(r, 0, metric) for r in used)]),
    np.concatenate([[], *(final_accuracy(r) for r in used)]),
  )


def correlation_table(results: Sequence[Result]) -> Table:
  """Returns the correlation of each metric with the final accuracy (Fig. 8).

  Args:
    results: of one dataset and one model.

  Returns:
    A row for each metric at the end of phase 1: Pearson's correlation (NaN if
    unknown) and the number of points, one for each seed of each setting.

  Raises:
    ValueError: there is more than one dataset or model, or a metric was not
      measured.
  """
  subject(results)
  rows: list[list[str | float]] = []
  for metric in METRICS:
    r, number = points(results, metric).pearson()
    rows.append([metric.replace('_', ' '), r, number])
  return Table(('metric', 'correlation', 'points'), rows)
