"""Reads committed tables."""

import csv
import pathlib

from experiments.command import SettingsError


def csv_rows(path: pathlib.Path) -> list[dict[str, str]]:
  """Returns the rows of a CSV file, by the names of its columns.

  Raises:
    SettingsError: a row has more or fewer entries than there are columns, as
      after a merge conflict or in a file that was cut.
  """
  with path.open(newline='', encoding='utf-8') as file:
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
