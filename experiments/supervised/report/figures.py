"""Pictures of results, one for each kind that the paper has.

What is not finished, or not there, is left out: every picture says how much it
shows. Means are over seeds, and so are the standard deviations around them.
"""

from collections.abc import Mapping, Sequence
import math
from typing import Any

import numpy as np

from experiments.supervised import paper
from experiments.supervised.report.tables import (
  FRESH,
  WARM_START,
  Spread,
  cells,
  method,
  paper_dataset,
  spread,
  subject,
)
from experiments.supervised.results import (
  Result,
  at_phase_end,
  final,
  final_accuracy,
  finished,
  is_finished,
  num_phases,
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
  Line,
  canvas,
  cell_shades,
  draw_curves,
  most_lines,
  pale,
  png,
  shade,
  styled,
  svg,
  text_width,
  to_rgb,
  wrapped,
  write_figures,
)

__all__ = [
  'GROUP_COLORS',
  'METRICS',
  'bars',
  'curves',
  'grid',
  'lines',
  'metrics',
  'png',
  'svg',
  'write_figures',
]

# The groups of Figs. 4 and 5, in colours that the colour-blind tell apart.
GROUP_COLORS: dict[str, str] = {
  'Generalizability': '#009e73',
  'Trainability': '#d55e00',
  'Re-initialization': '#0072b2',
  'Averaging': '#cc79a7',
}

# The metrics of Fig. 8.
METRICS: tuple[str, ...] = (
  'weight_magnitude',
  'weight_distance',
  'zero_gradients',
  'zero_activations',
  'feature_rank',
)

_SCALES = ('log', 'one minus', 'linear')

_ACCURACY = 'Test accuracy'
_BARS = 'Bars are standard deviations.'
_COLOR = '#0072b2'
_HOLLOW: dict[str, Any] = {
  'color': INK,
  'linestyle': 'none',
  'marker': 'D',
  'markersize': 4.5,
  'markerfacecolor': 'white',
}


def grid(results: Sequence[Result]) -> Figure:
  """What share and noise of the first phase do to the test accuracy.

  Figs. 2 and 7 of the paper.

  Args:
    results: warm starts on one dataset, with one model and one method.

  Returns:
    Three panels: the accuracy by the share at noise 0, by the noise at share 1,
    and by both, as a map. The paper's numbers are beside those that can be
    compared with them.

  Raises:
    ValueError: there is more than one dataset, model or method.
  """
  of = subject(results)
  found = cells(results)
  measured = {cell: spread(final_accuracy(r)) for cell, r in found.items()}
  published = {
    cell: Spread(*accuracy)
    for cell, result in found.items()
    if (dataset := paper_dataset(result))
    and (accuracy := paper.final_test_accuracy(dataset, *cell))
  }
  ratios = sorted({*paper.RATIOS, *(ratio for ratio, _ in found)})
  noises = sorted({*paper.NOISES, *(noise for _, noise in found)})
  with styled():
    figure, panels = canvas(
      _title('Final test accuracy of warm starts', of),
      f'{_count(len(found), len(ratios) * len(noises), "cells")} {_BARS}'
      + (' Hollow and italic: the paper.' if published else ''),
      panel=(1.95, 2.5),
      columns=3,
      left=0.7,
      bottom=0.5,
      head=0.28,
      gap=0.7,
    )
    for axes, axis, fixed, values in (
      (panels[0], 0, 0.0, ratios),
      (panels[1], 1, 1.0, noises),
    ):
      for numbers, is_paper in ((measured, False), (published, True)):
        chosen = {
          cell[axis]: number
          for cell, number in numbers.items()
          if cell[1 - axis] == fixed
        }
        _points(axes, list(chosen), list(chosen.values()), is_paper=is_paper)
      axes.set_xticks(values, _percent(values))
      axes.set_xlim(values[0] - 0.05, values[-1] + 0.05)
      axes.set_ylabel(_ACCURACY)
      axes.grid(True)
      if not any(cell[1 - axis] == fixed for cell in measured):
        _say_empty(axes)
    for axes, title, label in zip(
      panels,
      ('(a) right labels', '(b) all data', '(c) both, in %'),
      ('Data', 'Wrong labels', 'Data'),
      strict=True,
    ):
      axes.set_title(title, size=TYPE, weight='bold', loc='left')
      axes.set_xlabel(f'{label} in phase 1 (%)')
      axes.tick_params(labelsize=SMALL)
    panels[2].set_ylabel('Wrong labels in phase 1 (%)')
    _map(panels[2], ratios, noises, measured, published)
  return figure


def bars(results: Sequence[Result], groups: Mapping[str, str]) -> Figure:
  """The final test accuracy of several settings.

  Figs. 3, 4 and 5 of the paper.

  Args:
    results: of one dataset and one model. Those called 'WS' and 'fresh' become
      dashed lines.
    groups: of each setting that gets a bar: its name, or that of its method
      (see `tables.method`), to the group.

  Returns:
    A bar for each setting, from the warm start to its mean: to the left if it
    is worse. They stand in the order of the groups, settings of one method by
    their numbers. Dots are seeds. Where a tortoise stands for the method, a
    hollow mark shows the mean of its hare.

  Raises:
    ValueError: there is more than one dataset or model, or two results have the
      same name.
  """
  of = subject(results)
  named = _by_name(results)
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
  grouped = {group: rows for group, rows in grouped.items() if rows}
  rows = [result for group in grouped.values() for result in group]
  labels = {result.name: wrapped(result.name) for result in rows}
  pitch = max(0.24, LINE * most_lines(labels.values()) + 0.09)
  heading, gap = 0.24, 0.1
  references = _references(named)
  base = references.get(WARM_START, (0.0, 0.0))[0]
  has_hares = any(is_finished(r) and r.reported == 'tortoise' for r in rows)
  with styled():
    figure, (axes,) = canvas(
      _title('Final test accuracy', of),
      f'{_count(len(finished(rows)), len(rows), "settings")} '
      'Dots are seeds, lines standard deviations.'
      + (' Hollow: the hare.' if has_hares else ''),
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
    axes.set_xlabel(_ACCURACY)
    axes.grid(True, axis='x')
    axes.spines['left'].set_visible(False)
    if not (finished(rows) or references):
      _say_empty(axes)
    for name, (mean, std) in references.items():
      # Of two labels, one goes to the left of its line.
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


def curves(results: Sequence[Result]) -> Figure:
  """How the test accuracy changes while training.

  Fig. 6 of the paper.

  Args:
    results: of one dataset and one model, finished or not.

  Returns:
    A line with a band for each setting, of the network that it reports. Dotted
    lines are the ends of phases.

  Raises:
    ValueError: there is more than one dataset or model.
  """
  of = subject(results)
  drawn, ends = [], set()
  for place, result in enumerate(results):
    figure = f'{result.reported}_test_accuracy'
    rows = [row for row in result.rows if figure in row]
    ends |= {
      row['step']
      for row in rows
      if row['moment'] == 'end' and row['phase'] < num_phases(result) - 1
    }
    if not rows:
      continue
    spreads = [spread(np.asarray(row[figure], float)) for row in rows]
    mean, std = np.transpose(spreads)
    drawn.append(
      Line(
        np.array([row['step'] for row in rows]),
        mean,
        mean - std,
        mean + std,
        wrapped(result.name),
        float(mean[-1]),
        place,
        shade(place, len(results)),
      )
    )
  with styled():
    canvas_, axes = draw_curves(
      _title('Test accuracy in training', of),
      f'{_count(len(drawn), len(results), "settings")} '
      'Bands are standard deviations, dotted lines the ends of phases.',
      drawn,
    )
    for step in sorted(ends):
      axes.axvline(
        step, color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)), zorder=0.9
      )
    if not drawn:
      _say_empty(axes)
    axes.xaxis.set_major_formatter(lambda step, _: f'{step / 1000:g}k')
    axes.set_xlabel('Gradient steps')
    axes.set_ylabel(_ACCURACY)
  return canvas_


def metrics(
  results: Sequence[Result], names: Sequence[str] = METRICS
) -> Figure:
  """What is measured after phase 1 against what the run achieves in the end.

  Fig. 8 of the paper.

  Args:
    results: of one dataset and one model, with more than one phase.
    names: of the metrics, as the results have them.

  Returns:
    A panel for each metric, in it a point for each seed of each setting, and
    over it Pearson's correlation.

  Raises:
    ValueError: there is more than one dataset or model, or a metric was not
      measured.
  """
  of = subject(results)
  warm = [result for result in results if num_phases(result) > 1]
  used = finished(warm)
  with styled():
    figure, panels = canvas(
      _title('Final test accuracy and metrics at the end of phase 1', of),
      f'{_count(len(used), len(warm), "settings")} A point is a seed.',
      panel=(1.28, 1.7),
      columns=len(names),
      left=0.7,
      bottom=0.3,
      head=0.42,
      gap=0.2,
    )
    for axes, name in zip(panels, names, strict=True):
      x = np.concatenate([[], *(at_phase_end(r, 0, name) for r in used)])
      y = np.concatenate([[], *(final_accuracy(r) for r in used)])
      axes.plot(
        x, y, 'o', color=shade(1, 4), alpha=0.5, markersize=4, markeredgewidth=0
      )
      title = name.replace('_', ' ').capitalize()
      axes.set_title(title, size=TYPE, weight='bold', loc='left', pad=17)
      axes.annotate(
        _pearson(x, y),
        xy=(0, 1),
        xycoords='axes fraction',
        xytext=(0, 4),
        textcoords='offset points',
        size=SMALL,
        color=MUTED,
      )
      axes.locator_params(nbins=3, axis='x')
      axes.locator_params(nbins=5, axis='y')
      axes.margins(0.1)
      axes.grid(True)
      axes.sharey(panels[0])
      axes.tick_params(labelsize=SMALL, labelleft=axes is panels[0])
      if not used:
        _say_empty(axes)
    panels[0].set_ylabel(_ACCURACY)
  return figure


def lines(results: Sequence[Result], field: str, scale: str = 'log') -> Figure:
  """The final test accuracy as one field of the setting changes.

  Figs. 3 and 9 of the paper.

  Args:
    results: of one dataset and one model, that differ in one field alone. Those
      called 'WS' and 'fresh' become dashed lines; those without a value of the
      field are left out.
    field: of the setting, one number for all phases.
    scale: 'log'; 'one minus', for what comes near to one, as the momentum: the
      distance from one on a logarithmic scale; or 'linear'.

  Returns:
    A point with a standard deviation for each setting. Where a tortoise stands
    for the method, hollow marks show the means of its hare.

  Raises:
    ValueError: there is more than one dataset or model, there is no such scale
      or field, or a value has no place on it or is there twice.
  """
  if scale not in _SCALES:
    raise ValueError(
      f'the scale must be one of {", ".join(_SCALES)}, not {scale!r}'
    )
  of = subject(results)
  named = _by_name(results)
  references = _references(named)
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
      _title('Final test accuracy', of),
      f'{_count(len(used), len(swept), "settings")} {_BARS}'
      + (' Hollow: the hare.' if has_hares else ''),
      panel=(5.4, 2.8),
      left=0.7,
      bottom=0.5,
      right=text_width(names) + 0.2,
    )
    _points(axes, x, [spread(final_accuracy(r)) for r in used.values()])
    hares = [
      (place, float(np.mean(final(result, 'hare_test_accuracy'))))
      for place, result in zip(x, used.values(), strict=True)
      if result.reported == 'tortoise'
    ]
    axes.plot(*np.reshape(hares, (-1, 2)).T, **_HOLLOW)
    axes.margins(x=0.08, y=0.12)
    if scale != 'linear':
      axes.set_xscale('log')
    if scale == 'one minus':
      axes.invert_xaxis()
    axes.set_xticks(x, [f'{value:g}' for value in values])
    axes.minorticks_off()
    axes.grid(True)
    if not (used or references):
      _say_empty(axes)
    axes.set_xlabel(field.replace('_', ' ').capitalize())
    axes.set_ylabel(_ACCURACY)
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


def _title(what: str, of: str) -> str:
  return f'{what}: {of}' if of else what


def _count(shown: int, of: int, what: str) -> str:
  """How much is there, as 'All 9 settings.' and '4 of 9 settings.'."""
  return f'All {of} {what}.' if shown == of > 0 else f'{shown} of {of} {what}.'


def _percent(shares: Sequence[float]) -> list[str]:
  return [f'{100 * share:g}' for share in shares]


def _say_empty(axes: Axes) -> None:
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
  if axes.get_xlabel() == _ACCURACY:
    axes.set_xticks([])


def _by_name(results: Sequence[Result]) -> dict[str, Result]:
  named = {result.name: result for result in results}
  if len(named) < len(results):
    names = [result.name for result in results]
    twice = next(name for name in names if names.count(name) > 1)
    raise ValueError(f'each result must have a name of its own, not {twice!r}')
  return named


def _number(name: str) -> float:
  """The number at the end of a setting's name."""
  return float(name.removeprefix(method(name)) or -math.inf)


def _references(named: Mapping[str, Result]) -> dict[str, Spread]:
  """What the dashed lines stand at: the lower one first."""
  found = {
    name: spread(final_accuracy(named[name]))
    for name in (WARM_START, FRESH)
    if name in named and is_finished(named[name])
  }
  return dict(sorted(found.items(), key=lambda item: item[1].mean))


def _check_place(result: Result, field: str, scale: str) -> None:
  """Checks that the value of a field has a place on an axis."""
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


def _points(
  axes: Axes,
  x: Sequence[float],
  y: Sequence[tuple[float, float]],
  is_paper: bool = False,
) -> None:
  """Draws means with their deviations, joined by a line."""
  mean, std = np.reshape(y, (-1, 2)).T
  look: dict[str, Any] = {
    'color': _COLOR,
    'marker': 'o',
    'markersize': 5,
    'linewidth': 1.4,
  }
  if is_paper:
    look = {**_HOLLOW, 'linewidth': 0.9, 'linestyle': (0, (4, 2))}
  axes.errorbar(x, mean, std, elinewidth=1.0, capsize=2, **look)


def _map(
  axes: Axes,
  ratios: Sequence[float],
  noises: Sequence[float],
  measured: Mapping[tuple[float, float], Spread],
  published: Mapping[tuple[float, float], Spread],
) -> None:
  """Draws the accuracy of every cell in %, and below it small the paper's."""
  values = np.full((len(noises), len(ratios)), np.nan)
  for (ratio, noise), (mean, _) in measured.items():
    x, y = ratios.index(ratio), noises.index(noise)
    values[y, x] = mean
    step = 0.2 if (ratio, noise) in published else 0.0
    axes.text(x, y - step, f'{100 * mean:.1f}', ha='center', va='center')
    if (ratio, noise) in published:
      axes.text(
        x,
        y + 1.3 * step,
        f'{100 * published[ratio, noise].mean:.0f}',
        ha='center',
        va='center',
        size=SMALL,
        style='italic',
      )
  known = values[np.isfinite(values)]
  low, high = (known.min(), known.max()) if len(known) else (0.0, 1.0)
  axes.pcolormesh(
    np.arange(len(ratios) + 1) - 0.5,
    np.arange(len(noises) + 1) - 0.5,
    np.ma.masked_invalid(values),
    cmap=cell_shades(),
    vmin=low,
    vmax=max(high, low + 0.01),
    edgecolor=FAINT,
    linewidth=0.8,
  )
  axes.set_ylim(len(noises) - 0.5, -0.5)
  axes.set_xticks(range(len(ratios)), _percent(ratios))
  axes.set_yticks(range(len(noises)), _percent(noises))
  axes.tick_params(length=0)
  axes.spines[:].set_visible(False)


def _bar(
  axes: Axes, row: float, result: Result, base: float, color: Color
) -> None:
  """Draws a setting's bar, with its seeds and its deviation."""
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
  # Side by side, else a seed would vanish on the line.
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
  if result.reported == 'tortoise':
    hare = float(np.mean(final(result, 'hare_test_accuracy')))
    axes.plot(hare, row, **_HOLLOW)
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


def _pearson(x: np.ndarray, y: np.ndarray) -> str:
  """Pearson's correlation as a text, with the number of points."""
  is_known = np.isfinite(x) & np.isfinite(y)
  x, y = x[is_known], y[is_known]
  if len(x) < 2 or not np.ptp(x) or not np.ptp(y):
    return f'r unknown (n = {len(x)})'
  r = f'{np.corrcoef(x, y)[0, 1]:.2f}'.replace('-', '\N{MINUS SIGN}')
  return f'r = {r} (n = {len(x)})'
