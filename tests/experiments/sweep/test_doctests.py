"""The examples in the docstrings."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize(
  'name',
  [
    'experiments.games_and_seeds',
    'experiments.launchers.devices',
    'experiments.launchers.sharing',
    'experiments.sweep.options',
    'experiments.sweep.plan',
  ],
)
def test_docstrings(name):
  failed, tried = doctest.testmod(importlib.import_module(name))
  assert tried
  assert not failed
