"""The mixing of fresh weights into old ones, against NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ht_rl.transforms import reinitialize


def normal(seed, dtype, size=1031):
  return jnp.asarray(np.random.default_rng(seed).normal(size=size), dtype)


@pytest.mark.parametrize('compile', [lambda f: f, jax.jit])
@pytest.mark.parametrize('keep', [0, 0.2, 0.5, 0.8, np.float32(0.3), 1.0])
@pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'float16'])
def test_mixes_in_float32_and_rounds_to_the_dtype_once(dtype, keep, compile):
  old, fresh = normal(0, dtype), normal(1, dtype)
  mixed = compile(lambda o, f: reinitialize.mix(keep, o, f))(old, fresh)
  assert mixed.dtype == dtype
  exact = np.float64(keep) * np.asarray(old, np.float64)
  exact += (1 - np.float64(keep)) * np.asarray(fresh, np.float64)
  # Half a unit in the last place, and the roundings of two float32 products.
  error = np.abs(np.asarray(mixed, np.float64) - exact)
  half = float(jnp.finfo(dtype).eps) / 2
  assert (error <= half * np.abs(exact) + 2.0**-22).all()
  if keep in (0, 1):
    np.testing.assert_array_equal(mixed, old if keep else fresh)


def test_a_prefix_gives_each_group_its_fraction():
  old = {'body': {'w': jnp.array([8.0]), 'b': jnp.array([4.0])}, 'head': 2.0}
  fresh = {'body': {'w': jnp.array([0.0]), 'b': jnp.array([8.0])}, 'head': 6.0}
  mixed = reinitialize.mix({'body': 0.75, 'head': 0.0}, old, fresh)
  assert mixed == {'body': {'w': 6.0, 'b': 5.0}, 'head': 6.0}


def test_what_is_not_finite_is_gone_where_nothing_is_kept():
  old = {'a': jnp.array([jnp.nan, jnp.inf]), 'b': jnp.array([jnp.nan])}
  fresh = {'a': jnp.array([1.0, 2.0]), 'b': jnp.array([3.0])}
  mixed = reinitialize.mix({'a': 0.0, 'b': 0.5}, old, fresh)
  np.testing.assert_array_equal(mixed['a'], fresh['a'])
  assert jnp.isnan(mixed['b'])


def test_leaves_that_are_not_inexact_stay():
  old = {'steps': jnp.array([5, 7]), 'on': jnp.array(True), 'none': None}
  fresh = {'steps': jnp.array([0, 0]), 'on': jnp.array(False), 'none': None}
  mixed = reinitialize.mix(0.0, old, fresh)
  assert mixed['steps'].tolist() == [5, 7]
  assert mixed['on']
  assert mixed['none'] is None


def test_a_traced_fraction():
  mixed = jax.vmap(lambda k: reinitialize.mix(k, jnp.ones(2), jnp.zeros(2)))(
    jnp.array([0.0, 0.25, 1.0])
  )
  assert mixed.tolist() == [[0, 0], [0.25, 0.25], [1, 1]]


@pytest.mark.parametrize(
  ('keep', 'fresh', 'message'),
  [
    (1.5, {'a': jnp.ones(2)}, r'^keep must be a number in \[0, 1\]'),
    ({'b': 0.5}, {'a': jnp.ones(2)}, r'^keep must be a number in \[0, 1\]'),
    (0.5, {'b': jnp.ones(2)}, '^fresh must have the structure of the old'),
    (0.5, {'a': jnp.ones(3)}, r"^fresh\['a'\] must have the shape of the old"),
  ],
)
def test_what_does_not_fit_is_named(keep, fresh, message):
  with pytest.raises(ValueError, match=message):
    reinitialize.mix(keep, {'a': jnp.ones(2)}, fresh)
