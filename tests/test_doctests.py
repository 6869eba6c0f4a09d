"""Runs the examples in the docstrings of the modules outside `ht_rl`.

Those of `ht_rl` are collected by pytest itself.
"""

import doctest
import importlib
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
MODULES = [
  '.'.join(path.relative_to(ROOT).with_suffix('').parts)
  for folder in ('agents', 'benchmarks', 'experiments')
  for path in sorted((ROOT / folder).rglob('*.py'))
  if '>>> ' in path.read_text('utf-8')
]


@pytest.mark.parametrize('name', MODULES)
def test_docstrings(name):
  module = importlib.import_module(name.removesuffix('.__init__'))
  flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
  failed, tried = doctest.testmod(module, optionflags=flags)
  assert tried
  assert not failed
