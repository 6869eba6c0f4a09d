"""The paper's numbers of a result, where its setting is the paper's.

An accuracy depends on every field of a setting. So a published number is shown
only where all fields are those of the paper, except the one whose best value
the paper chose.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from experiments.supervised import paper
from experiments.supervised.report.selection import method, warm_start_cell
from experiments.supervised.report.spread import NOTHING, Spread
from experiments.supervised.results import Result
from experiments.supervised.settings import Setting

# Where the data lie does not bear on the numbers.
_WITHOUT_EFFECT = ('folder',)
_WARM_START = (0.1, 0.5)  # Ratio and noise in Tables 6 and 7.


class Published(NamedTuple):
  """The paper's accuracies of the trained network at the end of a run.

  Attributes:
    test: on the test set.
    train: on the training set.
  """

  test: Spread
  train: Spread


UNPUBLISHED = Published(NOTHING, NOTHING)


def of_cell(result: Result) -> Published:
  """Returns what Tables 5 and 4 have of a plain warm start.

  Args:
    result: of any setting.

  Returns:
    Means with what the paper prints after them; NaN where the setting is not
    the paper's in all fields.
  """
  cell = warm_start_cell(result)
  dataset = result.setting['dataset']
  if cell is None or not _is_the_papers(result, *cell, {}):
    return UNPUBLISHED
  return cell_of(dataset, *cell)


def cell_of(dataset: str, ratio: float, noise: float) -> Published:
  """Returns a cell of Tables 5 and 4; NaN where they have none."""
  return Published(
    Spread(*(paper.final_test_accuracy(dataset, ratio, noise) or NOTHING)),
    Spread(*(paper.final_train_accuracy(dataset, ratio, noise) or NOTHING)),
  )


def of_method(result: Result) -> Published:
  """Returns what Tables 7 and 6 have of a method.

  Args:
    result: of any setting. Its name tells the method.

  Returns:
    Means without deviations, which the paper does not print; NaN where the
    setting is not the paper's in all fields.
  """
  name = method(result.name)
  differences = paper.METHOD_FIELDS.get(name)
  dataset = result.setting['dataset']
  if differences is None or dataset not in paper.METHODS_TEST_ACCURACY:
    return UNPUBLISHED
  fields: dict[str, Any] = {}
  for field, values in differences.items():
    value = result.setting.get(field)
    if value not in values:
      return UNPUBLISHED
    fields[field] = value
  is_fresh = name in paper.FRESH_METHODS
  cell = (1.0, 0.0) if is_fresh else _WARM_START
  if not _is_the_papers(result, *cell, fields, is_fresh=is_fresh):
    return UNPUBLISHED
  return Published(
    Spread(paper.METHODS_TEST_ACCURACY[dataset][name], NOTHING.std),
    Spread(paper.METHODS_TRAIN_ACCURACY[dataset][name], NOTHING.std),
  )


def _is_the_papers(
  result: Result,
  ratio: float,
  noise: float,
  fields: Mapping[str, Any],
  *,
  is_fresh: bool = False,
) -> bool:
  """Returns whether a setting is the paper's but for some fields.

  Args:
    result: of the setting.
    ratio: of the first phase, or of the only one.
    noise: of the first phase, or of the only one.
    fields: what a method changes.
    is_fresh: whether there is one phase alone.
  """
  dataset = result.setting['dataset']
  if dataset not in paper.TRAINING:
    return False
  phases: dict[str, Any] = {
    'ratios': (ratio, 1.0),
    'noises': (noise, 0.0),
    'epochs': paper.warm_start_epochs(ratio),
  }
  if is_fresh:
    phases = {name: values[1:] for name, values in phases.items()}
  training = {**paper.TRAINING[dataset], **fields}
  expected = Setting(dataset=dataset, **training, **phases).to_json()
  # What is off has no entry, in settings and in older results.
  return all(
    result.setting.get(name, expected.get(name)) == expected.get(name)
    for name in {*expected, *result.setting}
    if name not in _WITHOUT_EFFECT
  )
