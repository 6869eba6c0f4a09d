"""Shows a sweep: a live view on a terminal, lines elsewhere."""

from collections.abc import Callable, Mapping
import shlex
import sys
import time

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from experiments.command import say
from experiments.sweep import estimate
from experiments.sweep.board import Board, Figures
from experiments.sweep.monitor import Monitor, Status, log_file
from experiments.sweep.plan import Run

# Time between two lines, and between two pictures on a terminal.
_LINE_SECONDS, _PICTURE_SECONDS = 60.0, 1.0
# A terminal shows at most this many running runs.
_MAX_RUNNING = 20


class View:
  """Shows the figures of a sweep; use it as a context manager."""

  def __init__(self, monitor: Monitor):
    self._board = Board(monitor)
    self._next = 0.0
    self._live: Live | None = None

  def __enter__(self) -> 'View':
    if sys.stderr.isatty():
      self._live = Live(
        console=Console(stderr=True), auto_refresh=False, transient=True
      )
      self._live.start()
    return self

  def __exit__(self, *error: object) -> None:
    if self._live is not None:
      self._live.stop()

  def say(self, line: str) -> None:
    """Writes a line, above the live view if there is one."""
    if self._live is not None:
      self._live.console.print(line, markup=False, highlight=False)
    else:
      say(line)

  def show(self, status: Callable[[Run], Status]) -> None:
    """Shows the figures if the last ones are old; see `Board.figures`."""
    if time.monotonic() < self._next:
      return
    figures = self._board.figures(status)
    if self._live is None:
      self._next = time.monotonic() + _LINE_SECONDS
      say(one_line(figures))
    else:
      self._next = time.monotonic() + _PICTURE_SECONDS
      self._live.update(_picture(figures), refresh=True)


def one_line(figures: Figures) -> str:
  """Returns the figures of a sweep in one line."""
  words = [counts(figures.statuses)]
  if figures.rate:
    words.append(f'{figures.rate:.1f} steps/s')
  if figures.left:
    words.append(f'{estimate.duration(figures.left)} left')
  return ', '.join(words)


def all_lines(monitor: Monitor) -> list[str]:
  """Returns the figures of a sweep, its scores, running and failed runs."""
  figures = Board(monitor).figures(lambda run: monitor.look(run).status)
  return [
    one_line(figures),
    *(f'{config}: {line}' for config, line in figures.scores.items()),
    *map(str, figures.running),
    *failures(monitor, {}),
  ]


def counts(statuses: Mapping[Status, int]) -> str:
  """Returns the number of runs of each status, as text."""
  words = [f'{statuses.get(status, 0)} {status}' for status in Status]
  return f'{sum(statuses.values())} runs: {", ".join(words)}'


def failures(monitor: Monitor, lost: Mapping[Run, str]) -> list[str]:
  """Returns lines about the failed runs, grouped by their last line of output.

  Lines that differ only by the runs' own folders are alike.

  Args:
    monitor: status of the runs.
    lost: see `Driver`.
  """
  groups: dict[str, list[tuple[Run, str]]] = {}
  for run, look in monitor.looks().items():
    if look.cause is not None:
      why = look.cause.last_line
    elif run in lost and look.status is not Status.DONE:
      why = lost[run]
    else:
      continue
    alike = why.replace(str(monitor.sweep.folder(run).path), 'FOLDER')
    groups.setdefault(alike, []).append((run, why))
  lines = []
  for runs in groups.values():
    first, why = runs[0]
    look = monitor.look(first)
    lines.append(f'{len(runs)} failed: {why}')
    if look.cause is not None:
      lines.append(f'  log: {log_file(monitor.sweep, look)}')
    words = monitor.sweep.arguments(first)
    lines.append(f'  to repeat {first}: {shlex.join(["python", *words])}')
  return lines


def _picture(figures: Figures) -> Group:
  """Returns the figures as a picture for a terminal."""
  table = Table(box=None, padding=(0, 2, 0, 0))
  table.add_column('configuration')
  for status in Status:
    table.add_column(str(status), justify='right')
  table.add_column('scores so far')
  for config, statuses in figures.configs.items():
    numbers = [str(statuses.get(status, 0)) for status in Status]
    table.add_row(config, *numbers, figures.scores[config])
  running = [f'  {one}' for one in figures.running[:_MAX_RUNNING]]
  if len(figures.running) > _MAX_RUNNING:
    running.append(f'  and {len(figures.running) - _MAX_RUNNING} more')
  return Group(table, *running, one_line(figures))
