"""Tables as text."""

from collections.abc import Sequence


def tabulated(
  rows: Sequence[Sequence[str]], style: str, align: str = 'right'
) -> str:
  """Returns a table; its first column is at the left.

  Args:
    rows: the header, and the rows below it; cells are written as they are.
    style: one of tabulate's formats, such as 'pipe' for Markdown.
    align: where the other columns are: 'right' for numbers, or 'left'.

  Returns:
    The text, without a newline at its end.

  Raises:
    ModuleNotFoundError: tabulate is missing.
  """
  try:
    import tabulate
  except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
      'tables need tabulate: pip install tabulate'
    ) from error
  header, *below = rows
  # disable_numparse: tabulate would write numbers with other digits.
  return tabulate.tabulate(
    below,
    header,
    style,
    disable_numparse=True,
    # Without rows tabulate takes no alignment.
    colalign=['left', *[align] * (len(header) - 1)] if below else None,
  )


def markdown(rows: Sequence[Sequence[str]], align: str = 'right') -> str:
  """Returns a table as Markdown; see `tabulated`."""
  # An unescaped bar would begin a new column.
  safe = [[cell.replace('|', r'\|') for cell in row] for row in rows]
  return tabulated(safe, 'pipe', align)
