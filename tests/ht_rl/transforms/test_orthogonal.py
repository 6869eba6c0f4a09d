"""Parseval regularization and FIRE, against NumPy in float64."""

from flax import linen as nn
from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ht_rl
from ht_rl.transforms import fire

# Much is compiled here, and little is computed.
pytestmark = pytest.mark.usefixtures('compile_fast')

SHAPES = {
  'tall': (6, 3),
  'wide': (3, 6),
  'square': (4, 4),
  'conv': (3, 2, 2, 5),
  'bias': (5,),
}


def draws(seed=0):
  rng = np.random.default_rng(seed)
  return {name: rng.normal(size=shape) for name, shape in SHAPES.items()}


@pytest.mark.parametrize('name', ['tall', 'wide', 'conv'])
def test_no_accelerator_rounds_the_factors_of_a_product(name):
  w = jnp.asarray(draws()[name], jnp.float32)
  parseval = ht_rl.parseval(1.0)
  for function in (
    fire.project,
    lambda w: parseval.update(w, parseval.init(w), w),
  ):
    text = jax.jit(function).lower(w).as_text()
    assert text.count('stablehlo.dot_general') == 2
    assert text.count('precision = [HIGHEST, HIGHEST]') == 2


@pytest.mark.parametrize('name', ['bias', 'scale'])
@pytest.mark.parametrize(
  'read',
  [
    fire.project,
    # At the first update, long before the reset.
    lambda p: update(ht_rl.fire(optax.sgd(0.1), reset_every=1000), p),
    lambda p: update(ht_rl.parseval(1.0), p),
  ],
)
def test_a_stacked_bias_is_no_kernel(read, name):
  params = {'critic': {'kernel': jnp.ones((2, 3, 4)), name: jnp.ones((2, 4))}}
  with pytest.raises(
    ValueError,
    match=rf"^params\['critic'\]\['{name}'\] has the shape \(2, 4\), .*"
    r'map over stacked parameters, as `jax.vmap\(fire.project\)` does',
  ):
    read(params)
  jax.vmap(read)(params)


@pytest.mark.parametrize('name', ['bias', 'scale'])
@pytest.mark.parametrize(
  'box', [lambda x: nn.Partitioned(x, ('m', 'n')), nnx.Param]
)
def test_a_stacked_bias_in_a_box_is_no_kernel(box, name):
  kernel = box(jnp.ones((2, 4)))
  with pytest.raises(
    ValueError, match=rf"^params\['value'\]\['{name}'\].value has the shape"
  ):
    fire.project({'value': {name: kernel}})
  fire.project({name: {'kernel': kernel, 'value': kernel}})


def test_a_masked_bias_may_have_any_shape():
  params = {'kernel': jnp.ones((3, 4)), 'bias': jnp.ones((2, 4))}
  mask = {'kernel': True, 'bias': False}
  for optimizer in (
    ht_rl.fire(optax.sgd(0.1), reset_every=1, reset_mask=mask),
    ht_rl.parseval(1.0, mask=mask),
  ):
    update(optimizer, params)


def update(optimizer, params):
  return optimizer.update(params, optimizer.init(params), params)[0]


# --- Parseval -----------------------------------------------------------------


def penalty(kernel, scale):
  """The penalty with a loop over pairs of units."""
  units = kernel.shape[-1]
  total = 0.0
  for i in range(units):
    for j in range(units):
      product = np.sum(kernel[..., i] * kernel[..., j])
      total += (product - scale * (i == j)) ** 2
  return total


def test_parseval_is_the_gradient_of_its_penalty():
  weights, gradients = draws(), draws(1)
  optimizer = ht_rl.parseval(0.5, scale=2.0)
  with jax.enable_x64():
    params = jax.tree.map(jnp.asarray, weights)
    actual, _ = optimizer.update(gradients, optimizer.init(params), params)
  rng = np.random.default_rng(2)
  for name, w in weights.items():
    added = np.asarray(actual[name]) - gradients[name]
    if name == 'bias':
      np.testing.assert_array_equal(added, 0)
      continue
    # Central differences: of a polynomial of degree 4, exact to step^2.
    direction = rng.normal(size=w.shape)
    step = 1e-5 * direction
    slope = (penalty(w + step, 2.0) - penalty(w - step, 2.0)) / 2e-5
    np.testing.assert_allclose(np.sum(added * direction), 0.5 * slope, 1e-6)


def test_parseval_of_complex_kernels():
  rng = np.random.default_rng(0)
  w = jnp.asarray(rng.normal(size=(4, 3)) + 1j * rng.normal(size=(4, 3)))

  def loss(w):
    excess = w.conj().T @ w - jnp.eye(3)
    return jnp.sum(jnp.abs(excess) ** 2)

  optimizer = ht_rl.parseval(1.0)
  actual, _ = optimizer.update(jnp.zeros_like(w), optimizer.init(w), w)
  expected = jnp.conj(jax.grad(loss)(w))
  np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('name', ['tall', 'wide', 'conv'])
def test_descent_on_the_penalty_alone_makes_kernels_orthogonal(name):
  optimizer = optax.chain(ht_rl.parseval(1.0, scale=2.0), optax.sgd(0.01))
  w = jnp.asarray(draws()[name] / 3, jnp.float32)
  state = optimizer.init(w)

  def step(carry, _):
    w, state = carry
    updates, state = optimizer.update(jnp.zeros_like(w), state, w)
    return (optax.apply_updates(w, updates), state), None

  (w, _), _ = jax.lax.scan(step, (w, state), length=1000)
  matrix = np.asarray(w).reshape(-1, w.shape[-1])
  values = np.linalg.svd(matrix, compute_uv=False)
  np.testing.assert_allclose(values, np.sqrt(2), rtol=1e-4)


def test_a_mask_leaves_kernels_out():
  params = {'hidden': jnp.ones((2, 2)), 'out': jnp.ones((2, 2))}
  zeros = jax.tree.map(jnp.zeros_like, params)
  optimizer = ht_rl.parseval(1.0, mask={'hidden': True, 'out': False})
  updates, _ = optimizer.update(zeros, optimizer.init(params), params)
  # W W^T - I = [[1, 2], [2, 1]], times W: 3; times 4.
  assert updates['hidden'].tolist() == [[12, 12], [12, 12]]
  assert not updates['out'].any()


@pytest.mark.parametrize(
  ('argument', 'value'),
  [
    ('strength', -1.0),
    ('strength', np.inf),
    ('scale', 0.0),
    ('scale', None),
  ],
)
def test_wrong_arguments_of_parseval_are_named(argument, value):
  arguments = {'strength': 1.0, 'scale': 1.0, argument: value}
  with pytest.raises(ValueError, match=f'^{argument} must be a finite number'):
    ht_rl.parseval(**arguments)


def test_parseval_needs_the_parameters():
  optimizer = ht_rl.parseval(1.0)
  with pytest.raises(ValueError, match='needs the parameters'):
    optimizer.update(jnp.ones((2, 2)), optimizer.init(jnp.ones((2, 2))))


# --- FIRE ---------------------------------------------------------------------


def by_iteration(w, iterations):
  x = w / np.sqrt(np.sum(w**2))
  for _ in range(iterations):
    x = 1.5 * x - 0.5 * x @ x.T @ x
  return np.sqrt(w.shape[1] / w.shape[0]) * x


def by_svd(w):
  u, _, v = np.linalg.svd(w, full_matrices=False)
  return np.sqrt(w.shape[1] / w.shape[0]) * u @ v


@pytest.mark.parametrize('iterations', [1, 10, 60])
def test_project(iterations):
  weights = draws()
  with jax.enable_x64():
    params = jax.tree.map(jnp.asarray, weights)
    projected = jax.tree.map(np.asarray, fire.project(params, iterations))
  np.testing.assert_array_equal(projected['bias'], weights['bias'])
  for name in ('tall', 'wide', 'square'):
    expected = by_iteration(weights[name], iterations)
    np.testing.assert_allclose(projected[name], expected, rtol=0, atol=1e-12)
    if iterations == 60:
      np.testing.assert_allclose(
        projected[name], by_svd(weights[name]), rtol=0, atol=1e-9
      )
  for i in range(3):
    for j in range(2):
      expected = by_iteration(weights['conv'][i, j], iterations) / 6
      np.testing.assert_allclose(
        projected['conv'][i, j], expected, rtol=0, atol=1e-12
      )


@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_narrow_kernels_are_computed_in_float32(dtype):
  eps = float(jnp.finfo(dtype).eps)
  for name in ('tall', 'wide', 'square'):
    w = jnp.asarray(draws()[name], dtype)
    exact = np.asarray(w, np.float64)
    projected = fire.project(w, 10)
    assert projected.dtype == dtype
    # Rounded once, at the end.
    np.testing.assert_allclose(
      np.asarray(projected, np.float64),
      by_iteration(exact, 10),
      rtol=0.51 * eps,
      atol=1e-6,
    )
    optimizer = ht_rl.parseval(0.5)
    penalty = optimizer.update(jnp.zeros_like(w), optimizer.init(w), w)[0]
    assert penalty.dtype == dtype
    excess = exact.T @ exact - np.eye(exact.shape[1])
    np.testing.assert_allclose(
      np.asarray(penalty, np.float64),
      2 * exact @ excess,
      rtol=0.51 * eps,
      atol=1e-4,
    )


@pytest.mark.parametrize('shape', [(4, 3), (3, 4)])
def test_project_of_complex_kernels(shape):
  rng = np.random.default_rng(0)
  w = rng.normal(size=shape) + 1j * rng.normal(size=shape)
  projected = fire.project(jnp.asarray(w, jnp.complex64), 60)
  np.testing.assert_allclose(projected, by_svd(w), rtol=0, atol=1e-5)


def test_a_kernel_of_zeros_stays():
  zeros = jnp.zeros((2, 3, 3))
  np.testing.assert_array_equal(fire.project(zeros), zeros)


@pytest.mark.parametrize('reset_inner_state', [True, False])
def test_fire_trains_and_projects(reset_inner_state):
  weights = draws()
  mask = {name: name != 'wide' for name in weights}
  optimizer = ht_rl.fire(
    optax.adam(0.1),
    reset_every=2,
    iterations=5,
    reset_mask=mask,
    reset_inner_state=reset_inner_state,
  )
  adam = optax.adam(0.1)
  with jax.enable_x64():
    params = plain = jax.tree.map(jnp.asarray, weights)
    state, expected_state = optimizer.init(params), adam.init(plain)
    update = jax.jit(optimizer.update)
    for t in range(1, 6):
      gradients = draws(t)
      updates, state = update(gradients, state, params)
      params = optax.apply_updates(params, updates)
      updates, expected_state = adam.update(gradients, expected_state, plain)
      plain = optax.apply_updates(plain, updates)
      if t % 2 == 0:
        plain = dict(plain)
        for name in ('tall', 'square'):
          plain[name] = jnp.asarray(by_iteration(np.array(plain[name]), 5))
        conv = np.array(plain['conv'])
        for i in range(3):
          for j in range(2):
            conv[i, j] = by_iteration(conv[i, j], 5) / 6
        plain['conv'] = jnp.asarray(conv)
        if reset_inner_state:
          expected_state = adam.init(plain)
      jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-11),
        (params, state.inner_state),
        (plain, expected_state),
      )


@pytest.mark.parametrize(
  ('argument', 'value', 'wanted'),
  [
    ('inner', optax.adam, 'an optax.GradientTransformation'),
    ('reset_every', 0, 'a positive integer'),
    ('iterations', 0, 'an integer of at least 1'),
    ('reset_inner_state', 1, 'True or False'),
  ],
)
def test_wrong_arguments_of_fire_are_named(argument, value, wanted):
  arguments = {'inner': optax.sgd(0.1), 'reset_every': 2, argument: value}
  with pytest.raises(ValueError, match=f'^{argument} must be {wanted}'):
    ht_rl.fire(**arguments)
