"""The HTML report of a comparison of methods.

The report is a single file: tables, figures and how the numbers were computed.
It needs no network and no scripts, and its content policy forbids both.
"""

import base64
from collections.abc import Mapping, Sequence
import pathlib
import re
from typing import NamedTuple

import jinja2
from markupsafe import Markup
from matplotlib.figure import Figure
import numpy as np

from ht_rl import drawing
from ht_rl.atari100k import figures, tables
from ht_rl.atari100k.aggregates import METRICS, Estimate, format_number
from ht_rl.atari100k.comparison import Comparison
from ht_rl.atari100k.games import GAMES, REFERENCE_SCORES
from ht_rl.atari100k.summary import (
  BAND_REPLICATES,
  PAIR_REPLICATES,
  Method,
  Summary,
)

_TEMPLATE = pathlib.Path(__file__).with_name('report.html.jinja')


class _Cell(NamedTuple):
  """A cell of a table: its text, a second text in small type, bold or not."""

  text: str
  small: str = ''
  is_bold: bool = False


class _Row(NamedTuple):
  """A row of a table: its head and its cells."""

  head: str
  cells: Sequence[_Cell]


class _Picture(NamedTuple):
  """An SVG as a data URI, and its size in CSS pixels."""

  uri: str
  width: int
  height: int


def render(
  summary: Summary,
  drawn: Mapping[str, Figure],
  comparison: Comparison | None = None,
) -> str:
  """Returns the page.

  The same summary gives the same page. Names and notes are escaped; an unknown
  number is a dash.

  Args:
    summary: the comparison.
    drawn: its figures, from `figures.all_figures`.
    comparison: of two of its methods, to be written too.

  Returns:
    An HTML document, to be written as UTF-8.
  """
  environment = jinja2.Environment(
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  environment.filters['breakable'] = _breakable
  template = environment.from_string(_TEMPLATE.read_text('utf-8'))
  methods = summary.methods
  return template.render(
    summary=summary,
    confidence=f'{100 * summary.confidence:g}%',
    all_games=len(GAMES),
    pair_replicates=PAIR_REPLICATES,
    band_replicates=BAND_REPLICATES,
    missing=[game for game in GAMES if game not in summary.games],
    metrics=[figures.METRIC_TITLES[metric] for metric in METRICS],
    aggregates=[_aggregate_row(method) for method in methods],
    improvement=_improvement_rows(summary),
    published=tables.published_rows(summary) if summary.with_published else [],
    compared=_comparison_rows(summary, comparison),
    comparison=comparison,
    runs=[tables.runs(method) for method in methods],
    games=[_game_row(summary, game) for game in summary.games],
    pictures={name: _picture(figure) for name, figure in drawn.items()},
    sources=_sources(summary),
    has_means=not all(method.has_runs for method in methods),
    has_unknown=any(len(m.estimates) < len(METRICS) for m in methods),
    unknown=tables.UNKNOWN,
  )


def _breakable(name: str) -> Markup:
  """Allows line breaks after the punctuation of a long name."""
  return Markup('<wbr>').join(re.split(r'(?<=[_\-/.:,])', name))


def _sources(summary: Summary) -> str:
  """Returns the episodes behind the curves: once if all curves share them."""
  source = {m.name: m.curve.source for m in summary.methods if m.curve}
  kinds = set(source.values())
  if len(kinds) == 1:
    return kinds.pop()
  return '; '.join(f'{kind} ({name})' for name, kind in source.items())


def _aggregate_row(method: Method) -> _Row:
  cells = [_Cell(tables.runs(method))]
  for metric in METRICS:
    if metric in method.estimates:
      estimate = method.estimates[metric]
      cells.append(
        _Cell(format_number(estimate.value, 3), _interval(estimate, 3))
      )
    else:
      cells.append(_Cell(tables.UNKNOWN))
  return _Row(method.name, cells)


def _comparison_rows(
  summary: Summary, comparison: Comparison | None
) -> list[list[str]]:
  if comparison is None:
    return []
  return tables.comparison_rows(summary, comparison)


def _improvement_rows(summary: Summary) -> list[_Row]:
  names = [method.name for method in summary.methods if method.has_runs]
  rows = []
  for name in names:
    cells = []
    for other in names:
      if (name, other) in summary.improvement:
        estimate = summary.improvement[name, other]
        is_decided = estimate.low > 0.5 or estimate.high < 0.5
        text = format_number(estimate.value, 2)
        cells.append(_Cell(text, _interval(estimate, 2), bool(is_decided)))
      else:
        cells.append(_Cell(''))
    rows.append(_Row(name, cells))
  return rows if len(rows) > 1 else []


def _game_row(summary: Summary, game: str) -> _Row:
  means = [float(np.mean(m.scores[game])) for m in summary.methods]
  cells = [_Cell(tables.points(score)) for score in REFERENCE_SCORES[game]]
  for method, mean in zip(summary.methods, means, strict=True):
    is_even = len({len(runs) for runs in method.scores.values()}) == 1
    cells.append(
      _Cell(
        tables.points(mean),
        '' if is_even else f'n={len(method.scores[game])}',
        len(means) > 1 and mean == max(means),
      )
    )
  return _Row(game, cells)


def _interval(estimate: Estimate, digits: int) -> str:
  if not np.isfinite(estimate.low):
    return ''
  low, high = (
    format_number(estimate.low, digits),
    format_number(estimate.high, digits),
  )
  return f'[{low}, {high}]'


def _picture(figure: Figure) -> _Picture:
  data = base64.b64encode(drawing.svg(figure)).decode('ascii')
  width, height = figure.get_size_inches() * 96
  return _Picture(
    f'data:image/svg+xml;base64,{data}', round(width), round(height)
  )
