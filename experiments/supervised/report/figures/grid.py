"""Final accuracy by share and noise of the first phase (Figs. 2 and 7)."""

from collections.abc import Mapping, Sequence
import math

import numpy as np

from experiments.supervised import paper
from experiments.supervised.report.figures.common import (
  ACCURACY,
  BARS,
  headline,
  how_many,
  points,
  say_empty,
)
from experiments.supervised.report.published import of_cell
from experiments.supervised.report.selection import cells, subject
from experiments.supervised.report.spread import Spread, spread
from experiments.supervised.results import Result, final_accuracy
from ht_rl.drawing import (
  FAINT,
  SMALL,
  TYPE,
  Axes,
  Figure,
  canvas,
  cell_shades,
  styled,
)


def grid(results: Sequence[Result]) -> Figure:
  """Draws the final accuracy of warm starts by share and noise of phase 1.

  Figs. 2 and 7 of the paper.

  Args:
    results: warm starts on one dataset, with one model and one method.

  Returns:
    Three panels: the accuracy by the share at noise 0, by the noise at share 1,
    and a map of both. The paper's numbers stand beside comparable ones.

  Raises:
    ValueError: there is more than one dataset, model or method.
  """
  of = subject(results)
  found = cells(results)
  measured = {cell: spread(final_accuracy(r)) for cell, r in found.items()}
  published = {
    cell: number
    for cell, result in found.items()
    if not math.isnan((number := of_cell(result).test).mean)
  }
  ratios = sorted({*paper.RATIOS, *(ratio for ratio, _ in found)})
  noises = sorted({*paper.NOISES, *(noise for _, noise in found)})
  with styled():
    figure, panels = canvas(
      headline('Final test accuracy of warm starts', of),
      f'{how_many(len(found), len(ratios) * len(noises), "cells")} {BARS}'
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
        points(axes, list(chosen), list(chosen.values()), is_paper=is_paper)
      axes.set_xticks(values, _percent(values))
      axes.set_xlim(values[0] - 0.05, values[-1] + 0.05)
      axes.set_ylabel(ACCURACY)
      axes.grid(True)
      if not any(cell[1 - axis] == fixed for cell in measured):
        say_empty(axes)
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


def _percent(shares: Sequence[float]) -> list[str]:
  return [f'{100 * share:g}' for share in shares]


def _map(
  axes: Axes,
  ratios: Sequence[float],
  noises: Sequence[float],
  measured: Mapping[tuple[float, float], Spread],
  published: Mapping[tuple[float, float], Spread],
) -> None:
  """Writes the accuracy of every cell in %, with the paper's below in small."""
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
