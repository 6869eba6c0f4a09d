"""Tests the internals of gin that `experiments.config` uses.

Gin has no public way to ask which settings had an effect, or to find a near
name. A new release may change its internals; then these tests fail.
"""

import gin
import pytest

from experiments import config


@gin.configurable
def _cook(dish='soup', salt=1):
  return dish, salt


@pytest.fixture(autouse=True)
def _fresh():
  gin.clear_config()
  yield
  gin.clear_config()


def test_the_settings_that_were_given():
  gin.parse_config(['_cook.salt = 2', 'mine/_cook.salt = 3', 'amount = 4'])
  selector = f'{_cook.__module__}._cook'
  given = {
    (scope, name): dict(values)
    for (scope, name), values in gin.config._CONFIG.items()
  }
  assert given == {
    ('', selector): {'salt': 2},
    ('mine', selector): {'salt': 3},
    ('amount', 'gin.macro'): {'value': 4},
  }


def test_the_settings_that_had_an_effect():
  gin.parse_config('_cook.salt = 2')
  assert gin.config._OPERATIVE_CONFIG == {}
  assert _cook(dish='stew') == ('stew', 2)
  [((scope, selector), values)] = gin.config._OPERATIVE_CONFIG.items()
  assert (scope, selector.split('.')[-1]) == ('', '_cook')
  assert values['salt'] == 2
  assert 'dish' not in values  # The caller passed it.


def test_the_names_that_are_known():
  registry = gin.config._REGISTRY
  selector = f'{_cook.__module__}._cook'
  assert selector in [name for name, _ in registry.items()]
  assert registry.minimal_selector(selector).endswith('_cook')
  assert registry.get_match('_cook').wrapped('stew') == ('stew', 1)


def test_the_readers_of_files():
  """Each opens a file, if its second function says that it can."""
  [(read, exists)] = gin.config._FILE_READERS  # Set by `experiments.config`.
  assert config
  assert exists(__file__)
  with read(__file__) as file:
    assert file.readline().startswith('"""')


def test_the_errors_whose_text_is_read():
  for text, message in {
    '_cok.salt = 1': "No configurable matching '_cok'",
    '_cook.slat = 1': r"Configurable '.*_cook' doesn't have a.* 'slat'",
  }.items():
    with pytest.raises(ValueError, match=message):
      gin.parse_config(text)
  gin.parse_config('_cook.salt = %unknown')
  with pytest.raises(ValueError, match=r"specified for 'unknown/gin\.macro'"):
    gin.finalize()
