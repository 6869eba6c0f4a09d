"""The command, typed in this process."""

from absl.testing import flagsaver
import pytest

from experiments.command import parse_flags
from experiments.paper import __main__ as command


@pytest.fixture
def type_command(capsys):
  """Returns a function that runs the command: exit code, output and errors."""

  def run(*words):
    with flagsaver.flagsaver():
      try:
        code = command.main(parse_flags(['paper', *map(str, words)]))
      except SystemExit as error:
        code = error.code
    printed = capsys.readouterr()
    return code, printed.out, printed.err

  return run


def rows_of(text):
  """The cells of all Markdown tables of a text, by their first cell."""
  rows = [
    [cell.strip() for cell in line.strip('|').split(' | ')]
    for line in text.splitlines()
    if line.startswith('| ')
  ]
  return {row[0]: row[1:] for row in rows}


@pytest.fixture
def rows():
  return rows_of
