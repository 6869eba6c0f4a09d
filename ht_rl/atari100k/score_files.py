"""Reads scores of runs: our own run folders, and files of others.

The content of a path decides how it is read:

- a folder with runs of `experiments.train` in or below it (see
  `ht_rl.atari100k.run_folder`), or else with Dopamine's logs (see
  `ht_rl.atari100k.readers.dopamine`);
- a CSV file, in one of the layouts of `ht_rl.atari100k.readers.rows`: a row for
  each run with the columns `config` (or `algorithm`, `method` or `agent`),
  `game`, `seed` and `score` (or, as released with BBF, `game`, `seed` and
  `GameScoreAverage`); a row for each run and a column for each game; or means.
  The seed `mean` marks a mean over runs. Other columns are ignored, unless they
  may tell methods apart. A method without a `config` has the name of the file,
  and no two files may name one method;
- a JSON list of objects with these keys, or with the steps `xs` and the scores
  `ys` of curves;
- a JSON object of one method or, one level deeper, of several: for each game
  the list of the scores of its runs, an object of seeds, or ``{"mean":
  score}``;
- a JSON object of arrays ``{method: [[score of each game] of each run]}``,
  human-normalised scores of the 26 games in alphabetical order, as in rliable's
  dictionaries.

Scores are in game points unless it says otherwise. Files may be gzipped. An
empty list is a game that has no run yet.

`read` guesses nothing and drops nothing: it takes every row, or says in a note
what it leaves out and why, or raises an error that names all that is wrong in
all files.
"""

from collections.abc import Iterable
import difflib
import os
import pathlib
from typing import NamedTuple

from ht_rl.atari100k.parsing import json_of, text_of
from ht_rl.atari100k.readers import checks
from ht_rl.atari100k.readers.content import Content
from ht_rl.atari100k.readers.csv_files import read_csv
from ht_rl.atari100k.readers.dopamine import has_logs, read_dopamine
from ht_rl.atari100k.readers.json_files import read_json
from ht_rl.atari100k.readers.run_folders import read_runs
from ht_rl.atari100k.run_folder import RunFolderError
from ht_rl.atari100k.runs import Run, ScoreFileError

# Where Dopamine's collector writes.
_PICKLED = '**/pickle/pickle_*.pkl'


class ScoreFiles(NamedTuple):
  """The content of the files.

  Attributes:
    runs: in the order of the files.
    notes: what a reader of the scores must know, one sentence each.
  """

  runs: tuple[Run, ...]
  notes: tuple[str, ...]


def read(
  paths: Iterable[str | os.PathLike[str]], *, last: float | None = None
) -> ScoreFiles:
  """Reads the runs of all files and folders.

  Args:
    paths: files and folders in the layouts above.
    last: the part at the end of a curve whose mean is the score, in (0, 1].
      None refuses files of curves.

  Returns:
    The runs of the 26 games, and notes.

  Raises:
    ScoreFileError: a file can't be read or is wrong, a run is there twice, the
      runs of a method don't belong together, or `last` is given and there is no
      curve.
  """
  paths = list(paths)
  if '' in paths:
    raise ScoreFileError(['a path is empty'])
  contents = [
    _read_path(Content(pathlib.Path(path), last=last)) for path in paths
  ]
  runs = tuple(run for content in contents for run in content.runs)
  problems = [
    *(line for content in contents for line in content.problem_lines()),
    *checks.clashes(runs),
    *_same_names(contents),
  ]
  if not contents:
    problems.append('no file or folder to read is named')
  if last is not None and not any(content.has_curves for content in contents):
    problems.append('--last has no effect: no path has a curve')
  if problems:
    raise ScoreFileError(problems)
  notes = [line for content in contents for line in content.notes()]
  return ScoreFiles(runs, (*notes, *checks.protocol_notes(runs)))


def _same_names(contents: Iterable[Content]) -> list[str]:
  """Says which files name one method: their runs may be of two methods."""
  first: dict[str, pathlib.Path] = {}
  problems = []
  for content in contents:
    if not content.names_method:
      continue
    other = first.setdefault(content.name, content.path)
    if other.resolve() != content.path.resolve():
      problems.append(
        f'{content.path}: its method is named {content.name!r} by the file, as '
        f'that of {other} is; rename one of the files, or name the methods in '
        'a column config'
      )
  return problems


def _read_path(content: Content) -> Content:
  path = content.path
  try:
    if path.is_dir():
      read_runs(content)
      if not (content.runs or content.unfinished or content.problems):
        read_dopamine(content)
      elif has_logs(path):
        content.remarks.append(
          "Dopamine's logs beside the runs of experiments.train are not read; "
          'name their folder by itself.'
        )
    elif path.exists():
      _read_file(content)
    else:
      content.problems.append(f'no file or folder {str(path)!r}{_near(path)}')
    if not content.runs and not content.problems:
      content.problems.append(f'{path}: {_why_empty(content)}')
  except OSError as error:
    content.problems.append(f'{path}: {error.strerror}')
  return content


def _read_file(content: Content) -> None:
  try:
    text = text_of(content.path)
    if text.lstrip()[0] in '{[' or content.is_json:
      read_json(content, json_of(text))
    else:
      read_csv(content, text)
  except RunFolderError as error:
    content.problems.append(str(error))
  except ValueError as error:
    content.problems.append(f'{content.path}: {error}')


def _near(path: pathlib.Path) -> str:
  try:
    there = os.listdir(path.parent)
  except OSError:
    return ''
  near = difflib.get_close_matches(path.name, there, n=1)
  return f': did you mean {path.parent / near[0]}?' if near else ''


def _why_empty(content: Content) -> str:
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
  if file := next(content.path.glob(_PICKLED), None):
    return (
      f"{file} is one of Dopamine's pickled files, which can execute code when "
      'they are read; name a folder with logs/log_N, or write a CSV file with '
      'config, game, seed, score'
    )
  reason = 'no run is in this folder (a finished run has a result.json)'
  files = sorted(
    str(path)
    for path in content.path.iterdir()
    if path.name.removesuffix('.gz').endswith(('.csv', '.json'))
  )
  return (
    f'{reason}; name its files instead, such as {files[0]}' if files else reason
  )
