"""Reads rows of scores, one a run, of CSV files or JSON lists."""

from collections.abc import Mapping, Sequence
from typing import Any

from ht_rl.atari100k.parsing import (
  game_of,
  method_of,
  number_in,
  score_of,
  seed_of,
)
from ht_rl.atari100k.readers.content import Content
from ht_rl.atari100k.runs import Run


def columns_of(header: Sequence[str]) -> dict[str, str]:
  """Finds the columns of game, seed and score, and of config if it is there.

  >>> columns_of(['when', 'Score ', 'seed', 'GAME', 'config'])
  {'config': 'config', 'game': 'GAME', 'seed': 'seed', 'score': 'Score '}

  Args:
    header: names of the columns.

  Returns:
    The name of the column of each of `config`, `game`, `seed` and `score`.
    There is no config in the layout of BBF's release.

  Raises:
    ValueError: a column is missing, or comes twice.
  """
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
  return {
    key: header[names.index(name.lower())] for key, name in wanted.items()
  }


def add_row(content: Content, where: str, cells: Mapping[str, Any]) -> None:
  """Takes the run of a row.

  Args:
    content: takes it.
    where: the place of the row, for messages.
    cells: its `game`, `seed` and `score`, and perhaps `config`; text or values.
  """
  values = {
    key: number_in(cell) if isinstance(cell, str) else cell
    for key, cell in cells.items()
    if key in ('seed', 'score')
  }
  before = len(content.problems)
  is_mean = isinstance(values['seed'], str) and values['seed'].lower() == 'mean'
  run = Run(
    seed=None if is_mean else content.parsed(where, seed_of, values['seed']),
    method=content.parsed(where, method_of, cells.get('config', content.name)),
    game=content.parsed(where, game_of, cells['game']),
    score=content.parsed(where, score_of, values['score']),
    source=where,
  )
  if len(content.problems) == before:
    content.add(run)
