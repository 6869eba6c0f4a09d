"""Selects the results of a table or figure, and the paper's for them."""

from collections.abc import Sequence
import math

from experiments.supervised import data, models, paper
from experiments.supervised.results import Result, finished

# The names of a plain warm start, and of a network trained on all data alone.
WARM_START, FRESH = 'WS', 'fresh'

# Fields that must be at these values for a comparison with the paper.
_AS_IN_THE_PAPER = {'width': 1.0, 'train_size': None, 'validation_size': None}


def method(name: str) -> str:
  """Returns the method of a setting: its name without a number at the end.

  Args:
    name: of a setting.

  Returns:
    The name of the method in Table 7 and in the groups of a figure.

  >>> method('S&P 0.8'), method('S&P + L2 + Aug')
  ('S&P', 'S&P + L2 + Aug')
  """
  start, _, end = name.rpartition(' ')
  try:
    float(end)
  except ValueError:
    return name
  return start or name


def subject(results: Sequence[Result]) -> str:
  """Returns the data set and model of results: 'CIFAR-10, ResNet-18'.

  Args:
    results: of one dataset and one model.

  Returns:
    Their titles; '' where there are no results.

  Raises:
    ValueError: there is more than one dataset or model.
  """
  titles = list(
    dict.fromkeys(
      f'{data.title(r.setting["dataset"])}, {models.title(r.setting["model"])}'
      for r in results
    )
  )
  if len(titles) > 1:
    raise ValueError(
      'one table or figure is of one dataset and one model; '
      f'make one for each of {"; ".join(titles)}'
    )
  return ''.join(titles)


def cells(results: Sequence[Result]) -> dict[tuple[float, float], Result]:
  """Returns the finished warm starts by share and noise of the first phase.

  A warm start has two phases, the second with all data and the right labels.

  Args:
    results: of one dataset and one model; others than warm starts are left out.

  Returns:
    The results, by ratio and noise, in rising order.

  Raises:
    ValueError: two results are of the same ratio and noise.
  """
  found: dict[tuple[float, float], Result] = {}
  for result in finished(results):
    cell = warm_start_cell(result)
    if cell is None:
      continue
    if cell in found:
      raise ValueError(
        'a grid is of one method: at ratio {:g} and noise {:g} '.format(*cell)
        + f'there must not be both {found[cell].name!r} and {result.name!r}'
      )
    found[cell] = result
  return dict(sorted(found.items()))


def paper_dataset(result: Result) -> str | None:
  """Returns the data set of the paper that a result can be compared on.

  Args:
    result: of any setting.

  Returns:
    The data set; None where the paper has none such, or used another model,
    another width or all of the data.
  """
  setting = result.setting
  dataset = setting['dataset']
  if paper.MODELS.get(dataset) != setting['model']:
    return None
  is_alike = all(setting.get(k, v) == v for k, v in _AS_IN_THE_PAPER.items())
  return dataset if is_alike else None


def warm_start_cell(result: Result) -> tuple[float, float] | None:
  """Returns ratio and noise of a warm start's first phase, None for others."""
  ratios, noises = result.setting['ratios'], result.setting['noises']
  if len(ratios) != 2 or ratios[1] != 1 or noises[1] != 0:
    return None
  return float(ratios[0]), float(noises[0])


def published_accuracy(result: Result) -> float:
  """Returns the paper's final test accuracy of a method (Table 7), or NaN."""
  setting = result.setting
  # Table 7 has one warm start, at ratio 0.1 and noise 0.5.
  is_of_table = warm_start_cell(result) == (0.1, 0.5) or (
    list(setting['ratios']) == [1] and list(setting['noises']) == [0]
  )
  if not is_of_table:
    return math.nan
  published = paper.METHODS_TEST_ACCURACY.get(paper_dataset(result) or '', {})
  return published.get(method(result.name), math.nan)
