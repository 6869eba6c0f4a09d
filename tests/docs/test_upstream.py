"""The version for optax, against `ht_rl.hare_tortoise`, bit for bit."""

import doctest
import importlib.util
import pathlib

from hypothesis import given, settings
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ht_rl

SOURCE = pathlib.Path(__file__).parents[2] / 'docs/upstream/hare_tortoise.py'
SPEC = importlib.util.spec_from_file_location('upstream', SOURCE)
upstream = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(upstream)

STEPS = 5
FLOATS = ('float32', 'bfloat16', 'float16')
INEXACT = (*FLOATS, 'complex64')
OPTIMIZERS = {
  'identity': optax.identity(),
  'sgd': optax.sgd(0.1, momentum=0.9),
  'adamw': optax.adamw(1e-2),
  'rmsprop': optax.rmsprop(1e-2),
  'clipped radam': optax.chain(
    optax.clip_by_global_norm(1.0), optax.radam(optax.linear_schedule(1, 0, 9))
  ),
}
DECAYS = {
  'copy': 0.0,
  'half': 0.5,
  'slow': 0.995,
  'schedule': optax.linear_schedule(0.1, 0.99, STEPS),
}


@st.composite
def trees(draw, dtypes=INEXACT):
  """Parameters and their gradients over STEPS steps, stacked: [1 + STEPS]."""
  rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

  def make(leaf):
    dtype, shape = leaf
    x = 8 * rng.normal(size=(2, 1 + STEPS, *shape))
    x = x[0] + 1j * x[1] if dtype == 'complex64' else x[0]
    return jnp.asarray(x, dtype)

  shapes = st.lists(st.sampled_from([0, 1, 3, 40]), max_size=2).map(tuple)
  leaf = st.tuples(st.sampled_from(dtypes), shapes).map(make)
  return draw(
    st.recursive(
      leaf,
      lambda children: (
        st.dictionaries(st.sampled_from('abc'), children | st.none())
        | st.lists(children, max_size=3)
        | st.tuples(children, children)
      ),
      max_leaves=4,
    )
  )


def run(optimizer, tree, jit):
  """Returns the parameters and the states of all steps."""
  params, *gradients = (
    jax.tree.map(lambda x, t=t: x[t], tree) for t in range(1 + STEPS)
  )
  init, update = optimizer.init, optimizer.update
  if jit:
    init, update = jax.jit(init), jax.jit(update)
  state = init(params)
  seen = [(params, *state)]
  for gradient in gradients:
    updates, state = update(gradient, state, params)
    params = optax.apply_updates(params, updates)
    seen.append((params, *state))
  return seen


def assert_same_bits(actual, expected):
  assert jax.tree.structure(actual) == jax.tree.structure(expected)
  for a, b in zip(
    jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True
  ):
    a, b = np.asarray(a), np.asarray(b)
    assert (a.dtype, a.shape) == (b.dtype, b.shape)
    assert a.tobytes() == b.tobytes()


def assert_equal(tree, inner, decay, sync_period, reset_state, dtype, jit):
  theirs = upstream.hare_tortoise(
    inner,
    decay,
    sync_period=sync_period,
    reset_state=reset_state,
    accumulator_dtype=dtype,
  )
  ours = ht_rl.hare_tortoise(
    inner,
    momentum=decay,
    reset_every=sync_period,
    reset_inner_state=reset_state,
    tortoise_dtype=dtype,
  )
  assert_same_bits(run(theirs, tree, jit), run(ours, tree, jit))


@pytest.mark.parametrize(('jit', 'examples'), [(True, 40), (False, 15)])
def test_equals_ours(jit, examples):
  # Derandomized, and without a folder of examples: the same test everywhere.
  @settings(
    max_examples=examples, deadline=None, derandomize=True, database=None
  )
  @given(
    trees(),
    st.sampled_from(list(OPTIMIZERS)),
    st.sampled_from(list(DECAYS)),
    st.integers(1, 4) | st.none(),
    st.booleans(),
    st.sampled_from([None, *FLOATS]),
  )
  def check(tree, name, decay, period, reset, dtype):
    inner, mu = OPTIMIZERS[name], DECAYS[decay]
    assert_equal(tree, inner, mu, period, reset, dtype, jit)

  check()


@pytest.mark.parametrize('sync_period', [None, 2])
def test_integers_are_copied(sync_period):
  tree = {'w': jnp.ones((1 + STEPS, 2)), 'n': jnp.arange(1 + STEPS)}
  assert_equal(tree, optax.identity(), 0.5, sync_period, False, None, True)


def test_float64():
  with jax.enable_x64(True):
    tree = jnp.asarray(np.random.default_rng(0).normal(size=(1 + STEPS, 9)))
    assert tree.dtype == 'float64'
    assert_equal(tree, optax.adam(0.1), 0.9, 2, False, None, True)


def test_the_check_can_fail():
  # A rule that differs in one rounding is told apart.
  tree = jnp.asarray(np.random.default_rng(0).normal(size=(1 + STEPS, 99)))
  inner = optax.sgd(0.1)
  ours = ht_rl.hare_tortoise(inner, momentum=0.9)
  theirs = upstream.hare_tortoise(inner, np.nextafter(np.float32(0.9), 1))
  with pytest.raises(AssertionError):
    assert_same_bits(run(theirs, tree, True), run(ours, tree, True))


def test_line_search_with_a_reset_state():
  # Without `reset_state` ours marks the kept value as unknown; theirs does not.
  def loss(x):
    return jnp.sum((x - jnp.array([1.0, 2.0])) ** 4)

  results = []
  for make, rule in (
    (upstream.hare_tortoise, ('decay', 'sync_period', 'reset_state')),
    (ht_rl.hare_tortoise, ('momentum', 'reset_every', 'reset_inner_state')),
  ):
    arguments = dict(zip(rule, (0.5, 3, True), strict=True))
    optimizer = make(optax.lbfgs(), **arguments)
    params = jnp.zeros(2)
    state = optimizer.init(params)
    for _ in range(4):
      value, grad = jax.value_and_grad(loss)(params)
      updates, state = optimizer.update(
        grad, state, params, value=value, grad=grad, value_fn=loss
      )
      params = optax.apply_updates(params, updates)
    results.append((params, *state))
  assert_same_bits(*results)


def test_hyperparameters_are_injected():
  make = optax.inject_hyperparams(upstream.hare_tortoise)
  injected = make(optax.sgd(0.1), decay=0.5, sync_period=2)
  plain = upstream.hare_tortoise(optax.sgd(0.1), decay=0.5, sync_period=2)
  params = jnp.arange(3.0)
  state, plain_state = injected.init(params), plain.init(params)
  for _ in range(2):
    updates, state = jax.jit(injected.update)(params, state, params)
    expected, plain_state = jax.jit(plain.update)(params, plain_state, params)
    assert_same_bits(updates, expected)
  slow = optax.tree.get(state, 'slow_params')
  assert_same_bits(slow, plain_state.slow_params)


def test_wrong_use_is_named():
  with pytest.raises(ValueError, match='period must be >= 1'):
    upstream.hare_tortoise(optax.sgd(0.1), 0.5, sync_period=0)
  optimizer = upstream.hare_tortoise(optax.sgd(0.1), 0.5)
  with pytest.raises(ValueError, match='needs `params`'):
    optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)))


def test_its_example_and_its_length():
  assert doctest.testmod(upstream) == (0, 6)
  assert len(SOURCE.read_text().splitlines()) <= 170
