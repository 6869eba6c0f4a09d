"""The matrix of the probabilities of improvement."""

import numpy as np

from ht_rl.atari100k.figures.common import if_intervals
from ht_rl.atari100k.summary import Summary
from ht_rl.drawing import (
  LINE,
  SMALL,
  TYPE,
  Figure,
  canvas,
  cell_shades,
  most_lines,
  styled,
  text_width,
  wrapped,
)


def improvement_plot(summary: Summary) -> Figure:
  """Draws the probability that a run of the row beats one of the column.

  Args:
    summary: the comparison, of at least two methods with runs.

  Returns:
    A matrix of numbers with intervals: bold if the interval excludes one half,
    darker if the row is better.
  """
  names = [method.name for method in summary.methods if method.has_runs]
  rows = [wrapped(name) for name in names]
  columns = [wrapped(name, 9) for name in names]
  is_upright = most_lines(columns) > 3
  if is_upright:
    columns = rows
  side = LINE * most_lines(rows) + 0.09
  cell = (max(0.78, side), max(0.42, side))
  values = np.full((len(names), len(names)), np.nan)
  with styled():
    figure, (axes,) = canvas(
      'Probability that a run of the row beats one of the column',
      f'Over {summary.extent}.'
      + if_intervals(summary, ' Small: {} interval; bold: it excludes ½.'),
      panel=(cell[0] * len(names), cell[1] * len(names)),
      left=text_width(rows) + 0.15,
      bottom=0.08,
      head=0.08
      + (text_width(columns) if is_upright else LINE * most_lines(columns)),
    )
    for (name, other), estimate in summary.improvement.items():
      y, x = names.index(name), names.index(other)
      value, low, high = (float(number) for number in estimate)
      values[y, x] = value
      weight = 'bold' if low > 0.5 or high < 0.5 else 'normal'
      step = 0.08 / cell[1]
      axes.text(
        x, y - step, f'{value:.2f}', ha='center', va='center', weight=weight
      )
      if np.isfinite(low):
        axes.text(
          x,
          y + step,
          f'{low:.2f}\N{EN DASH}{high:.2f}',
          ha='center',
          va='center',
          size=SMALL,
        )
    edges = np.arange(len(names) + 1) - 0.5
    axes.pcolormesh(
      edges,
      edges,
      np.ma.masked_invalid(values),
      cmap=cell_shades(),
      vmin=0,
      vmax=1,
      edgecolor='white',
      linewidth=1,
    )
    axes.set_ylim(edges[-1], edges[0])
    axes.set_yticks(range(len(names)), rows)
    axes.set_xticks(
      range(len(names)), columns, rotation=90 if is_upright else 0
    )
    axes.tick_params(length=0, labelsize=TYPE)
    axes.tick_params(labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
  return figure
