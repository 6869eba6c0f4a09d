"""Selects the results of a table or figure."""

from collections.abc import Sequence

from experiments.supervised import data, models
from experiments.supervised.results import Result, finished

# The names of a plain warm start, and of a network trained on all data alone.
WARM_START, FRESH = 'WS', 'fresh'
# What the methods of a figure are compared to.
REFERENCES = (WARM_START, FRESH, 'fresh + Aug')


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


def warm_start_cell(result: Result) -> tuple[float, float] | None:
  """Returns ratio and noise of a warm start's first phase, None for others."""
  ratios, noises = result.setting['ratios'], result.setting['noises']
  if len(ratios) != 2 or ratios[1] != 1 or noises[1] != 0:
    return None
  return float(ratios[0]), float(noises[0])
