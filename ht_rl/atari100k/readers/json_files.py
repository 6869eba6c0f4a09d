"""Reads JSON files of scores."""

from collections.abc import Mapping, Sequence
import re
import reprlib
from typing import Any

import numpy as np

from ht_rl.atari100k.games import GAMES, REFERENCE_SCORES
from ht_rl.atari100k.parsing import game_of, method_of, number_in, score_of
from ht_rl.atari100k.readers.content import Content
from ht_rl.atari100k.readers.curves import add_curve, is_curve
from ht_rl.atari100k.readers.rows import (
  add_row,
  is_game,
  is_spread,
  mean_game,
  row_reader,
)
from ht_rl.atari100k.readers.run_folders import add_result
from ht_rl.atari100k.run_folder import RESULT_KEYS, check_result
from ht_rl.atari100k.runs import Run
from ht_rl.atari100k.suspicions import looks_transposed


def read_json(content: Content, data: Any) -> None:
  """Reads the parsed content of a JSON file.

  Raises:
    ValueError: it has none of the layouts that can be read.
  """
  if isinstance(data, list) and any(isinstance(row, dict) for row in data):
    for index, row in enumerate(data):
      _add_row(content, index, row)
    return
  if not isinstance(data, dict):
    raise ValueError(
      'the JSON must be an object of games or of methods, or a list of rows, '
      f'not {reprlib.repr(data)}'
    )
  if set(RESULT_KEYS) <= set(data):
    add_result(content, content.path, check_result(data))
    return
  for name, value in data.items():
    if isinstance(value, dict) and not _is_of_game(name, value):
      if not any(x != [] for x in value.values()):
        content.problems.append(f'{_place(content, name)}: no score is in here')
      for game, scores in value.items():
        _add_game(content, [name, game], name, game, scores)
    elif (
      isinstance(value, list)
      and not is_game(name)
      and any(isinstance(row, list) for row in value)
    ):
      _add_matrix(content, name, value)
    else:
      content.names_method = True
      _add_game(content, [name], content.name, name, value)


def _is_of_game(name: str, value: Mapping[str, Any]) -> bool:
  """Whether an object holds the scores of a game, and not games."""
  return is_game(name) and bool(value) and not any(map(is_game, value))


def _add_row(content: Content, index: int, row: Any) -> None:
  """Takes a row of a list: an object with the columns of a table."""
  where = _place(content, index)
  if not isinstance(row, dict):
    content.problems.append(
      f'{where}: a row must be an object, not {reprlib.repr(row)}'
    )
  elif is_curve(row):
    add_curve(content, where, row)
  else:
    try:
      row_reader(content, list(row), first=index)(where, row)
    except ValueError as error:
      content.problems.append(f'{where}: {error}')


def _add_game(
  content: Content, keys: Sequence[str], method: str, game: str, scores: Any
) -> None:
  """Takes the scores of a game.

  They are a list, in which the place of a score is its seed, an object of seeds
  or an object with a mean. An empty list is a game without runs. `Pong_mean` is
  a mean, too.
  """
  where = _place(content, *keys)
  if is_spread(game):
    return
  of_mean = mean_game(game)
  if of_mean is not None and not isinstance(scores, (list, dict)):
    game, scores = of_mean, {'mean': scores}
  before = len(content.problems)
  content.parsed(where, method_of, method)
  content.parsed(where, game_of, game)
  is_named = len(content.problems) == before
  if isinstance(scores, list):
    for place, value in enumerate(scores):
      _add_score(content, [*keys, place], method, game, place, value, is_named)
  elif isinstance(scores, dict) and 'mean' in scores:
    if runs := [k for k, v in scores.items() if _is_of_runs(k, v)]:
      content.problems.append(
        f'{where}: this has both a mean and runs ({runs[0]!r}); remove the mean'
        ' to take the runs'
      )
      return
    _add_score(content, keys, method, game, 'mean', scores['mean'], is_named)
  elif isinstance(scores, dict) and scores:
    for name, value in scores.items():
      seed = _seed_in(name)
      _add_score(content, [*keys, name], method, game, seed, value, is_named)
  else:
    content.problems.append(
      f'{where}: this must be a list with the score of each run, not '
      f'{reprlib.repr(scores)}'
    )


def _seed_in(key: str) -> int | float | str:
  """Returns the seed in a key such as '0', 'seed_0' or 'seed 0'.

  >>> _seed_in('Seed_7'), _seed_in('-1'), _seed_in('std')
  (7, -1, 'std')
  """
  text = key.strip().lower()
  return number_in(re.sub(r'^seed[ _-]*', '', text))


def _is_of_runs(key: str, value: Any) -> bool:
  """Returns whether an entry beside a mean is that of a run or of several."""
  return not isinstance(_seed_in(key), str) or isinstance(value, (list, dict))


def _add_score(
  content: Content,
  keys: Sequence[str | int],
  method: str,
  game: str,
  seed: Any,
  value: Any,
  is_named: bool,
) -> None:
  """Takes one score; only checks it if its method or game is wrong."""
  where = _place(content, *keys)
  if not is_named:
    content.parsed(where, score_of, value)
  elif is_curve(value):
    row = value if isinstance(value, dict) else {'ys': value}
    row = {**row, 'config': method, 'game': game, 'seed': seed}
    add_curve(content, where, row)
  elif isinstance(value, str):
    content.parsed(where, score_of, value)
  else:
    row = {'config': method, 'game': game, 'seed': seed, 'score': value}
    add_row(content, where, row)


def _add_matrix(content: Content, method: str, rows: list[Any]) -> None:
  """Takes normalised scores, a row of the 26 games for each run."""
  sizes = {len(row) if isinstance(row, list) else 0 for row in rows}
  is_square = sizes == {len(rows)} == {len(GAMES)}
  is_by_game = len(rows) == len(GAMES) and len(sizes) == 1 and 0 not in sizes
  if is_square:
    is_by_game = _is_numeric(rows) and looks_transposed(np.array(rows, float))
  if is_by_game:
    content.problems.append(
      f'{_place(content, method)}: the array must have a row for each run and '
      'a column for each of the 26 games; this looks like a row for each game: '
      'transpose it'
    )
    return
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


def _is_numeric(rows: list[Any]) -> bool:
  return all(type(x) in (int, float) for row in rows for x in row)


def _place(content: Content, *keys: str | int) -> str:
  """Writes a place in a JSON file."""
  return f'{content.path}, {"".join(f"[{key!r}]" for key in keys)}'
