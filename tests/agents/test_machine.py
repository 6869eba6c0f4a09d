"""What a container allows counts, not what the machine has."""

import os
import pathlib

import pytest

from agents import machine
from agents.core import memory

PAGES = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')


@pytest.mark.parametrize(
  ('limit', 'expected'),
  [('12345678\n', 12345678), ('max\n', PAGES), (f'{2 * PAGES}\n', PAGES)],
)
def test_the_limit_of_a_container(monkeypatch, limit, expected):
  monkeypatch.setattr(pathlib.Path, 'read_text', lambda path: limit)
  assert machine.main_memory() == expected
  # On devices without memory of their own.
  monkeypatch.setattr(memory, '_limits', list)
  assert memory.available_memory() == expected
