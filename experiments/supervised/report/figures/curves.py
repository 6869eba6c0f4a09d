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
from experiments.supervised.results import PLACE, Result, num_phases
from ht_rl.drawing import (
  MUTED,
  Figure,
  Line,
  draw_curves,
  shade,
  styled,
  wrapped,
)


def curves(results: Sequence[Result], figure: str | None = None) -> Figure:
  """Draws the test accuracy in training, or another figure.

  Fig. 6 of the paper.

  Args:
    results: of one dataset and one model, finished or not.
    figure: its name in the rows, such as 'train_accuracy'; None for the test
      accuracy of the reported network.

  Returns:
    A line with a band for each setting. Dotted lines are the ends of phases.

  Raises:
    ValueError: there is more than one dataset or model, or no row has the
      figure.
  """
  of = subject(results)
  known = {name for r in results for row in r.rows for name in row} - {*PLACE}
  if figure is not None and known and figure not in known:
    raise ValueError(
      f'there is no figure {figure!r} in the results; there are '
      f'{", ".join(sorted(known))}'
    )
  what = ACCURACY if figure is None else figure.replace('_', ' ').capitalize()
  drawn, ends = [], set()
  for place, result in enumerate(results):
    name = figure or f'{result.reported}_test_accuracy'
    rows = [row for row in result.rows if name in row]
    ends |= {
      row['step']
      for row in result.rows
      if row['moment'] == 'end' and row['phase'] < num_phases(result) - 1
    }
    if not rows:
      continue
    spreads = [spread(np.asarray(row[name], float)) for row in rows]
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
      headline(f'{what} in training', of),
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
    axes.set_ylabel(what)
  return canvas_
