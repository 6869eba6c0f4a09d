"""Pictures of a comparison of methods, for papers and for the report.

Everything is told twice, by place or shape as well as by shade, so that the
pictures can be read in greyscale and by the colour-blind: rows and bars are
labelled, curves differ in marker and dashes, shades in lightness, and what a
paper published is hollow.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
import contextlib
import io
import os
import pathlib
import re
from typing import NamedTuple
import warnings

import matplotlib
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
import numpy as np

from ht_rl.atari100k import tables
from ht_rl.atari100k._writing import write_files
from ht_rl.atari100k.aggregates import Estimate
from ht_rl.atari100k.games import GAMES
from ht_rl.atari100k.summary import Summary

_HIGHER, _LOWER = '↑ higher is better', '↓ lower is better'
METRIC_TITLES: dict[str, tuple[str, str]] = {
  metric: (
    title[0].upper() + title[1:],
    _LOWER if metric == 'optimality_gap' else _HIGHER,
  )
  for metric, title in tables.METRIC_TITLES.items()
}

# Lengths are in inches, sizes of type in points: a page shows an inch as 96
# pixels, so that even the small type is 11 of them high.
_TITLE, _TYPE, _SMALL = 10.5, 9.0, 8.25
_LINE = 0.15
_LABEL_WIDTH = 24  # Letters; a longer name goes on in the next line.
_FONT = 'DejaVu Sans'  # Comes with matplotlib: the same on every machine.
_INK, _MUTED, _BAR, _FAINT = '#1a1a1a', '#595959', '#a3b8cc', '#d9d9d9'
_MARKERS = 'osD^vPX<>p*'  # As many as share no factor with the dashes.
_DASHES = ('-', (0, (5, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)))
_TICKS = (-10, -3, -1, -0.5, 0, 0.5, 1, 3, 10, 30, 100)
_MORE_TICKS = (*_TICKS, 0.25, 0.75, 2, 5, 20, 50)

_STYLE = {
  'axes.axisbelow': True,
  'axes.edgecolor': _MUTED,
  'axes.labelsize': _TYPE,
  'axes.spines.right': False,
  'axes.spines.top': False,
  'font.family': _FONT,
  'font.size': _TYPE,
  'grid.color': _FAINT,
  'grid.linewidth': 0.6,
  'legend.frameon': False,
  'savefig.dpi': 200,
  'svg.hashsalt': 'ht_rl',  # Else the ids of an SVG are random.
  'text.color': _INK,
  'text.parse_math': False,  # A dollar sign in a name is a dollar sign.
  'xtick.color': _MUTED,
  'xtick.labelcolor': _INK,
  'xtick.labelsize': _SMALL,
  'ytick.color': _MUTED,
  'ytick.labelcolor': _INK,
  'ytick.labelsize': _TYPE,
}


class _Line(NamedTuple):
  """A curve with its band.

  Attributes:
    method: its name.
    x: [points].
    y: arrays [points].
    label: what the legend calls it.
    height: how high it runs, which gives the legend its order.
  """

  method: str
  x: np.ndarray
  y: Estimate
  label: str
  height: float


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


def write_figures(
  drawn: Mapping[str, Figure], directory: str | os.PathLike[str]
) -> list[pathlib.Path]:
  """Writes every picture as SVG and as PNG, or none of them.

  The same pictures give the same bytes.

  Args:
    drawn: pictures by name, from `figures`.
    directory: where to; it is made where it is missing.

  Returns:
    The files: `<name>.svg` and `<name>.png` for each name.

  Raises:
    OSError: they can't be written; older files are left as they were.
  """
  contents = {}
  for name, figure in drawn.items():
    path = pathlib.Path(directory, name)
    contents[path.with_suffix('.svg')] = svg(figure)
    contents[path.with_suffix('.png')] = png(figure)
  write_files(contents)
  return list(contents)


def svg(figure: Figure) -> bytes:
  """A picture as SVG, its type as outlines: it needs no fonts."""
  buffer = io.BytesIO()
  with _styled():
    figure.savefig(buffer, format='svg', metadata={'Date': None})
  return buffer.getvalue()


def png(figure: Figure) -> bytes:
  """A picture as PNG, 200 pixels an inch."""
  buffer = io.BytesIO()
  with _styled():
    figure.savefig(buffer, format='png')
  return buffer.getvalue()


def interval_plot(summary: Summary) -> Figure:
  """The aggregates of every method, each with its interval.

  Args:
    summary: the comparison.

  Returns:
    A row for each method and a panel for each of `aggregates.METRICS`. What
    has no single runs comes without intervals; what can't be known says so.
  """
  labels = [_wrapped(method.name) for method in summary.methods]
  pitch = max(0.24, _LINE * _most_lines(labels) + 0.09)
  with _styled():
    figure, panels = _canvas(
      f'Human-normalised scores over {_extent(summary)}',
      _if_intervals(summary, 'Bars are {} intervals. ')
      + _if_published(summary),
      panel=(1.72, pitch * len(labels) + 0.08),
      columns=len(METRIC_TITLES),
      left=_width(labels) + 0.15,
      bottom=0.3,
      head=0.42,
      gap=0.22,
    )
    for axes, (metric, (title, direction)) in zip(
      panels, METRIC_TITLES.items(), strict=True
    ):
      axes.set_title(title, size=_TYPE, weight='bold', loc='left', pad=17)
      axes.annotate(
        direction,
        xy=(0, 1),
        xycoords='axes fraction',
        xytext=(0, 4),
        textcoords='offset points',
        size=_SMALL,
        color=_MUTED,
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
            size=_SMALL,
            color=_MUTED,
            bbox={'color': 'white', 'pad': 2},
          )
          continue
        value, low, high = method.estimates[metric]
        if np.isfinite(low):
          axes.hlines(row, low, high, _BAR, linewidth=7)
        axes.plot(
          value,
          row,
          marker='D' if method.is_published else '|',
          markersize=5 if method.is_published else 10,
          markeredgewidth=1.2 if method.is_published else 1.8,
          markerfacecolor='white',
          color=_INK,
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
  with _styled():
    figure, axes = _curves(
      f'Performance profiles over {_extent(summary)}',
      'Share of runs above a score'
      + _if_intervals(summary, ', with {} bands')
      + '.',
      summary,
      [
        _Line(
          method.name,
          summary.thresholds,
          method.profile,
          _wrapped(method.name),
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
  with _styled():
    figure, axes = _curves(
      f'Sample efficiency over {_extent(summary)}',
      f'IQM{what}{_if_intervals(summary, ", with {} bands")}.',
      summary,
      [
        _Line(
          name,
          curve.steps,
          curve.iqm,
          _wrapped(name) + ('' if is_one else f'\n({curve.source})'),
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
  rows = [_wrapped(name) for name in names]
  columns = [_wrapped(name, 9) for name in names]
  is_upright = _most_lines(columns) > 3
  if is_upright:
    columns = rows
  side = _LINE * _most_lines(rows) + 0.09
  cell = (max(0.78, side), max(0.42, side))
  values = np.full((len(names), len(names)), np.nan)
  with _styled():
    figure, (axes,) = _canvas(
      'Probability that a run of the row beats one of the column',
      f'Over {_extent(summary)}.'
      + _if_intervals(summary, ' Small: {} interval; bold: it excludes ½.'),
      panel=(cell[0] * len(names), cell[1] * len(names)),
      left=_width(rows) + 0.15,
      bottom=0.08,
      head=0.08
      + (_width(columns) if is_upright else _LINE * _most_lines(columns)),
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
          size=_SMALL,
        )
    edges = np.arange(len(names) + 1) - 0.5
    axes.pcolormesh(
      edges,
      edges,
      np.ma.masked_invalid(values),
      cmap=_cell_shades(),
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
    axes.tick_params(length=0, labelsize=_TYPE)
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
  labels = [] if is_single else [_wrapped(method.name) for method in methods]
  pitch = 0.02 + max(0.14, _LINE * _most_lines(labels))
  heading, gap = (0.0, 0.0) if is_single else (0.2, 0.14)
  block = heading + pitch * len(methods) + gap
  columns = 1 if is_single else min(4, len(games))
  a_column = -(-len(games) // columns)
  everything = np.concatenate(
    [method.normalized[game] for method in methods for game in games]
  )
  low, high = min(0.0, *everything), max(1.0, *everything)
  with _styled():
    figure, panels = _canvas(
      f'Mean human-normalised score, {_extent(summary)}',
      'Random is 0, human 1; logarithmic beyond 1. '
      + ('Dots are single runs. ' if has_runs else '')
      + _if_published(summary),
      panel=(5.5 if is_single else 1.95, block * a_column + 0.05),
      columns=columns,
      left=_width(games if is_single else labels) + 0.15,
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
    'none' if method.is_published else _pale(_shade(summary, method.name))
    for method in summary.methods
  ]
  axes.barh(
    rows,
    [float(np.mean(values)) for values in runs],
    height=height,
    color=shades,
    edgecolor=_MUTED,
    linewidth=0.6,
  )
  is_run = [method.has_runs for method in summary.methods]
  sizes = [len(values) for values in runs]
  axes.plot(
    np.concatenate(runs)[np.repeat(is_run, sizes)],
    np.repeat(rows, np.multiply(is_run, sizes)),
    'o',
    color=_INK,
    markersize=2.4,
    markeredgewidth=0,
  )


def _curves(
  title: str, subtitle: str, summary: Summary, lines: Sequence[_Line]
) -> tuple[Figure, Axes]:
  """Draws curves with bands, and beside them a legend from top to bottom."""
  names = [method.name for method in summary.methods]
  labels = [line.label for line in lines]
  rows = sum(label.count('\n') + 1 for label in labels)
  figure, (axes,) = _canvas(
    title,
    subtitle,
    panel=(5.4, max(3.4, (_LINE + 0.04) * rows)),
    left=0.62,
    bottom=0.5,
    right=_width(labels) + 0.75,
  )
  ordered = sorted(lines, key=lambda line: -line.height)
  for order, line in enumerate(ordered):
    index = names.index(line.method)
    shade = _shade(summary, line.method)
    axes.fill_between(
      line.x, line.y.low, line.y.high, color=shade, alpha=0.13, linewidth=0
    )
    axes.plot(
      line.x,
      line.y.value,
      color=shade,
      linestyle=_DASHES[index % len(_DASHES)],
      linewidth=1.4,
      marker=_MARKERS[index % len(_MARKERS)],
      markersize=5.5,
      markeredgecolor='white',
      markeredgewidth=0.5,
      # Ten along the diagonal, and of two curves not side by side.
      markevery=(0.1 * order / len(lines), 0.1) if len(line.x) > 25 else 1,
    )
  axes.grid(True)
  axes.legend(
    axes.get_lines(),
    [line.label for line in ordered],
    loc='upper left',
    bbox_to_anchor=(1.01, 1.0),
    borderaxespad=0,
    handlelength=3.2,
    labelspacing=0.4,
  )
  return figure, axes


def _canvas(
  title: str,
  subtitle: str,
  *,
  panel: tuple[float, float],
  columns: int = 1,
  left: float,
  bottom: float,
  right: float = 0.2,
  head: float = 0.0,
  gap: float = 0.0,
) -> tuple[Figure, list[Axes]]:
  """Makes a figure around panels of a given size, side by side.

  Args:
    title: its first line.
    subtitle: its second line: how it is read.
    panel: width and height of a panel.
    columns: how many panels.
    left: space for labels.
    bottom: space for labels.
    right: space for a legend.
    head: space over the panels for what stands there.
    gap: space between the panels.

  Returns:
    The figure and its panels.
  """
  width = max(
    left + columns * panel[0] + (columns - 1) * gap + right,
    _width([title], _TITLE, 'bold') + 0.25,
    _width([subtitle]) + 0.25,
  )
  height = bottom + panel[1] + head + 0.51
  figure = Figure(figsize=(width, height))
  FigureCanvasAgg(figure)
  for inches, text, format_ in (
    (0.08, title, {'size': _TITLE, 'weight': 'bold'}),
    (0.28, subtitle, {'color': _MUTED}),
  ):
    figure.text(0.1 / width, 1 - inches / height, text, va='top', **format_)
  panels = []
  for column in range(columns):
    x = left + column * (panel[0] + gap)
    place = (x / width, bottom / height, panel[0] / width, panel[1] / height)
    panels.append(figure.add_axes(place))
  return figure, panels


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
    axes.axvline(reference, color=_MUTED, linewidth=0.8, zorder=0.9)


def _cell_shades() -> ListedColormap:
  """Lighter to darker, but black type on it stays readable."""
  shades = matplotlib.colormaps['Blues'](np.linspace(0, 0.62, 256))
  return ListedColormap(shades)


def _shade(summary: Summary, name: str) -> tuple[float, float, float]:
  """A method's colour: the later in the summary, the lighter.

  What is published is hollow and takes no shade from the others.
  """
  names = [m.name for m in summary.methods if not m.is_published]
  place = names.index(name) / max(1, len(names) - 1)
  return to_rgb(matplotlib.colormaps['plasma'](0.75 * place))


def _pale(color: tuple[float, float, float]) -> tuple[float, ...]:
  """Halfway to white: dots stand out from it."""
  return tuple((1 + channel) / 2 for channel in color)


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


def _wrapped(name: str, width: int = _LABEL_WIDTH) -> str:
  """Breaks a name into lines if need be, best after its punctuation."""
  lines = ['']
  for word in re.split(r'(?<=[\s_\-/.:,])', ' '.join(name.split())):
    for start in range(0, len(word), width):
      part = word[start : start + width]
      if lines[-1] and len(lines[-1]) + len(part) > width:
        lines.append('')
      lines[-1] += part
  return '\n'.join(line.strip() for line in lines)


def _most_lines(texts: Iterable[str]) -> int:
  return max((text.count('\n') + 1 for text in texts), default=0)


def _width(
  texts: Iterable[str], size: float = _TYPE, weight: str = 'normal'
) -> float:
  """The width in inches of the widest line of some texts."""
  font = FontProperties(family=_FONT, size=size, weight=weight)
  widths = [
    text_to_path.get_text_width_height_descent(line, font, False)[0]
    for text in texts
    for line in text.split('\n')
  ]
  return max(widths) / 72


@contextlib.contextmanager
def _styled() -> Iterator[None]:
  """Our settings in place of the user's."""
  with style.context(['default', _STYLE]), warnings.catch_warnings():
    # A letter that the font lacks becomes a box; the tables have it.
    warnings.filterwarnings('ignore', 'Glyph .* missing from font')
    yield
