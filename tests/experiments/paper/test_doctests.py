"""The examples in the docstrings."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize(
  'name',
  [
    'experiments.paper.rendered',
    'experiments.paper.restarts',
    'experiments.paper.verdicts',
  ],
)
def test_docstrings(name):
  failed, tried = doctest.testmod(importlib.import_module(name))
  assert tried
  assert not failed
