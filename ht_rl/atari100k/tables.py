"""A summary as text: for a terminal, Markdown, LaTeX, or as CSV and JSON."""

from collections.abc import Callable, Iterator
import csv
import io
import json
import math
from typing import Any

import numpy as np

from ht_rl.atari100k.aggregates import METRICS, Estimate, format_number
from ht_rl.atari100k.comparison import Comparison, format_p
from ht_rl.atari100k.games import GAMES, REFERENCE_SCORES
from ht_rl.atari100k.published import SYSTEMS, ranked
from ht_rl.atari100k.summary import (
  METRIC_TITLES,
  Method,
  Summary,
  format_estimate,
)
from ht_rl.text_tables import markdown, tabulated

# Shown where there is no number.
UNKNOWN = '\N{EN DASH}'

PUBLISHED_TITLE = (
  'Beside published systems, by IQM: 26 games, 100,000 agent steps; protocols '
  'differ'
)

_Rows = list[list[str]]


def render(
  summary: Summary,
  style: str = 'table',
  comparison: Comparison | None = None,
) -> str:
  """Writes a summary in one of `STYLES`.

  Args:
    summary: what to write.
    style: 'table' (for a terminal), 'markdown', 'latex', 'csv' (a row for each
      number, with its interval) or 'json' (the same, nested).
    comparison: of two of its methods, to be written too.

  Returns:
    The text, with a newline at its end.

  Raises:
    ValueError: there is no such style.
  """
  if style not in STYLES:
    raise ValueError(
      f'the style must be one of {", ".join(STYLES)}, not {style!r}'
    )
  return STYLES[style](summary, comparison)


def aggregate_rows(summary: Summary) -> _Rows:
  """Returns a header and a row of aggregates for each method."""
  header = ['method', 'runs', *METRIC_TITLES.values()]
  return [
    header,
    *(
      [m.name, runs(m), *(_with_interval(m.estimates.get(k)) for k in METRICS)]
      for m in summary.methods
    ),
  ]


def game_rows(summary: Summary) -> _Rows:
  """Returns a header and a row of mean scores, in points, for each game."""
  rows = [['game', 'random', 'human', *(m.name for m in summary.methods)]]
  for game in summary.games:
    means = [float(np.mean(m.scores[game])) for m in summary.methods]
    rows.append([game, *map(points, (*REFERENCE_SCORES[game], *means))])
  return rows


def improvement_rows(summary: Summary) -> _Rows:
  """Returns a header and a row of probabilities of improvement a method.

  Only the header if fewer than two methods have runs.
  """
  names = [method.name for method in summary.methods if method.has_runs]
  rows = [['P(row > column)', *names]]
  if len(names) < 2:
    return rows
  for x in names:
    pairs = [summary.improvement.get((x, y)) for y in names]
    rows.append([x, *(_with_interval(p, digits=2) for p in pairs)])
  return rows


def published_rows(summary: Summary) -> _Rows:
  """Returns a header and rows of methods and published systems in order."""
  systems = {system.name: system for system in SYSTEMS}
  header = ['method', 'runs', *METRIC_TITLES.values(), 'source', 'evaluation']
  rows = [header]
  for method in ranked(summary):
    numbers = [_with_interval(method.estimates.get(k)) for k in METRICS]
    if method.scores:
      rows.append([method.name, runs(method), *numbers, '', ''])
    else:
      system = systems[method.name]
      about = [system.source, system.evaluation]
      rows.append([system.name, system.runs, *numbers, *about])
  return rows


def comparison_rows(summary: Summary, comparison: Comparison) -> _Rows:
  """Returns a header and rows of two methods' aggregates and differences."""
  first, second = (
    next(method for method in summary.methods if method.name == name)
    for name in (comparison.first, comparison.second)
  )
  rows = [['', comparison.first, comparison.second, 'difference']]
  for metric, title in METRIC_TITLES.items():
    values = [
      format_number(method.estimates[metric].value, 3)
      for method in (first, second)
    ]
    difference = _with_interval(comparison.differences[metric])
    rows.append([title, *values, difference])
  wins, losses, p = comparison.sign_test
  rows.append(['games won (sign test)', f'{wins}', f'{losses}', format_p(p)])
  chance = _with_interval(comparison.improvement)
  return [*rows, [f'P({first.name} > {second.name})', '', '', chance]]


def comparison_title(comparison: Comparison) -> str:
  """Returns the title of the table of two methods."""
  title = f'{comparison.first} and {comparison.second}, paired by game: '
  if not comparison.has_intervals:
    return f'{title}differences'
  confidence = f'{100 * comparison.confidence:g}%'
  return (
    f'{title}differences with {confidence} intervals corrected for few runs'
  )


def runs(method: Method) -> str:
  """Returns the number of runs a game: '5', '3-5', or 'means'."""
  if not method.has_runs:
    return 'published' if method.is_published else 'means'
  sizes = [len(of) for of in method.scores.values()]
  fewest, most = min(sizes), max(sizes)
  return f'{fewest}' if fewest == most else f'{fewest}-{most}'


def points(score: float) -> str:
  """Formats a score in game points, with a decimal if it is small."""
  return format_number(score, 0 if abs(score) >= 1000 else 1)


def _with_interval(estimate: Estimate | None, digits: int = 3) -> str:
  return UNKNOWN if estimate is None else format_estimate(estimate, digits)


def _tables(
  summary: Summary, comparison: Comparison | None
) -> Iterator[tuple[str, _Rows]]:
  yield summary.heading, aggregate_rows(summary)
  if summary.with_published:
    yield PUBLISHED_TITLE, published_rows(summary)
  if comparison is not None:
    rows = comparison_rows(summary, comparison)
    yield comparison_title(comparison), rows
  rows = improvement_rows(summary)
  if len(rows) > 1:
    yield 'Probability that a run of the row beats one of the column', rows
  yield 'Mean scores in game points', game_rows(summary)


def _sentences(
  summary: Summary, comparison: Comparison | None
) -> tuple[str, ...]:
  """Returns what the comparison says, then the notes."""
  said = () if comparison is None else comparison.sentences
  return (*said, *(f'note: {note}' for note in summary.notes))


def _table(summary: Summary, comparison: Comparison | None) -> str:
  parts = [
    f'{title}\n\n{tabulated(rows, "simple")}\n'
    for title, rows in _tables(summary, comparison)
  ]
  if sentences := _sentences(summary, comparison):
    parts.append(''.join(f'{sentence}\n' for sentence in sentences))
  return '\n'.join(parts)


def _markdown(summary: Summary, comparison: Comparison | None) -> str:
  parts = [
    f'**{title}**\n\n{markdown(rows)}\n'
    for title, rows in _tables(summary, comparison)
  ]
  if sentences := _sentences(summary, comparison):
    parts.append(''.join(f'- {sentence}\n' for sentence in sentences))
  return '\n'.join(parts)


def _latex(summary: Summary, comparison: Comparison | None) -> str:
  parts = [
    f'% {title}\n{tabulated(rows, "latex_booktabs")}\n'
    for title, rows in _tables(summary, comparison)
  ]
  if sentences := _sentences(summary, comparison):
    parts.append(''.join(f'% {sentence}\n' for sentence in sentences))
  return '\n'.join(parts).replace(UNKNOWN, '--')


def _csv(summary: Summary, comparison: Comparison | None) -> str:
  file = io.StringIO()
  writer = csv.writer(file, lineterminator='\n')
  writer.writerow(
    ['method', 'quantity', 'of', 'runs', 'games', 'value', 'low', 'high']
  )
  games = len(summary.games)
  for method in summary.methods:
    for metric, estimate in method.estimates.items():
      row = [method.name, metric, '', runs(method), games]
      writer.writerow([*row, *_numbers(estimate)])
    for game, scores in method.scores.items():
      number = len(scores) if method.has_runs else runs(method)
      row = [method.name, 'mean_score', game, number, 1]
      writer.writerow([*row, float(np.mean(scores)), '', ''])
  for (x, y), estimate in summary.improvement.items():
    row = [x, 'probability_of_improvement', y, '', games]
    writer.writerow([*row, *_numbers(estimate)])
  if summary.with_published:
    for system in SYSTEMS:
      for metric, value in system.aggregates.items():
        row = [system.name, metric, '', system.runs, len(GAMES), value]
        writer.writerow([*row, '', ''])
  if comparison is not None:
    for quantity, estimate in _comparison_numbers(comparison).items():
      row = [comparison.first, quantity, comparison.second, comparison.runs]
      writer.writerow([*row, games, *_numbers(estimate)])
  return file.getvalue()


def _comparison_numbers(comparison: Comparison) -> dict[str, Estimate]:
  """Returns the numbers of a comparison by name; NaN where unknown."""

  def alone(value: float | None) -> Estimate:
    number = np.array(np.nan if value is None else value)
    return Estimate(number, np.array(np.nan), np.array(np.nan))

  differences = {
    f'{name}_difference': estimate
    for name, estimate in comparison.differences.items()
  }
  return {
    **differences,
    'corrected_probability_of_improvement': comparison.improvement,
    'games_won': alone(comparison.sign_test.wins),
    'games_lost': alone(comparison.sign_test.losses),
    'sign_test_p': alone(comparison.sign_test.p),
    'runs_needed': alone(comparison.runs_needed),
    'detectable_iqm_difference': alone(comparison.detectable),
  }


def _numbers(estimate: Estimate) -> list[float | str]:
  return ['' if math.isnan(x) else float(x) for x in estimate]


def _json(summary: Summary, comparison: Comparison | None) -> str:
  def interval(estimate: Estimate) -> dict[str, float | None]:
    values = [None if math.isnan(x) else float(x) for x in estimate]
    return dict(zip(Estimate._fields, values, strict=True))

  def of_method(method: Method) -> dict[str, Any]:
    return {
      'has_runs': method.has_runs,
      'is_published': method.is_published,
      'aggregates': {k: interval(e) for k, e in method.estimates.items()},
      'scores': {game: list(x) for game, x in method.scores.items()},
    }

  names = [method.name for method in summary.methods if method.has_runs]
  content: dict[str, Any] = {
    'games': list(summary.games),
    'num_games_of_atari100k': len(GAMES),
    'replicates': summary.replicates,
    'confidence': summary.confidence,
    'seed': summary.seed,
    'notes': list(summary.notes),
    'methods': {method.name: of_method(method) for method in summary.methods},
    'probability_of_improvement': {
      x: {
        y: interval(summary.improvement[x, y])
        for y in names
        if (x, y) in summary.improvement
      }
      for x in names
    },
  }
  if summary.with_published:
    content['published'] = [
      {**system._asdict(), 'aggregates': dict(system.aggregates)}
      for system in SYSTEMS
    ]
  if comparison is not None:
    content['comparison'] = {
      'first': comparison.first,
      'second': comparison.second,
      'runs': comparison.runs,
      'better': comparison.better,
      'iqm_difference_to_detect': comparison.target,
      'power': comparison.wanted_power,
      **{
        name: interval(estimate)
        for name, estimate in _comparison_numbers(comparison).items()
      },
      'sentences': list(comparison.sentences),
    }
  return json.dumps(content, indent=2) + '\n'


STYLES: dict[str, Callable[[Summary, Comparison | None], str]] = {
  'table': _table,
  'markdown': _markdown,
  'latex': _latex,
  'csv': _csv,
  'json': _json,
}
