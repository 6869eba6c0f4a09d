"""The evaluations of a phase on disk, checked when they are read."""

import json
import pathlib
from typing import Any, TypeAlias

from experiments.supervised.results import NETWORKS, PLACE

# An evaluation, as in `results.Result`.
Row: TypeAlias = dict[str, Any]


def read(path: pathlib.Path, phase: int, num_seeds: int) -> list[Row]:
  """Returns the evaluations of a phase, from its start on.

  Args:
    path: of the file.
    phase: which phase, from 0.
    num_seeds: number of seeds, each of which has a number in every figure.

  Raises:
    ValueError: they are lost or damaged; the message goes on from the path.
  """
  try:
    rows = json.loads(path.read_bytes())
  except OSError as error:
    raise ValueError(f'cannot be read ({error.strerror})') from error
  except ValueError as error:  # Cut, or not even text.
    raise ValueError('is damaged') from error
  if not isinstance(rows, list) or not rows:
    raise ValueError('has no evaluations')
  for row in rows:
    if not isinstance(row, dict) or not _is_whole(row, phase, num_seeds):
      raise ValueError(
        f'has evaluations that are not of phase {phase + 1} with {num_seeds} '
        'seeds'
      )
  if rows[0]['moment'] != 'start':
    raise ValueError('has no evaluation at the start')
  return rows


def ends(rows: list[Row], epochs: int) -> bool:
  """Returns whether evaluations go to the end of a phase of some epochs."""
  return rows[-1]['moment'] == 'end' and rows[-1]['epoch'] == epochs


def _is_whole(row: Row, phase: int, num_seeds: int) -> bool:
  figures = {f'{network}_test_accuracy' for network in NETWORKS}
  if not {*PLACE, *figures} <= row.keys() or row['phase'] != phase:
    return False
  if not all(type(row[name]) is int for name in ('epoch', 'step')):
    return False
  return row['moment'] in ('start', 'epoch', 'end') and all(
    isinstance(row[name], list)
    and len(row[name]) == num_seeds
    and all(type(x) in (int, float) for x in row[name])
    for name in row.keys() - set(PLACE)
  )
