"""What a person sees of a sweep."""

from collections import Counter
from collections.abc import Mapping
import time

from experiments.command import say
from experiments.sweep.driver import Driver
from experiments.sweep.monitor import Monitor, Status, log_file
from experiments.sweep.plan import Run

_LINE_SECONDS = 30.0


class Lines:
  """Shows a sweep as plain lines, for a file or a pipe."""

  def __init__(self) -> None:
    self._next = 0.0

  def __call__(self, driver: Driver) -> None:
    """Writes a line, if it is time."""
    if time.monotonic() >= self._next:
      self._next = time.monotonic() + _LINE_SECONDS
      say(counts([driver.status(run) for run in driver.monitor.runs]))


def counts(statuses: list[Status]) -> str:
  """How many runs there are of each status, in words."""
  of = Counter(statuses)
  words = [f'{of[status]} {status}' for status in Status]
  return f'{len(statuses)} runs: {", ".join(words)}'


def status_lines(monitor: Monitor) -> list[str]:
  """Lines on all runs of a sweep."""
  looks = monitor.looks()
  lines = [counts([look.status for look in looks.values()])]
  return lines + failures(monitor, {})


def failures(monitor: Monitor, lost: Mapping[Run, str]) -> list[str]:
  """Lines on the runs that failed, grouped by what they said last.

  Args:
    monitor: of the runs.
    lost: runs that could not be attempted, and why.
  """
  groups: dict[str, list[Run]] = {}
  for run, look in monitor.looks().items():
    if look.cause is not None:
      groups.setdefault(look.cause.last_line, []).append(run)
    elif run in lost:
      groups.setdefault(lost[run], []).append(run)
  lines = []
  for why, runs in groups.items():
    first = runs[0]
    look = monitor.look(first)
    lines.append(f'{len(runs)} failed: {why}')
    if look.cause is not None:
      lines.append(f'  log: {log_file(monitor.sweep, look)}')
    words = monitor.sweep.arguments(first)
    lines.append(f'  to repeat {first}: python {" ".join(words)}')
  return lines
