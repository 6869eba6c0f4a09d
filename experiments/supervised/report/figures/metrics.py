"""Plasticity after phase 1 against the final accuracy (Fig. 8)."""

from collections.abc import Sequence
import math

from experiments.supervised.report.correlations import (
  METRICS,
  Points,
  points,
  warm_starts,
)
from experiments.supervised.report.figures.common import (
  ACCURACY,
  headline,
  how_many,
  say_empty,
)
from experiments.supervised.report.selection import subject
from experiments.supervised.results import Result, finished
from ht_rl.drawing import MUTED, SMALL, TYPE, Figure, canvas, shade, styled


def metrics(
  results: Sequence[Result], names: Sequence[str] = METRICS
) -> Figure:
  """Draws metrics at the end of phase 1 against the final test accuracy.

  Fig. 8 of the paper.

  Args:
    results: of one dataset and one model, with more than one phase.
    names: of the metrics, as the results have them.

  Returns:
    A panel for each metric with a point for each seed of each setting, and
    Pearson's correlation above it.

  Raises:
    ValueError: there is more than one dataset or model, or a metric was not
      measured.
  """
  of = subject(results)
  warm = warm_starts(results)
  used = finished(warm)
  with styled():
    figure, panels = canvas(
      headline('Final test accuracy and metrics at the end of phase 1', of),
      f'{how_many(len(used), len(warm), "settings")} A point is a seed.',
      panel=(1.28, 1.7),
      columns=len(names),
      left=0.7,
      bottom=0.3,
      head=0.42,
      gap=0.2,
    )
    for axes, name in zip(panels, names, strict=True):
      found = points(warm, name)
      axes.plot(
        *found,
        'o',
        color=shade(1, 4),
        alpha=0.5,
        markersize=4,
        markeredgewidth=0,
      )
      title = name.replace('_', ' ').capitalize()
      axes.set_title(title, size=TYPE, weight='bold', loc='left', pad=17)
      axes.annotate(
        _pearson(found),
        xy=(0, 1),
        xycoords='axes fraction',
        xytext=(0, 4),
        textcoords='offset points',
        size=SMALL,
        color=MUTED,
      )
      axes.locator_params(nbins=3, axis='x')
      axes.locator_params(nbins=5, axis='y')
      axes.margins(0.1)
      axes.grid(True)
      axes.sharey(panels[0])
      axes.tick_params(labelsize=SMALL, labelleft=axes is panels[0])
      if not used:
        say_empty(axes)
    panels[0].set_ylabel(ACCURACY)
  return figure


def _pearson(found: Points) -> str:
  """Returns Pearson's correlation as a text, with the number of points."""
  r, number = found.pearson()
  shown = 'r unknown' if math.isnan(r) else f'r = {r:.2f}'
  return f'{shown} (n = {number})'.replace('-', '\N{MINUS SIGN}')
