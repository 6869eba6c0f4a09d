"""Results as tables: beside the paper's numbers, as Markdown and as CSV."""

from collections.abc import Mapping, Sequence
import csv
import io
import math
import os
import pathlib
from typing import NamedTuple

from experiments.supervised import data, paper
from experiments.supervised.report.published import (
  UNPUBLISHED,
  cell_of,
  of_cell,
  of_method,
)
from experiments.supervised.report.selection import (
  FRESH,
  WARM_START,
  cells,
  method,
  subject,
)
from experiments.supervised.report.spread import (
  NOTHING,
  Spread,
  interval,
  spread,
)
from experiments.supervised.results import (
  NETWORKS,
  PLACE,
  Result,
  drop_between_phases,
  final,
  final_accuracy,
  finished,
  is_finished,
  mean_over_phases,
  paired_difference,
)
from ht_rl import text_tables
from ht_rl.files import write_files

# Stands for a number that is not known.
UNKNOWN = '\N{EN DASH}'

_FORMATS = {
  'ratio': 'g',
  'noise': 'g',
  'seeds': 'd',
  'points': 'd',
  'difference': '+.3f',
  'correlation': '+.2f',
  'low': '+.3f',
  'high': '+.3f',
}
_STD = ' std'


class Table(NamedTuple):
  """Rows of texts and numbers.

  Attributes:
    columns: their names. '<name> std' belongs to '<name>'.
    rows: each with an entry for each column; NaN for an unknown number.
  """

  columns: tuple[str, ...]
  rows: list[list[str | float]]


def method_table(results: Sequence[Result]) -> Table:
  """Returns final accuracies by setting, beside the paper's Tables 7 and 6.

  Args:
    results: of one dataset and one model. Unfinished ones have no numbers.

  Returns:
    A row for each result, in their order. The paper has one test and one train
    accuracy for each method: they stand beside the method's best setting, if
    that is the paper's in all other fields.

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
    published = of_method(result) if is_best else UNPUBLISHED
    rows.append(
      [
        result.name,
        len(result.seeds),
        *_final_of_both(result),
        result.reported,
        published.test.mean,
        _final(result, 'hare_test_accuracy').mean - published.test.mean,
        *_final(result, 'train_accuracy'),
        published.train.mean,
      ]
    )
  columns = [
    *('setting', 'seeds'),
    *_with_std('hare test accuracy'),
    *_with_std('tortoise test accuracy'),
    'reported',
    *('paper', 'difference'),
    *_with_std('train accuracy'),
    'paper train',
  ]
  return Table(tuple(columns), rows)


def continual_table(results: Sequence[Result]) -> Table:
  """Returns what learning in many phases comes to, by setting.

  At the end of the last phase methods can be equal that differ on the way.

  Args:
    results: of one dataset and one model. Unfinished ones have no numbers.

  Returns:
    A row for each result, in their order: of both networks the final test
    accuracy and the mean over the ends of all phases; how much the reported one
    loses from the end of a phase to the start of the next, in the mean.

  Raises:
    ValueError: there is more than one dataset or model.
  """
  subject(results)
  rows: list[list[str | float]] = [
    [
      *(result.name, len(result.seeds)),
      *_final_of_both(result),
      result.reported,
      *_on_the_way(result),
      *_final(result, 'train_accuracy'),
    ]
    for result in results
  ]
  columns = [
    *('setting', 'seeds'),
    *_with_std('hare test accuracy'),
    *_with_std('tortoise test accuracy'),
    'reported',
    *_with_std('hare mean over phase ends'),
    *_with_std('tortoise mean over phase ends'),
    *_with_std('drop at phase starts'),
    *_with_std('train accuracy'),
  ]
  return Table(tuple(columns), rows)


def _final_of_both(result: Result) -> list[float]:
  """Returns the final test accuracies of both networks, each with its std."""
  return [
    number
    for network in NETWORKS
    for number in _final(result, f'{network}_test_accuracy')
  ]


def _on_the_way(result: Result) -> list[float]:
  """Returns both networks' means over phase ends, and the drop, with stds."""
  if not is_finished(result):
    return [*NOTHING] * 3
  found = [mean_over_phases(result, network) for network in NETWORKS]
  found.append(drop_between_phases(result))
  return [number for values in found for number in spread(values)]


def paired_table(results: Sequence[Result]) -> Table:
  """Returns differences to the plain warm start and to the fresh network.

  Args:
    results: of one dataset and one model. The others are compared to those that
      are called 'WS' and 'fresh'.

  Returns:
    A row for each finished pair: the mean difference of the final test accuracy
    of the reported networks, paired by seed, with its 95% interval (Student's;
    unknown for one seed).

  Raises:
    ValueError: there is more than one dataset or model.
  """
  subject(results)
  done = finished(results)
  rows: list[list[str | float]] = []
  for result in done:
    for other in done:
      if other.name not in (WARM_START, FRESH) or other is result:
        continue
      differences = paired_difference(result, other)
      if len(differences):
        rows.append(
          [result.name, other.name, len(differences), *interval(differences)]
        )
  return Table(('setting', 'minus', 'seeds', 'difference', 'low', 'high'), rows)


def curve_table(results: Sequence[Result]) -> Table:
  """Returns all evaluations, a row for each seed of each.

  Args:
    results: of any settings, finished or not.

  Returns:
    Rows with the setting, the seed, the place in the run and every figure; NaN
    where it was not measured.
  """
  figures = list(
    dict.fromkeys(
      name
      for result in results
      for row in result.rows
      for name in row
      if name not in PLACE
    )
  )
  rows: list[list[str | float]] = [
    [
      *(result.name, result.reported, seed),
      *(row[name] for name in PLACE),
      *(row[name][i] if name in row else math.nan for name in figures),
    ]
    for result in results
    for i, seed in enumerate(result.seeds)
    for row in result.rows
  ]
  columns = ('setting', 'reported', 'seed', *PLACE, *figures)
  return Table(columns, rows)


def grid_table(results: Sequence[Result], beside: str | None = None) -> Table:
  """Returns final accuracies by ratio and noise, beside Tables 4 and 5.

  Args:
    results: warm starts on one dataset, with one model and one method.
    beside: a data set of the paper whose numbers are shown although they are
      not comparable; None to show comparable ones only.

  Returns:
    A row for each ratio and noise, in rising order. Only settings that are the
    paper's in all fields have a difference.

  Raises:
    ValueError: there is more than one dataset, model or method, or the paper
      has no such dataset.
  """
  if beside is not None and beside not in paper.TRAINING:
    raise ValueError(
      f'the paper has no numbers of {beside!r}; it has those of '
      f'{", ".join(paper.TRAINING)}'
    )
  subject(results)
  rows: list[list[str | float]] = []
  for (ratio, noise), result in cells(results).items():
    own = of_cell(result)
    shown = own if beside is None else cell_of(beside, ratio, noise)
    test = spread(final_accuracy(result))
    rows.append(
      [
        *(ratio, noise, len(result.seeds)),
        *test,
        *shown.test,
        test.mean - own.test.mean if shown == own else math.nan,
        *_final(result, 'train_accuracy'),
        *shown.train,
      ]
    )
  of_paper = f'paper, {data.title(beside)}:' if beside else 'paper'
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
  """Returns a table as Markdown, with standard deviations behind the means.

  Args:
    table: what to write.

  Returns:
    The text, with a newline at its end.

  Raises:
    ModuleNotFoundError: tabulate is missing.
  """
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
  return text_tables.markdown([shown, *rows]) + '\n'


def csv_text(table: Table) -> str:
  """Returns a table as CSV, with all digits; unknown numbers are empty.

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
    directory: made where it is missing.

  Returns:
    The paths: `<name>.md` and `<name>.csv` for each name.

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


def _final(result: Result, figure: str) -> Spread:
  return spread(final(result, figure)) if is_finished(result) else NOTHING


def _final_mean(result: Result) -> float:
  return spread(final_accuracy(result)).mean


def _with_std(name: str) -> tuple[str, str]:
  return name, name + _STD


def _is_known(entry: str | float) -> bool:
  return isinstance(entry, str) or not math.isnan(entry)


def _text(column: str, entry: str | float) -> str:
  if isinstance(entry, str):
    return entry
  if math.isnan(entry):
    return UNKNOWN
  if 'accuracy' in column and column.startswith(('paper ', 'paper, ')):
    # As Tables 4 and 5 print them.
    return format(entry, '.4f' if column.endswith(_STD) else '.2f')
  return format(entry, _FORMATS.get(column, '.3f'))
