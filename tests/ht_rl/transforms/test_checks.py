"""Which arguments are functions and which are trees."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

from ht_rl.transforms import checks


class Function(eqx.Module):
  """A callable tree without leaves, as a user may write a mask function."""

  def __call__(self, params):
    return params


MODEL = eqx.nn.MLP(2, 2, 4, 1, key=jax.random.key(0))
FUNCTIONS = {
  'def': lambda params: params,
  'partial': functools.partial(max, 1),
  'bound': jax.tree_util.Partial(lambda x, params: params, jnp.ones(1)),
  'no leaves': Function(),
}
TREES = {
  'bool': True,
  'number': 0.5,
  'none': None,
  'dict': {'a': True},
  'module of bools': jax.tree.map(eqx.is_array, MODEL),
  'module of fractions': jax.tree.map(lambda x: 0.5, MODEL),
  # A mistake, for which the wrong leaf is named.
  'module with functions': MODEL,
}


@pytest.mark.parametrize('value', FUNCTIONS.values(), ids=FUNCTIONS)
def test_functions(value):
  assert checks.is_function(value)


@pytest.mark.parametrize('value', TREES.values(), ids=TREES)
def test_trees(value):
  assert not checks.is_function(value)


def test_a_wrong_leaf_of_a_module_is_named():
  params = eqx.filter(MODEL, eqx.is_array)
  with pytest.raises(ValueError, match=r'^mask must be .* it has the leaf 1'):
    checks.broadcast_mask('mask', jax.tree.map(lambda x: [1], MODEL), params)
