"""Which arguments are functions and which are trees."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ht_rl
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


@pytest.mark.parametrize('value', [2**31, np.int64(2**32 + 1), 2**64, 0, True])
def test_an_interval_fits_in_an_int32(value):
  # np.int64(2**32 + 1) as an int32 is 1.
  for rule in ({'reset_every': value}, {'update_every': value}):
    with pytest.raises(ValueError, match=rf'^{next(iter(rule))} must be '):
      ht_rl.hare_tortoise(optax.sgd(0.1), momentum=0.5, **rule)
  ht_rl.hare_tortoise(optax.sgd(0.1), momentum=0.5, reset_every=2**31 - 1)


KEYS = {
  'integer': 5,
  'of numpy': np.int64(5),
  'array': jnp.array(5),
  'key': jax.random.key(5),
  'raw key': jax.random.PRNGKey(5),
}


@pytest.mark.parametrize('key', KEYS.values(), ids=KEYS)
def test_keys(key):
  assert checks.as_key('key', key) == jax.random.key(5)


@pytest.mark.parametrize(
  'key',
  # The low 32 bits of the second one are 5.
  [
    *(-1, 2**32 + 5, 2**64, True, 0.5, None),
    jax.random.split(jax.random.key(0)),
    jnp.zeros(3, jnp.uint32),
    jnp.zeros((2, 2), jnp.uint32),
  ],
)
def test_what_is_no_key(key):
  with pytest.raises(ValueError, match=r'^key must be '):
    checks.as_key('key', key)


def test_messages_do_not_hold_all_weights():
  weights = {f'layer {i}': jnp.ones((64, 64)) for i in range(40)}
  optimizer = optax.chain(
    optax.clip(1.0), ht_rl.hare_tortoise(optax.adam(1e-3), momentum=0.9)
  )
  state = optimizer.init(weights)
  transform = ht_rl.hare_tortoise(optax.adam(1e-3), momentum=0.9)
  own = transform.init(weights)
  other = {**weights, 'more': jnp.ones(2)}
  for wrong, message in (
    (lambda: transform.update(weights, state, weights), 'pass that element$'),
    (lambda: transform.update(weights, weights, own), 'not a dict$'),
    (lambda: transform.update(other, own, other), r"has \['more'\] besides$"),
    (
      lambda: transform.update(weights, own, {'layer 0': jnp.ones(1)}),
      r"lacks \['layer 1'\]$",
    ),
    (
      lambda: ht_rl.redo(
        optax.sgd(1), weights, layers={}, threshold=0.1, reset_every=1
      ),
      'not a dict$',
    ),
  ):
    with pytest.raises(ValueError, match=message) as error:
      wrong()
    assert len(str(error.value)) < 200
