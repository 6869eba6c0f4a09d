"""What the figures of a comparison share."""

from collections.abc import Sequence

from ht_rl.atari100k.summary import Summary
from ht_rl.drawing import MUTED, Axes, Color, shade

TICKS = (-10, -3, -1, -0.5, 0, 0.5, 1, 3, 10, 30, 100)
MORE_TICKS = (*TICKS, 0.25, 0.75, 2, 5, 20, 50)


def human_scale(
  axes: Axes, low: float, high: float, ticks: Sequence[float]
) -> None:
  """Makes the x axis linear up to human level and logarithmic beyond."""
  axes.set_xscale('symlog', linthresh=1, linscale=1)
  axes.set_xlim(low * 1.15 - 0.04, high * 1.2)
  shown = [tick for tick in ticks if low <= tick <= high]
  axes.set_xticks(shown, [f'{tick:g}' for tick in shown])
  axes.minorticks_off()
  axes.grid(True, axis='x')
  for reference in (0, 1):
    axes.axvline(reference, color=MUTED, linewidth=0.8, zorder=0.9)


def method_color(summary: Summary, name: str) -> Color:
  """Returns the colour of a method.

  Published methods take no colour from the others.
  """
  names = [m.name for m in summary.methods if not m.is_published]
  return shade(names.index(name), len(names))


def if_intervals(summary: Summary, sentence: str) -> str:
  """Returns `sentence` with the confidence, or '' without intervals."""
  confidence = f'{100 * summary.confidence:g}%'
  return sentence.format(confidence) if summary.has_intervals else ''


def if_published(summary: Summary) -> str:
  """Explains the hollow marks; '' where there are none."""
  is_needed = any(method.is_published for method in summary.methods)
  return 'Hollow: published.' if is_needed else ''
