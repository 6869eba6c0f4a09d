import jax
import pytest


@pytest.fixture(scope='module')
def compile_fast():
  """For tests that compile far more than they compute: half the time."""
  name = 'jax_disable_most_optimizations'
  before = jax.config.read(name)
  jax.config.update(name, True)
  yield
  jax.config.update(name, before)
