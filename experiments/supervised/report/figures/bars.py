"""Final accuracy of settings as bars (Figs. 3, 4 and 5)."""

from collections.abc import Mapping, Sequence
import math

import numpy as np

from experiments.supervised.report.figures.common import (
  ACCURACY,
  HOLLOW,
  by_name,
  headline,
  how_many,
  references_of,
  say_empty,
)
from experiments.supervised.report.selection import (
  REFERENCES,
  WARM_START,
  method,
  subject,
)
from experiments.supervised.report.spread import spread
from experiments.supervised.results import (
  NETWORKS,
  Result,
  final,
  final_accuracy,
  finished,
  is_finished,
)
from ht_rl.drawing import (
  FAINT,
  INK,
  LINE,
  MUTED,
  SMALL,
  TYPE,
  Axes,
  Color,
  Figure,
  canvas,
  most_lines,
  pale,
  styled,
  text_width,
  to_rgb,
  wrapped,
)

_REFERENCES, _OTHERS = 'References', 'Other settings'

# The groups of Figs. 4 and 5, in colours that the colour-blind tell apart.
GROUP_COLORS: dict[str, str] = {
  'Generalizability': '#009e73',
  'Trainability': '#d55e00',
  'Re-initialization': '#0072b2',
  'Averaging': '#cc79a7',
}


def bars(results: Sequence[Result], groups: Mapping[str, str]) -> Figure:
  """Draws the final test accuracy of several settings.

  Figs. 3, 4 and 5 of the paper.

  Args:
    results: of one dataset and one model. Those called 'WS', 'fresh' and 'fresh
      + Aug' come first; the first two become dashed lines too.
    groups: the group of each setting, by its name or by that of its method (see
      `selection.method`). Those without a group come last.

  Returns:
    A bar for each setting from the mean of the warm start to its own, to the
    left if it is worse. Bars are in the order of the groups; those of one
    method are sorted by their numbers. Dots are seeds. A hollow mark shows the
    mean of the network that is not reported.

  Raises:
    ValueError: there is more than one dataset or model, or two results have the
      same name.
  """
  of = subject(results)
  named = by_name(results)
  keys = {name: name if name in groups else method(name) for name in named}
  grouped = {
    group: [
      named[name]
      for key in groups
      for name in sorted(named, key=_number)
      if keys[name] == key and groups[key] == group
    ]
    for group in groups.values()
  }
  compared = [
    named[name]
    for name in REFERENCES
    if name in named and keys[name] not in groups
  ]
  others = [
    named[name]
    for name in named
    if keys[name] not in groups and name not in REFERENCES
  ]
  grouped = {_REFERENCES: compared} | grouped | {_OTHERS: others}
  grouped = {group: rows for group, rows in grouped.items() if rows}
  rows = [result for group in grouped.values() for result in group]
  labels = {result.name: wrapped(result.name) for result in rows}
  pitch = max(0.24, LINE * most_lines(labels.values()) + 0.09)
  heading, gap = 0.24, 0.1
  references = references_of(named)
  base = references.get(WARM_START, (0.0, 0.0))[0]
  with styled():
    figure, (axes,) = canvas(
      headline('Final test accuracy', of),
      f'{how_many(len(finished(rows)), len(rows), "settings")} '
      'Dots are seeds, lines standard deviations.'
      + (' Hollow: hare (diamond), tortoise (triangle).' if rows else ''),
      panel=(
        5.4,
        max(0.5, pitch * len(rows) + (heading + gap) * len(grouped)),
      ),
      left=0.25
      + max(text_width(labels.values()), text_width(grouped, TYPE, 'bold')),
      bottom=0.48,
      right=0.95,
      head=0.2,
    )
    top = 0.0
    for group, results_of in grouped.items():
      color = to_rgb(GROUP_COLORS.get(group, MUTED))
      _at_left(axes, top + heading / 2, group, weight='bold')
      top += heading
      for result in results_of:
        row, top = top + pitch / 2, top + pitch
        _at_left(axes, row, labels[result.name])
        if is_finished(result):
          _bar(axes, row, result, base, color)
        else:
          _at_right(axes, row, 'unfinished')
      top += gap
    axes.set_ylim(max(top, gap), 0)
    axes.set_yticks([])
    axes.margins(x=0.06)
    axes.locator_params(axis='x', nbins=8)
    axes.set_xlabel(ACCURACY)
    axes.grid(True, axis='x')
    axes.spines['left'].set_visible(False)
    if not (finished(rows) or references):
      say_empty(axes)
    for name, (mean, std) in references.items():
      # Two labels would overlap, so one goes to the left of its line.
      is_left = len(references) == 2 and name == next(iter(references))
      axes.axvspan(mean - std, mean + std, color=FAINT, alpha=0.6, zorder=0.5)
      axes.axvline(mean, color=INK, linewidth=1, linestyle=(0, (4, 2)))
      axes.annotate(
        f'{name} {mean:.3f}',
        xy=(mean, 1),
        xycoords=axes.get_xaxis_transform(),
        xytext=(-3 if is_left else 3, 4),
        textcoords='offset points',
        ha='right' if is_left else 'left',
      )
  return figure


def _number(name: str) -> float:
  """Returns the number at the end of a setting's name."""
  return float(name.removeprefix(method(name)) or -math.inf)


def _bar(
  axes: Axes, row: float, result: Result, base: float, color: Color
) -> None:
  """Draws a setting's bar with its seeds and standard deviation."""
  values = final_accuracy(result)
  mean, std = spread(values)
  axes.barh(
    row,
    mean - base,
    height=0.19,
    left=base,
    color=pale(color),
    edgecolor=color,
    linewidth=0.8,
  )
  # Beside the dots: on the line a seed could not be seen.
  axes.errorbar(
    mean, row - 0.045, xerr=std, color=INK, elinewidth=1.2, capsize=2
  )
  axes.plot(
    values,
    np.full(len(values), row + 0.045),
    'o',
    color=INK,
    markersize=2.8,
    markeredgewidth=0,
  )
  (other,) = {*NETWORKS} - {result.reported}
  mark = 'D' if other == 'hare' else '^'
  average = float(np.mean(final(result, f'{other}_test_accuracy')))
  axes.plot(average, row, **{**HOLLOW, 'marker': mark})
  _at_right(axes, row, f'{mean:.3f}')


def _at_left(axes: Axes, row: float, text: str, weight: str = 'normal') -> None:
  axes.text(
    -0.02,
    row,
    text,
    transform=axes.get_yaxis_transform(),
    ha='right',
    va='center',
    weight=weight,
  )


def _at_right(axes: Axes, row: float, text: str) -> None:
  axes.text(
    1.02,
    row,
    text,
    transform=axes.get_yaxis_transform(),
    va='center',
    size=SMALL,
    color=MUTED,
  )
