"""Final accuracy by one field of the setting (Figs. 3 and 9)."""

from collections.abc import Sequence

import numpy as np

from experiments.supervised.report.figures.common import (
  ACCURACY,
  BARS,
  HOLLOW,
  by_name,
  headline,
  how_many,
  points,
  references_of,
  say_empty,
)
from experiments.supervised.report.selection import FRESH, WARM_START, subject
from experiments.supervised.report.spread import spread
from experiments.supervised.results import (
  Result,
  final,
  final_accuracy,
  is_finished,
)
from ht_rl.drawing import INK, Figure, canvas, styled, text_width

_SCALES = ('log', 'one minus', 'linear')


def lines(results: Sequence[Result], field: str, scale: str = 'log') -> Figure:
  """Draws the final test accuracy by the value of one field of the setting.

  Figs. 3 and 9 of the paper.

  Args:
    results: of one dataset and one model, that differ only in one field. Those
      called 'WS' and 'fresh' become dashed lines; those without a value of the
      field are left out.
    field: name of a field with one number for all phases.
    scale: 'log', 'linear', or 'one minus' for values near one such as the
      momentum: the distance from one on a logarithmic scale.

  Returns:
    A point with a standard deviation for each setting. Where the tortoise is
    reported, hollow marks show the means of the hare.

  Raises:
    ValueError: there is more than one dataset or model, there is no such scale
      or field, or a value has no place on it or is there twice.
  """
  if scale not in _SCALES:
    raise ValueError(
      f'the scale must be one of {", ".join(_SCALES)}, not {scale!r}'
    )
  of = subject(results)
  named = by_name(results)
  references = references_of(named)
  swept: dict[float, Result] = {}
  for name, result in named.items():
    if field not in result.setting:
      raise ValueError(f'a setting has no field {field!r}')
    value = result.setting[field]
    if name in (WARM_START, FRESH) or value is None:
      continue
    _check_place(result, field, scale)
    if value in swept:
      raise ValueError(
        f'{swept[value].name!r} and {name!r} both have {field} {value:g}: '
        'a line is of settings that differ in this field alone'
      )
    swept[value] = result
  used = {
    value: result
    for value, result in sorted(swept.items())
    if is_finished(result)
  }
  values = list(used)
  x = [1 - value for value in values] if scale == 'one minus' else values
  has_hares = any(r.reported == 'tortoise' for r in used.values())
  names = [f'{name} {mean:.3f}' for name, (mean, _) in references.items()]
  with styled():
    figure, (axes,) = canvas(
      headline('Final test accuracy', of),
      f'{how_many(len(used), len(swept), "settings")} {BARS}'
      + (' Hollow: the hare.' if has_hares else ''),
      panel=(5.4, 2.8),
      left=0.7,
      bottom=0.5,
      right=text_width(names) + 0.2,
    )
    points(axes, x, [spread(final_accuracy(r)) for r in used.values()])
    hares = [
      (place, float(np.mean(final(result, 'hare_test_accuracy'))))
      for place, result in zip(x, used.values(), strict=True)
      if result.reported == 'tortoise'
    ]
    axes.plot(*np.reshape(hares, (-1, 2)).T, **HOLLOW)
    axes.margins(x=0.08, y=0.12)
    if scale != 'linear':
      axes.set_xscale('log')
    if scale == 'one minus':
      axes.invert_xaxis()
    axes.set_xticks(x, [f'{value:g}' for value in values])
    axes.minorticks_off()
    axes.grid(True)
    if not (used or references):
      say_empty(axes)
    axes.set_xlabel(field.replace('_', ' ').capitalize())
    axes.set_ylabel(ACCURACY)
    for name, (mean, _) in references.items():
      axes.axhline(mean, color=INK, linewidth=1, linestyle=(0, (4, 2)))
      axes.annotate(
        f'{name} {mean:.3f}',
        xy=(1, mean),
        xycoords=axes.get_yaxis_transform(),
        xytext=(4, 0),
        textcoords='offset points',
        va='top' if name == next(iter(references)) else 'bottom',
      )
  return figure


def _check_place(result: Result, field: str, scale: str) -> None:
  """Raises ValueError where the value of a field has no place on an axis."""
  value = result.setting[field]
  if isinstance(value, bool) or not isinstance(value, int | float):
    raise ValueError(
      f'{field} of {result.name!r} must be one number to have a place on an '
      f'axis, not {value!r}'
    )
  if scale == 'log' and value <= 0:
    raise ValueError(
      f'{field} of {result.name!r} must be above 0 to have a place on a '
      f'logarithmic axis, not {value:g}'
    )
  if scale == 'one minus' and value >= 1:
    raise ValueError(
      f'{field} of {result.name!r} must be below 1 to have a place on this '
      f'axis, not {value:g}'
    )
