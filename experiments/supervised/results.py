"""What an experiment has measured: the one thing that tables and figures read.

A result is of one setting with several seeds. Its numbers are plain ones, as
JSON has them: a list with a number for each seed.
"""

from collections.abc import Sequence
import dataclasses
from typing import Any

import numpy as np

NETWORKS = ('hare', 'tortoise')

# What a row says of its place in the run; all else in it are figures.
PLACE = ('phase', 'epoch', 'step', 'moment')


@dataclasses.dataclass(frozen=True)
class Result:
  """The evaluations of one setting, of all of its seeds side by side.

  Attributes:
    name: how the experiment calls the setting, as 'Shrink & Perturb 0.8'.
    setting: the fields of the setting, in values that JSON has. Its `ratios`
      tell how many phases a whole run has.
    seeds: one of each run.
    reported: the network whose accuracy stands for the method, 'hare' or
      'tortoise'.
    rows: the evaluations in the order in which they were made. Each names its
      `phase` (from 0), `epoch` (of the phase), `step` (of the run) and
      `moment`: 'start' and 'end' of a phase, or 'epoch' within it. What a
      method does between two phases comes before the 'start' of the second.
      Every other entry is a figure, as `hare_test_accuracy`: a list with a
      number for each seed.
  """

  name: str
  setting: dict[str, Any]
  seeds: tuple[int, ...]
  reported: str
  rows: list[dict[str, Any]]

  def __post_init__(self) -> None:
    if self.reported not in NETWORKS:
      raise ValueError(
        f'what {self.name!r} reports must be the hare or the tortoise, '
        f'not {self.reported!r}'
      )
    for row in self.rows:
      for figure in row.keys() - set(PLACE):
        if len(row[figure]) != len(self.seeds):
          raise ValueError(
            f'{figure} of {self.name!r} at step {row["step"]} must have a '
            f'number for each of the {len(self.seeds)} seeds, '
            f'not {len(row[figure])}'
          )


def at_phase_end(result: Result, phase: int, figure: str) -> np.ndarray:
  """A figure at the end of a phase, before what a method does after it.

  Args:
    result: of one setting.
    phase: which one, from 0.
    figure: its name in the rows, as 'train_accuracy'.

  Returns:
    A float array [seeds], in the order of `result.seeds`.

  Raises:
    ValueError: the run did not come to the end of this phase, or there the
      figure was not measured.

  >>> row = {'phase': 0, 'epoch': 5, 'step': 60, 'moment': 'end'}
  >>> row['hare_test_accuracy'] = [0.5, 0.75]
  >>> result = Result('WS', {'ratios': [0.1, 1.0]}, (1, 2), 'hare', [row])
  >>> at_phase_end(result, 0, 'hare_test_accuracy')
  array([0.5 , 0.75])
  >>> is_finished(result)
  False
  """
  row = _end(result, phase)
  if row is None:
    raise ValueError(
      f'{result.name!r} has no evaluation at the end of phase {phase}: '
      'the run must first come so far'
    )
  if figure not in row:
    known = ', '.join(sorted(row.keys() - set(PLACE)))
    raise ValueError(
      f'{figure!r} was not measured at the end of phase {phase} of '
      f'{result.name!r}; there are {known}'
    )
  return np.asarray(row[figure], float)


def final(result: Result, figure: str) -> np.ndarray:
  """A figure at the end of the last phase, as `at_phase_end` gives it.

  Args:
    result: of one setting, with a finished run.
    figure: its name in the rows.

  Returns:
    A float array [seeds].

  Raises:
    ValueError: the run is not finished, or the figure was not measured.
  """
  return at_phase_end(result, num_phases(result) - 1, figure)


def final_accuracy(result: Result) -> np.ndarray:
  """The final test accuracy of the network that the method reports.

  Args:
    result: of one setting, with a finished run.

  Returns:
    A float array [seeds].

  Raises:
    ValueError: the run is not finished.
  """
  return final(result, f'{result.reported}_test_accuracy')


def num_phases(result: Result) -> int:
  """How many phases a whole run of this setting has."""
  return len(result.setting['ratios'])


def is_finished(result: Result) -> bool:
  """Whether the run came to the end of its last phase."""
  return _end(result, num_phases(result) - 1) is not None


def finished(results: Sequence[Result]) -> list[Result]:
  """Those with a finished run, in the same order."""
  return [result for result in results if is_finished(result)]


def _end(result: Result, phase: int) -> dict[str, Any] | None:
  for row in result.rows:
    if row['phase'] == phase and row['moment'] == 'end':
      return row
  return None
