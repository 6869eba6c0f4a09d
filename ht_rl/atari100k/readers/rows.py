"""Reads tables of scores: of CSV files, JSON lists and data frames.

A table has one of three layouts, which its header tells:

- a row for each run, with the columns `game`, `seed` and `score`, and perhaps
  `config`;
- a row for each game, with `game`, `mean` and perhaps `std` and `config`;
- a row for each run and a column for each game, perhaps with `seed` and
  `config`. A column such as `Pong_mean` has means; `Pong_std` is not used.

A column `algorithm`, `method` or `agent` takes the place of a missing `config`.
A column that tells rows apart in another way is an error, because the methods
or the points of a curve would become runs of one method: in the last layout any
column, in the others one of these names.
"""

from collections.abc import Callable, Mapping, Sequence
import math
import re
from typing import Any

from ht_rl.atari100k.games import UnknownGameError
from ht_rl.atari100k.parsing import (
  game_of,
  method_of,
  number_in,
  score_of,
  seed_of,
)
from ht_rl.atari100k.readers.content import Content, Other
from ht_rl.atari100k.runs import Run

_MEAN = re.compile(r'([ _-](score|return))?[ _-](mean|avg|average)$')
_SPREAD = re.compile(r'([ _-](score|return))?[ _-](std|sd|stderr|sem|ste)$')
_MEAN_COLUMNS = ('mean', 'score_mean', 'mean_score')
# Names of a column of methods, where none is named config.
_METHODS = ('algorithm', 'method', 'agent')
# Names of the place of a row in its run.
_PLACES = {'step', 'steps', 'frame', 'frames', 'iteration', 'epoch'}

# Takes the place of a row, for messages, and its cells by column.
AddRow = Callable[[str, Mapping[str, Any]], None]


def row_reader(
  content: Content, header: Sequence[str], first: int = 0
) -> AddRow:
  """Returns the function that takes the rows below a header.

  Args:
    content: takes the runs.
    header: names of the columns.
    first: seed of the first row, if there is no column of seeds.

  Raises:
    ValueError: the header is that of no layout, or has a game twice.
  """
  names = {name.strip().lower() for name in header}
  if 'game' in names and not {'score', 'gamescoreaverage', 'seed'} & names:
    means = [name for name in _MEAN_COLUMNS if name in names]
    if means:
      columns = _columns(header, ['game', means[0]], ['config'])
      columns['score'] = columns.pop(means[0])
      return _long_reader(content, header, columns, {'seed': 'mean'})
  if 'game' not in names and (games := _game_columns(header)):
    return _wide_reader(content, header, games, first)
  return _long_reader(content, header, columns_of(header), {})


def columns_of(header: Sequence[str]) -> dict[str, str]:
  """Finds the columns of game, seed and score, and of config if it is there.

  >>> columns_of(['when', 'Score ', 'seed', 'GAME', 'config'])
  {'game': 'GAME', 'seed': 'seed', 'score': 'Score ', 'config': 'config'}

  Args:
    header: names of the columns.

  Returns:
    The name of the column of each of `config`, `game`, `seed` and `score`.
    There need be no `config`: then the file or the frame has one method.

  Raises:
    ValueError: a column is missing, or comes twice.
  """
  names = [name.strip().lower() for name in header]
  if 'gamescoreaverage' in names and not {'config', 'score'} & set(names):
    columns = _columns(header, ['game', 'seed', 'GameScoreAverage'], ['config'])
    columns['score'] = columns.pop('GameScoreAverage')
    return columns
  return _columns(header, ['game', 'seed', 'score'], ['config'])


def add_row(content: Content, where: str, cells: Mapping[str, Any]) -> None:
  """Takes the run of a row.

  Args:
    content: takes it.
    where: the place of the row, for messages.
    cells: its `game`, `seed` and `score`, and perhaps `config`; text or values.
  """
  seed, score = (
    number_in(cells[key]) if isinstance(cells[key], str) else cells[key]
    for key in ('seed', 'score')
  )
  before = len(content.problems)
  content.names_method |= 'config' not in cells
  is_mean = isinstance(seed, str) and seed.lower() == 'mean'
  run = Run(
    seed=None if is_mean else content.parsed(where, seed_of, seed),
    method=content.parsed(where, method_of, cells.get('config', content.name)),
    game=content.parsed(where, game_of, cells['game']),
    score=content.parsed(where, score_of, score),
    source=where,
  )
  if len(content.problems) == before:
    content.add(run)


def mean_game(name: str) -> str | None:
  """Returns the game in a name such as `Pong_mean`, or None.

  >>> mean_game('Pong_mean'), mean_game('Pong')
  ('Pong', None)
  """
  game = _MEAN.sub('', name.strip(), count=1)
  return game if game != name.strip() else None


def is_spread(name: str) -> bool:
  """Whether a name such as `Pong_std` names a spread, which is not used."""
  return bool(_SPREAD.search(name.strip().lower()))


def is_game(name: str) -> bool:
  """Whether a name is that of one of the 57 games."""
  try:
    game_of(name)
  except ValueError:
    return False
  return True


def _long_reader(
  content: Content,
  header: Sequence[str],
  columns: Mapping[str, str],
  constant: Mapping[str, Any],
) -> AddRow:
  """Returns the function that takes rows with the score of a game.

  Args:
    content: takes the runs.
    header: names of the columns.
    columns: the column of each key of `add_row`.
    constant: the values of keys that have no column.
  """
  others = [
    name
    for name in header
    if name.strip().lower() in _METHODS and name not in columns.values()
  ]

  def add(where: str, cells: Mapping[str, Any]) -> None:
    row = {key: cells[column] for key, column in columns.items()}
    for name in others:
      _check_methods(content, where, name, cells[name], row.get('config'))
    add_row(content, where, {**constant, **row})

  return add


def _check_methods(
  content: Content, where: str, name: str, cell: Any, config: Any
) -> None:
  """Adds a problem if a column of methods tells rows of one config apart."""
  other = content.others.setdefault(f'{name} of {config}', Other(cell))
  other.take(cell)
  if len(other.values) == 1 or name in content.refused:
    return
  content.refused.add(name)
  content.problems.append(
    f'{where}: the column {name!r} has {cell!r} here and {other.first!r} '
    f'above, both beside the method {config!r}; if it names the method, call '
    "it 'config' and remove the other column, else remove it"
  )


def _wide_reader(
  content: Content,
  header: Sequence[str],
  games: Mapping[str, str],
  first: int,
) -> AddRow:
  """Returns the function that takes rows with a column for each game.

  Raises:
    ValueError: a column looks like a game with a wrong name, or is there twice.
  """
  for name in games:
    if header.count(name) > 1:
      raise ValueError(f'the header has the column {name!r} twice')
  columns = _columns(header, [], ['seed', 'config'])
  others = [
    name
    for name in header
    if not (name in games or name in columns.values() or is_spread(name))
  ]
  for name in others:
    try:
      game_of(mean_game(name) or name)
    except UnknownGameError as error:
      if error.near:
        raise ValueError(f'the column {name!r}: {error}') from error
  number = first

  def add(where: str, cells: Mapping[str, Any]) -> None:
    nonlocal number
    for name in others:
      _check_other(content, where, name, cells[name])
    for column, game in games.items():
      cell = cells[column]
      if cell in ('', None) or (isinstance(cell, float) and math.isnan(cell)):
        continue  # The game has no such run.
      seed = cells[columns['seed']] if 'seed' in columns else number
      row = {
        'seed': 'mean' if mean_game(column) else seed,
        'score': cell,
        'game': game,
        **_picked(cells, columns, 'config'),
      }
      add_row(content, f'{where}, {column.strip()}', row)
    number += 1

  return add


def _check_other(content: Content, where: str, name: str, cell: Any) -> None:
  """Adds a problem if a column that is no game tells rows apart.

  Numbers that are all different are those of an index, unless they are steps.
  """
  is_nan = isinstance(cell, float) and math.isnan(cell)
  if is_nan or cell in ('', None) or name in content.refused:
    return
  other = content.others.setdefault(name, Other(cell))
  other.take(cell)
  is_text = isinstance(cell, str) and isinstance(number_in(cell), str)
  is_place = name.strip().lower() in _PLACES
  is_index = not (is_text or is_place or other.is_repeated)
  if len(other.values) == 1 or is_index:
    return
  content.refused.add(name)
  content.problems.append(
    f'{where}: the column {name!r} has {cell!r} here and {other.first!r} '
    'above; '
    + (
      'give one row for each run'
      if is_place
      else "if it names the method, call it 'config', else remove it"
    )
  )


def _game_columns(header: Sequence[str]) -> dict[str, str]:
  """Returns the game of each column that is named by one."""
  named = {name: mean_game(name) or name for name in header}
  return {name: game for name, game in named.items() if is_game(game)}


def _columns(
  header: Sequence[str], needed: Sequence[str], others: Sequence[str]
) -> dict[str, str]:
  """Finds columns, whatever their case.

  Args:
    header: names of the columns.
    needed: names of those that must be there.
    others: names of those that may be there.

  Returns:
    The column in the header of each name. Another name of `_METHODS` may stand
    for `config`.

  Raises:
    ValueError: one that is needed is missing, or one comes twice.
  """
  names = [name.strip().lower() for name in header]
  written = {name: name for name in (*needed, *others)}
  if 'config' in written and 'config' not in names:
    written['config'] = next((x for x in _METHODS if x in names), 'config')
  wrong = [name for name in needed if names.count(written[name].lower()) != 1]
  wrong += [name for name in others if names.count(written[name].lower()) > 1]
  if wrong:
    raise ValueError(
      'the header must have each of these columns once: '
      f'{", ".join(written[name] for name in wrong)}; it reads '
      f'{",".join(header)[:100]}'
    )
  return {
    name: header[names.index(written[name].lower())]
    for name in (*needed, *others)
    if written[name].lower() in names
  }


def _picked(
  cells: Mapping[str, Any], columns: Mapping[str, str], key: str
) -> dict[str, Any]:
  """Returns the cell of a column that may be missing, under its key."""
  return {key: cells[columns[key]]} if key in columns else {}
