"""The runs, problems and notes that a reader finds under one path."""

from collections.abc import Callable
import dataclasses
import pathlib
from typing import Any

from ht_rl.atari100k.games import REFERENCE_SCORES, UnknownGameError
from ht_rl.atari100k.runs import Run

# Lines about one path; the others are only counted.
_MAX_LINES = 10


@dataclasses.dataclass
class Other:
  """The values of a column that is not used.

  Attributes:
    first: the first one.
    values: the different ones, as text.
    is_repeated: whether one is there in several rows.
  """

  first: Any
  values: set[str] = dataclasses.field(default_factory=set)
  is_repeated: bool = False

  def take(self, value: Any) -> None:
    """Takes the value of the next row."""
    self.is_repeated |= repr(value) in self.values
    self.values.add(repr(value))


@dataclasses.dataclass
class Content:
  """What was found under a path.

  Attributes:
    path: as it was given.
    runs: those that are right.
    problems: what is wrong, one line each.
    left_out: names of games that are not among the 26.
    unfinished: how far unfinished runs have come, one line each.
    last: the part at the end of a curve whose mean is the score, in (0, 1];
      None refuses curves.
    has_curves: whether a score was taken from a curve.
    names_method: whether the name of the file is that of a method.
    remarks: what else a reader of the scores must know, one sentence each.
    others: the values of each column that is not used.
    refused: names of those that have a problem.
  """

  path: pathlib.Path
  runs: list[Run] = dataclasses.field(default_factory=list)
  problems: list[str] = dataclasses.field(default_factory=list)
  left_out: set[str] = dataclasses.field(default_factory=set)
  unfinished: list[str] = dataclasses.field(default_factory=list)
  last: float | None = None
  has_curves: bool = False
  names_method: bool = False
  remarks: list[str] = dataclasses.field(default_factory=list)
  others: dict[str, Other] = dataclasses.field(default_factory=dict)
  refused: set[str] = dataclasses.field(default_factory=set)
  _has_listed_games: bool = False

  @property
  def name(self) -> str:
    """The name of the file without its endings, which names the method."""
    path = self.path
    return (path.with_suffix('') if path.suffix == '.gz' else path).stem

  @property
  def is_json(self) -> bool:
    """Whether the name of the file says that it is JSON."""
    return self.path.name.endswith(('.json', '.json.gz'))

  def parsed(
    self, where: str, parse: Callable[[Any], Any], value: object
  ) -> Any:
    """Returns `parse(value)`; adds a problem and returns None if it raises."""
    try:
      return parse(value)
    except UnknownGameError as error:
      # The list of all games is long: it is written once.
      is_short = not error.near and self._has_listed_games
      problem = f'unknown game {error.name!r}' if is_short else str(error)
      self._has_listed_games |= not error.near
      self.problems.append(f'{where}: {problem}')
      return None
    except ValueError as error:
      self.problems.append(f'{where}: {error}')
      return None

  def add(self, run: Run) -> None:
    """Takes a run, or notes that its game is not among the 26."""
    if run.game in REFERENCE_SCORES:
      self.runs.append(run)
    else:
      self.left_out.add(run.game)

  def problem_lines(self) -> list[str]:
    """Returns the first problems, and the number of the others."""
    return capped(self.problems, f'{self.path}: ', 'problems')

  def notes(self) -> list[str]:
    """Returns a sentence for each thing that was left out."""
    unfinished = [f'{line}, so it is left out.' for line in self.unfinished]
    lines = capped(
      unfinished,
      f'{self.path}: ',
      'runs are not finished, so they are left out.',
    )
    lines += [f'{self.path}: {remark}' for remark in self.remarks]
    if self.left_out:
      games = sorted(self.left_out)
      are = 'game is' if len(games) == 1 else 'games are'
      if len(games) > 5:
        games = [*games[:3], f'and {len(games) - 3} more']
      lines.append(
        f'{self.path}: {len(self.left_out)} {are} not among the 26 of '
        f'Atari-100k, so left out: {", ".join(games)}.'
      )
    return lines


def capped(lines: list[str], start: str, what: str) -> list[str]:
  """Keeps the first lines, and counts the others where there are several.

  >>> capped(['x'] * 15, 'a.csv: ', 'problems')[-2:]
  ['x', 'a.csv: and 5 more problems']

  Args:
    lines: all lines.
    start: of the line that counts.
    what: what it counts.

  Returns:
    At most 11 lines.
  """
  more = len(lines) - _MAX_LINES
  last = f'{start}and {more:,} more {what}'
  return lines if more <= 1 else [*lines[:_MAX_LINES], last]
