"""Figures of results, one for each kind that the paper has.

Unfinished settings are left out, and every figure says how much it shows. Means
and standard deviations are over seeds.
"""

from experiments.supervised.report.correlations import METRICS
from experiments.supervised.report.figures.bars import GROUP_COLORS, bars
from experiments.supervised.report.figures.curves import curves
from experiments.supervised.report.figures.grid import grid
from experiments.supervised.report.figures.lines import lines
from experiments.supervised.report.figures.metrics import metrics

__all__ = [
  'GROUP_COLORS',
  'METRICS',
  'bars',
  'curves',
  'grid',
  'lines',
  'metrics',
]
