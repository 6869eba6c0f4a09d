"""Pictures of a comparison of methods, for papers and for the report.

Everything is told twice, by place or shape as well as by shade, so that the
pictures can be read in greyscale and by the colour-blind: rows and bars are
labelled, curves differ in marker and dashes, shades in lightness, and what a
paper published is hollow.
"""

from collections.abc import Sequence

import numpy as np

from ht_rl.atari100k import tables
from ht_rl.atari100k.aggregates import Estimate
from ht_rl.atari100k.games import GAMES
from ht_rl.atari100k.summary import Summary
from ht_rl.drawing import (
  BAR,
  INK,
  LINE,
  MUTED,
  SMALL,
  TYPE,
  Axes,
  Color,
  Figure,
  Line,
  canvas,
  cell_shades,
  draw_curves,
  most_lines,
  pale,
  shade,
  styled,
  svg,
  text_width,
  wrapped,
  write_figures,
)

__all__ = [
  'METRIC_TITLES',
  'curves_plot',
  'figures',
  'games_plot',
  'improvement_plot',
  'interval_plot',
  'profile_plot',
  'svg',
  'write_figures',
]

_HIGHER, _LOWER = '↑ higher is better', '↓ lower is better'
METRIC_TITLES: dict[str, tuple[str, str]] = {
  metric: (
    title[0].upper() + title[1:],
    _LOWER if metric == 'optimality_gap' else _HIGHER,
  )
  for metric, title in tables.METRIC_TITLES.items()
}

_TICKS = (-10, -3, -1, -0.5, 0, 0.5, 1, 3, 10, 30, 100)
_MORE_TICKS = (*_TICKS, 0.25, 0.75, 2, 5, 20, 50)


def figures(summary: Summary) -> dict[str, Figure]:
  """All pictures that a summary has something for.

  Args:
    summary: the comparison.

  Returns:
    By name, of `intervals`, `profiles`, `curves`, `improvement` and `games`
    those that have anything to show.
  """
  drawn = {'intervals': interval_plot(summary)}
  if any(method.has_runs for method in summary.methods):
    drawn['profiles'] = profile_plot(summary)
  if any(method.curve is not None for method in summary.methods):
    drawn['curves'] = curves_plot(summary)
  if summary.improvement:
    drawn['improvement'] = improvement_plot(summary)
  drawn['games'] = games_plot(summary)
  return drawn


def interval_plot(summary: Summary) -> Figure:
  """The aggregates of every method, each with its interval.

  Args:
    summary: the comparison.

  Returns:
    A row for each method and a panel for each of `aggregates.METRICS`. What
    has no single runs comes without intervals; what can't be known says so.
  """
  labels = [wrapped(method.name) for method in summary.methods]
  pitch = max(0.24, LINE * most_lines(labels) + 0.09)
  with styled():
    figure, panels = canvas(
      f'Human-normalised scores over {_extent(summary)}',
      _if_intervals(summary, 'Bars are {} intervals. ')
      + _if_published(summary),
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
      # However small the differences are: no wider than they deserve.
      spare = max(0, 0.2 - (right - left)) / 2
      axes.set_xlim(left - spare, right + spare)
      axes.set_ylim(len(labels) - 0.4, -0.6)
      axes.set_yticks(range(len(labels)), labels if axes is panels[0] else [])
      axes.tick_params(axis='y', length=0)
      axes.locator_params(axis='x', nbins=5)
      axes.grid(True)
      axes.spines['left'].set_visible(False)
  return figure


def profile_plot(summary: Summary) -> Figure:
  """The share of runs above each score, with pointwise confidence bands.

  Agarwal et al., 2021, section 4.2.

  Args:
    summary: the comparison.

  Returns:
    A curve for each method with runs, on a scale that is linear up to human
    level and logarithmic beyond.
  """
  low, high = summary.thresholds[0], summary.thresholds[-1]
  with styled():
    figure, axes = draw_curves(
      f'Performance profiles over {_extent(summary)}',
      'Share of runs above a score'
      + _if_intervals(summary, ', with {} bands')
      + '.',
      [
        _line(
          summary,
          method.name,
          summary.thresholds,
          method.profile,
          wrapped(method.name),
          float(np.mean(method.profile.value)),
        )
        for method in summary.methods
        if method.profile is not None
      ],
    )
    _human_scale(axes, low, high, _MORE_TICKS)
    axes.set_xlim(low, high)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel('Human-normalised score τ (random 0, human 1)')
    axes.set_ylabel('Share of runs above τ')
  return figure


def curves_plot(summary: Summary) -> Figure:
  """How the interquartile mean grows with the agent steps, with its band.

  Args:
    summary: the comparison.

  Returns:
    A curve for each method that has one. It says what was scored: in the
    legend, where that isn't the same of all.
  """
  curves = {m.name: m.curve for m in summary.methods if m.curve is not None}
  sources = {curve.source for curve in curves.values()}
  is_one = len(sources) == 1
  what = f' of {"".join(sources)}' if is_one else ''
  with styled():
    figure, axes = draw_curves(
      f'Sample efficiency over {_extent(summary)}',
      f'IQM{what}{_if_intervals(summary, ", with {} bands")}.',
      [
        _line(
          summary,
          name,
          curve.steps,
          curve.iqm,
          wrapped(name) + ('' if is_one else f'\n({curve.source})'),
          float(curve.iqm.value[-1]),
        )
        for name, curve in curves.items()
      ],
    )
    axes.xaxis.set_major_formatter(lambda step, _: f'{step / 1000:g}k')
    axes.set_xlabel('Agent steps')
    axes.set_ylabel('IQM of human-normalised scores')
  return figure


def improvement_plot(summary: Summary) -> Figure:
  """How probable it is that a run of the row beats one of the column.

  Args:
    summary: the comparison, of at least two methods with runs.

  Returns:
    A matrix with numbers and intervals in its cells: bold where the interval
    excludes one half, darker where the row is better.
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
      f'Over {_extent(summary)}.'
      + _if_intervals(summary, ' Small: {} interval; bold: it excludes ½.'),
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


def games_plot(summary: Summary) -> Figure:
  """Every game's mean human-normalised score, and its single runs as dots.

  Args:
    summary: the comparison.

  Returns:
    Columns of games, each game with a bar for each method; of one method, one
    bar for each game. The scale is linear up to human level and logarithmic
    beyond. A panel's vertical coordinates are inches.
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
  everything = np.concatenate(
    [method.normalized[game] for method in methods for game in games]
  )
  low, high = min(0.0, *everything), max(1.0, *everything)
  with styled():
    figure, panels = canvas(
      f'Mean human-normalised score, {_extent(summary)}',
      'Random is 0, human 1; logarithmic beyond 1. '
      + ('Dots are single runs. ' if has_runs else '')
      + _if_published(summary),
      panel=(5.5 if is_single else 1.95, block * a_column + 0.05),
      columns=columns,
      left=text_width(games if is_single else labels) + 0.15,
      bottom=0.3,
      head=0.25,
      gap=0.15,
    )
    for column, axes in enumerate(panels):
      _human_scale(axes, low, high, _MORE_TICKS if is_single else _TICKS)
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
  """Draws a game's bars and dots, one for each method."""
  runs = [method.normalized[game] for method in summary.methods]
  shades = [
    'none' if method.is_published else pale(_shade(summary, method.name))
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


def _line(
  summary: Summary,
  name: str,
  x: np.ndarray,
  y: Estimate,
  label: str,
  height: float,
) -> Line:
  """A method's curve, in its colour."""
  place = [method.name for method in summary.methods].index(name)
  color = _shade(summary, name)
  return Line(x, y.value, y.low, y.high, label, height, place, color)


def _human_scale(
  axes: Axes, low: float, high: float, ticks: Sequence[float]
) -> None:
  """Scales x: linear up to human level, logarithmic beyond."""
  axes.set_xscale('symlog', linthresh=1, linscale=1)
  axes.set_xlim(low * 1.15 - 0.04, high * 1.2)
  shown = [tick for tick in ticks if low <= tick <= high]
  axes.set_xticks(shown, [f'{tick:g}' for tick in shown])
  axes.minorticks_off()
  axes.grid(True, axis='x')
  for reference in (0, 1):
    axes.axvline(reference, color=MUTED, linewidth=0.8, zorder=0.9)


def _shade(summary: Summary, name: str) -> Color:
  """A method's colour. What is published takes no shade from the others."""
  names = [m.name for m in summary.methods if not m.is_published]
  return shade(names.index(name), len(names))


def _extent(summary: Summary) -> str:
  """How many games it is about."""
  part = '' if len(summary.games) == len(GAMES) else f'{len(summary.games)} of '
  return f'{part}{len(GAMES)} games'


def _if_intervals(summary: Summary, sentence: str) -> str:
  """A sentence on intervals, with their confidence, where there are any."""
  ends = [e.low for m in summary.methods for e in m.estimates.values()]
  confidence = f'{100 * summary.confidence:g}%'
  return sentence.format(confidence) if np.isfinite(ends).any() else ''


def _if_published(summary: Summary) -> str:
  """What hollow marks are, where there are any."""
  is_needed = any(method.is_published for method in summary.methods)
  return 'Hollow: published.' if is_needed else ''
