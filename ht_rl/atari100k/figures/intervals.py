"""The aggregates of every method, with intervals."""

import dataclasses

import numpy as np

from ht_rl.atari100k import summary as summary_lib
from ht_rl.atari100k.figures.common import if_intervals, if_published
from ht_rl.atari100k.published import ranked
from ht_rl.atari100k.summary import Summary
from ht_rl.drawing import (
  BAR,
  INK,
  LINE,
  MUTED,
  SMALL,
  TYPE,
  Figure,
  canvas,
  most_lines,
  styled,
  text_width,
  wrapped,
)

_HIGHER, _LOWER = '↑ higher is better', '↓ lower is better'

# Title and direction of each of `aggregates.METRICS`.
METRIC_TITLES: dict[str, tuple[str, str]] = {
  metric: (
    title[0].upper() + title[1:],
    _LOWER if metric == 'optimality_gap' else _HIGHER,
  )
  for metric, title in summary_lib.METRIC_TITLES.items()
}


def published_plot(summary: Summary) -> Figure:
  """Draws the methods and the published systems, ordered by their IQM.

  Args:
    summary: over all 26 games.

  Returns:
    As `interval_plot`, with rows for the published systems.
  """
  return interval_plot(dataclasses.replace(summary, methods=ranked(summary)))


def interval_plot(summary: Summary) -> Figure:
  """Draws the aggregates of every method, with intervals.

  Args:
    summary: the comparison.

  Returns:
    A row for each method and a panel for each of `aggregates.METRICS`. Methods
    without single runs have no intervals; unknown aggregates say so.
  """
  labels = [wrapped(method.name) for method in summary.methods]
  pitch = max(0.24, LINE * most_lines(labels) + 0.09)
  with styled():
    figure, panels = canvas(
      f'Human-normalised scores over {summary.extent}',
      if_intervals(summary, 'Bars are {} intervals. ') + if_published(summary),
      panel=(1.72, pitch * len(labels) + 0.08),
      columns=len(METRIC_TITLES),
      left=text_width(labels) + 0.15,
      bottom=0.3,
      head=0.42,
      gap=0.22,
    )
    for axes, (metric, (title, direction)) in zip(
      panels, METRIC_TITLES.items(), strict=True
    ):
      axes.set_title(title, size=TYPE, weight='bold', loc='left', pad=17)
      axes.annotate(
        direction,
        xy=(0, 1),
        xycoords='axes fraction',
        xytext=(0, 4),
        textcoords='offset points',
        size=SMALL,
        color=MUTED,
      )
      for row, method in enumerate(summary.methods):
        if metric not in method.estimates:
          axes.text(
            0.5,
            row,
            'unknown',
            transform=axes.get_yaxis_transform(),
            ha='center',
            va='center',
            size=SMALL,
            color=MUTED,
            bbox={'color': 'white', 'pad': 2},
          )
          continue
        value, low, high = method.estimates[metric]
        if np.isfinite(low):
          axes.hlines(row, low, high, BAR, linewidth=7)
        axes.plot(
          value,
          row,
          marker='D' if method.is_published else '|',
          markersize=5 if method.is_published else 10,
          markeredgewidth=1.2 if method.is_published else 1.8,
          markerfacecolor='white',
          color=INK,
        )
      axes.margins(x=0.08)
      left, right = axes.get_xlim()
      # At least 0.2 wide, so that small differences look small.
      spare = max(0, 0.2 - (right - left)) / 2
      axes.set_xlim(left - spare, right + spare)
      axes.set_ylim(len(labels) - 0.4, -0.6)
      axes.set_yticks(range(len(labels)), labels if axes is panels[0] else [])
      axes.tick_params(axis='y', length=0)
      axes.locator_params(axis='x', nbins=5)
      axes.grid(True)
      axes.spines['left'].set_visible(False)
  return figure
