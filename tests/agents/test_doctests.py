"""Runs the examples in the docstrings, which the documentation shows."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize(
  'name',
  [
    'agents.atari',
    'agents.core.annealing',
    'agents.core.categorical',
    'agents.core.loop',
  ],
)
def test_docstrings(name):
  found = importlib.import_module(name)
  flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
  failed, tried = doctest.testmod(found, optionflags=flags)
  assert tried
  assert not failed
