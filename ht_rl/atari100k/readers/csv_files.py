"""Reads CSV files of scores: a row a run."""

from collections.abc import Mapping
import csv
import io

from ht_rl.atari100k.parsing import (
  game_of,
  method_of,
  number_in,
  score_of,
  seed_of,
)
from ht_rl.atari100k.readers.content import Content
from ht_rl.atari100k.runs import Run


def read_csv(content: Content, text: str) -> None:
  """Reads the text of a CSV file.

  Raises:
    ValueError: the header is wrong, or it is no CSV.
  """
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
  """Finds the columns of game, seed and score, and of config if it is there."""
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


def _add_cells(content: Content, where: str, cells: Mapping[str, str]) -> None:
  """Takes the run of a row."""
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
