"""The evaluations of a phase on disk, checked when they are read."""

from collections.abc import Sequence
import json
import pathlib
from typing import Any, TypeAlias

from experiments.supervised.results import NETWORKS, PLACE

# An evaluation as in `results.Result`, with a number in place of each list.
Row: TypeAlias = dict[str, Any]


def read(path: pathlib.Path, phase: int) -> list[Row]:
  """Returns the evaluations of a phase, from its start on.

  Args:
    path: of the file.
    phase: which phase, from 0.

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
    if not isinstance(row, dict) or not _is_whole(row, phase):
      raise ValueError(
        f'has evaluations that are not of phase {phase + 1} of one seed'
      )
  if rows[0]['moment'] != 'start':
    raise ValueError('has no evaluation at the start')
  return rows


def ends(rows: list[Row], epochs: int) -> bool:
  """Returns whether evaluations go to the end of a phase of some epochs."""
  return rows[-1]['moment'] == 'end' and rows[-1]['epoch'] == epochs


def joined(of_seeds: Sequence[Sequence[Row]]) -> list[dict[str, Any]]:
  """Returns the evaluations that all seeds have, with lists of their numbers.

  >>> def row(epoch, accuracy):
  ...   place = {'phase': 0, 'epoch': epoch, 'step': epoch, 'moment': 'epoch'}
  ...   return place | {'accuracy': accuracy}
  >>> (both,) = joined([[row(1, 0.5), row(2, 0.75)], [row(2, 0.25)]])
  >>> both['epoch'], both['accuracy']
  (2, [0.75, 0.25])

  Args:
    of_seeds: the rows of each seed, at least one.
  """
  by_place = [
    {tuple(row[name] for name in PLACE): row for row in rows}
    for rows in of_seeds
  ]
  return [
    {
      name: x if name in PLACE else [rows[place][name] for rows in by_place]
      for name, x in row.items()
    }
    for place, row in by_place[0].items()
    if all(place in rows for rows in by_place)
  ]


def _is_whole(row: Row, phase: int) -> bool:
  figures = {f'{network}_test_accuracy' for network in NETWORKS}
  if not {*PLACE, *figures} <= row.keys() or row['phase'] != phase:
    return False
  if not all(type(row[name]) is int for name in ('epoch', 'step')):
    return False
  return row['moment'] in ('start', 'epoch', 'end') and all(
    type(row[name]) in (int, float) for name in row.keys() - set(PLACE)
  )
