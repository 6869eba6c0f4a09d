"""Scores as people hold them in Python: dictionaries, arrays, data frames."""

from collections.abc import Iterable, Mapping
import pathlib
from typing import Any

import numpy as np

from ht_rl.atari100k.games import GAMES, REFERENCE_SCORES
from ht_rl.atari100k.parsing import game_of, method_of, score_of
from ht_rl.atari100k.readers.checks import clashes
from ht_rl.atari100k.readers.content import Content
from ht_rl.atari100k.readers.rows import is_game, row_reader
from ht_rl.atari100k.runs import Run, ScoreFileError, by_method
from ht_rl.atari100k.suspicions import looks_transposed

Scores = dict[str, np.ndarray]
Means = dict[str, float]

# Names of what is no run.
_STATISTICS = {'mean', 'average', 'avg', 'std', 'sd', 'sem', 'stderr'}
_NO_MEANS = (
  'these are means over runs, not scores of single runs; `summarize` takes '
  'them as `means`'
)


def methods_of(scores: Any) -> dict[str, Scores]:
  """Returns the scores of each method and game in game points.

  >>> methods_of({'mine': {'ALE/Pong-v5': {0: 12, 1: 14.5}}})
  {'mine': {'Pong': array([12. , 14.5])}}

  Args:
    scores: for each method what `scores_of` takes; or a data frame with the
      columns config, game, seed and score.

  Returns:
    float64 [runs] for each game of each method.

  Raises:
    ValueError: it is something else, or a value is wrong.
  """
  if _is_frame(scores):
    return by_method(_frame_runs('scores', scores))
  if not isinstance(scores, Mapping):
    raise ValueError(
      'the scores must be a dictionary of methods or a data frame, not '
      f'{type(scores).__name__}'
    )
  made: dict[str, Scores] = {}
  for name, of in scores.items():
    try:
      method = _new_method(name, made)
      made[method] = scores_of(name, of)
    except ScoreFileError:
      raise  # It names the method.
    except ValueError as error:
      raise ValueError(f'{name}: {error}') from error
  return made


def means_of(means: Mapping[str, Mapping[str, float]]) -> dict[str, Means]:
  """Returns the mean scores of each method by game in game points.

  >>> means_of({'mine': {'ALE/Pong-v5': 12}})
  {'mine': {'Pong': 12.0}}

  Args:
    means: for each method the mean score of each game, in any usual spelling.

  Raises:
    ValueError: it is something else, or a value is wrong.
  """
  made: dict[str, Means] = {}
  for name, of in means.items():
    try:
      method = _new_method(name, made)
      column = _of_games({game: [mean] for game, mean in of.items()})
      made[method] = {game: x.item() for game, x in column.items()}
    except ValueError as error:
      raise ValueError(f'{name}: {error}') from error
  return made


def scores_of(name: str, scores: Any) -> Scores:
  """Returns the scores of one method by game in game points.

  Args:
    name: of the method.
    scores: one of

      - a dictionary of games, in any usual spelling, with the scores of the
        runs: a list, an array or a dictionary of seeds;
      - an array [runs, 26] of human-normalised scores, the games in
        alphabetical order, as rliable has them;
      - a data frame of pandas, polars or the like, in game points: a row a run
        with the columns game, seed and score, or a row a run and a column a
        game. A missing value in a column of a game is a run that isn't there.

  Returns:
    float64 [runs] for each game; games without runs, and those that are not
    among the 26, are left out.

  Raises:
    ValueError: it is something else, or a value is wrong.
  """
  if isinstance(scores, Mapping):
    return _of_games(scores)
  if _is_frame(scores):
    runs = _frame_runs(name, scores)
    methods = by_method(runs)
    if len(methods) != 1:
      raise ValueError(
        f'the frame has {len(methods)} methods; pass it alone, or one of them'
      )
    return methods.popitem()[1]
  return _of_matrix(_matrix(scores))


def _new_method(name: Any, others: Mapping[str, Any]) -> str:
  """Returns the name of a method.

  Raises:
    ValueError: it is none, or that of a game or of another method.
  """
  method = method_of(name)
  if is_game(method):
    raise ValueError(
      'this is a game, where the name of a method must be: pass '
      '{method: {game: scores}}'
    )
  if method in others:
    raise ValueError(f'the method {method!r} is there twice')
  return method


def _of_games(scores: Mapping[str, Any]) -> Scores:
  made: Scores = {}
  for name, of in scores.items():
    game = game_of(name)
    if isinstance(of, Mapping):
      if _STATISTICS & {str(key).strip().lower() for key in of}:
        raise ValueError(f'{name}: {_NO_MEANS}')
      of = [of[seed] for seed in _in_order(of)]
    runs = [_plain(x) for x in np.atleast_1d(np.asarray(of, object))]
    if lists := [x for x in runs if np.ndim(x)]:
      raise ValueError(
        f'{name} must have one score for each run, and a run has '
        f'{len(lists[0])}; if these are episodes, take the mean of each run'
      )
    try:
      column = np.array([score_of(x) for x in runs], np.float64)
    except ValueError as error:
      raise ValueError(f'{name}: {error}') from error
    if game in made:
      raise ValueError(f'{game} is there twice')
    if column.size and game in REFERENCE_SCORES:
      made[game] = column
  return made


def _in_order(seeds: Iterable[Any]) -> list[Any]:
  """Returns seeds in their order, or as they come where one is no number."""
  seeds = list(seeds)
  try:
    return sorted(seeds, key=int)
  except (TypeError, ValueError):
    return seeds


def _matrix(scores: Any) -> np.ndarray:
  """Returns an array of floats.

  Raises:
    ValueError: the rows differ in length, or a value is no number.
  """
  try:
    return np.asarray(scores, np.float64)
  except (TypeError, ValueError) as error:
    lengths = [np.size(row) for row in scores] if np.iterable(scores) else []
    for run, length in enumerate(lengths):
      if length != len(GAMES):
        raise ValueError(
          f'run {run}: {length} scores, not {len(GAMES)}'
        ) from error
    raise ValueError(
      f'an array of scores must have numbers alone ({error})'
    ) from error


def _of_matrix(matrix: np.ndarray) -> Scores:
  runs, columns = matrix.shape if matrix.ndim == 2 else (0, 0)
  is_square = runs == columns == len(GAMES)
  if is_square:
    is_right = not looks_transposed(matrix)
  else:
    is_right = columns == len(GAMES)
  if not is_right:
    advice = '; transpose it' if runs == len(GAMES) else ''
    raise ValueError(
      f'an array must be of shape [runs, {len(GAMES)}], not '
      f'{list(matrix.shape)}{advice}'
    )
  if len(wrong := np.argwhere(~np.isfinite(matrix))):
    run, place = wrong[0]
    raise ValueError(
      f'run {run}, {[*REFERENCE_SCORES][place]}: the score must be a finite '
      f'number, not {matrix[run, place]}'
    )
  return {
    game: of.random + column * (of.human - of.random)
    for (game, of), column in zip(
      REFERENCE_SCORES.items(), matrix.T, strict=True
    )
  }


def _is_frame(scores: Any) -> bool:
  return hasattr(scores, 'columns') and hasattr(scores, '__getitem__')


def _frame_runs(name: str, frame: Any) -> Iterable[Run]:
  """Returns the runs of a data frame.

  Raises:
    ScoreFileError: a column is missing, a value is wrong, a run is there twice,
      or these are means over runs.
  """
  content = Content(pathlib.Path(name))
  header = [str(column) for column in frame.columns]
  if not all(isinstance(x, (int, np.integer)) for x in _index(frame)):
    raise ScoreFileError(
      [
        f'{name}: the index of the frame is not used; make it a column with '
        'reset_index(), or drop it with reset_index(drop=True)'
      ]
    )
  if twice := [x for x in header if header.count(x) > 1]:
    raise ScoreFileError([f'{name}: the column {twice[0]!r} is there twice'])
  try:
    add = row_reader(content, header)
  except ValueError as error:
    raise ScoreFileError([f'{name}: {error}']) from error
  columns = [list(frame[column]) for column in frame.columns]
  for number, row in enumerate(zip(*columns, strict=True)):
    cells = dict(zip(header, map(_plain, row), strict=True))
    add(f'{name}, row {number}', cells)
  if content.problems:
    raise ScoreFileError(content.problem_lines())
  if any(run.seed is None for run in content.runs):
    raise ScoreFileError([f'{name}: {_NO_MEANS}'])
  if problems := clashes(content.runs):
    raise ScoreFileError(problems)
  return content.runs


def _index(frame: Any) -> Iterable[Any]:
  """Returns the labels of the rows; polars has none."""
  return getattr(frame, 'index', ())


def _plain(value: Any) -> Any:
  """Returns a cell as a Python value; None for the missing value of pandas."""
  if type(value).__name__ == 'NAType':
    return None
  # Scalars of NumPy, arrays without axes of JAX or PyTorch.
  return value.item() if getattr(value, 'ndim', None) == 0 else value
