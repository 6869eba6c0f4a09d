"""What optax asks of every optimizer that is contributed to it.

Its `contrib/_common_test.py` is the list; the checks here are our own, and
those of `contrib/_sharding_test.py` are in `test_sharded.py`, and whether an
optimizer converges is in `test_convergence.py`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ht_rl

# Much is compiled here, and little is computed.
pytestmark = pytest.mark.usefixtures('compile_fast')

PARAMS = {'w': jnp.linspace(-1, 1, 9).reshape(3, 3), 'b': jnp.ones(3)}


def test_unexpected_extra_arguments_are_ignored(make_optimizer):
  optimizer = make_optimizer(optax.sgd(0.1), PARAMS, 1)
  state = optimizer.init(PARAMS)
  plain = optimizer.update(PARAMS, state, PARAMS)
  extra = optimizer.update(
    PARAMS, state, PARAMS, unexpected=1, value=jnp.ones(2)
  )
  assert_equal(extra, plain)


def test_extra_arguments_reach_the_inner_transformation(make_optimizer):
  def update(updates, state, params=None, *, factor, **extra_args):
    return jax.tree.map(lambda u: factor * u, updates), state

  inner = optax.GradientTransformationExtraArgs(lambda p: (), update)
  optimizer = make_optimizer(inner, PARAMS, 2)
  state = optimizer.init(PARAMS)
  once, _ = optimizer.update(PARAMS, state, PARAMS, factor=1.0)
  updates, _ = optimizer.update(PARAMS, state, PARAMS, factor=3.0)
  assert_equal(updates, jax.tree.map(lambda x: 3 * x, once))


def fresh(key):
  return optax.tree.random_like(key, PARAMS)


UNITS = {
  'inner': optax.adam(0.1),
  'init': fresh,
  'layers': {'layer': ht_rl.Units(incoming='b', outgoing='w')},
}
INJECTED = {
  'hare_tortoise': (
    ht_rl.hare_tortoise,
    {
      'inner': optax.adam(0.1),
      'momentum': 0.75,
      'reset_every': 2,
      'tortoise_dtype': 'float32',
    },
    (),
  ),
  'soft restarts': (
    ht_rl.hare_tortoise,
    {
      'inner': optax.adam(0.1),
      'momentum': 0.75,
      'reset_every': 2,
      'reset_strength': 0.5,
    },
    (),
  ),
  'elastic_reset': (
    ht_rl.elastic_reset,
    {
      'inner': optax.adam(0.1),
      'momentum': 0.75,
      'reset_every': 2,
      'return_strength': 0.5,
    },
    (),
  ),
  'shrink_and_perturb': (
    ht_rl.shrink_and_perturb,
    {
      'inner': optax.adam(0.1),
      'init': fresh,
      'keep': 0.75,
      'reset_every': 2,
      'key': 5,
    },
    ('init',),
  ),
  'keep nothing': (
    ht_rl.shrink_and_perturb,
    {
      'inner': optax.adam(0.1),
      'init': fresh,
      'keep': 0.0,
      'reset_every': 2,
      'key': jax.random.key(5),
    },
    ('init',),
  ),
  'reset_subtree': (
    ht_rl.reset_subtree,
    {
      'inner': optax.adam(0.1),
      'init': fresh,
      'reset_mask': lambda params: {'w': False, 'b': True},
      'reset_every': 2,
    },
    ('init', 'reset_mask'),
  ),
  'regenerate': (ht_rl.regenerate, {'strength': 0.25}, ()),
  'parseval': (ht_rl.parseval, {'strength': 0.25, 'scale': 2.0}, ()),
  'fire': (
    ht_rl.fire,
    {'inner': optax.adam(0.1), 'reset_every': 2, 'iterations': 5},
    ('iterations',),
  ),
  'redo': (
    ht_rl.redo,
    {**UNITS, 'threshold': 0.5, 'reset_every': 2},
    ('init',),
  ),
  'self_normalized_resets': (
    ht_rl.self_normalized_resets,
    {**UNITS, 'rejection': 0.25, 'max_interval': 2, 'refresh_every': 2},
    ('init', 'max_interval'),
  ),
  'continual_backprop': (
    ht_rl.continual_backprop,
    {**UNITS, 'replacement_rate': 0.25, 'maturity': 0, 'decay': 0.5},
    ('init',),
  ),
}


@pytest.mark.parametrize('case', INJECTED.values(), ids=INJECTED)
def test_inside_inject_hyperparams_it_is_the_same(case):
  factory, arguments, static = case

  def train(optimizer):
    @jax.jit
    def step(params, state):
      updates, state = optimizer.update(
        params, state, params, activations=activations
      )
      return optax.apply_updates(params, updates), state

    activations = {'layer': jnp.array([[0.0, 1.0, 2.0]])}
    optimizer = optax.with_extra_args_support(optimizer)
    params, state = PARAMS, jax.jit(optimizer.init)(PARAMS)
    for _ in range(3):
      params, state = step(params, state)
    assert step._cache_size() == 1
    return params, state

  expected, expected_state = train(factory(**arguments))
  injected = optax.inject_hyperparams(factory, static)(**arguments)
  params, state = train(injected)
  # The numbers are arrays there: other contractions in XLA, no other numbers.
  assert_close(params, expected)
  assert_close(state.inner_state, expected_state)


@pytest.mark.parametrize('dtype', ['float16', 'bfloat16', 'float64'])
def test_updates_keep_their_dtype_and_the_state_its_types(
  make_optimizer, dtype
):
  with jax.enable_x64(dtype == 'float64'):
    params = optax.tree.cast(PARAMS, dtype)
    optimizer = make_optimizer(optax.adam(0.1), params, 2)
    state = optimizer.init(params)

    @jax.jit
    def step(params, state, skip):
      # cond demands that both branches have the same types.
      updates, state = jax.lax.cond(
        skip,
        lambda: (params, state),
        lambda: optimizer.update(params, state, params),
      )
      return optax.apply_updates(params, updates), state

    for skip in (False, False, True):
      params, state = step(params, state, skip)
      assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype(dtype)}


def test_multi_steps_accumulates_a_batch_and_then_steps(make_optimizer):
  params = optax.tree.cast(PARAMS, jnp.bfloat16)
  alone = make_optimizer(optax.sgd(0.1), params, 1)
  optimizer = optax.MultiSteps(alone, every_k_schedule=2)
  update = jax.jit(optimizer.update)
  state = optimizer.init(params)
  updates, state = update(params, state, params)
  assert_equal(updates, jax.tree.map(jnp.zeros_like, params))
  # The mean of a gradient and itself: exactly what one step is given alone.
  updates, state = update(params, state, params)
  expected, _ = jax.jit(alone.update)(params, alone.init(params), params)
  assert_equal(updates, expected)


def test_tree_map_params_reaches_all_that_is_like_the_parameters(
  make_optimizer,
):
  optimizer = make_optimizer(optax.adam(0.1), PARAMS, 2)
  state = optimizer.init(PARAMS)
  doubled = optax.tree.map_params(optimizer, lambda x: x * 2 + 1, state)

  def check(path, new, old):
    of_units = {'.utility', '.owed'} & set(map(str, path))
    other = old.dtype == jnp.int32 or of_units
    np.testing.assert_array_equal(new, old if other else old * 2 + 1)

  jax.tree_util.tree_map_with_path(check, doubled, state)


def assert_equal(actual, expected):
  assert jax.tree.structure(actual) == jax.tree.structure(expected)
  jax.tree.map(np.testing.assert_array_equal, actual, expected)


def assert_close(actual, expected):
  # Equal but for some float32 roundings (1.2e-7) of weights below 4.
  assert jax.tree.structure(actual) == jax.tree.structure(expected)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=2e-6),
    actual,
    expected,
  )
