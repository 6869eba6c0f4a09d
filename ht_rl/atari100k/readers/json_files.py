"""Reads JSON files of scores."""

import reprlib
from typing import Any

import numpy as np

from ht_rl.atari100k.games import GAMES, REFERENCE_SCORES
from ht_rl.atari100k.parsing import game_of, method_of, score_of
from ht_rl.atari100k.readers.content import Content
from ht_rl.atari100k.readers.rows import add_row, columns_of
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
    if isinstance(value, dict) and not any(x != [] for x in value.values()):
      content.problems.append(f'{_place(content, name)}: no score is in here')
    elif isinstance(value, dict):
      for game, scores in value.items():
        _add_scores(content, [name, game], name, game, scores)
    elif isinstance(value, list) and any(isinstance(x, list) for x in value):
      _add_matrix(content, name, value)
    else:
      _add_scores(content, [name], content.name, name, value)


def _add_row(content: Content, index: int, row: Any) -> None:
  """Takes a row of a list: an object with the columns of a CSV file."""
  where = _place(content, index)
  if not isinstance(row, dict):
    content.problems.append(
      f'{where}: a row must be an object, not {reprlib.repr(row)}'
    )
    return
  columns = content.parsed(where, columns_of, list(row))
  if columns is not None:
    add_row(content, where, {key: row[at] for key, at in columns.items()})


def _add_scores(
  content: Content, keys: list[str], method: str, game: str, scores: Any
) -> None:
  """Takes the list of a game's scores; the seeds are the places in it.

  An empty list is a game without runs, which is missing.
  """
  where = _place(content, *keys)
  if not isinstance(scores, list):
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
