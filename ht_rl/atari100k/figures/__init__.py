"""Figures of a comparison of methods, for papers and for the report.

Each figure is a function that takes a `Summary` (`comparison_plot` takes a
`Comparison`) and returns a matplotlib
`Figure`. Every distinction is made twice, so that the figures can be read in
greyscale and by the colour-blind: rows and bars are labelled, curves differ in
marker and dashes, shades in lightness, and published numbers are hollow.
"""

from ht_rl.atari100k.comparison import Comparison
from ht_rl.atari100k.figures.comparison import comparison_plot
from ht_rl.atari100k.figures.games import games_plot
from ht_rl.atari100k.figures.improvement import improvement_plot
from ht_rl.atari100k.figures.intervals import (
  METRIC_TITLES,
  interval_plot,
  published_plot,
)
from ht_rl.atari100k.figures.lines import curves_plot, profile_plot
from ht_rl.atari100k.summary import Summary
from ht_rl.drawing import Figure

__all__ = [
  'METRIC_TITLES',
  'all_figures',
  'comparison_plot',
  'curves_plot',
  'games_plot',
  'improvement_plot',
  'interval_plot',
  'profile_plot',
  'published_plot',
]


def all_figures(
  summary: Summary, comparison: Comparison | None = None
) -> dict[str, Figure]:
  """Draws every figure that a summary has data for.

  Args:
    summary: of all methods.
    comparison: of two of them.

  Returns:
    By name: `intervals` and `games`, and `published`, `comparison`, `profiles`,
    `curves` and `improvement` where there is anything to show.
  """
  drawn = {'intervals': interval_plot(summary)}
  if summary.with_published:
    drawn['published'] = published_plot(summary)
  if comparison is not None:
    drawn['comparison'] = comparison_plot(comparison)
  if any(method.has_runs for method in summary.methods):
    drawn['profiles'] = profile_plot(summary)
  if any(method.curve is not None for method in summary.methods):
    drawn['curves'] = curves_plot(summary)
  if summary.improvement:
    drawn['improvement'] = improvement_plot(summary)
  drawn['games'] = games_plot(summary)
  return drawn
