"""The transforms under JAX's strict modes, with every kind of number."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ht_rl

# Much is compiled here, and little is computed.
pytestmark = pytest.mark.usefixtures('compile_fast')

DTYPES = ('bfloat16', 'float32', 'float64', 'complex64')
NUMBERS = {
  'python': 0.75,
  'float32': np.float32(0.75),
  'float64': np.float64(0.75),
  'array': jnp.array(0.75),
}
SGD = optax.sgd(0.5)


def hare_tortoise(number, fresh):
  return ht_rl.hare_tortoise(SGD, momentum=number, reset_every=2)


def scheduled(number, fresh):
  return ht_rl.hare_tortoise(
    SGD, momentum=lambda i: jnp.asarray(number), reset_every=2
  )


def shrink_and_perturb(number, fresh):
  return ht_rl.shrink_and_perturb(
    SGD, lambda key: fresh, keep=number, reset_every=2
  )


def regenerate(number, fresh):
  return optax.chain(ht_rl.regenerate(number), SGD)


# By hand, from a weight of 8 whose gradient is the weight.
EXPECTED = {
  # 8 - 4 = 4, mean 7; 4 - 2 = 2, mean 5.75: restart.
  hare_tortoise: [4, 5.75],
  scheduled: [4, 5.75],
  # 2 is mixed with 4 to 1.5 + 1.
  shrink_and_perturb: [4, 2.5],
  # 4; then the gradient is 4 + 2 * 0.75 * (4 - 8) = -2.
  regenerate: [4, 5],
}


@pytest.mark.parametrize('number', NUMBERS.values(), ids=NUMBERS)
@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('make', EXPECTED)
def test_strict_promotion_and_debug_nans(make, dtype, number):
  with (
    jax.enable_x64(dtype == 'float64'),
    jax.numpy_dtype_promotion('strict'),
    jax.numpy_rank_promotion('raise'),
    jax.debug_nans(True),
  ):
    optimizer = make(number, jnp.full((2, 3), 4, dtype))
    params = jnp.full((2, 3), 8, dtype)
    state = optimizer.init(params)
    for expected in EXPECTED[make]:
      updates, state = optimizer.update(params, state, params)
      params = optax.apply_updates(params, updates)
      assert params.dtype == dtype
      np.testing.assert_array_equal(params, jnp.full((2, 3), expected, dtype))


LAYERS = {'layer': ht_rl.Units(incoming='w', outgoing='out')}


def layers_of(dtype):
  rng = np.random.default_rng(0)
  return {
    'w': jnp.asarray(rng.normal(size=(2, 3)), dtype),
    'out': jnp.asarray(rng.normal(size=(3, 2)), dtype),
  }


OTHERS = {
  'elastic_reset': lambda fresh: ht_rl.elastic_reset(
    SGD, momentum=0.5, reset_every=np.int32(2), return_strength=0.25
  ),
  'fire': lambda fresh: ht_rl.fire(SGD, reset_every=2),
  'parseval': lambda fresh: optax.chain(ht_rl.parseval(0.1), SGD),
  'redo': lambda fresh: ht_rl.redo(
    SGD, fresh, layers=LAYERS, threshold=0.5, reset_every=2
  ),
  'self_normalized_resets': lambda fresh: ht_rl.self_normalized_resets(
    SGD,
    fresh,
    layers=LAYERS,
    rejection=0.25,
    max_interval=2,
    refresh_every=2,
  ),
  'continual_backprop': lambda fresh: ht_rl.continual_backprop(
    SGD, fresh, layers=LAYERS, replacement_rate=0.5, maturity=0
  ),
}


@pytest.mark.parametrize('dtype', ['bfloat16', 'float32', 'float64'])
@pytest.mark.parametrize('make', OTHERS.values(), ids=OTHERS)
def test_strict_promotion_changes_nothing(make, dtype):
  def train():
    params = layers_of(dtype)
    optimizer = make(lambda key: layers_of(dtype))
    optimizer = optax.with_extra_args_support(optimizer)
    state = optimizer.init(params)
    hidden = {'layer': jnp.array([[0, 1, 2], [0, 2, 0]], dtype)}
    for _ in range(3):
      updates, state = optimizer.update(
        params, state, params, activations=hidden
      )
      params = optax.apply_updates(params, updates)
    return params

  with jax.enable_x64(dtype == 'float64'):
    expected = train()
    with jax.numpy_dtype_promotion('strict'):
      params = train()
    for name, array in params.items():
      assert array.dtype == dtype
      np.testing.assert_array_equal(array, expected[name])
