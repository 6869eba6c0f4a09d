"""The pull towards the initial weights: its numbers, dtypes and errors."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ht_rl

PARAMS = {'w': jnp.linspace(-1, 1, 6).reshape(2, 3), 'b': jnp.ones(3)}


def test_adds_the_gradient_of_the_penalty():
  def penalty(params):
    return 0.3 * sum(
      jnp.sum((p - q) ** 2)
      for p, q in zip(
        jax.tree.leaves(params), jax.tree.leaves(PARAMS), strict=True
      )
    )

  gradients, params = (
    optax.tree.random_like(jax.random.key(i), PARAMS) for i in range(2)
  )
  regenerate = ht_rl.regenerate(0.3)
  state = regenerate.init(PARAMS)
  for update in (regenerate.update, jax.jit(regenerate.update)):
    updates, new = update(gradients, state, params)
    jax.tree.map(
      lambda u, g, d: np.testing.assert_allclose(u, g + d, rtol=0, atol=1e-6),
      updates,
      gradients,
      jax.grad(penalty)(params),
    )
    jax.tree.map(np.testing.assert_array_equal, new.initial, PARAMS)


def test_at_the_initial_weights_it_adds_exactly_nothing():
  # The gradient of the distance itself, not squared, would be NaN here.
  regenerate = ht_rl.regenerate(1e30)
  gradients = optax.tree.random_like(jax.random.key(0), PARAMS)
  updates, _ = regenerate.update(gradients, regenerate.init(PARAMS), PARAMS)
  jax.tree.map(np.testing.assert_array_equal, updates, gradients)


def test_equals_a_loop_by_hand():
  # By Adam, on a quadratic loss around 3, in float64.
  rng = np.random.default_rng(0)
  noise = rng.normal(size=(1000, 4))
  start = np.array([-1.0, 0.0, 2.0, 5.0])

  with jax.enable_x64():
    optimizer = optax.chain(ht_rl.regenerate(0.25), optax.adam(0.01))

    def step(carry, n):
      x, state = carry
      updates, state = optimizer.update(2 * (x - 3) + n, state, x)
      return (optax.apply_updates(x, updates), state), None

    carry = jnp.array(start), optimizer.init(jnp.array(start))
    (actual, _), _ = jax.lax.scan(step, carry, jnp.array(noise))

  x, m, v = start, np.zeros(4), np.zeros(4)
  for t in range(1, 1001):
    g = 2 * (x - 3) + noise[t - 1] + 2 * 0.25 * (x - start)
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    x = x - 0.01 * m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
  np.testing.assert_allclose(actual, x, rtol=0, atol=1e-13)


def test_converges_between_the_target_and_the_start():
  # The minimum of |x - b|^2 + s |x - x_0|^2 is (b + s x_0) / (1 + s); of
  # complex numbers, too.
  start, end = jnp.array([1.0 + 4.0j, -2.0]), jnp.array([3.0 - 4.0j, 5.0j])
  optimizer = optax.chain(ht_rl.regenerate(0.25), optax.sgd(0.1))
  x, state = start, optimizer.init(start)
  for _ in range(200):
    gradient = jax.grad(lambda x: jnp.sum(jnp.abs(x - end) ** 2))(x)
    updates, state = optimizer.update(jnp.conj(gradient), state, x)
    x = optax.apply_updates(x, updates)
  expected = (end + 0.25 * start) / 1.25
  np.testing.assert_allclose(x, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
  ('dtype', 'gradient_dtype'),
  [
    ('bfloat16', 'bfloat16'),
    ('bfloat16', 'float32'),
    ('float32', 'bfloat16'),
    ('float16', 'float16'),
    ('float64', 'float64'),
  ],
)
@pytest.mark.parametrize('strength', [0.5, np.float32(0.5), jnp.array(0.5)])
def test_dtypes(strength, dtype, gradient_dtype):
  with jax.enable_x64(dtype == 'float64'):
    regenerate = ht_rl.regenerate(strength)
    state = regenerate.init(jnp.array([1, 2], dtype))
    assert state.initial.dtype == dtype
    updates, _ = regenerate.update(
      jnp.array([8, 8], gradient_dtype), state, jnp.array([4, 0], dtype)
    )
    assert updates.dtype == gradient_dtype
    np.testing.assert_array_equal(np.asarray(updates, float), [11, 6])


def test_leaves_that_are_left_alone():
  params = {
    'float': jnp.array([2.0]),
    'int': jnp.array([5, 7]),
    'none': None,
    'masked': optax.MaskedNode(),
  }
  gradients = {**params, 'int': jnp.array([1, 2])}
  regenerate = ht_rl.regenerate(1.0)
  state = regenerate.init(jax.tree.map(lambda p: p - 1, params))
  updates, _ = regenerate.update(gradients, state, params)
  assert jax.tree.structure(updates) == jax.tree.structure(gradients)
  assert updates['float'] == 4
  np.testing.assert_array_equal(updates['int'], [1, 2])
  assert updates['int'].dtype == gradients['int'].dtype


def test_masked_pulls_what_the_mask_names():
  regenerate = optax.masked(ht_rl.regenerate(0.5), {'w': True, 'b': False})
  state = regenerate.init(PARAMS)
  params = jax.tree.map(lambda p: p + 1, PARAMS)
  updates, _ = regenerate.update(optax.tree.zeros_like(PARAMS), state, params)
  np.testing.assert_allclose(updates['w'], 1, rtol=1e-6)
  np.testing.assert_array_equal(updates['b'], 0)


def test_a_wrapper_that_starts_it_anew_moves_what_it_pulls_to():
  inner = optax.chain(ht_rl.regenerate(0.1), optax.sgd(0.1))
  optimizer = ht_rl.shrink_and_perturb(
    inner, lambda key: jnp.zeros(2), keep=0.5, reset_every=2
  )
  params, state = jnp.ones(2), optimizer.init(jnp.ones(2))
  for _ in range(3):
    updates, state = optimizer.update(jnp.ones(2), state, params)
    last, params = params, optax.apply_updates(params, updates)
  np.testing.assert_array_equal(state.inner_state[0].initial, last)


@pytest.mark.parametrize(
  'strength', [-1e-3, float('nan'), float('inf'), None, True, '1', [1.0, 2.0]]
)
def test_wrong_strengths_are_named(strength):
  with pytest.raises(ValueError, match=r'^strength must be a finite number of'):
    ht_rl.regenerate(strength)


def test_update_needs_the_parameters():
  regenerate = ht_rl.regenerate(0.1)
  with pytest.raises(ValueError, match='`update` needs the parameters'):
    regenerate.update(PARAMS, regenerate.init(PARAMS))


def test_parameters_unlike_the_initial_ones_are_named():
  regenerate = ht_rl.regenerate(0.1)
  state = regenerate.init(jnp.ones(3))
  for params in (jnp.ones((2, 3)), {'w': jnp.ones(3)}):
    with pytest.raises(ValueError, match=r'^params must have the '):
      regenerate.update(params, state, params)
