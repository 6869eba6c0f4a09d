"""The progress line: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from typing import TextIO

import tqdm

from experiments.rate import Rate

# A time left is estimated from the rate of so many seconds.
_RATE_SECONDS = 60.0


class Progress:
  """Shows the progress of one phase of a run.

  On a terminal it redraws one line; in a log file it writes at most one line
  every `seconds`, so that the log of a long run stays short.
  """

  def __init__(
    self,
    name: str,
    unit: str,
    total: int,
    start: int = 0,
    stream: TextIO | None = None,
    seconds: float = 10.0,
  ):
    """Starts a phase.

    Args:
      name: first word of the line.
      unit: name of what is counted, such as 'step'.
      total: number of units in the phase.
      start: number of units already done.
      stream: where to write; None for stderr.
      seconds: time between plain lines.
    """
    self._name = name
    self._unit = unit
    self._total = total
    stream = self._stream = stream or sys.stderr
    self._seconds = seconds
    self._step = start
    self._written = time.monotonic()
    self._rate = Rate(_RATE_SECONDS)
    self._rate.add(self._written, start)
    self._bar = None
    if stream.isatty():
      self._bar = tqdm.tqdm(
        total=total, initial=start, desc=name, file=stream, unit=unit
      )

  def skip(self, step: int) -> None:
    """Goes on from a step that this process has not come to by itself.

    What lies before it was restored, or another process did it: it does not
    count in the rate, nor in the time that is left.
    """
    skipped = step - self._step
    self._rate.skip(skipped)
    self._step = step
    if self._bar is not None:
      self._bar.initial += skipped
      self._bar.n += skipped
      self._bar.last_print_n += skipped

  def update(self, step: int, **figures: float | None) -> None:
    """Shows that `step` units are done, and the given figures."""
    self._step = step
    shown = {
      name: f'{value:,}' if isinstance(value, int) else f'{value:.4g}'
      for name, value in figures.items()
      if value is not None
    }
    if self._bar is not None:
      self._bar.set_postfix(shown, refresh=False)
      self._bar.update(step - self._bar.n)
      return
    now = time.monotonic()
    if now - self._written < self._seconds and step < self._total:
      return
    self._written = now
    words = [f'{self._name}: {self._unit} {step:,} of {self._total:,}']
    words += [f'{name} {value}' for name, value in shown.items()]
    self._rate.add(now, step)
    if rate := self._rate.per_second:
      left = (self._total - step) / rate
      words.append(f'{rate:.1f} {self._unit}s/s')
      words.append(f'{tqdm.tqdm.format_interval(left)} left')
    print(', '.join(words), file=self._stream, flush=True)

  def close(self) -> None:
    """Ends the phase's line."""
    if self._bar is not None:
      self._bar.close()
