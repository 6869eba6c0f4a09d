"""Results as tables: beside the paper's numbers, as Markdown and as CSV."""

from collections.abc import Mapping, Sequence
import csv
import io
import math
import os
import pathlib
from typing import NamedTuple

import numpy as np

from experiments.supervised import paper
from experiments.supervised.results import (
  NETWORKS,
  Result,
  final,
  final_accuracy,
  finished,
  is_finished,
)
from ht_rl.files import write_files

# How a warm start and a network that has none are called.
WARM_START, FRESH = 'WS', 'fresh'

DATASET_TITLES: dict[str, str] = {
  'mnist5k': 'MNIST (5000 digits)',
  'mnist': 'MNIST',
  'mnist_official': 'MNIST (1 bit)',
  'fashion_mnist': 'Fashion-MNIST',
  'cifar10': 'CIFAR-10',
  'cifar100': 'CIFAR-100',
  'tiny_imagenet': 'Tiny ImageNet',
}
MODEL_TITLES: dict[str, str] = {
  'mlp': 'MLP',
  'mlp_released': 'MLP (512, 256)',
  'resnet18': 'ResNet-18',
  'vit_tiny': 'ViT-Tiny',
  'vgg16': 'VGG-16',
}

# Stands where there is no number.
UNKNOWN = '\N{EN DASH}'

_FORMATS = {'ratio': 'g', 'noise': 'g', 'seeds': 'd', 'difference': '+.3f'}
_STD = ' std'
# What sets an experiment apart from the paper's on the same data.
_AS_IN_THE_PAPER = {'width': 1.0, 'train_size': None, 'validation_size': None}


class Spread(NamedTuple):
  """What several seeds have given.

  Attributes:
    mean: over seeds.
    std: the standard deviation of a seed, NaN if there is but one.
  """

  mean: float
  std: float


class Table(NamedTuple):
  """Rows of texts and numbers.

  Attributes:
    columns: their names. One called '<name> std' goes with '<name>'.
    rows: with an entry for each column; NaN where there is no number.
  """

  columns: tuple[str, ...]
  rows: list[list[str | float]]


def spread(values: np.ndarray) -> Spread:
  """The mean and the standard deviation (of n - 1) over seeds.

  Args:
    values: one of each seed, [seeds].

  Returns:
    Both of them.

  >>> spread(np.array([0.5, 0.7]))
  Spread(mean=0.6, std=0.1414...)
  """
  std = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
  return Spread(float(np.mean(values)), std)


def method(name: str) -> str:
  """The method that a setting is of: its name without a number at its end.

  Args:
    name: of a setting.

  Returns:
    The method, as Table 7 and the groups of a figure call it.

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
  """What the results are of: 'CIFAR-10, ResNet-18'.

  Args:
    results: of one dataset and one model.

  Returns:
    Their names in full, or nothing if there are no results.

  Raises:
    ValueError: there is more than one dataset or model.
  """
  subjects = list(
    dict.fromkeys((r.setting['dataset'], r.setting['model']) for r in results)
  )
  titles = [
    f'{DATASET_TITLES.get(dataset, dataset)}, {MODEL_TITLES.get(model, model)}'
    for dataset, model in subjects
  ]
  if len(titles) > 1:
    raise ValueError(
      'one table or figure is of one dataset and one model; '
      f'make one for each of {"; ".join(titles)}'
    )
  return ''.join(titles)


def cells(results: Sequence[Result]) -> dict[tuple[float, float], Result]:
  """The finished warm starts, by share and noise of their first phase.

  A warm start has two phases, the second with all data and the right labels.

  Args:
    results: of one dataset and one model; what is no warm start is left out.

  Returns:
    The results, by ratio and noise, in rising order.

  Raises:
    ValueError: two results are of the same ratio and noise.
  """
  found: dict[tuple[float, float], Result] = {}
  for result in finished(results):
    cell = _cell(result)
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
  """The dataset of the paper that a result can be compared on.

  Args:
    result: of any setting.

  Returns:
    Its dataset, or None where the paper has not all of the data, or another
    model.
  """
  setting = result.setting
  dataset = setting['dataset']
  if paper.MODELS.get(dataset) != setting['model']:
    return None
  is_alike = all(setting.get(k, v) == v for k, v in _AS_IN_THE_PAPER.items())
  return dataset if is_alike else None


def method_table(results: Sequence[Result]) -> Table:
  """Final accuracies, setting by setting, beside the paper's Table 7.

  Args:
    results: of one dataset and one model. What is not finished has no numbers.

  Returns:
    A row for each result, in their order. The paper has one number a method:
    it is beside the best of the method's settings.

  Raises:
    ValueError: there is more than one dataset or model.
  """
  subject(results)
  best = {
    method(result.name): result.name
    for result in sorted(finished(results), key=_final_mean)
  }
  rows: list[list[str | float]] = []
  for result in results:
    is_best = best.get(method(result.name)) == result.name
    published = _published_of_method(result) if is_best else math.nan
    rows.append(
      [
        result.name,
        len(result.seeds),
        *(
          number
          for network in NETWORKS
          for number in _final(result, f'{network}_test_accuracy')
        ),
        result.reported,
        *_final(result, 'train_accuracy'),
        published,
        _final(result, f'{result.reported}_test_accuracy').mean - published,
      ]
    )
  columns = [
    *('setting', 'seeds'),
    *_with_std('hare test accuracy'),
    *_with_std('tortoise test accuracy'),
    'reported',
    *_with_std('train accuracy'),
    *('paper', 'difference'),
  ]
  return Table(tuple(columns), rows)


def grid_table(results: Sequence[Result], beside: str | None = None) -> Table:
  """Final accuracies by ratio and noise, beside the paper's Tables 4 and 5.

  Args:
    results: warm starts on one dataset, with one model and one method.
    beside: a dataset of the paper whose numbers are shown although the results
      can't be compared with them; None to show those that they can.

  Returns:
    A row for each ratio and noise, in rising order. The difference is to the
    same dataset and model alone.

  Raises:
    ValueError: there is more than one dataset, model or method, or the paper
      has no such dataset.
  """
  if beside is not None and beside not in paper.MODELS:
    raise ValueError(
      f'the paper has no numbers of {beside!r}; it has those of '
      f'{", ".join(paper.MODELS)}'
    )
  subject(results)
  rows: list[list[str | float]] = []
  for (ratio, noise), result in cells(results).items():
    own = paper_dataset(result)
    shown = beside or own or ''
    test = spread(final_accuracy(result))
    paper_test = paper.final_test_accuracy(shown, ratio, noise) or _NOTHING
    paper_train = paper.final_train_accuracy(shown, ratio, noise) or _NOTHING
    rows.append(
      [
        *(ratio, noise, len(result.seeds)),
        *test,
        *paper_test,
        test.mean - paper_test.mean if shown == own else math.nan,
        *_final(result, 'train_accuracy'),
        *paper_train,
      ]
    )
  of_paper = f'paper, {DATASET_TITLES[beside]}:' if beside else 'paper'
  columns = [
    *('ratio', 'noise', 'seeds'),
    *_with_std('test accuracy'),
    *_with_std(f'{of_paper} test accuracy'),
    'difference',
    *_with_std('train accuracy'),
    *_with_std(f'{of_paper} train accuracy'),
  ]
  return Table(tuple(columns), rows)


def markdown(table: Table) -> str:
  """A table for a page, with standard deviations behind their means.

  Args:
    table: what to write.

  Returns:
    The text, with a newline at its end.

  Raises:
    ModuleNotFoundError: there is no tabulate.
  """
  try:
    import tabulate
  except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
      "tables in Markdown need tabulate: pip install 'ht_rl[analysis]'"
    ) from error
  shown = [name for name in table.columns if not name.endswith(_STD)]
  rows = []
  for row in table.rows:
    entries = dict(zip(table.columns, row, strict=True))
    texts = []
    for name in shown:
      text = _text(name, entries[name])
      std = entries.get(name + _STD, math.nan)
      if _is_known(std):
        text += f' ± {_text(name + _STD, std)}'
      texts.append(text)
    rows.append(texts)
  # As text, aligned here: tabulate would write its own digits.
  align = ['left', *['right'] * (len(shown) - 1)]
  written = tabulate.tabulate(
    rows,
    shown,
    'pipe',
    disable_numparse=True,
    colalign=align if rows else None,
  )
  return written + '\n'


def csv_text(table: Table) -> str:
  """A table as CSV, with all digits and nothing where there is no number.

  Args:
    table: what to write.

  Returns:
    The text, with a newline at its end.
  """
  file = io.StringIO()
  writer = csv.writer(file, lineterminator='\n')
  writer.writerow(table.columns)
  for row in table.rows:
    writer.writerow([entry if _is_known(entry) else '' for entry in row])
  return file.getvalue()


def write_tables(
  tables: Mapping[str, Table], directory: str | os.PathLike[str]
) -> list[pathlib.Path]:
  """Writes every table as Markdown and as CSV, or none of them.

  Args:
    tables: by name.
    directory: where to; it is made where it is missing.

  Returns:
    The files: `<name>.md` and `<name>.csv` for each name.

  Raises:
    OSError: they can't be written; older files are left as they were.
  """
  contents = {}
  for name, table in tables.items():
    path = pathlib.Path(directory, name)
    contents[path.with_name(f'{name}.md')] = markdown(table).encode()
    contents[path.with_name(f'{name}.csv')] = csv_text(table).encode()
  write_files(contents)
  return list(contents)


_NOTHING = Spread(math.nan, math.nan)


def _final(result: Result, figure: str) -> Spread:
  return spread(final(result, figure)) if is_finished(result) else _NOTHING


def _final_mean(result: Result) -> float:
  return spread(final_accuracy(result)).mean


def _cell(result: Result) -> tuple[float, float] | None:
  """Ratio and noise of a warm start's first phase."""
  ratios, noises = result.setting['ratios'], result.setting['noises']
  if len(ratios) != 2 or ratios[1] != 1 or noises[1] != 0:
    return None
  return float(ratios[0]), float(noises[0])


def _published_of_method(result: Result) -> float:
  """The paper's final test accuracy of a method, NaN where it has none."""
  setting = result.setting
  # Table 7 is of one warm start.
  is_of_table = _cell(result) == (0.1, 0.5) or (
    list(setting['ratios']) == [1] and list(setting['noises']) == [0]
  )
  if not is_of_table:
    return math.nan
  published = paper.METHODS_TEST_ACCURACY.get(paper_dataset(result) or '', {})
  return published.get(method(result.name), math.nan)


def _with_std(name: str) -> tuple[str, str]:
  return name, name + _STD


def _is_known(entry: str | float) -> bool:
  return isinstance(entry, str) or not math.isnan(entry)


def _text(column: str, entry: str | float) -> str:
  if isinstance(entry, str):
    # A bar in a name would begin a new column.
    return entry.replace('|', '\\|')
  if math.isnan(entry):
    return UNKNOWN
  if column.startswith(('paper ', 'paper, ')):  # As the paper prints them.
    return format(entry, '.4f' if column.endswith(_STD) else '.2f')
  return format(entry, _FORMATS.get(column, '.3f'))
