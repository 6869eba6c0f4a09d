"""Hare & Tortoise inside and around other transformations, and its getters."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ht_rl

HARE = {'w': jnp.linspace(-1, 1, 6).reshape(2, 3), 'b': jnp.ones(3)}


def gradients(steps):
  keys = jax.random.split(jax.random.key(0), steps)
  return [optax.tree.random_like(key, HARE) for key in keys]


def train(optimizer, hare, gradients, update=None):
  update = update or optimizer.update
  state = optimizer.init(hare)
  for gradient in gradients:
    updates, state = update(gradient, state, hare)
    hare = optax.apply_updates(hare, updates)
  return hare, state


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


def differs(a, b):
  return all(
    (x != y).any()
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  )


RULE = {'momentum': 0.8, 'reset_every': 3}
OPTIMIZER = ht_rl.hare_tortoise(optax.adam(0.1), **RULE)


# --- chain --------------------------------------------------------------------


def test_inside_a_chain_after_what_changes_gradients():
  clip = optax.clip_by_global_norm(0.5)
  outside = ht_rl.hare_tortoise(optax.chain(clip, optax.adam(0.1)), **RULE)
  inside = optax.chain(clip, OPTIMIZER)
  hare, state = train(inside, HARE, gradients(6))
  slow = ht_rl.tortoise_params(state)
  assert_equal((hare, slow), (hare, hare))
  expected, expected_state = train(outside, HARE, gradients(6))
  assert_equal((hare, slow), (expected, expected_state.tortoise))


@pytest.mark.parametrize(
  'later', [optax.scale(0.5), optax.add_decayed_weights(-0.1)]
)
def test_whatever_changes_its_updates_parts_hare_and_tortoise(later):
  # This is what the warning in its documentation is about.
  hare, state = train(optax.chain(OPTIMIZER, later), HARE, gradients(3))
  assert differs(hare, ht_rl.tortoise_params(state))


# --- MultiSteps ---------------------------------------------------------------


def test_inside_multi_steps_an_update_is_a_whole_batch():
  optimizer = optax.MultiSteps(OPTIMIZER, every_k_schedule=2)
  batches = gradients(12)
  means = [
    jax.tree.map(lambda x, y: (x + y) / 2, *batches[i : i + 2])
    for i in range(0, 12, 2)
  ]
  update = jax.jit(optimizer.update)
  hare, state = train(optimizer, HARE, batches, update)
  slow = ht_rl.tortoise_params(state)
  assert_equal(hare, slow)
  expected, expected_state = train(OPTIMIZER, HARE, means)
  assert_close((hare, slow), (expected, expected_state.tortoise))
  # In the middle of a batch nothing moves.
  middle_hare, middle_state = train(optimizer, HARE, batches[:11], update)
  before_hare, before_state = train(optimizer, HARE, batches[:10], update)
  assert_equal(middle_hare, before_hare)
  assert_equal(*map(ht_rl.tortoise_params, (middle_state, before_state)))


def test_around_multi_steps_every_micro_batch_counts():
  optimizer = ht_rl.hare_tortoise(
    optax.MultiSteps(optax.sgd(0.5), every_k_schedule=2),
    momentum=0.5,
    reset_every=3,
  )
  hare = jnp.array([8.0])
  state = optimizer.init(hare)
  seen = []
  for _ in range(4):
    updates, state = optimizer.update(jnp.array([4.0]), state, hare)
    hare = optax.apply_updates(hare, updates)
    seen.append((float(hare[0]), float(state.tortoise[0])))
  # 8; 8 - 2 = 6, mean 7; mean 6.5, restart; 6.5 - 2 = 4.5, mean 5.5.
  assert seen == [(8, 8), (6, 7), (6.5, 6.5), (4.5, 5.5)]


# --- inject_hyperparams -------------------------------------------------------


def test_injected_numbers_change_without_a_trace():
  injected = optax.inject_hyperparams(ht_rl.hare_tortoise)(
    optax.identity(), momentum=0.5, reset_every=100
  )
  traces = []

  @jax.jit
  def update(updates, state, hare):
    traces.append(None)
    return injected.update(updates, state, hare)

  hare = jnp.zeros([])
  state = injected.init(hare)
  seen = []
  for t in range(1, 5):
    if t == 3:
      state.hyperparams['momentum'] = jnp.float32(0.75)
    if t == 4:
      state.hyperparams['reset_every'] -= 96
    updates, state = update(jnp.array(4.0), state, hare)
    hare = optax.apply_updates(hare, updates)
    seen.append((float(hare), float(ht_rl.tortoise_params(state))))
  # Means 4 / 2 = 2, (2 + 8) / 2 = 5, (15 + 12) / 4, (20.25 + 16) / 4: restart.
  assert seen == [(4, 2), (8, 5), (12, 6.75), (9.0625, 9.0625)]
  assert len(traces) == 1


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_injected_restarts_leave_both_equal(dtype):
  rng = np.random.default_rng(0)
  hare = jnp.asarray(rng.normal(size=1000), dtype)
  gradient = jnp.asarray(rng.normal(size=1000), dtype)
  injected = optax.inject_hyperparams(
    ht_rl.hare_tortoise, hyperparam_dtype=jnp.float32
  )(optax.adam(0.01), momentum=0.9, reset_every=3)
  state = injected.init(hare)
  update = jax.jit(injected.update)
  for t in range(1, 7):
    updates, state = update(gradient, state, hare)
    hare = optax.apply_updates(hare, updates)
    distance = jnp.abs(ht_rl.tortoise_params(state) - hare)
    # A narrower hare has the tortoise rounded, and rounds its way there.
    rounding = 0 if dtype == 'float32' else 2**-7 * (jnp.abs(hare) + 0.01)
    assert (distance <= rounding).all() == (t % 3 == 0)
  # Half of the way only.
  state.hyperparams['reset_strength'] = jnp.float32(0.5)
  for _ in range(3):
    updates, state = update(gradient, state, hare)
    hare = optax.apply_updates(hare, updates)
  assert not (ht_rl.tortoise_params(state) == hare.astype(jnp.float32)).all()


def test_inject_hyperparams_gives_schedules_and_keeps_static_arguments():
  schedule = optax.linear_schedule(0.5, 0.9, 4)
  rule = {
    'reset_every': lambda t: t == 3,
    'reset_mask': lambda params: {'w': True, 'b': False},
  }
  injected = optax.inject_hyperparams(
    ht_rl.hare_tortoise, static_args=('reset_every', 'reset_mask')
  )(optax.sgd(0.1), momentum=schedule, **rule)
  direct = ht_rl.hare_tortoise(optax.sgd(0.1), momentum=schedule, **rule)
  hare, state = train(injected, HARE, gradients(5))
  expected, expected_state = train(direct, HARE, gradients(5))
  assert_close(hare, expected)
  assert_close(state.inner_state, expected_state)


def test_injected_numbers_out_of_range_are_named_outside_jit():
  injected = optax.inject_hyperparams(ht_rl.hare_tortoise)(
    optax.sgd(0.1), **RULE
  )
  for name, value in (('momentum', 1.5), ('reset_every', 0)):
    state = injected.init(HARE)
    state.hyperparams[name] = jnp.array(value)
    with pytest.raises(ValueError, match=f'^{name} must be'):
      injected.update(HARE, state, HARE)
  # A type is known even inside jit.
  state.hyperparams['reset_every'] = jnp.array(3.0)
  with pytest.raises(ValueError, match=r'^reset_every must be'):
    jax.jit(injected.update)(HARE, state, HARE)


def test_around_inject_hyperparams():
  inner = optax.inject_hyperparams(optax.sgd)(learning_rate=0.5)
  optimizer = ht_rl.hare_tortoise(inner, momentum=0.5)
  state = optimizer.init(jnp.array(8.0))
  state.inner_state.hyperparams['learning_rate'] = jnp.array(0.25)
  updates, state = optimizer.update(jnp.array(8.0), state, jnp.array(8.0))
  assert updates == -2
  assert state.tortoise == 7


# --- masked, partition, apply_if_finite ---------------------------------------


def test_inside_masked_the_tortoise_has_only_what_it_trains():
  mask = {'w': True, 'b': False}
  hare, state = train(optax.masked(OPTIMIZER, mask), HARE, gradients(3))
  slow = ht_rl.tortoise_params(state)
  assert slow['b'] == optax.MaskedNode()
  np.testing.assert_array_equal(hare['w'], slow['w'])
  only_w = [{'w': gradient['w']} for gradient in gradients(3)]
  expected, _ = train(OPTIMIZER, {'w': HARE['w']}, only_w)
  np.testing.assert_array_equal(hare['w'], expected['w'])


def test_around_masked_everything_averages():
  inner = optax.masked(optax.sgd(0.1), {'w': True, 'b': False})
  optimizer = ht_rl.hare_tortoise(inner, momentum=0.8)
  _, state = train(optimizer, HARE, gradients(1))
  g = gradients(1)[0]
  # optax.masked passes the gradients that it does not mask on as they are.
  expected = {'w': HARE['w'] - 0.02 * g['w'], 'b': HARE['b'] + 0.2 * g['b']}
  assert_close(state.tortoise, expected)


def test_apply_if_finite_around_it_protects_the_tortoise():
  optimizer = optax.apply_if_finite(OPTIMIZER, max_consecutive_errors=3)
  good = gradients(2)
  bad = jax.tree.map(lambda x: x * jnp.nan, good[0])
  hare, state = train(
    optimizer, HARE, [good[0], bad, good[1]], jax.jit(optimizer.update)
  )
  expected, expected_state = train(OPTIMIZER, HARE, good)
  assert_close(hare, expected)
  assert_close(ht_rl.tortoise_params(state), expected_state.tortoise)


# --- re-initialisation --------------------------------------------------------


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('compiled', ['update', 'step'])
def test_inside_a_re_initialisation_the_tortoise_is_the_new_hare_to_the_bit(
  compiled, dtype
):
  rng = np.random.default_rng(2)
  exponents = rng.uniform(-20, 1, size=1031)
  params = jnp.asarray(rng.normal(size=1031) * 10**exponents, dtype)
  optimizer = ht_rl.shrink_and_perturb(
    ht_rl.hare_tortoise(optax.adam(0.01), momentum=0.9, reset_every=100),
    lambda key: jax.random.normal(key, (1031,)),
    keep=0.75,
    reset_every=2,
  )
  update = jax.jit(optimizer.update)

  def step(params, state, gradient):
    updates, state = update(gradient, state, params)
    return optax.apply_updates(params, updates), state

  if compiled == 'step':
    step = jax.jit(step)
  state = optimizer.init(params)
  for t in range(1, 5):
    gradient = jnp.asarray(rng.normal(size=1031), dtype)
    params, state = step(params, state, gradient)
    tortoise = ht_rl.tortoise_params(state)
    assert tortoise.dtype == jnp.float32
    equal = np.asarray(tortoise).view('u4') == np.asarray(
      params.astype(jnp.float32)
    ).view('u4')
    assert equal.all() if t % 2 == 0 else np.mean(equal) < 0.1


# --- tortoise_params and replace_tortoise -------------------------------------

NESTINGS = {
  'bare': lambda o: o,
  'chain': lambda o: optax.chain(optax.clip(1.0), optax.chain(o)),
  'multi_steps': lambda o: optax.MultiSteps(o, 2),
  'masked': lambda o: optax.masked(o, True),
  'named_chain': lambda o: optax.named_chain(
    ('clip', optax.clip(1.0)), ('ht', o)
  ),
  'partition': lambda o: optax.partition({'all': o}, 'all'),
  'apply_if_finite': lambda o: optax.apply_if_finite(o, 1),
}


@pytest.mark.parametrize('nest', NESTINGS.values(), ids=NESTINGS)
def test_getters_see_through_any_nesting(nest):
  state = nest(OPTIMIZER).init(HARE)
  assert_equal(ht_rl.tortoise_params(state), HARE)
  assert_equal(ht_rl.tortoise_params({'agent': [state, None, 3]}), HARE)
  other = jax.tree.map(lambda x: x + 1, HARE)
  new = ht_rl.replace_tortoise(state, other)
  assert_equal(ht_rl.tortoise_params(new), other)
  # Everything else is as it was, and so is the old state.
  assert_equal(ht_rl.replace_tortoise(new, HARE), state)
  assert_equal(ht_rl.tortoise_params(state), HARE)


def test_getter_takes_the_one_inside_a_wrapper_that_keeps_parameters():
  state = optax.lookahead(OPTIMIZER, 5, 0.5).init(
    optax.LookaheadParams.init_synced(HARE)
  )
  assert_equal(ht_rl.tortoise_params(state), HARE)


@pytest.mark.parametrize(
  'optimizer',
  [
    optax.adam(0.1),
    optax.chain(OPTIMIZER, OPTIMIZER),
    ht_rl.hare_tortoise(OPTIMIZER, momentum=0.5),
    ht_rl.hare_tortoise(optax.chain(OPTIMIZER), momentum=0.5),
    optax.partition({'x': OPTIMIZER, 'y': OPTIMIZER}, {'w': 'x', 'b': 'y'}),
  ],
)
def test_getters_refuse_none_and_several(optimizer):
  state = optimizer.init(HARE)
  with pytest.raises(
    ValueError, match=r'exactly one HareTortoiseState.*, not [02]'
  ):
    ht_rl.tortoise_params(state)
  with pytest.raises(
    ValueError, match=r'exactly one HareTortoiseState.*, not [02]'
  ):
    ht_rl.replace_tortoise(state, HARE)


def test_replace_tortoise_copies_and_casts():
  hare = optax.tree.cast(HARE, jnp.bfloat16)
  state = OPTIMIZER.init(hare)
  new = ht_rl.replace_tortoise(state, hare)
  assert new.tortoise['w'].dtype == jnp.float32
  source = jax.tree.map(lambda x: x + 1, HARE)
  new = ht_rl.replace_tortoise(state, source)
  assert_equal(new.tortoise, source)

  def buffers(tree):
    return {x.unsafe_buffer_pointer() for x in jax.tree.leaves(tree)}

  assert not buffers(new.tortoise) & buffers(source)
  plain = ht_rl.replace_tortoise(state, jax.tree.map(np.asarray, source))
  assert_equal(plain.tortoise, source)
  assert isinstance(plain.tortoise['w'], jax.Array)


@pytest.mark.parametrize(
  ('tortoise', 'message'),
  [
    ({'w': HARE['w']}, r'^tortoise must have the structure'),
    ({**HARE, 'c': HARE['b']}, r'^tortoise must have the structure'),
    ([HARE['b'], HARE['w']], r'^tortoise must have the structure'),
    (
      {**HARE, 'b': jnp.ones(4)},
      r"^tortoise\['b'\] must have the shape .*\(3,\), not \(4,\)",
    ),
  ],
)
def test_replace_tortoise_names_what_does_not_fit(tortoise, message):
  with pytest.raises(ValueError, match=message):
    ht_rl.replace_tortoise(OPTIMIZER.init(HARE), tortoise)
