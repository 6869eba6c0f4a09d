"""The command, typed in this process, and the settings of runs."""

import pathlib

from absl.testing import flagsaver
import pytest

from experiments.command import parse_flags
from experiments.paper import __main__ as command
from experiments.sweep import preflight

CONFIGS = pathlib.Path(__file__).parents[3] / 'gin_configs'


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


@pytest.fixture(scope='session')
def settings():
  """The settings of gin files, as a run's folder holds them, by their names."""
  names = [
    'drq',
    'drq_eps',
    'small/small_drq',
    'small/small_drq_ht',
    'small/restarts/small_ht_999_400',
  ]
  asked = preflight.check(
    gin_files=[f'{CONFIGS}/{name}.gin' for name in names],
    gin_bindings=[],
    games='all',
    seeds='0',
  )
  return {name: x.settings for name, x in asked.configurations.items()}
