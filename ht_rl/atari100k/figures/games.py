"""The score of every game."""

import numpy as np

from ht_rl.atari100k.figures.common import (
  MORE_TICKS,
  TICKS,
  human_scale,
  if_published,
  method_color,
)
from ht_rl.atari100k.summary import Summary
from ht_rl.drawing import (
  INK,
  LINE,
  MUTED,
  Axes,
  Figure,
  canvas,
  most_lines,
  pale,
  styled,
  text_width,
  wrapped,
)


def games_plot(summary: Summary) -> Figure:
  """Draws the mean score of every game, and its single runs as dots.

  Args:
    summary: the comparison.

  Returns:
    Columns of games, each game with a bar for each method. The scale is linear
    up to human level and logarithmic beyond. The vertical coordinates of a
    panel are inches.
  """
  methods, games = summary.methods, summary.games
  is_single = len(methods) == 1
  has_runs = any(method.has_runs for method in methods)
  labels = [] if is_single else [wrapped(method.name) for method in methods]
  pitch = 0.02 + max(0.14, LINE * most_lines(labels))
  heading, gap = (0.0, 0.0) if is_single else (0.2, 0.14)
  block = heading + pitch * len(methods) + gap
  columns = 1 if is_single else min(4, len(games))
  a_column = -(-len(games) // columns)
  columns = -(-len(games) // a_column)  # Without an empty one.
  everything = np.concatenate(
    [method.normalized[game] for method in methods for game in games]
  )
  low, high = min(0.0, *everything), max(1.0, *everything)
  with styled():
    figure, panels = canvas(
      f'Mean human-normalised score, {summary.extent}',
      'Random is 0, human 1; logarithmic beyond 1. '
      + ('Dots are single runs. ' if has_runs else '')
      + if_published(summary),
      panel=(5.5 if is_single else 1.95, block * a_column + 0.05),
      columns=columns,
      left=text_width(games if is_single else labels) + 0.15,
      bottom=0.3,
      head=0.25,
      gap=0.15,
    )
    for column, axes in enumerate(panels):
      human_scale(axes, low, high, MORE_TICKS if is_single else TICKS)
      axes.set_ylim(block * a_column, -0.05)
      axes.tick_params(axis='x', top=True, labeltop=True)
      axes.set_yticks([])
      axes.spines['left'].set_visible(False)
      shown = games[column * a_column : (column + 1) * a_column]
      for index, game in enumerate(shown):
        top = index * block + heading
        rows = top + pitch * (np.arange(len(methods)) + 0.5)
        _bars(axes, rows, 0.78 * min(pitch, 0.22), summary, game)
        if not is_single:
          axes.text(0, top - 0.03, game, weight='bold', va='bottom')
        if column == 0:
          for row, label in zip(rows, labels or [game], strict=True):
            axes.text(
              -0.02,
              row,
              label,
              transform=axes.get_yaxis_transform(),
              ha='right',
              va='center',
            )
  return figure


def _bars(
  axes: Axes, rows: np.ndarray, height: float, summary: Summary, game: str
) -> None:
  """Draws the bars and dots of one game."""
  runs = [method.normalized[game] for method in summary.methods]
  shades = [
    'none' if method.is_published else pale(method_color(summary, method.name))
    for method in summary.methods
  ]
  axes.barh(
    rows,
    [float(np.mean(values)) for values in runs],
    height=height,
    color=shades,
    edgecolor=MUTED,
    linewidth=0.6,
  )
  is_run = [method.has_runs for method in summary.methods]
  sizes = [len(values) for values in runs]
  axes.plot(
    np.concatenate(runs)[np.repeat(is_run, sizes)],
    np.repeat(rows, np.multiply(is_run, sizes)),
    'o',
    color=INK,
    markersize=2.4,
    markeredgewidth=0,
  )
