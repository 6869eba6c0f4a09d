"""Style and files of all figures.

Every distinction is made twice, by place or shape and by shade, so that the
figures can be read in greyscale and by the colour-blind.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
import contextlib
import io
import os
import pathlib
import re
from typing import NamedTuple
import warnings

import numpy as np

from ht_rl.files import write_files

try:
  import matplotlib
except ModuleNotFoundError as error:
  raise ModuleNotFoundError(
    'pictures need matplotlib: pip install matplotlib'
  ) from error
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

# Lengths are in inches, font sizes in points. A page shows an inch as 96
# pixels, so that the small font is 11 pixels high.
TITLE, TYPE, SMALL = 10.5, 9.0, 8.25
LINE = 0.15
LABEL_WIDTH = 24  # Letters; longer names are wrapped.
INK, MUTED, BAR, FAINT = '#1a1a1a', '#595959', '#a3b8cc', '#d9d9d9'
MARKERS = 'osD^vPX<>p*'  # 11: coprime to the number of dashes.
DASHES = ('-', (0, (5, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)))
_FONT = 'DejaVu Sans'  # Part of matplotlib: the same on every machine.

Color = tuple[float, float, float]

_STYLE = {
  'axes.axisbelow': True,
  'axes.edgecolor': MUTED,
  'axes.labelsize': TYPE,
  'axes.spines.right': False,
  'axes.spines.top': False,
  'font.family': _FONT,
  'font.size': TYPE,
  'grid.color': FAINT,
  'grid.linewidth': 0.6,
  'legend.frameon': False,
  'savefig.dpi': 200,
  'svg.hashsalt': 'ht_rl',  # Otherwise the ids of an SVG are random.
  'text.color': INK,
  'text.parse_math': False,  # A dollar sign in a name is a dollar sign.
  'xtick.color': MUTED,
  'xtick.labelcolor': INK,
  'xtick.labelsize': SMALL,
  'ytick.color': MUTED,
  'ytick.labelcolor': INK,
  'ytick.labelsize': TYPE,
}


class Line(NamedTuple):
  """A curve with its band.

  Attributes:
    x: [points].
    value: [points].
    low: the lower end of the band, [points].
    high: the upper end, [points].
    label: its name in the legend.
    height: orders the legend, highest first.
    place: index of the method, which chooses its marker and dashes.
    color: its colour.
  """

  x: np.ndarray
  value: np.ndarray
  low: np.ndarray
  high: np.ndarray
  label: str
  height: float
  place: int
  color: Color


def write_figures(
  drawn: Mapping[str, Figure], directory: str | os.PathLike[str]
) -> list[pathlib.Path]:
  """Writes every figure as SVG and as PNG, or none of them.

  The same figures give the same bytes.

  Args:
    drawn: figures by name.
    directory: of the files; it is made if it is missing.

  Returns:
    The files: `<name>.svg` and `<name>.png` for each name.

  Raises:
    OSError: a file can't be written; older files are left as they were.
  """
  contents = {}
  for name, figure in drawn.items():
    # Not with_suffix: there may be a dot in the name.
    contents[pathlib.Path(directory, f'{name}.svg')] = svg(figure)
    contents[pathlib.Path(directory, f'{name}.png')] = png(figure)
  write_files(contents)
  return list(contents)


def svg(figure: Figure) -> bytes:
  """Returns a figure as SVG, with text as outlines: it needs no fonts."""
  buffer = io.BytesIO()
  with styled():
    figure.savefig(buffer, format='svg', metadata={'Date': None})
  return buffer.getvalue()


def png(figure: Figure) -> bytes:
  """Returns a figure as PNG, with 200 pixels an inch."""
  buffer = io.BytesIO()
  with styled():
    figure.savefig(buffer, format='png')
  return buffer.getvalue()


def draw_curves(
  title: str, subtitle: str, lines: Sequence[Line]
) -> tuple[Figure, Axes]:
  """Draws curves with bands, and a legend beside them."""
  labels = [line.label for line in lines]
  rows = sum(label.count('\n') + 1 for label in labels)
  figure, (axes,) = canvas(
    title,
    subtitle,
    panel=(5.4, max(3.4, (LINE + 0.04) * rows)),
    left=0.62,
    bottom=0.5,
    right=text_width(labels) + 0.75,
  )
  ordered = sorted(lines, key=lambda line: -line.height)
  for order, line in enumerate(ordered):
    axes.fill_between(
      line.x, line.low, line.high, color=line.color, alpha=0.13, linewidth=0
    )
    axes.plot(
      line.x,
      line.value,
      color=line.color,
      linestyle=DASHES[line.place % len(DASHES)],
      linewidth=1.4,
      marker=MARKERS[line.place % len(MARKERS)],
      markersize=5.5,
      markeredgecolor='white',
      markeredgewidth=0.5,
      # Ten markers a curve, at different places for different curves.
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


def canvas(
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

  All lengths are in inches.

  Args:
    title: its first line.
    subtitle: its second line: how to read it.
    panel: width and height of a panel.
    columns: number of panels.
    left: space for labels.
    bottom: space for labels.
    right: space for a legend.
    head: space for headings over the panels.
    gap: space between the panels.

  Returns:
    The figure and its panels.
  """
  width = max(
    left + columns * panel[0] + (columns - 1) * gap + right,
    text_width([title], TITLE, 'bold') + 0.25,
    text_width([subtitle]) + 0.25,
  )
  height = bottom + panel[1] + head + 0.51
  figure = Figure(figsize=(width, height))
  FigureCanvasAgg(figure)
  for inches, text, format_ in (
    (0.08, title, {'size': TITLE, 'weight': 'bold'}),
    (0.28, subtitle, {'color': MUTED}),
  ):
    figure.text(0.1 / width, 1 - inches / height, text, va='top', **format_)
  panels = []
  for column in range(columns):
    x = left + column * (panel[0] + gap)
    place = (x / width, bottom / height, panel[0] / width, panel[1] / height)
    panels.append(figure.add_axes(place))
  return figure, panels


def cell_shades() -> ListedColormap:
  """Returns shades from light to dark on which black text is readable."""
  shades = matplotlib.colormaps['Blues'](np.linspace(0, 0.62, 256))
  return ListedColormap(shades)


def shade(place: int, count: int) -> Color:
  """Returns the colour of one of several methods: later ones are lighter."""
  share = place / max(1, count - 1)
  return to_rgb(matplotlib.colormaps['plasma'](0.75 * share))


def pale(color: Color) -> Color:
  """Returns a colour halfway to white, from which dots stand out."""
  red, green, blue = color
  return (1 + red) / 2, (1 + green) / 2, (1 + blue) / 2


def wrapped(name: str, width: int = LABEL_WIDTH) -> str:
  """Breaks a long name into lines, preferably after punctuation."""
  lines = ['']
  for word in re.split(r'(?<=[\s_\-/.:,])', ' '.join(name.split())):
    for start in range(0, len(word), width):
      part = word[start : start + width]
      if lines[-1] and len(lines[-1]) + len(part) > width:
        lines.append('')
      lines[-1] += part
  return '\n'.join(line.strip() for line in lines)


def most_lines(texts: Iterable[str]) -> int:
  """Returns the largest number of lines of the texts."""
  return max((text.count('\n') + 1 for text in texts), default=0)


def text_width(
  texts: Iterable[str], size: float = TYPE, weight: str = 'normal'
) -> float:
  """Returns the width in inches of the widest line of the texts."""
  font = FontProperties(family=_FONT, size=size, weight=weight)
  widths = [
    text_to_path.get_text_width_height_descent(line, font, False)[0]
    for text in texts
    for line in text.split('\n')
  ]
  return max(widths, default=0.0) / 72


@contextlib.contextmanager
def styled() -> Iterator[None]:
  """Uses our matplotlib settings instead of the user's."""
  with style.context(['default', _STYLE]), warnings.catch_warnings():
    # A letter that the font lacks becomes a box; the tables show it.
    warnings.filterwarnings('ignore', 'Glyph .* missing from font')
    yield
