"""Reads CSV files of scores."""

import csv
import io

from ht_rl.atari100k.readers.content import Content
from ht_rl.atari100k.readers.rows import AddRow, row_reader


def read_csv(content: Content, text: str) -> None:
  """Reads the text of a CSV file.

  Raises:
    ValueError: the header is wrong, or it is no CSV.
  """
  rows = csv.reader(io.StringIO(text, newline=''), strict=True)
  header: list[str] = []
  add: AddRow | None = None
  try:
    for row in rows:
      where = f'{content.path}, line {rows.line_num}'
      if not ''.join(row).strip():
        continue
      if add is None:
        header, add = row, row_reader(content, row)
      elif len(row) == len(header):
        add(where, dict(zip(header, map(str.strip, row), strict=True)))
      else:
        content.problems.append(
          f'{where}: the row must have as many fields as the header, '
          f'{len(header)}, not {len(row)}'
        )
  except csv.Error as error:
    raise ValueError(f'line {rows.line_num} is not CSV ({error})') from error
