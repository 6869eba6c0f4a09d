"""Images and labels in the columns of an Arrow table."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from experiments.supervised.data import images
from experiments.supervised.data.source import Source, Split, import_extra

_IMAGE_COLUMNS = ('image', 'img')
_LABEL_COLUMNS = ('label', 'fine_label')


def decode(source: Source, where: str, table: Any) -> Split:
  """Returns the images and labels of a table.

  Args:
    source: the data set.
    where: the name of the table in messages.
    table: a `pyarrow.Table`. Its images are the bytes of files, or structures
      of `bytes` and `path`, as the Hugging Face hub has them.

  Returns:
    The images and labels, in the order of the rows.

  Raises:
    ValueError: a column is missing, or a row has no image or no label of the
      data set; the message says which.
  """
  labels = _labels(source, where, _column(where, table, _LABEL_COLUMNS))
  column = _column(where, table, _IMAGE_COLUMNS)
  return images.decode(source, _files(where, column), len(column)), labels


def _column(where: str, table: Any, names: tuple[str, ...]) -> Any:
  for name in names:
    if name in table.column_names:
      return table.column(name)
  raise ValueError(
    f'{where} has the columns {", ".join(table.column_names)}: one must be '
    f'{" or ".join(names)}'
  )


def _labels(source: Source, where: str, column: Any) -> np.ndarray:
  """Returns a column of integers as int32 [rows]."""
  labels = column.to_pylist()
  # First, for a column with null becomes one of floats on its way from pandas.
  for i, label in enumerate(labels):
    if label is None or label != label:  # NaN is not equal to itself.
      raise ValueError(f'{_row(where, i)} has no label')
  for i, label in enumerate(labels):
    if not isinstance(label, int) or isinstance(label, bool):
      raise ValueError(f'the labels of {where} must be integers, not {label!r}')
    if not 0 <= label < source.num_classes:
      raise ValueError(
        f'{_row(where, i)} has the label {label}: those of {source.name} are '
        f'0 to {source.num_classes - 1}'
      )
  return np.asarray(labels, np.int32)


def _files(where: str, column: Any) -> Iterator[images.Located]:
  """Yields the image file of each row."""
  types = import_extra('pyarrow').types
  kind = column.type
  of_structures = types.is_struct(kind) and kind.get_field_index('bytes') >= 0
  is_bytes = types.is_binary(kind) or types.is_large_binary(kind)
  if not of_structures and not is_bytes:
    raise ValueError(f'the images of {where} must be files, not {kind}')
  row = 0
  for chunk in column.chunks:  # So that they are not all in memory twice.
    for x in chunk.to_pylist():
      file = (x['bytes'] or x.get('path')) if isinstance(x, dict) else x
      yield _row(where, row), file
      row += 1


def _row(where: str, row: int) -> str:
  return f'row {row} (from 0) of {where}'
