"""Hare & Tortoise under jit, scan, vmap, donation, export and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ht_rl

OPTIMIZER = ht_rl.hare_tortoise(
  optax.adam(0.1),
  momentum=optax.linear_schedule(0.5, 0.95, 20),
  reset_every=4,
  update_every=2,
  reset_mask={'w': True, 'b': False},
  reset_inner_state=True,
)
HARE = {'w': jnp.linspace(-1, 1, 24).reshape(4, 6), 'b': jnp.ones(6)}


def gradients(steps, seed=0):
  keys = jax.random.split(jax.random.key(seed), steps)
  return jax.vmap(lambda key: optax.tree.random_like(key, HARE))(keys)


def step(hare, state, gradient, optimizer=OPTIMIZER):
  updates, state = optimizer.update(gradient, state, hare)
  return optax.apply_updates(hare, updates), state


def at(tree, i):
  return jax.tree.map(lambda x: x[i], tree)


def assert_close(actual, expected):
  # Compiled differently, XLA contracts other products and sums: both weights
  # (below 2) differ by a few float32 roundings of 1.2e-7.
  assert jax.tree.structure(actual) == jax.tree.structure(expected)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-6, atol=2e-6),
    actual,
    expected,
  )


def loop(hare, state, gradients, step=step):
  for i in range(len(jax.tree.leaves(gradients)[0])):
    hare, state = step(hare, state, at(gradients, i))
  return hare, state


def test_jit_traces_once_and_equals_the_eager_steps():
  traces = []

  @jax.jit
  def traced(hare, state, gradient):
    traces.append(None)
    return step(hare, state, gradient)

  start = HARE, OPTIMIZER.init(HARE)
  compiled = loop(*start, gradients(11), traced)
  assert len(traces) == 1
  assert_close(compiled, loop(*start, gradients(11)))


def test_types_of_the_state_never_change():
  # Weak types count: jit would compile again for them.
  def types(state):
    return jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), state)

  state = OPTIMIZER.init(HARE)
  expected = types(state)
  assert types(jax.jit(OPTIMIZER.init)(HARE)) == expected
  for eager in (True, False):
    function = step if eager else jax.jit(step)
    hare, new = HARE, state
    for i in range(4):
      hare, new = function(hare, new, at(gradients(4), i))
      assert types(new) == expected
  abstract = jax.eval_shape(OPTIMIZER.init, HARE)
  assert jax.tree.map(lambda x: (x.shape, x.dtype), abstract) == jax.tree.map(
    lambda x: (x.shape, x.dtype), state
  )


def test_scan_equals_a_loop():
  start = HARE, OPTIMIZER.init(HARE)
  scanned, _ = jax.lax.scan(
    lambda carry, g: (step(*carry, g), None), start, gradients(11)
  )
  assert_close(scanned, loop(*start, gradients(11)))


def test_vmap_over_seeds_equals_separate_runs():
  def train(scale, gradients):
    hare = jax.tree.map(lambda x: scale * x, HARE)
    carry = hare, OPTIMIZER.init(hare)
    return jax.lax.scan(lambda c, g: (step(*c, g), None), carry, gradients)[0]

  scales = jnp.array([0.5, 1.0, 1.5])
  runs = [gradients(11, seed) for seed in range(3)]
  stacked = jax.tree.map(lambda *x: jnp.stack(x), *runs)
  together = jax.jit(jax.vmap(train))(scales, stacked)
  for i in range(3):
    assert_close(at(together, i), train(scales[i], runs[i]))


def test_vmap_over_counts_restarts_each_member_at_its_own_time():
  optimizer = ht_rl.hare_tortoise(optax.sgd(0.1), momentum=0.5, reset_every=3)
  hare = jnp.ones((3, 2))
  state = jax.vmap(optimizer.init)(hare)._replace(count=jnp.array([0, 1, 2]))
  updates, state = jax.vmap(optimizer.update)(hare, state, hare)
  equal = (hare + updates == state.tortoise).all(axis=1)
  assert equal.tolist() == [False, False, True]


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('reset_every', [None, 1, 2])
@pytest.mark.parametrize('init', ['eager', 'jit', 'with_parameters'])
def test_parameters_and_state_are_donated_together(init, reset_every, dtype):
  optimizer = ht_rl.hare_tortoise(
    optax.adam(0.1), momentum=0.9, reset_every=reset_every
  )

  def make():
    return jax.tree.map(lambda x: jnp.cos(x).astype(dtype), HARE)

  def make_both():
    hare = make()
    return hare, optimizer.init(hare)

  def train(hare, state, gradient):
    return step(hare, state, gradient, optimizer)

  if init == 'with_parameters':
    hare, state = jax.jit(make_both)()
  else:
    hare = make()
    state = (jax.jit(optimizer.init) if init == 'jit' else optimizer.init)(hare)
  donating = jax.jit(train, donate_argnums=(0, 1))
  steps = optax.tree.cast(gradients(5), dtype)
  for i in range(5):
    old = jax.tree.leaves((hare, state))
    hare, state = donating(hare, state, at(steps, i))
    assert all(x.is_deleted() for x in old)
  expected = loop(*make_both(), steps, jax.jit(train))
  jax.tree.map(np.testing.assert_array_equal, (hare, state), expected)


def test_a_replaced_tortoise_is_donated_with_its_source():
  state = ht_rl.replace_tortoise(OPTIMIZER.init(HARE), HARE)
  hare = jax.tree.map(jnp.copy, HARE)
  donating = jax.jit(step, donate_argnums=(0, 1))
  donating(hare, ht_rl.replace_tortoise(state, hare), at(gradients(1), 0))
  # Without the copies it would be one buffer, donated twice.
  hare = jax.tree.map(jnp.copy, HARE)
  fresh = OPTIMIZER.init(HARE)
  with pytest.raises(Exception, match='donate'):
    donating(hare, fresh._replace(tortoise=hare), at(gradients(1), 0))


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_lowers_for_cpu_tpu_and_cuda(dtype):
  hare = optax.tree.cast(HARE, dtype)
  state = OPTIMIZER.init(hare)
  platforms = ('cpu', 'tpu', 'cuda')
  exported = jax.export.export(jax.jit(step), platforms=platforms)(
    hare, state, hare
  )
  assert exported.platforms == platforms
  # A GPU's compiler recomputes and contracts more than that of this CPU: there
  # the restart is exact because of the barriers.
  assert 'optimization_barrier' in exported.mlir_module()
  jax.tree.map(
    np.testing.assert_array_equal,
    exported.call(hare, state, hare),
    jax.jit(step)(hare, state, hare),
  )


def test_gradients_pass_through_the_updates():
  # The learning rate's gradient, against central differences.
  def final(learning_rate):
    optimizer = ht_rl.hare_tortoise(
      optax.sgd(learning_rate), momentum=0.9, reset_every=2
    )
    hare = jnp.array([1.0, 2.0])
    state = optimizer.init(hare)
    for _ in range(5):
      hare, state = step(hare, state, hare**2, optimizer)
    return jnp.sum(hare) + jnp.sum(state.tortoise)

  difference = (final(0.11) - final(0.09)) / 0.02
  np.testing.assert_allclose(jax.grad(final)(0.1), difference, rtol=1e-2)
