"""Test accuracy in training (Fig. 6)."""

from collections.abc import Sequence

import numpy as np

from experiments.supervised.report.figures.common import (
  ACCURACY,
  headline,
  how_many,
  say_empty,
)
from experiments.supervised.report.selection import subject
from experiments.supervised.report.spread import spread
from experiments.supervised.results import Result, num_phases
from ht_rl.drawing import (
  MUTED,
  Figure,
  Line,
  draw_curves,
  shade,
  styled,
  wrapped,
)


def curves(results: Sequence[Result]) -> Figure:
  """Draws the test accuracy in training.

  Fig. 6 of the paper.

  Args:
    results: of one dataset and one model, finished or not.

  Returns:
    A line with a band for each setting, of its reported network. Dotted lines
    are the ends of phases.

  Raises:
    ValueError: there is more than one dataset or model.
  """
  of = subject(results)
  drawn, ends = [], set()
  for place, result in enumerate(results):
    figure = f'{result.reported}_test_accuracy'
    rows = [row for row in result.rows if figure in row]
    ends |= {
      row['step']
      for row in rows
      if row['moment'] == 'end' and row['phase'] < num_phases(result) - 1
    }
    if not rows:
      continue
    spreads = [spread(np.asarray(row[figure], float)) for row in rows]
    mean, std = np.transpose(spreads)
    drawn.append(
      Line(
        np.array([row['step'] for row in rows]),
        mean,
        mean - std,
        mean + std,
        wrapped(result.name),
        float(mean[-1]),
        place,
        shade(place, len(results)),
      )
    )
  with styled():
    canvas_, axes = draw_curves(
      headline('Test accuracy in training', of),
      f'{how_many(len(drawn), len(results), "settings")} '
      'Bands are standard deviations, dotted lines the ends of phases.',
      drawn,
    )
    for step in sorted(ends):
      axes.axvline(
        step, color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)), zorder=0.9
      )
    if not drawn:
      say_empty(axes)
    axes.xaxis.set_major_formatter(lambda step, _: f'{step / 1000:g}k')
    axes.set_xlabel('Gradient steps')
    axes.set_ylabel(ACCURACY)
  return canvas_
