"""The measurements of an experiment, which tables and figures read.

A result belongs to one setting with several seeds. Its numbers are lists with a
number for each seed, as in JSON.
"""

from collections.abc import Sequence
import dataclasses
from typing import Any

import numpy as np

NETWORKS = ('hare', 'tortoise')

# The place of a row in the run; all its other entries are figures.
PLACE = ('phase', 'epoch', 'step', 'moment')


@dataclasses.dataclass(frozen=True)
class Result:
  """The evaluations of one setting, with all seeds side by side.

  Attributes:
    name: of the setting in the experiment, such as 'S&P 0.8'.
    setting: the fields of the setting as JSON values. The length of `ratios` is
      the number of phases.
    seeds: of the runs.
    reported: the network whose accuracy stands for the method, 'hare' or
      'tortoise'.
    rows: the evaluations in the order in which they were made. Each names its
      `phase` (from 0), `epoch` (of the phase), `step` (of the run) and
      `moment`: 'start' and 'end' of a phase, or 'epoch' within it. Methods
      change the weights between two phases before the 'start' of the second.
      Every other entry is a figure such as `hare_test_accuracy`: a list with a
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
  """Returns a figure at the end of a phase, before methods change weights.

  Args:
    result: of one setting.
    phase: number of the phase, from 0.
    figure: its name in the rows, such as 'train_accuracy'.

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
  """Returns a figure at the end of the last phase; see `at_phase_end`.

  Args:
    result: of one setting; its run is finished.
    figure: its name in the rows.

  Returns:
    A float array [seeds].

  Raises:
    ValueError: the run is not finished, or the figure was not measured.
  """
  return at_phase_end(result, num_phases(result) - 1, figure)


def final_accuracy(result: Result) -> np.ndarray:
  """Returns the final test accuracy of the reported network.

  Args:
    result: of one setting; its run is finished.

  Returns:
    A float array [seeds].

  Raises:
    ValueError: the run is not finished.
  """
  return final(result, f'{result.reported}_test_accuracy')


def mean_over_phases(result: Result, network: str) -> np.ndarray:
  """Returns the mean test accuracy over the ends of all phases.

  Args:
    result: of one setting; its run is finished.
    network: 'hare' or 'tortoise'.

  Returns:
    A float array [seeds].

  Raises:
    ValueError: the run is not finished.
  """
  figure = f'{network}_test_accuracy'
  ends = [at_phase_end(result, k, figure) for k in range(num_phases(result))]
  return np.mean(ends, axis=0)


def drop_between_phases(result: Result) -> np.ndarray:
  """Returns how much test accuracy is lost between two phases, in the mean.

  Args:
    result: of one setting; its run is finished.

  Returns:
    The accuracy at the end of a phase less that at the start of the next, where
    methods have changed the weights. A float array [seeds], of the reported
    network; NaN where there is but one phase.

  Raises:
    ValueError: the run is not finished.

  >>> def row(phase, moment, accuracy):
  ...   place = {'phase': phase, 'epoch': 0, 'step': 0, 'moment': moment}
  ...   return {**place, 'hare_test_accuracy': [accuracy]}
  >>> rows = [row(0, 'end', 0.75), row(1, 'start', 0.5), row(1, 'end', 1.0)]
  >>> result = Result('HR', {'ratios': [0.1, 1.0]}, (1,), 'hare', rows)
  >>> drop_between_phases(result), mean_over_phases(result, 'hare')
  (array([0.25]), array([0.875]))
  """
  figure = f'{result.reported}_test_accuracy'
  starts = {
    row['phase']: np.asarray(row[figure], float)
    for row in result.rows
    if row['moment'] == 'start'
  }
  drops = [
    at_phase_end(result, k - 1, figure) - starts[k]
    for k in range(1, num_phases(result))
  ]
  if not drops:
    return np.full(len(result.seeds), np.nan)
  return np.mean(drops, axis=0)


def paired_difference(first: Result, second: Result) -> np.ndarray:
  """Returns by how much the first is more accurate than the second, by seed.

  Runs with one seed share their subsets, their noise and, if their networks are
  the same, their initial weights.

  Args:
    first: of one setting; its run is finished.
    second: of another.

  Returns:
    The difference of the final test accuracies of the reported networks, a
    float array [seeds that both have], in the order of the first.

  Raises:
    ValueError: a run is not finished.
  """
  ours, theirs = (
    dict(zip(result.seeds, final_accuracy(result), strict=True))
    for result in (first, second)
  )
  shared = [seed for seed in first.seeds if seed in theirs]
  return np.array([ours[seed] - theirs[seed] for seed in shared], float)


def num_phases(result: Result) -> int:
  """Returns the number of phases of a whole run."""
  return len(result.setting['ratios'])


def is_finished(result: Result) -> bool:
  """Returns whether the run is at the end of its last phase."""
  return _end(result, num_phases(result) - 1) is not None


def finished(results: Sequence[Result]) -> list[Result]:
  """Returns the results with a finished run, in the same order."""
  return [result for result in results if is_finished(result)]


def _end(result: Result, phase: int) -> dict[str, Any] | None:
  for row in result.rows:
    if row['phase'] == phase and row['moment'] == 'end':
      return row
  return None
