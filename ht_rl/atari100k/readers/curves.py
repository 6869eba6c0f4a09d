"""Takes scores from curves: the mean over their last part."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from ht_rl.atari100k.parsing import score_of
from ht_rl.atari100k.readers.content import Content
from ht_rl.atari100k.readers.rows import add_row

_OTHER_NAMES = {'task': 'game', 'method': 'config'}


def is_curve(value: Any) -> bool:
  """Whether a JSON value is a curve of one run.

  Args:
    value: a list of numbers, or an object with the steps `xs` and the scores
      `ys`, as in the scores of DreamerV3.
  """
  if isinstance(value, dict):
    return isinstance(value.get('ys'), list)
  return isinstance(value, list)


def add_curve(content: Content, where: str, row: Mapping[str, Any]) -> None:
  """Takes the run of a curve; its score is the mean over the last part.

  Args:
    content: takes it; `content.last` is the part, a share of the last step.
    where: the place of the curve, for messages.
    row: scores `ys`, perhaps their steps `xs`, and `game` or `task`, `seed` and
      perhaps `config` or `method`.
  """
  if content.last is None:
    content.problems.append(
      f'{where}: this is a curve; state the part at its end whose mean is the '
      'score, such as --last=0.05'
    )
    return
  content.has_curves = True
  remark = (
    f'each score is the mean of the last {100 * content.last:g}% of a curve.'
  )
  if remark not in content.remarks:
    content.remarks.append(remark)
  row = {_OTHER_NAMES.get(key, key): value for key, value in row.items()}
  try:
    row['score'] = _score(row, content.last)
  except ValueError as error:
    content.problems.append(f'{where}: {error}')
    return
  if missing := [key for key in ('game', 'seed') if key not in row]:
    content.problems.append(f'{where}: the curve has no {missing[0]}')
    return
  add_row(content, where, row)


def _score(row: Mapping[str, Any], last: float) -> float:
  """Returns the mean of a curve over its last part.

  Raises:
    ValueError: a value is wrong.
  """
  values = [score_of(value) for value in row['ys']]
  steps = row.get('xs', list(range(1, len(values) + 1)))
  if not isinstance(steps, list) or len(steps) != len(values) or not values:
    raise ValueError('the curve must have as many scores as steps, one or more')
  steps = [score_of(step) for step in steps]
  # Exactly: 1 - 0.8 is less than 0.2 in floating point.
  end = Fraction(max(steps))
  edge = (1 - Fraction(str(last))) * end
  is_last = [step > edge or step == end or last == 1 for step in steps]
  return float(np.mean(np.array(values)[is_last]))
