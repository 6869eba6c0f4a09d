"""Two methods: differences of their aggregates, and power by runs."""

from matplotlib.ticker import FixedLocator, NullLocator
import numpy as np

from ht_rl.atari100k.comparison import Comparison
from ht_rl.atari100k.summary import METRIC_TITLES
from ht_rl.drawing import (
  BAR,
  INK,
  MUTED,
  SMALL,
  TYPE,
  Axes,
  Figure,
  canvas,
  styled,
  text_width,
)

_RUNS = (2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)


def comparison_plot(comparison: Comparison) -> Figure:
  """Draws the differences of two methods, and the power by number of runs.

  Args:
    comparison: of two methods.

  Returns:
    A panel of the differences of the aggregates with their intervals, and one
    of the probability that the interval of the IQM difference excludes 0, over
    the runs of each game and method.
  """
  labels = list(METRIC_TITLES.values())
  about = f'{len(comparison.games)} games, one run of a game: no intervals.'
  if comparison.has_intervals:
    about = (
      f'{len(comparison.games)} games, {comparison.runs} runs a game or more. '
      f'Bars are {100 * comparison.confidence:g}% intervals, corrected for few '
      'runs.'
    )
  with styled():
    figure, (left, right) = canvas(
      f'{comparison.first} minus {comparison.second}',
      about,
      panel=(2.9, 1.7),
      columns=2,
      left=text_width(labels) + 0.15,
      bottom=0.5,
      head=0.3,
      gap=0.75,
    )
    _draw_differences(left, comparison, labels)
    _draw_power(right, comparison)
  return figure


def _draw_differences(
  axes: Axes, comparison: Comparison, labels: list[str]
) -> None:
  axes.set_title('Difference', size=TYPE, weight='bold', loc='left')
  for row, metric in enumerate(METRIC_TITLES):
    value, low, high = comparison.differences[metric]
    if np.isfinite(low):
      axes.hlines(row, low, high, BAR, linewidth=7)
    axes.plot(value, row, marker='|', markersize=10, markeredgewidth=1.8, c=INK)
  axes.axvline(0, color=MUTED, linewidth=0.8)
  axes.set_yticks(range(len(labels)), labels)
  axes.set_ylim(len(labels) - 0.4, -0.6)
  axes.tick_params(axis='y', length=0)
  axes.locator_params(axis='x', nbins=6)
  axes.grid(True, axis='x')
  axes.spines['left'].set_visible(False)
  axes.set_xlabel('Human-normalised score')


def _draw_power(axes: Axes, comparison: Comparison) -> None:
  title = f'Power for an IQM difference of {abs(comparison.target):.2f}'
  axes.set_title(title, size=TYPE, weight='bold', loc='left')
  axes.set_ylim(0, 1.04)
  axes.set_xlabel('Runs a game and method')
  if not len(comparison.power):
    axes.text(
      0.5,
      0.5,
      'unknown',
      transform=axes.transAxes,
      ha='center',
      size=SMALL,
      color=MUTED,
    )
    axes.set_xticks([])
    return
  runs = comparison.power_runs
  axes.plot(runs, comparison.power, color=INK, marker='o', markersize=3)
  axes.axhline(comparison.wanted_power, color=MUTED, linewidth=0.8)
  axes.axvline(
    comparison.runs, color=MUTED, linewidth=0.8, linestyle=(0, (4, 2))
  )
  axes.annotate(
    'the runs at hand',
    xy=(comparison.runs, 0.02),
    xytext=(3, 0),
    textcoords='offset points',
    size=SMALL,
    color=MUTED,
  )
  axes.set_xscale('log')
  shown = [number for number in _RUNS if runs[0] <= number <= runs[-1]]
  axes.xaxis.set_major_locator(FixedLocator(shown))
  axes.xaxis.set_minor_locator(NullLocator())
  axes.set_xticklabels([f'{number:,}' for number in shown])
  axes.grid(True)
