"""Scores of runs, from a folder of our own runs or from files of others.

Four things can be read, told apart by what is in them:

- a folder with runs of `experiments.train` anywhere below it, that is folders
  with a `result.json`;
- a CSV file with the columns `config`, `game`, `seed` and `score`, in game
  points. The seed `mean` marks a mean over runs. Other columns are ignored;
- a CSV file in the layout of the scores released with BBF: `game`, `seed` and
  `GameScoreAverage`. The method is called as the file is;
- a JSON file with the scores of a method, called as the file is,
  ``{game: [score of each run]}``; or with those of several methods,
  ``{method: {game: [score of each run]}}``, in game points; or with
  ``{method: [[score of each game] of each run]}``, human-normalised scores of
  the 26 games in alphabetical order, as in rliable's dictionaries.

Nothing is guessed and nothing dropped: `read` either takes every row, says in a
note what it leaves out and why, or raises an error that names all that is wrong
in all files.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import csv
import dataclasses
import difflib
import io
import json
import os
import pathlib
import re
import reprlib
from typing import Any, NamedTuple

import numpy as np

from ht_rl.atari100k.games import GAMES, REFERENCE_SCORES
from ht_rl.atari100k.parsing import (
  game_of,
  json_of,
  method_of,
  number_in,
  protocol_of,
  score_of,
  seed_of,
  text_of,
)

# Lines about one file; of more, only the number is told.
_MAX_LINES = 10

_RUN_FOLDERS = ('checkpoints', 'metrics')
_RESULT_KEYS = ('config', 'game', 'seed', 'score', 'protocol')


class Run(NamedTuple):
  """The score of one run, or a mean over runs.

  Attributes:
    method: what was run.
    game: one of the 26 games.
    seed: tells the runs of a method and game apart; None for a mean over runs.
    score: in game points.
    source: the file and the place in it, for messages.
    steps: agent steps of training; None where unknown.
    protocol: how the run was trained and evaluated; None where unknown.
    folder: where the run's other files are; None where there are none.
    settings: what it was configured with; None where unknown.
  """

  method: str
  game: str
  seed: int | None
  score: float
  source: str
  steps: int | None = None
  protocol: Mapping[str, Any] | None = None
  folder: pathlib.Path | None = None
  settings: str | None = None


class ScoreFiles(NamedTuple):
  """What was read.

  Attributes:
    runs: in the order of the files.
    notes: what a reader of the scores must know, one sentence each.
  """

  runs: tuple[Run, ...]
  notes: tuple[str, ...]


class ScoreFileError(ValueError):
  """Something is wrong in what was to be read.

  Attributes:
    problems: all that is wrong, one line each.
  """

  def __init__(self, problems: Sequence[str]):
    super().__init__('\n'.join(problems))
    self.problems = tuple(problems)


class RunCurve(NamedTuple):
  """How a run's returns went while it was trained.

  Attributes:
    steps: agent steps so far, int64 [points].
    returns: in game points, float64 [points].
  """

  steps: np.ndarray
  returns: np.ndarray


def read(paths: Iterable[str | os.PathLike[str]]) -> ScoreFiles:
  """Reads the runs of all files and folders.

  Args:
    paths: of what is described above.

  Returns:
    The runs of the 26 games, and notes.

  Raises:
    ScoreFileError: a file can't be read or holds something that isn't right, a
      run is there twice, or a method's runs can't be put together.
  """
  paths = list(paths)
  if '' in paths:
    raise ScoreFileError(['a path is empty'])
  contents = [_read_path(pathlib.Path(path)) for path in paths]
  runs = tuple(run for content in contents for run in content.runs)
  problems = [
    *(line for content in contents for line in content.problem_lines()),
    *_clashes(runs),
  ]
  if not contents:
    problems.append('no file or folder to read is named')
  if problems:
    raise ScoreFileError(problems)
  notes = [line for content in contents for line in content.notes()]
  return ScoreFiles(runs, (*notes, *_protocol_notes(runs)))


def by_method(runs: Iterable[Run]) -> dict[str, dict[str, np.ndarray]]:
  """Gathers the scores of each method and game.

  >>> runs = [
  ...   Run('drq', 'Pong', 1, -7.0, 'scores.csv, line 2'),
  ...   Run('drq', 'Pong', 0, -9.0, 'scores.csv, line 3'),
  ... ]
  >>> by_method(runs)
  {'drq': {'Pong': array([-9., -7.])}}

  Args:
    runs: in any order.

  Returns:
    For each method, in the order in which they come, and each of its games, in
    the order of `GAMES`, its scores in the order of the seeds, in game points,
    float64 [runs].
  """
  runs = list(runs)
  scores: dict[str, dict[str, list[float]]] = {run.method: {} for run in runs}
  place = {game: index for index, game in enumerate(GAMES)}
  for run in sorted(runs, key=lambda run: (place[run.game], run.seed or 0)):
    scores[run.method].setdefault(run.game, []).append(run.score)
  return {
    method: {game: np.array(column) for game, column in games.items()}
    for method, games in scores.items()
  }


def evaluations(run: Run) -> RunCurve:
  """The mean returns of the evaluations in the course of a run's training.

  Args:
    run: from `read`. Its file is read now: `read` leaves it alone.

  Returns:
    No points where the run has none.

  Raises:
    ScoreFileError: the file is damaged.
  """
  return _curve(run, 'evaluation_return')


def training_episodes(run: Run) -> RunCurve:
  """The returns of a run's training episodes, at the steps of their ends.

  Args:
    run: as in `evaluations`.

  Returns:
    No points where the run has none.

  Raises:
    ScoreFileError: the file is damaged.
  """
  return _curve(run, 'episode_return')


@dataclasses.dataclass
class _Content:
  """What was found under a path.

  Attributes:
    path: as it was given.
    runs: the good ones.
    problems: what is wrong, one line each.
    left_out: names of games that are not among the 26.
    unfinished: how far unfinished runs have come, one line each.
  """

  path: pathlib.Path
  runs: list[Run] = dataclasses.field(default_factory=list)
  problems: list[str] = dataclasses.field(default_factory=list)
  left_out: set[str] = dataclasses.field(default_factory=set)
  unfinished: list[str] = dataclasses.field(default_factory=list)

  def parsed(
    self, where: str, parse: Callable[[Any], Any], value: object
  ) -> Any:
    """Returns what `value` means; what is wrong with it is a problem."""
    try:
      return parse(value)
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
    """What is wrong, in as many lines as a person reads."""
    return _capped(self.problems, f'{self.path}: ', 'problems')

  def notes(self) -> list[str]:
    """What was left out."""
    unfinished = [f'{line} and left out.' for line in self.unfinished]
    lines = _capped(
      unfinished, f'{self.path}: ', 'runs are not finished and left out.'
    )
    if self.left_out:
      games = sorted(self.left_out)
      are = 'game is' if len(games) == 1 else 'games are'
      if len(games) > 5:
        games = [*games[:3], f'and {len(games) - 3} more']
      lines.append(
        f'{self.path}: {len(self.left_out)} {are} not among the 26 of '
        f'Atari-100k and left out: {", ".join(games)}.'
      )
    return lines


def _read_path(path: pathlib.Path) -> _Content:
  content = _Content(path)
  try:
    if path.is_dir():
      _read_folder(content)
    elif path.exists():
      _read_file(content)
    else:
      content.problems.append(f'no file or folder {str(path)!r}{_near(path)}')
    if not content.runs and not content.problems:
      content.problems.append(f'{path}: {_why_empty(content)}')
  except OSError as error:
    content.problems.append(f'{path}: {error.strerror}')
  return content


def _near(path: pathlib.Path) -> str:
  try:
    there = os.listdir(path.parent)
  except OSError:
    return ''
  near = difflib.get_close_matches(path.name, there, n=1)
  return f': did you mean {path.parent / near[0]}?' if near else ''


def _why_empty(content: _Content) -> str:
  """Says why a path without problems gives no run."""
  if content.unfinished:
    return f'no run is finished; {content.unfinished[0]}'
  if content.left_out:
    return (
      'no game is among the 26 of Atari-100k, only '
      f'{", ".join(sorted(content.left_out))}'
    )
  if not content.path.is_dir():
    return 'no score is in this file'
  reason = 'no run is in this folder (a finished run has a result.json)'
  files = sorted(
    str(path)
    for path in content.path.iterdir()
    if path.suffix in ('.csv', '.json')
  )
  return (
    f'{reason}; name its files instead, such as {files[0]}' if files else reason
  )


# Folders of runs.


def _read_folder(content: _Content) -> None:
  for folder in _run_folders(content):
    result_file = folder / 'result.json'
    try:
      if result_file.exists():
        _add_result(content, result_file, json_of(text_of(result_file)))
      else:
        content.unfinished.append(
          f'{folder} is not finished ({_so_far(folder)})'
        )
    except ValueError as error:
      content.problems.append(f'{result_file}: {error}')
    except OSError as error:
      content.problems.append(f'{error.filename}: {error.strerror}')


def _run_folders(content: _Content) -> Iterator[pathlib.Path]:
  """Finds the runs below a folder, each once, whatever links there are."""

  def failed(error: OSError) -> None:
    content.problems.append(f'{error.filename}: {error.strerror}')

  visited = set()
  walk = os.walk(content.path, onerror=failed, followlinks=True)
  for folder, subfolders, files in walk:
    subfolders.sort()
    real = os.path.realpath(folder)
    if real in visited:
      subfolders.clear()
    elif 'result.json' in files or 'config.gin' in files:
      yield pathlib.Path(folder)
      # Its own, and large; other runs may be below all the same.
      subfolders[:] = [x for x in subfolders if x not in _RUN_FOLDERS]
    visited.add(real)


def _add_result(content: _Content, path: pathlib.Path, result: Any) -> None:
  """Takes the run of a `result.json`."""
  given = result if isinstance(result, dict) else {}
  if missing := [key for key in _RESULT_KEYS if key not in given]:
    raise ValueError(f'the result has no {" and no ".join(missing)}')
  before = len(content.problems)
  where = str(path)
  # What has no human-normalised score is none of the 26, and its name, of any
  # of the emulator's games, was checked when it was run.
  is_other = given.get('human_normalized_score', 0) is None
  is_other &= given['game'] not in GAMES
  protocol = content.parsed(where, protocol_of, given['protocol'])
  run = Run(
    method=content.parsed(where, method_of, given['config']),
    game=content.parsed(where, str if is_other else game_of, given['game']),
    seed=content.parsed(where, seed_of, given['seed']),
    score=content.parsed(where, score_of, given['score']),
    source=where,
    steps=(protocol or {}).get('training_steps'),
    protocol=protocol,
    folder=path.parent,
    settings=_settings(path.with_name('config.gin')),
  )
  if len(content.problems) == before:
    content.add(run)


def _so_far(folder: pathlib.Path) -> str:
  """Says how far an unfinished run has come."""
  step = None
  for line in reversed(_lines(folder / 'metrics.jsonl')):
    try:
      step = seed_of(json.loads(line)['step'])
      break
    except (ValueError, KeyError, TypeError):
      continue  # The line that was being written.
  if step is None:
    return 'no step is logged'
  setting = rb'Atari100kRunner\.training_steps = (\d+)$'
  for name in ('operative_config.gin', 'config.gin'):
    for line in _lines(folder / name):
      if found := re.match(setting, line):
        return f'step {step:,} of {int(found[1]):,}'
  return f'step {step:,}'


def _lines(path: pathlib.Path) -> list[bytes]:
  """The lines of a file, none where there is no file."""
  try:
    return path.read_bytes().splitlines()
  except FileNotFoundError:
    return []


def _settings(path: pathlib.Path) -> str | None:
  """The settings in a gin file without its comments, if there is one."""
  try:
    text = path.read_text(encoding='utf-8', errors='replace')
  except FileNotFoundError:
    return None
  lines = [line.strip() for line in text.splitlines()]
  return '\n'.join(line for line in lines if line and line[0] != '#')


def _curve(run: Run, key: str) -> RunCurve:
  """The figures called `key` of a run's `metrics.jsonl`."""
  steps: list[int] = []
  returns: list[float] = []
  if run.folder is not None:
    path = run.folder / 'metrics.jsonl'
    try:
      text = path.read_text(encoding='utf-8', errors='replace')
    except FileNotFoundError:
      text = ''
    except OSError as error:
      raise ScoreFileError([f'{path}: {error.strerror}']) from error
    # Only the lines with the key are parsed: most have other figures.
    decode = json.JSONDecoder().raw_decode
    end = 0
    while (found := text.find(f'"{key}"', end)) >= 0:
      try:
        row, end = decode(text, text.rfind('\n', 0, found) + 1)
        if end <= found:
          raise ValueError('the key is not in the object')
        step = seed_of(row['step'])
        if step <= (steps[-1] if steps else 0):
          raise ValueError('the steps go back')
        steps.append(step)
        returns.append(score_of(row[key]))
      except (ValueError, KeyError, TypeError) as error:
        where = f'{path}, line {text.count(chr(10), 0, found) + 1}'
        problem = (
          f'{where}: this must be JSON with a step, later than those before, '
          f'and its {key}'
        )
        raise ScoreFileError([problem]) from error
  return RunCurve(np.array(steps, np.int64), np.array(returns, np.float64))


# Files.


def _read_file(content: _Content) -> None:
  try:
    text = text_of(content.path)
    if text.lstrip()[0] in '{[' or content.path.suffix == '.json':
      _read_json(content, json_of(text))
    else:
      _read_csv(content, text)
  except ValueError as error:
    content.problems.append(f'{content.path}: {error}')


def _read_csv(content: _Content, text: str) -> None:
  rows = csv.reader(io.StringIO(text, newline=''), strict=True)
  columns: dict[str, int] = {}
  width = 0
  try:
    for row in rows:
      where = f'{content.path}, line {rows.line_num}'
      if not ''.join(row).strip():
        continue
      if not columns:
        columns, width = _columns(row), len(row)
      elif len(row) == width:
        cells = {key: row[at].strip() for key, at in columns.items()}
        _add_cells(content, where, {'config': content.path.stem, **cells})
      else:
        content.problems.append(
          f'{where}: the row must have as many fields as the header, {width}, '
          f'not {len(row)}'
        )
  except csv.Error as error:
    raise ValueError(f'line {rows.line_num} is not CSV ({error})') from error


def _columns(header: list[str]) -> dict[str, int]:
  """Finds where in a row the config (or not), game, seed and score are."""
  names = [name.strip().lower() for name in header]
  wanted = {name: name for name in ('config', 'game', 'seed', 'score')}
  if 'gamescoreaverage' in names and not {'config', 'score'} & set(names):
    wanted = {'game': 'game', 'seed': 'seed', 'score': 'GameScoreAverage'}
  wrong = [name for name in wanted.values() if names.count(name.lower()) != 1]
  if wrong:
    raise ValueError(
      f'the header must have one column {" and one column ".join(wrong)}; it '
      f'reads {",".join(header)[:100]}'
    )
  return {key: names.index(name.lower()) for key, name in wanted.items()}


def _add_cells(content: _Content, where: str, cells: Mapping[str, str]) -> None:
  """Takes the run of a row of a CSV file."""
  before = len(content.problems)
  seed = None
  if cells['seed'].lower() != 'mean':
    seed = content.parsed(where, seed_of, number_in(cells['seed']))
  run = Run(
    method=content.parsed(where, method_of, cells['config']),
    game=content.parsed(where, game_of, cells['game']),
    seed=seed,
    score=content.parsed(where, score_of, number_in(cells['score'])),
    source=where,
  )
  if len(content.problems) == before:
    content.add(run)


def _read_json(content: _Content, data: Any) -> None:
  if not isinstance(data, dict):
    raise ValueError(
      'the JSON must be an object of games or of methods, not '
      f'{reprlib.repr(data)}'
    )
  if set(_RESULT_KEYS) <= set(data):
    _add_result(content, content.path, data)
    return
  for name, value in data.items():
    if value == {}:
      content.problems.append(f'{_place(content, name)}: no game is in here')
    elif isinstance(value, dict):
      for game, scores in value.items():
        _add_scores(content, [name, game], name, game, scores)
    elif isinstance(value, list) and any(isinstance(x, list) for x in value):
      _add_matrix(content, name, value)
    else:
      _add_scores(content, [name], content.path.stem, name, value)


def _add_scores(
  content: _Content, keys: list[str], method: str, game: str, scores: Any
) -> None:
  """Takes the list of a game's scores; the seeds are the places in it."""
  where = _place(content, *keys)
  if not isinstance(scores, list) or not scores:
    content.problems.append(
      f'{where}: this must be a list with the score of each run, not '
      f'{reprlib.repr(scores)}'
    )
    scores = []
  before = len(content.problems)
  method = content.parsed(where, method_of, method)
  game = content.parsed(where, game_of, game)
  is_named = len(content.problems) == before
  for seed, value in enumerate(scores):
    source = _place(content, *keys, seed)
    score = content.parsed(source, score_of, value)
    if is_named and score is not None:
      content.add(Run(method, game, seed, score, source))


def _add_matrix(content: _Content, method: str, rows: list[Any]) -> None:
  """Takes normalised scores of the 26 games, a row a run, as game points."""
  name = content.parsed(_place(content, method), method_of, method)
  for seed, row in enumerate(rows):
    if not isinstance(row, list) or len(row) != len(GAMES):
      is_list = isinstance(row, list)
      found = f'{len(row)} columns' if is_list else reprlib.repr(row)
      content.problems.append(
        f'{_place(content, method, seed)}: a row must have the '
        'human-normalised scores of the 26 games in alphabetical order, not '
        f'{found}'
      )
      continue
    for column, game in enumerate(GAMES):
      source = _place(content, method, seed, column)
      normalized = content.parsed(source, score_of, row[column])
      if name is not None and normalized is not None:
        low, high = REFERENCE_SCORES[game]
        score = low + normalized * (high - low)
        content.add(Run(name, game, seed, score, source))


def _place(content: _Content, *keys: str | int) -> str:
  """Writes a place in a JSON file."""
  return f'{content.path}, {"".join(f"[{key!r}]" for key in keys)}'


# Runs together.


def _clashes(runs: Sequence[Run]) -> list[str]:
  """Says which runs can't stand side by side."""
  first: dict[tuple[str, str, int | None], Run] = {}
  lines = []
  for run in runs:
    other = first.setdefault((run.method, run.game, run.seed), run)
    if other is not run:
      which = 'the mean' if run.seed is None else f'seed {run.seed}'
      lines.append(
        f'{run.method} on {run.game}, {which}: it is there twice, in '
        f'{other.source} and in {run.source}'
      )
  lines = _capped(lines, '', 'scores are there twice')
  for method, own in _grouped(runs).items():
    mean = next((run for run in own if run.seed is None), None)
    single = next((run for run in own if run.seed is not None), None)
    if mean and single:
      lines.append(
        f'{method} must have either single runs or means over runs, not both '
        f'as in {single.source} and in {mean.source}'
      )
    configured = [run for run in own if run.settings is not None]
    for run in configured[1:]:
      if run.settings != configured[0].settings:
        lines.append(
          f'{method} must have runs of one configuration, but '
          f'{_other_setting(configured[0], run)}; give the other one a gin '
          'file of its own'
        )
        break
    own = [run for run in own if run.protocol is not None]
    for run in own[1:]:
      if differences := _differences(own[0], run):
        lines.append(
          f'{method} must have runs of one protocol, not of {differences} as '
          f'in {own[0].source} and in {run.source}'
        )
        break
  return lines


def _protocol_notes(runs: Sequence[Run]) -> list[str]:
  """Says which methods are not of one protocol, and not of Atari-100k's."""
  of_known = [run for run in runs if run.protocol is not None]
  firsts = [own[0] for own in _grouped(of_known).values()]
  notes = [
    f'{run.method} was trained for {run.steps:,} agent steps, not for the '
    '100,000 of Atari-100k.'
    for run in firsts
    if run.steps != 100_000
  ]
  for run in firsts[1:]:
    if differences := _differences(firsts[0], run, but='training_steps'):
      notes.append(
        f'{firsts[0].method} and {run.method} are of different protocols: '
        f'{differences}.'
      )
  return notes


def _grouped(runs: Iterable[Run]) -> dict[str, list[Run]]:
  groups: dict[str, list[Run]] = {}
  for run in runs:
    groups.setdefault(run.method, []).append(run)
  return groups


def _other_setting(run: Run, other: Run) -> str:
  """Says where the settings of two runs differ first."""
  here, there = (run.settings or '', other.settings or '')
  for own, theirs, source in ((there, here, other), (here, there, run)):
    known = theirs.split('\n')
    for line in own.split('\n'):
      if line not in known:
        return f'only {source.source} has {line!r}'
  return f'{run.source} and {other.source} have theirs in another order'


def _differences(run: Run, other: Run, but: str = '') -> str:
  """Says in what the protocols of two runs differ."""
  here, there = dict(run.protocol or {}), dict(other.protocol or {})
  return ', '.join(
    f'{key} {here.get(key)!r} and {there.get(key)!r}'
    for key in {**here, **there}
    # The frames follow from the steps.
    if key not in (but, 'frames') and here.get(key) != there.get(key)
  )


def _capped(lines: list[str], start: str, what: str) -> list[str]:
  """Keeps the first lines, and says how many others there are, if several."""
  more = len(lines) - _MAX_LINES
  last = f'{start}and {more:,} more {what}'
  return lines if more <= 1 else [*lines[:_MAX_LINES], last]
