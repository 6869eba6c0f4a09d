"""Every transform under jit, scan, vmap, donation, export and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

# Much is compiled here, and little is computed.
pytestmark = pytest.mark.usefixtures('compile_fast')

PARAMS = {'w': jnp.linspace(-1, 1, 36).reshape(6, 6), 'b': jnp.ones(6)}


@pytest.fixture
def optimizer(make_optimizer):
  return make_optimizer(optax.adam(0.1), PARAMS, 4)


def gradients(steps, seed=0):
  keys = jax.random.split(jax.random.key(seed), steps)
  return jax.vmap(lambda key: optax.tree.random_like(key, PARAMS))(keys)


def make_step(optimizer):
  def step(params, state, gradient):
    updates, state = optimizer.update(gradient, state, params)
    return optax.apply_updates(params, updates), state

  return step


def at(tree, i):
  return jax.tree.map(lambda x: x[i], tree)


def assert_close(actual, expected):
  # Compiled differently, XLA contracts other products and sums: the weights
  # (below 4) differ by a few float32 roundings of 1.2e-7.
  assert jax.tree.structure(actual) == jax.tree.structure(expected)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-6, atol=2e-6),
    actual,
    expected,
  )


def loop(step, carry, gradients):
  for i in range(len(jax.tree.leaves(gradients)[0])):
    carry = step(*carry, at(gradients, i))
  return carry


def scan(step, carry, gradients):
  return jax.lax.scan(lambda c, g: (step(*c, g), None), carry, gradients)[0]


def test_jit_traces_once_and_equals_the_eager_steps(optimizer):
  step = make_step(optimizer)
  traces = []

  @jax.jit
  def traced(params, state, gradient):
    traces.append(None)
    return step(params, state, gradient)

  start = PARAMS, optimizer.init(PARAMS)
  compiled = loop(traced, start, gradients(11))
  assert len(traces) == traced._cache_size() == 1
  assert_close(compiled, loop(step, start, gradients(11)))


def test_types_of_the_state_never_change(optimizer):
  # Weak types count: jit would compile again for them.
  def types(state):
    return jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), state)

  state = optimizer.init(PARAMS)
  expected = types(state)
  assert types(jax.jit(optimizer.init)(PARAMS)) == expected
  step = make_step(optimizer)
  for function in (step, jax.jit(step)):
    params, new = PARAMS, state
    for i in range(4):
      params, new = function(params, new, at(gradients(4), i))
      assert types(new) == expected
  abstract = jax.eval_shape(optimizer.init, PARAMS)
  assert jax.tree.map(lambda x: (x.shape, x.dtype), abstract) == jax.tree.map(
    lambda x: (x.shape, x.dtype), state
  )


def test_scan_equals_a_loop(optimizer):
  step = make_step(optimizer)
  start = PARAMS, optimizer.init(PARAMS)
  assert_close(
    scan(step, start, gradients(11)), loop(step, start, gradients(11))
  )


def test_vmap_over_seeds_equals_separate_runs(optimizer):
  def train(scale, gradients):
    params = jax.tree.map(lambda x: scale * x, PARAMS)
    carry = params, optimizer.init(params)
    return scan(make_step(optimizer), carry, gradients)

  scales = jnp.array([0.5, 1.0, 1.5])
  runs = [gradients(11, seed) for seed in range(3)]
  stacked = jax.tree.map(lambda *x: jnp.stack(x), *runs)
  together = jax.jit(jax.vmap(train))(scales, stacked)
  separately = jax.jit(train)
  for i in range(3):
    assert_close(at(together, i), separately(scales[i], runs[i]))


@pytest.mark.parametrize(
  ('init', 'reset_every', 'dtype'),
  [
    ('eager', 1, 'float32'),
    ('jit', 2, 'bfloat16'),
    ('with_parameters', 1, 'bfloat16'),
  ],
)
def test_parameters_and_state_are_donated_together(
  make_optimizer, init, reset_every, dtype
):
  def make():
    return jax.tree.map(lambda x: jnp.cos(x).astype(dtype), PARAMS)

  optimizer = make_optimizer(optax.adam(0.1), make(), reset_every)

  def make_both():
    params = make()
    return params, optimizer.init(params)

  step = make_step(optimizer)
  if init == 'with_parameters':
    carry = jax.jit(make_both)()
  else:
    params = make()
    start = jax.jit(optimizer.init) if init == 'jit' else optimizer.init
    carry = params, start(params)
  donating = jax.jit(step, donate_argnums=(0, 1))
  steps = optax.tree.cast(gradients(5), dtype)
  for i in range(5):
    old = jax.tree.leaves(carry)
    carry = donating(*carry, at(steps, i))
    assert all(x.is_deleted() for x in old)
  expected = loop(jax.jit(step), make_both(), steps)
  jax.tree.map(np.testing.assert_array_equal, carry, expected)


def test_lowers_for_cpu_tpu_and_cuda(make_optimizer):
  params = optax.tree.cast(PARAMS, jnp.bfloat16)
  optimizer = make_optimizer(optax.adam(0.1), params, 1)
  step = make_step(optimizer)
  state = optimizer.init(params)
  platforms = ('cpu', 'tpu', 'cuda')
  exported = jax.export.export(jax.jit(step), platforms=platforms)(
    params, state, params
  )
  assert exported.platforms == platforms
  # A GPU's compiler recomputes and contracts more than that of this CPU: there
  # a restart is exact because of the barriers.
  if make_optimizer.__name__ not in ('regenerate', 'parseval'):
    assert 'optimization_barrier' in exported.mlir_module()
  jax.tree.map(
    np.testing.assert_array_equal,
    exported.call(params, state, params),
    jax.jit(step)(params, state, params),
  )


def test_gradients_pass_through_the_updates(make_optimizer):
  # The learning rate's gradient, against central differences.
  def final(learning_rate):
    params = {
      'b': jnp.array([1.0, 2.0]),
      'w': jnp.array([[1.0, 0.5], [0.0, 1.5]]),
    }
    optimizer = make_optimizer(optax.sgd(learning_rate), params, 2)
    step = make_step(optimizer)
    state = optimizer.init(params)
    for _ in range(5):
      squares = jax.tree.map(jnp.square, params)
      params, state = step(params, state, squares)
    return jnp.sum(params['b']) + jnp.sum(params['w'])

  difference = (final(0.11) - final(0.09)) / 0.02
  np.testing.assert_allclose(jax.grad(final)(0.1), difference, rtol=1e-2)
