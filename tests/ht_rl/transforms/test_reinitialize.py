"""The re-initialisations: their numbers, options, compositions, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ht_rl

# Much is compiled here, and little is computed.
pytestmark = pytest.mark.usefixtures('compile_fast')

PARAMS = {
  'body': {'w': jnp.linspace(-1, 1, 6).reshape(2, 3), 'b': jnp.zeros(3)},
  'head': {'w': jnp.ones((3, 2))},
}


def draw(key):
  return optax.tree.random_like(key, PARAMS)


def gradients(steps):
  keys = jax.random.split(jax.random.key(0), steps)
  return [optax.tree.random_like(key, PARAMS) for key in keys]


def run(optimizer, params, gradients):
  """Trains on given gradients; returns all parameters and all states."""
  update = jax.jit(optimizer.update)
  trajectory = [(params, optimizer.init(params))]
  for gradient in gradients:
    params, state = trajectory[-1]
    updates, state = update(gradient, state, params)
    trajectory.append((optax.apply_updates(params, updates), state))
  return tuple(map(list, zip(*trajectory, strict=True)))


def assert_equal(actual, expected):
  assert jax.tree.structure(actual) == jax.tree.structure(expected)
  jax.tree.map(np.testing.assert_array_equal, actual, expected)


def assert_close(actual, expected):
  # p + (m - p) is m but for some float32 roundings of numbers below 4.
  assert jax.tree.structure(actual) == jax.tree.structure(expected)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-6),
    actual,
    expected,
  )


def shrink_and_perturb(inner=None, init=draw, **rule):
  rule = {'keep': 0.75, 'reset_every': 3, **rule}
  return ht_rl.shrink_and_perturb(inner or optax.sgd(0.1), init, **rule)


# --- against a loop in float64, written by hand -------------------------------

STEPS = 1000
TARGET = {'w': np.linspace(-1, 1, 6).reshape(3, 2), 'b': np.array([3.0, -2.0])}
START = {'w': np.ones((3, 2)), 'b': np.zeros(2)}


def noise():
  rng = np.random.default_rng(0)
  return {k: rng.normal(size=(STEPS, *v.shape)) for k, v in TARGET.items()}


def fresh_like_start(key):
  # Eighths, which are the same numbers in any dtype and however compiled.
  keys = dict(zip(START, jax.random.split(key), strict=True))
  return {
    k: jax.random.randint(keys[k], v.shape, -20, 20, jnp.int32) / 8
    for k, v in START.items()
  }


def by_hand(keep, due, seed, renews):
  """Trains towards TARGET by Adam on noisy gradients, one parameter a time."""
  fresh = {
    t: fresh_like_start(jax.random.fold_in(jax.random.key(seed), t))
    for t in range(1, STEPS + 1)
    if due(t)
  }
  assert len(fresh) > 3
  trajectories = {}
  for name, noises in noise().items():
    x = START[name]
    m = v = np.zeros_like(x)
    since = 0
    trajectory = []
    for t in range(1, STEPS + 1):
      g = x - TARGET[name] + noises[t - 1]
      since += 1
      m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
      step = m / (1 - 0.9**since) / (np.sqrt(v / (1 - 0.999**since)) + 1e-8)
      x = x - 0.01 * step
      if due(t):
        new = np.asarray(fresh[t][name], np.float64)
        x = keep[name] * x + (1 - keep[name]) * new
        if renews:
          m = v = np.zeros_like(x)
          since = 0
      trajectory.append(x)
    trajectories[name] = np.array(trajectory)
  return trajectories


def by_transform(optimizer, dtype):
  def step(carry, noises):
    params, state = carry
    gradient = jax.tree.map(lambda x, y, n: x - y + n, params, target, noises)
    updates, state = optimizer.update(gradient, state, params)
    params = optax.apply_updates(params, updates)
    return (params, state), params

  start, target, noises = jax.tree.map(
    lambda x: jnp.asarray(x, dtype), (START, TARGET, noise())
  )
  scan = jax.jit(lambda *carry: jax.lax.scan(step, carry, noises)[1])
  return scan(start, optimizer.init(start))


# Some hundred roundings of numbers below 4: by 2e-16 or by 1e-7 each.
@pytest.mark.parametrize(
  ('dtype', 'tolerance'), [('float64', 1e-13), ('float32', 3e-5)]
)
@pytest.mark.parametrize('case', ['all', 'groups', 'subtree'])
def test_equals_a_loop_by_hand_over_many_resets(case, dtype, tolerance):
  if case == 'all':
    optimizer = ht_rl.shrink_and_perturb(
      optax.adam(0.01), fresh_like_start, keep=0.75, reset_every=130
    )
    expected = by_hand(
      {'w': 0.75, 'b': 0.75}, lambda t: t % 130 == 0, 0, renews=True
    )
  elif case == 'groups':
    optimizer = ht_rl.shrink_and_perturb(
      optax.adam(0.01),
      fresh_like_start,
      keep={'w': 0.5, 'b': 0.0},
      reset_every=lambda t: (t % 100 == 50) & (t < 700),
      key=jax.random.key(7),
      reset_inner_state=False,
    )
    expected = by_hand(
      {'w': 0.5, 'b': 0.0},
      lambda t: t % 100 == 50 and t < 700,
      7,
      renews=False,
    )
  else:
    optimizer = ht_rl.reset_subtree(
      optax.adam(0.01),
      fresh_like_start,
      reset_mask={'w': False, 'b': True},
      reset_every=130,
      key=7,
    )
    expected = by_hand(
      {'w': 1.0, 'b': 0.0}, lambda t: t % 130 == 0, 7, renews=True
    )
  with jax.enable_x64(dtype == 'float64'):
    actual = by_transform(optimizer, dtype)
    for name in TARGET:
      assert actual[name].dtype == dtype
      np.testing.assert_allclose(
        actual[name], expected[name], rtol=0, atol=tolerance
      )


# --- the reset ----------------------------------------------------------------


def test_between_resets_the_updates_are_those_of_the_inner_transformation():
  optimizer = shrink_and_perturb(optax.identity(), reset_every=4)
  params, states = run(optimizer, PARAMS, gradients(3))
  expected, _ = run(optax.identity(), PARAMS, gradients(3))
  assert_equal(params, expected)
  assert [int(state.count) for state in states] == [0, 1, 2, 3]


def test_reset_every_a_predicate_of_the_number_of_updates_done():
  seen = []

  def predicate(count):
    seen.append((int(count), count.dtype))
    return (count == 2) | (count == 5)

  optimizer = shrink_and_perturb(
    optax.identity(), lambda key: jnp.zeros(2), reset_every=predicate, keep=0.5
  )
  params, state = jnp.zeros(2), optimizer.init(jnp.zeros(2))
  values = []
  for _ in range(6):
    updates, state = optimizer.update(jnp.full(2, 2.0), state, params)
    params = optax.apply_updates(params, updates)
    values.append(float(params[0]))
  assert values == [2, 2, 4, 6, 4, 6]
  assert set(seen) == {(t, np.dtype('int32')) for t in range(1, 7)}


def test_each_reset_and_each_key_draws_other_weights():
  def weights(**arguments):
    optimizer = shrink_and_perturb(keep=0.0, reset_every=1, **arguments)
    return run(optimizer, PARAMS, gradients(2))[0][1:]

  drawn = {0: weights(), 3: weights(key=3)}
  for key, params in drawn.items():
    for t in (1, 2):
      fresh = draw(jax.random.fold_in(jax.random.key(key), t))
      assert_close(params[t - 1], fresh)
  seen = {float(x['head']['w'][0, 0]) for p in drawn.values() for x in p}
  assert len(seen) == 4
  assert_equal(weights(key=jax.random.key(3)), drawn[3])


KEEPS = {
  'number': (0.75, {'body': 0.75, 'head': 0.75}),
  'zero': (0, {'body': 0.0, 'head': 0.0}),
  'one': (1, {'body': 1.0, 'head': 1.0}),
  'prefix': ({'body': 0.5, 'head': 0}, {'body': 0.5, 'head': 0.0}),
  'full': (
    {'body': {'w': 0.25, 'b': 0.25}, 'head': {'w': np.float32(1)}},
    {'body': 0.25, 'head': 1.0},
  ),
  'arrays': (
    {'body': jnp.array(0.5), 'head': jnp.array(1.0)},
    {'body': 0.5, 'head': 1.0},
  ),
  'function': (
    lambda params: {'body': 1.0, 'head': 0.5 * len(params['head'])},
    {'body': 1.0, 'head': 0.5},
  ),
}


@pytest.mark.parametrize('case', KEEPS.values(), ids=KEEPS)
def test_keep_is_the_fraction_of_the_trained_weights(case):
  keep, fractions = case
  optimizer = shrink_and_perturb(keep=keep, reset_every=1)
  (_, params), _ = run(optimizer, PARAMS, gradients(1))
  (_, trained), _ = run(optax.sgd(0.1), PARAMS, gradients(1))
  fresh = draw(jax.random.fold_in(jax.random.key(0), 1))
  for group, fraction in fractions.items():
    expected = jax.tree.map(
      lambda h, f, k=fraction: k * np.float64(h) + (1 - k) * np.float64(f),
      trained[group],
      fresh[group],
    )
    assert_close(params[group], expected)
    if fraction == 1:
      assert_equal(params[group], trained[group])


MASKS = {
  'full': {'body': {'w': False, 'b': False}, 'head': {'w': True}},
  'prefix': {'body': False, 'head': np.True_},
  'function': lambda params: {'body': False, 'head': 'w' in params['head']},
}


@pytest.mark.parametrize('mask', MASKS.values(), ids=MASKS)
def test_reset_mask_names_what_starts_anew(mask):
  optimizer = ht_rl.reset_subtree(
    optax.sgd(0.1), draw, reset_mask=mask, reset_every=2, key=4
  )
  params, _ = run(optimizer, PARAMS, gradients(3))
  trained, _ = run(optax.sgd(0.1), PARAMS, gradients(3))
  for t in range(4):
    assert_equal(params[t]['body'], trained[t]['body'])
  assert_equal(params[1], trained[1])
  fresh = draw(jax.random.fold_in(jax.random.key(4), 2))['head']
  assert_close(params[2]['head'], fresh)
  step = jax.tree.map(lambda f, g: f - 0.1 * g, fresh, gradients(3)[2]['head'])
  assert_close(params[3]['head'], step)


@pytest.mark.parametrize('make', [shrink_and_perturb, ht_rl.reset_subtree])
def test_reset_inner_state_makes_the_optimizer_new_all_of_it(make):
  rule = {'reset_every': 3}
  if make is ht_rl.reset_subtree:
    rule['reset_mask'] = {'body': False, 'head': True}
  inner = optax.adam(0.1)
  params, states = run(make(inner, draw, **rule), PARAMS, gradients(4))
  assert [int(s.inner_state[0].count) for s in states] == [0, 1, 2, 0, 1]
  assert_equal(states[3].inner_state, inner.init(params[3]))
  # The count of the rule itself goes on.
  assert states[4].count == 4
  (_, expected), _ = run(inner, params[3], gradients(4)[3:])
  assert_equal(params[4], expected)

  kept, states = run(
    make(inner, draw, reset_inner_state=False, **rule), PARAMS, gradients(4)
  )
  assert_equal(kept[3], params[3])
  assert [int(s.inner_state[0].count) for s in states] == [0, 1, 2, 3, 4]
  _, alone = run(inner, PARAMS, gradients(4))
  assert_equal([s.inner_state for s in states], alone)


def test_an_inner_state_that_updates_have_widened_starts_anew_as_wide():
  # Of these parameters dowg makes some scalars in bfloat16, then in float32.
  params = {'a': jnp.ones(2, jnp.bfloat16), 'b': jnp.ones(2)}
  inner = optax.contrib.dowg()
  optimizer = shrink_and_perturb(inner, lambda key: params, reset_every=2)
  state = optimizer.init(params)
  dtypes = []
  for _ in range(2):
    _, state = optimizer.update(params, state, params)
    dtypes.append([x.dtype for x in jax.tree.leaves(state)])
  assert dtypes[0] == dtypes[1]
  assert dtypes[0] != [x.dtype for x in jax.tree.leaves(optimizer.init(params))]


def test_nothing_that_is_not_finite_survives_a_reset():
  def nan_once(updates, state, params=None):
    del params
    nan = jnp.where(state == 1, jnp.nan, 0.0)
    return jax.tree.map(lambda u: u + nan, updates), state + 1

  breaking = optax.GradientTransformation(lambda params: jnp.array(0), nan_once)
  # zero_nans keeps the parameters finite, Adam's moments are NaN all the same.
  adam = optax.chain(breaking, optax.adam(0.1))
  for inner in (breaking, adam, optax.chain(adam, optax.zero_nans())):
    for keep in (0.0, {'body': 0.0, 'head': 0.0}):
      params, states = run(
        shrink_and_perturb(inner, keep=keep, reset_every=2),
        PARAMS,
        gradients(3),
      )
      assert_close(params[2], draw(jax.random.fold_in(jax.random.key(0), 2)))
      assert all(jnp.isfinite(x).all() for x in jax.tree.leaves(states[2:]))


@pytest.mark.parametrize(
  'dtype', ['bfloat16', 'float16', 'float64', 'complex64']
)
def test_dtypes(dtype):
  with jax.enable_x64(dtype == 'float64'):
    start = jnp.array([1, 2], dtype)
    optimizer = shrink_and_perturb(
      optax.identity(), lambda key: jnp.array([5.0, -6.0]), reset_every=2
    )
    params, _ = run(optimizer, start, [jnp.array([2, 4], dtype)] * 3)
    # 1 + 2 + 2 = 5: 0.75 * 5 + 0.25 * 5; 2 + 4 + 4 = 10: 7.5 - 1.5.
    expected = [[1, 2], [3, 6], [5, 6], [7, 10]]
    assert {x.dtype for x in params} == {jnp.dtype(dtype)}
    np.testing.assert_array_equal(np.array(params), expected)


def test_complex_weights_are_mixed_as_a_whole():
  optimizer = shrink_and_perturb(
    optax.identity(), lambda key: jnp.array([4.0 - 8.0j]), reset_every=1
  )
  params = jnp.array([2.0 + 4.0j])
  updates, _ = optimizer.update(params, optimizer.init(params), params)
  assert optax.apply_updates(params, updates) == 4.0 + 4.0j


def test_bfloat16_weights_are_mixed_in_float32():
  # Of 255 * 0.75 + 0.25, in bfloat16 each of the three would be rounded.
  rng = np.random.default_rng(3)
  params, fresh = jnp.asarray(rng.normal(size=(2, 1000)), jnp.bfloat16)
  optimizer = shrink_and_perturb(
    optax.identity(), lambda key: fresh, keep=0.3, reset_every=1
  )
  updates, _ = optimizer.update(
    jnp.zeros_like(params), optimizer.init(params), params
  )
  p, f = np.asarray(params, np.float64), np.asarray(fresh, np.float64)
  exact = 0.7 * (f - p)
  # Rounded once: by half a unit in the last place, of 8 bits.
  error = np.abs(np.asarray(updates, np.float64) - exact)
  assert (error <= 0.51 * 2.0**-7 * np.abs(exact) + 1e-6).all()


def test_leaves_that_are_left_alone():
  params = {
    'float': jnp.array([2.0]),
    'int': jnp.array([5, 7]),
    'bool': jnp.array(True),
    'none': None,
    'empty': jnp.zeros((0, 3)),
    'containers': ((), [], {}),
    'masked': optax.MaskedNode(),
  }
  steps = {
    **params,
    'float': jnp.array([4.0]),
    'int': jnp.array([1, 2]),
    'bool': jnp.array(False),
  }
  optimizer = shrink_and_perturb(
    optax.identity(), lambda key: params, keep=0.5, reset_every=1
  )
  for update in (optimizer.update, jax.jit(optimizer.update)):
    updates, _ = update(steps, optimizer.init(params), params)
    new = optax.apply_updates(params, updates)
    assert jax.tree.structure(new) == jax.tree.structure(params)
    assert new['float'] == 4  # (6 + 2) / 2
    np.testing.assert_array_equal(new['int'], [6, 9])
    assert new['int'].dtype == params['int'].dtype
    assert new['bool'].dtype == bool


def test_count_does_not_overflow():
  optimizer = shrink_and_perturb()
  largest = np.iinfo(np.int32).max
  state = optimizer.init(PARAMS)._replace(count=jnp.array(largest, jnp.int32))
  _, state = optimizer.update(PARAMS, state, PARAMS)
  assert state.count == largest


# --- who pays -----------------------------------------------------------------


@pytest.mark.parametrize('compiled', [False, True])
def test_only_a_reset_draws_and_only_the_first_update_traces(compiled):
  traced, drawn = [], []

  def init(key):
    traced.append(None)
    jax.debug.callback(lambda: drawn.append(None))
    return draw(key)

  optimizer = shrink_and_perturb(init=init, reset_every=3)
  update = jax.jit(optimizer.update) if compiled else optimizer.update
  state = optimizer.init(PARAMS)
  for _ in range(8):
    _, state = update(PARAMS, state, PARAMS)
  jax.effects_barrier()
  assert len(drawn) == 2
  assert len(traced) == 1


def test_under_vmap_with_a_common_count_only_a_reset_draws():
  def jaxpr(step, *arguments):
    # A cond stays one; with a predicate for each member it were a selection.
    return str(jax.make_jaxpr(jax.vmap(step))(*arguments))

  optimizer = shrink_and_perturb()
  params = jax.tree.map(lambda x: jnp.stack([x, x]), PARAMS)

  def train(params):
    state = optimizer.init(params)
    updates, state = optimizer.update(params, state, params)
    return optax.apply_updates(params, updates)

  assert 'cond' in jaxpr(train, params)
  state = jax.vmap(optimizer.init)(params)
  assert 'cond' not in jaxpr(optimizer.update, params, state, params)


def test_vmap_over_counts_resets_each_member_at_its_own_time():
  optimizer = shrink_and_perturb(
    optax.sgd(0.5), lambda key: jnp.zeros(2), keep=0.0, reset_every=3
  )
  params = jnp.ones((3, 2))
  state = jax.vmap(optimizer.init)(params)._replace(count=jnp.arange(3))
  updates, state = jax.vmap(optimizer.update)(params, state, params)
  assert (params + updates).tolist() == [[0.5, 0.5], [0.5, 0.5], [0, 0]]
  assert state.count.tolist() == [1, 2, 3]


def test_vmap_over_keys_draws_for_each_member():
  def train(key):
    optimizer = shrink_and_perturb(keep=0.0, reset_every=1, key=key)
    updates, _ = optimizer.update(PARAMS, optimizer.init(PARAMS), PARAMS)
    return optax.apply_updates(PARAMS, updates)

  keys = jax.random.split(jax.random.key(0), 3)
  together = jax.vmap(train)(keys)
  for i in range(3):
    assert_close(
      jax.tree.map(lambda x, i=i: x[i], together),
      draw(jax.random.fold_in(keys[i], 1)),
    )
  assert_close(
    jax.tree.map(lambda x: x[1], jax.vmap(train)(jnp.arange(3))), train(1)
  )


# --- what its documentation says ----------------------------------------------


def test_own_initial_weights_and_noise_as_documented():
  grads = gradients(3)
  (_, _, _, trained), _ = run(optax.sgd(0.1), PARAMS, grads)

  own = shrink_and_perturb(init=lambda key: PARAMS, keep=0.25)
  (_, _, _, params), _ = run(own, PARAMS, grads)
  expected = jax.tree.map(lambda h, p: 0.25 * h + 0.75 * p, trained, PARAMS)
  assert_close(params, expected)

  keep, sigma, start = 0.4, 0.01, jnp.zeros(100_000)
  noisy = shrink_and_perturb(
    optax.identity(),
    lambda key: optax.tree.scale(
      sigma / (1 - keep), optax.tree.random_like(key, start)
    ),
    keep=keep,
    reset_every=1,
  )
  (_, params), _ = run(noisy, start, [jnp.ones_like(start)])
  # 100,000 draws: their mean and deviation are known to a third of a percent.
  np.testing.assert_allclose(params.mean(), keep, rtol=0, atol=4 * sigma / 316)
  np.testing.assert_allclose(params.std(), sigma, rtol=0.01)


def test_around_hare_tortoise_the_tortoise_becomes_the_new_hare():
  hare_tortoise = ht_rl.hare_tortoise(
    optax.adam(0.1), momentum=0.5, reset_every=4
  )
  optimizer = shrink_and_perturb(hare_tortoise, reset_every=3)
  params, states = run(optimizer, PARAMS, gradients(8))
  # Re-initialised at 3 and 6, where the restart's interval begins anew.
  counts = [int(s.inner_state.count) for s in states]
  assert counts == [0, 1, 2, 0, 1, 2, 0, 1, 2]
  assert_equal(ht_rl.tortoise_params(states[3]), params[3])
  expected, expected_states = run(hare_tortoise, params[3], gradients(8)[3:5])
  assert_equal(params[4:6], expected[1:])
  assert_equal(
    [s.inner_state for s in states[4:6]],
    expected_states[1:],
  )

  kept = shrink_and_perturb(
    hare_tortoise, reset_every=3, reset_inner_state=False
  )
  params, states = run(kept, PARAMS, gradients(4))
  _, alone = run(hare_tortoise, PARAMS, gradients(3))
  assert_equal(ht_rl.tortoise_params(states[3]), alone[3].tortoise)
  # At 4 the tortoise has averaged the new hare, and the hare restarts from it.
  assert_equal(ht_rl.tortoise_params(states[4]), params[4])


def test_inside_hare_tortoise_the_next_restart_undoes_it_but_for_the_average():
  # 0, 8 (mean 4), mixed to 0 (mean 2), 8 (mean 5): restart.
  optimizer = ht_rl.hare_tortoise(
    shrink_and_perturb(
      optax.identity(), lambda key: jnp.zeros([]), keep=0.0, reset_every=2
    ),
    momentum=0.5,
    reset_every=3,
  )
  params, states = run(optimizer, jnp.array(0.0), [jnp.array(8.0)] * 3)
  assert [float(x) for x in params] == [0, 8, 0, 5]
  assert [float(ht_rl.tortoise_params(s)) for s in states] == [0, 4, 2, 5]


def test_partition_resets_a_part_and_keeps_the_state_of_the_others():
  adam = optax.adam(0.1)
  optimizer = optax.partition(
    {
      'body': adam,
      'head': ht_rl.reset_subtree(adam, draw, reset_mask=True, reset_every=2),
    },
    {'body': 'body', 'head': 'head'},
  )
  params, states = run(optimizer, PARAMS, gradients(3))
  trained, expected = run(adam, PARAMS, gradients(3))
  for t in range(4):
    assert_equal(params[t]['body'], trained[t]['body'])
  fresh = draw(jax.random.fold_in(jax.random.key(0), 2))
  assert_close(params[2]['head'], fresh['head'])
  inner = states[3].inner_states
  assert inner['body'].inner_state[0].count == 3
  head = inner['head'].inner_state.inner_state[0]
  assert head.count == 1
  assert_close(
    head.mu['head'], jax.tree.map(lambda g: 0.1 * g, gradients(3)[2]['head'])
  )
  assert_equal(
    inner['body'].inner_state[0].nu['body'], expected[3][0].nu['body']
  )


def test_a_whole_reset_of_a_part_avoids_long_steps_of_adam():
  # What the documentation says of zero moments under an old count.
  adam = optax.adam(1.0)
  state = adam.init(jnp.zeros([]))
  old = (state[0]._replace(count=jnp.array(100_000, jnp.int32)), *state[1:])
  steps = {}
  for name, current in (('new', state), ('old', old)):
    steps[name] = []
    for _ in range(30):
      update, current = adam.update(jnp.ones([]), current)
      steps[name].append(-float(update))
  np.testing.assert_allclose(steps['new'], 1, rtol=1e-4)
  assert 6 < max(steps['old']) < 7


def test_resets_at_both_levels_make_bbf_in_one_line():
  # Half of the encoder, nothing of the head; as one reset it is one draw.
  optimizer = shrink_and_perturb(keep={'body': 0.5, 'head': 0.0}, reset_every=2)
  params, _ = run(optimizer, PARAMS, gradients(2))
  trained, _ = run(optax.sgd(0.1), PARAMS, gradients(2))
  fresh = draw(jax.random.fold_in(jax.random.key(0), 2))
  half = jax.tree.map(
    lambda h, f: (h + f) / 2, trained[2]['body'], fresh['body']
  )
  assert_close(params[2], {'body': half, 'head': fresh['head']})


# --- errors -------------------------------------------------------------------


@pytest.mark.parametrize(
  ('argument', 'value', 'wanted'),
  [
    ('inner', None, 'an optax.GradientTransformation'),
    ('inner', optax.adam, 'an optax.GradientTransformation'),
    ('init', PARAMS, 'a function from a random key'),
    ('init', None, 'a function from a random key'),
    ('keep', -0.1, r'a number in \[0, 1\]'),
    ('keep', 1.5, r'a number in \[0, 1\]'),
    ('keep', float('nan'), r'a number in \[0, 1\]'),
    ('keep', True, r'a number in \[0, 1\]'),
    ('keep', '0.5', r'a number in \[0, 1\]'),
    ('keep', {'body': 0.5, 'head': 2.0}, r'a number in \[0, 1\]'),
    ('keep', {'body': 0.5, 'head': jnp.ones(2)}, r'a number in \[0, 1\]'),
    ('reset_every', 0, 'a positive integer'),
    ('reset_every', 2.0, 'a positive integer'),
    ('reset_every', True, 'a positive integer'),
    ('reset_every', None, 'a positive integer'),
    ('reset_inner_state', 1, 'True or False'),
    ('key', 'seed', 'a random key'),
    ('key', 0.5, 'a random key'),
    ('key', None, 'a random key'),
    ('key', jnp.zeros(3, jnp.uint32), 'a random key'),
  ],
)
def test_wrong_arguments_are_named(argument, value, wanted):
  arguments = {
    'inner': optax.sgd(0.1),
    'init': draw,
    'keep': 0.5,
    'reset_every': 2,
    argument: value,
  }
  with pytest.raises(ValueError, match=f'^{argument} must be {wanted}'):
    ht_rl.shrink_and_perturb(**arguments)
  if argument != 'keep':
    arguments['reset_mask'] = True
    del arguments['keep']
    with pytest.raises(ValueError, match=f'^{argument} must be {wanted}'):
      ht_rl.reset_subtree(**arguments)


@pytest.mark.parametrize(
  'keep',
  [
    {'body': 0.5},
    {'body': 0.5, 'head': 0.5, 'more': 0.5},
    [0.5, 0.5],
    None,
    lambda params: {'body': 0.5},
    lambda params: 2.0,
  ],
)
def test_a_keep_that_does_not_fit_is_named(keep):
  optimizer = shrink_and_perturb(keep=keep)
  with pytest.raises(ValueError, match=r'^keep must be a number in \[0, 1\]'):
    optimizer.update(PARAMS, optimizer.init(PARAMS), PARAMS)


@pytest.mark.parametrize(
  'mask', [{'body': True}, {'body': 1.0, 'head': True}, lambda params: params]
)
def test_a_mask_that_does_not_fit_is_named(mask):
  optimizer = ht_rl.reset_subtree(
    optax.sgd(0.1), draw, reset_mask=mask, reset_every=2
  )
  with pytest.raises(ValueError, match=r'^reset_mask must be a tree of bools'):
    optimizer.update(PARAMS, optimizer.init(PARAMS), PARAMS)


@pytest.mark.parametrize(
  ('init', 'message'),
  [
    (lambda key: None, r'^init\(key\) must have the structure of the param'),
    (
      lambda key: {'params': draw(key)},
      r'^init\(key\) must have the structure of the parameters',
    ),
    (
      lambda key: {**draw(key), 'head': {'w': jnp.ones((1, 2))}},
      r"^init\(key\)\['head'\]\['w'\] must have the shape .*\(3, 2\), "
      r'not \(1, 2\)',
    ),
  ],
)
@pytest.mark.parametrize('compile', [lambda f: f, jax.jit])
def test_fresh_weights_unlike_the_parameters_are_named_at_once(
  init, message, compile
):
  # At the first update, long before the reset.
  optimizer = shrink_and_perturb(init=init, reset_every=1000)
  with pytest.raises(ValueError, match=message):
    compile(optimizer.update)(PARAMS, optimizer.init(PARAMS), PARAMS)


@pytest.mark.parametrize(
  'optimizer',
  [
    shrink_and_perturb(),
    ht_rl.reset_subtree(optax.sgd(0.1), draw, reset_mask=True, reset_every=2),
  ],
)
def test_update_needs_the_parameters(optimizer):
  with pytest.raises(ValueError, match='`update` needs the parameters'):
    optimizer.update(PARAMS, optimizer.init(PARAMS))
