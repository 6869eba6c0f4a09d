"""Performance profiles and sample efficiency: curves with bands."""

import numpy as np

from ht_rl.atari100k.aggregates import Estimate
from ht_rl.atari100k.figures.common import (
  MORE_TICKS,
  human_scale,
  if_intervals,
  method_color,
)
from ht_rl.atari100k.summary import Summary
from ht_rl.drawing import Figure, Line, draw_curves, styled, wrapped


def profile_plot(summary: Summary) -> Figure:
  """Draws performance profiles, with pointwise confidence bands.

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
      f'Performance profiles over {summary.extent}',
      'Share of runs above a score'
      + if_intervals(summary, ', with {} bands')
      + '.',
      [
        line(
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
    human_scale(axes, low, high, MORE_TICKS)
    axes.set_xlim(low, high)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel('Human-normalised score τ (random 0, human 1)')
    axes.set_ylabel('Share of runs above τ')
  return figure


def curves_plot(summary: Summary) -> Figure:
  """Draws the interquartile mean over agent steps, with bands.

  Args:
    summary: the comparison.

  Returns:
    A curve for each method that has one. The subtitle names the episodes that
    were scored; the legend does if they differ between methods.
  """
  curves = {m.name: m.curve for m in summary.methods if m.curve is not None}
  sources = {curve.source for curve in curves.values()}
  is_one = len(sources) == 1
  what = f' of {"".join(sources)}' if is_one else ''
  with styled():
    figure, axes = draw_curves(
      f'Sample efficiency over {summary.extent}',
      f'IQM{what}{if_intervals(summary, ", with {} bands")}.',
      [
        line(
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


def line(
  summary: Summary,
  name: str,
  x: np.ndarray,
  y: Estimate,
  label: str,
  height: float,
) -> Line:
  """Returns the curve of a method, in its colour."""
  place = [method.name for method in summary.methods].index(name)
  color = method_color(summary, name)
  return Line(x, y.value, y.low, y.high, label, height, place, color)
