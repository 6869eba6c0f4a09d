"""Parts that several figures share."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.supervised.report.selection import FRESH, WARM_START
from experiments.supervised.report.spread import Spread, spread
from experiments.supervised.results import Result, final_accuracy, is_finished
from ht_rl.drawing import INK, MUTED, Axes

ACCURACY = 'Test accuracy'
BARS = 'Bars are standard deviations.'
_COLOR = '#0072b2'
HOLLOW: dict[str, Any] = {
  'color': INK,
  'linestyle': 'none',
  'marker': 'D',
  'markersize': 4.5,
  'markerfacecolor': 'white',
}


def headline(what: str, of: str) -> str:
  """Returns the title of a figure: what it shows, and of which results."""
  return f'{what}: {of}' if of else what


def how_many(shown: int, of: int, what: str) -> str:
  """Returns a count such as 'All 9 settings.' or '4 of 9 settings.'."""
  return f'All {of} {what}.' if shown == of > 0 else f'{shown} of {of} {what}.'


def say_empty(axes: Axes) -> None:
  """Writes on a panel that there are no results."""
  axes.text(
    0.5,
    0.5,
    'no results',
    transform=axes.transAxes,
    ha='center',
    va='center',
    color=MUTED,
    bbox={'color': 'white', 'pad': 2},
  )
  axes.set_yticks([])
  if axes.get_xlabel() == ACCURACY:
    axes.set_xticks([])


def by_name(results: Sequence[Result]) -> dict[str, Result]:
  """Returns results by name; raises ValueError where two have the same."""
  named = {result.name: result for result in results}
  if len(named) < len(results):
    names = [result.name for result in results]
    twice = next(name for name in names if names.count(name) > 1)
    raise ValueError(f'each result must have a name of its own, not {twice!r}')
  return named


def references_of(named: Mapping[str, Result]) -> dict[str, Spread]:
  """Returns the accuracies of the dashed lines, the lower one first."""
  found = {
    name: spread(final_accuracy(named[name]))
    for name in (WARM_START, FRESH)
    if name in named and is_finished(named[name])
  }
  return dict(sorted(found.items(), key=lambda item: item[1].mean))


def points(
  axes: Axes,
  x: Sequence[float],
  y: Sequence[tuple[float, float]],
  is_paper: bool = False,
) -> None:
  """Draws means with their standard deviations, joined by a line."""
  mean, std = np.reshape(y, (-1, 2)).T
  look: dict[str, Any] = {
    'color': _COLOR,
    'marker': 'o',
    'markersize': 5,
    'linewidth': 1.4,
  }
  if is_paper:
    look = {**HOLLOW, 'linewidth': 0.9, 'linestyle': (0, (4, 2))}
  axes.errorbar(x, mean, std, elinewidth=1.0, capsize=2, **look)
