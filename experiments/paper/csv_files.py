"""Reads committed tables."""

from collections.abc import Mapping
import csv
import math
import os
import pathlib

from experiments.command import SettingsError


def csv_rows(path: pathlib.Path) -> list[dict[str, str]]:
  """Returns the rows of a CSV file, by the names of its columns.

  Raises:
    SettingsError: a row has more or fewer entries than there are columns, as
      after a merge conflict or in a file that was cut.
  """
  with path.open(newline='', encoding='utf-8-sig') as file:
    reader = csv.DictReader(file, restkey='', restval=None)
    rows = []
    for row in reader:
      if '' in row or None in row.values():
        columns = len(reader.fieldnames or ())
        raise SettingsError(
          f'{path}, line {reader.line_num}: each row must have {columns} '
          'entries, as the header has'
        )
      rows.append(row)
  return rows


def number(
  row: Mapping[str, str | float], name: str, path: str | os.PathLike[str]
) -> float:
  """Returns the number in a column of a row; NaN for an empty entry.

  >>> number({'score': '1.5'}, 'score', 'scores.csv')
  1.5

  Args:
    row: its entries by the names of the columns.
    name: of the column.
    path: of the table, for the message.

  Raises:
    SettingsError: there is no such column, or it has something else.
  """
  entry = row.get(name)
  try:
    return math.nan if entry == '' else float(entry)  # type: ignore[arg-type]
  except (TypeError, ValueError) as error:
    raise SettingsError(
      f'{path}: each row must have a number in {name!r}, not {entry!r}'
    ) from error
