"""The rule of Hare & Tortoise: its numbers, its options, its errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ht_rl


def bits(x):
  """The bit patterns of an array: unlike ==, they tell -0 from 0."""
  x = np.asarray(x)
  return x.view(f'u{x.dtype.itemsize}')


def assert_same_bits(actual, expected):
  assert jax.tree.structure(actual) == jax.tree.structure(expected)
  for a, b in zip(
    jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True
  ):
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(bits(a), bits(b))


def run(optimizer, hare, gradients):
  """Trains on given gradients; returns all hares and all states, in lists."""
  state = optimizer.init(hare)
  hares, states = [hare], [state]
  for gradient in gradients:
    updates, state = optimizer.update(gradient, state, hare)
    hare = optax.apply_updates(hare, updates)
    hares.append(hare)
    states.append(state)
  return hares, states


def tortoises(states):
  return [ht_rl.tortoise_params(state) for state in states]


# --- against a loop in float64, written by hand -------------------------------

STEPS = 3000
TARGET = {'w': np.linspace(-1, 1, 6).reshape(3, 2), 'b': np.array([3.0, -2.0])}
START = {'w': np.ones((3, 2)), 'b': np.zeros(2)}


def noise():
  rng = np.random.default_rng(0)
  return {k: rng.normal(size=(STEPS, *v.shape)) for k, v in TARGET.items()}


def adam(t, g, m, v):
  m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
  step = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
  return -0.01 * step, m, v


def sgd(t, g, m, v):
  return -0.05 * g, m, v


def by_hand(rule, momentum, reset_every, update_every):
  """Trains towards TARGET on noisy gradients, one parameter at a time."""
  trajectories = {}
  for key, noises in noise().items():
    hare, tortoise = START[key], START[key]
    m = v = np.zeros_like(hare)
    hares, slow = [], []
    for t in range(1, STEPS + 1):
      update, m, v = rule(t, hare - TARGET[key] + noises[t - 1], m, v)
      hare = hare + update
      if t % update_every == 0:
        mu = momentum(t - 1)
        tortoise = mu * tortoise + (1 - mu) * hare
      if t % reset_every == 0:
        hare = tortoise
      hares.append(hare)
      slow.append(tortoise)
    trajectories[key] = np.array(hares), np.array(slow)
  return trajectories


def by_transform(optimizer, dtype):
  def step(carry, noises):
    hare, state = carry
    gradient = jax.tree.map(lambda h, y, n: h - y + n, hare, target, noises)
    updates, state = optimizer.update(gradient, state, hare)
    hare = optax.apply_updates(hare, updates)
    return (hare, state), (hare, ht_rl.tortoise_params(state))

  start, target, noises = jax.tree.map(
    lambda x: jnp.asarray(x, dtype), (START, TARGET, noise())
  )
  scan = jax.jit(lambda *carry: jax.lax.scan(step, carry, noises)[1])
  hares, slow = scan(start, optimizer.init(start))
  return {key: (hares[key], slow[key]) for key in TARGET}


# Some hundred roundings (an average of momentum 0.995 gathers 200) of numbers
# below 4 are in each weight: by 2e-16 in float64, by 1e-7 in float32.
@pytest.mark.parametrize(
  ('dtype', 'tolerance'), [('float64', 1e-13), ('float32', 3e-5)]
)
@pytest.mark.parametrize('case', ['adam', 'sgd_scheduled'])
def test_equals_a_loop_by_hand_over_thousands_of_steps(case, dtype, tolerance):
  if case == 'adam':
    optimizer = ht_rl.hare_tortoise(
      optax.adam(0.01), momentum=0.995, reset_every=700
    )
    expected = by_hand(adam, lambda t: 0.995, 700, 1)
  else:
    # These numbers are exact in float32, too.
    table = [0.5, 0.75, 0.875, 0.9375, 0.96875, 0.984375]
    optimizer = ht_rl.hare_tortoise(
      optax.sgd(0.05),
      momentum=lambda t: jnp.array(table)[t // 500],
      reset_every=500,
      update_every=3,
    )
    expected = by_hand(sgd, lambda t: table[t // 500], 500, 3)
  with jax.enable_x64(dtype == 'float64'):
    actual = by_transform(optimizer, dtype)
    for key in TARGET:
      for a, b in zip(actual[key], expected[key], strict=True):
        assert a.dtype == dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def test_without_restarts_it_is_an_exponential_moving_average():
  rng = np.random.default_rng(1)
  gradients = list(jnp.asarray(rng.normal(size=(50, 4)), jnp.float32))
  never = ht_rl.hare_tortoise(optax.sgd(0.1), momentum=0.9)
  too_late = ht_rl.hare_tortoise(optax.sgd(0.1), momentum=0.9, reset_every=51)
  hares, states = run(never, jnp.ones(4), gradients)

  mean = np.ones(4)
  hare = np.ones(4)
  for gradient in gradients:
    hare = hare - 0.1 * np.asarray(gradient, np.float64)
    mean = 0.9 * mean + 0.1 * hare
  np.testing.assert_allclose(hares[-1], hare, rtol=0, atol=2e-6)
  np.testing.assert_allclose(states[-1].tortoise, mean, rtol=0, atol=2e-6)

  late_hares, late_states = run(too_late, jnp.ones(4), gradients)
  assert_same_bits(late_hares, hares)
  assert_same_bits(tortoises(late_states), tortoises(states))


# --- the restart --------------------------------------------------------------


def assert_lands(hare, tortoise, before):
  """Asserts that a hare went from `before` to the rounded tortoise.

  Half a unit in the last place is lost of the tortoise, of its difference from
  the old weights, and of the sum.
  """
  info = jnp.finfo(hare.dtype)
  h, s, p = (np.asarray(x, np.float64) for x in (hare, tortoise, before))
  size = 2 * np.abs(s) + np.abs(s - p)
  bound = 0.51 * float(info.eps) * size + 2 * float(info.smallest_subnormal)
  # Adam makes NaN of the smallest gradients in float16.
  np.testing.assert_array_equal(np.isnan(h), np.isnan(s))
  assert not (np.abs(h - s) > bound).any()


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'float16'])
@pytest.mark.parametrize('reset_every', [1, 3])
@pytest.mark.parametrize('compiled', ['nothing', 'update', 'step'])
@pytest.mark.parametrize('inner', [optax.sgd(0.037), optax.adam(0.01)])
def test_restart_makes_both_equal(inner, compiled, reset_every, dtype):
  optimizer = ht_rl.hare_tortoise(inner, momentum=0.9, reset_every=reset_every)
  average = ht_rl.hare_tortoise(inner, momentum=0.9).update
  update = optimizer.update
  if compiled == 'update':
    update, average = jax.jit(update), jax.jit(average)

  def step(hare, state, gradient):
    updates, state = update(gradient, state, hare)
    return optax.apply_updates(hare, updates), state

  if compiled == 'step':
    step, average = jax.jit(step), jax.jit(average)
  rng = np.random.default_rng(2)
  exponents = rng.uniform(-7 if dtype == 'float16' else -20, 1, size=1031)
  hare = jnp.asarray(rng.normal(size=1031) * 10**exponents, dtype)
  state = optimizer.init(hare)
  for t in range(1, 7):
    before, gradient = hare, jnp.asarray(rng.normal(size=1031), dtype)
    updates, alone = average(gradient, state, hare)
    hare, state = step(hare, state, gradient)
    assert state.tortoise.dtype == jnp.float32
    if dtype == 'float32':
      if t % reset_every == 0:
        assert_same_bits(state.tortoise, hare)
      else:
        assert np.mean(bits(state.tortoise) != bits(hare)) > 0.9
      continue
    # A hare that is narrower does not round the tortoise. Where XLA may keep a
    # bfloat16 in float32 inside jit, a third of these numbers differ if the
    # updates are not rounded explicitly.
    assert_same_bits(state.tortoise, alone.tortoise)
    if t % reset_every == 0:
      assert_lands(hare, state.tortoise, before)
    elif (compiled, dtype) != ('step', 'float16'):
      # On a CPU that computes in float16, XLA fuses this sum with the product
      # before it, so the last bit may differ.
      assert_same_bits(hare, optax.apply_updates(before, updates))


@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
@pytest.mark.parametrize('compile', [lambda f: f, jax.jit])
def test_a_narrow_hare_with_wide_updates_is_the_tortoise_rounded(
  compile, dtype
):
  optimizer = ht_rl.hare_tortoise(optax.sgd(0.037), momentum=0.9, reset_every=1)
  rng = np.random.default_rng(4)
  hare, slow = (
    rng.normal(size=1031) * 10 ** rng.uniform(-2, 1, size=1031) for _ in 'hs'
  )
  hare = jnp.asarray(hare, dtype)
  state = ht_rl.replace_tortoise(optimizer.init(hare), slow)
  gradient = jnp.asarray(rng.normal(size=1031), jnp.float32)
  updates, state = compile(optimizer.update)(gradient, state, hare)
  assert updates.dtype == jnp.float32
  moved = np.asarray(optax.apply_updates(hare, updates), np.float64)
  p, s = (np.asarray(x, np.float64) for x in (hare, state.tortoise))
  # Many go much further than the size of the tortoise, so that a difference
  # that was rounded to their dtype would show.
  assert np.mean(abs(s - p) > 8 * abs(s)) > 0.1
  half = float(jnp.finfo(dtype).eps) / 2
  bound = half * abs(s) + 1e-6 * (abs(p) + abs(s))
  assert (abs(moved - s) <= bound).all()


@pytest.mark.parametrize('reset_every', [1, lambda t: True])
def test_restart_makes_both_equal_with_updates_narrower_than_parameters(
  reset_every,
):
  # p + (h - p) is then far from h, and what lands is the rounded sum.
  optimizer = ht_rl.hare_tortoise(
    optax.sgd(0.037), momentum=0.9, reset_every=reset_every
  )
  update = jax.jit(optimizer.update)
  hare = jax.random.normal(jax.random.key(8), (1031,))
  state = optimizer.init(hare)
  for t in range(1, 5):
    gradient = jax.random.normal(jax.random.key(t), (1031,), jnp.bfloat16)
    updates, state = update(gradient, state, hare)
    assert updates.dtype == jnp.bfloat16
    hare = optax.apply_updates(hare, updates)
    assert_same_bits(state.tortoise, hare)


def test_between_restarts_the_updates_are_those_of_the_inner_transformation():
  # Of 1e-9 on a weight of 1 nothing is left in h - p.
  optimizer = ht_rl.hare_tortoise(optax.identity(), momentum=0.9, reset_every=2)
  steps = jnp.array([1e-9, -1e-3, 7.0])
  updates, _ = optimizer.update(steps, optimizer.init(jnp.ones(3)), jnp.ones(3))
  assert_same_bits(updates, steps)


def test_restart_goes_to_the_average():
  # 8 - 4 = 4, mean 6; 4 - 2 = 2, mean 4; 2 - 1 = 1, mean 2.5: restart.
  optimizer = ht_rl.hare_tortoise(optax.sgd(0.5), momentum=0.5, reset_every=3)
  hare = jnp.array([8.0])
  state = optimizer.init(hare)
  seen = []
  for _ in range(4):
    updates, state = optimizer.update(hare, state, hare)
    hare = optax.apply_updates(hare, updates)
    seen.append((float(hare[0]), float(state.tortoise[0])))
  assert seen == [(4, 6), (2, 4), (2.5, 2.5), (1.25, 1.875)]


def test_reset_every_a_predicate_of_the_number_of_updates_done():
  gradients = [jnp.ones(3)] * 7
  seen = []

  def predicate(count):
    seen.append((int(count), count.dtype))
    return (count == 2) | (count == 5)

  optimizer = ht_rl.hare_tortoise(
    optax.sgd(0.1), momentum=0.9, reset_every=predicate
  )
  hares, states = run(optimizer, jnp.zeros(3), gradients)
  equal = [
    bool((hare == state.tortoise).all())
    for hare, state in zip(hares, states, strict=True)
  ]
  assert equal == [True, False, True, False, False, True, False, False]
  assert set(seen) == {(t, np.dtype('int32')) for t in range(1, 8)}


def test_reset_every_a_number_is_the_predicate_of_its_multiples():
  gradients = list(jax.random.normal(jax.random.key(0), (9, 3)))

  def make(reset_every):
    return ht_rl.hare_tortoise(
      optax.adam(0.1), momentum=0.9, reset_every=reset_every
    )

  assert_same_bits(
    run(make(4), jnp.zeros(3), gradients),
    run(make(lambda count: count % 4 == 0), jnp.zeros(3), gradients),
  )


MASKS = {
  'full': {'body': {'w': False, 'b': False}, 'head': {'w': True}},
  'prefix': {'body': False, 'head': True},
  'numpy': {'body': np.False_, 'head': np.True_},
  'function': lambda params: {
    'body': False,
    'head': params['body'] is not None,
  },
}


@pytest.mark.parametrize('mask', MASKS.values(), ids=MASKS)
def test_reset_mask_names_who_restarts_and_the_others_only_average(mask):
  hare = {
    'body': {'w': jnp.ones(2), 'b': jnp.zeros(1)},
    'head': {'w': jnp.ones(3)},
  }
  keys = jax.random.split(jax.random.key(1), 5)
  gradients = [optax.tree.random_like(key, hare) for key in keys]

  def make(**rule):
    return ht_rl.hare_tortoise(optax.sgd(0.1), momentum=0.9, **rule)

  hares, states = run(make(reset_every=2, reset_mask=mask), hare, gradients)
  free_hares, free_states = run(make(), hare, gradients)
  all_hares, all_states = run(make(reset_every=2), hare, gradients)
  for i in range(6):
    assert_same_bits(hares[i]['body'], free_hares[i]['body'])
    assert_same_bits(hares[i]['head'], all_hares[i]['head'])
    slow, free, every = (
      s[i].tortoise for s in (states, free_states, all_states)
    )
    assert_same_bits(slow['body'], free['body'])
    assert_same_bits(slow['head'], every['head'])
  assert (hares[2]['head']['w'] != free_hares[2]['head']['w']).all()


def test_reset_inner_state_makes_the_optimizer_new():
  inner = optax.adam(0.1)

  def make(flag):
    return ht_rl.hare_tortoise(
      inner, momentum=0.9, reset_every=3, reset_inner_state=flag
    )

  gradients = list(jax.random.normal(jax.random.key(2), (4, 3)))
  hares, states = run(make(True), jnp.zeros(3), gradients)
  _, kept = run(make(False), jnp.zeros(3), gradients)
  for t in (1, 2):
    assert_same_bits(states[t].inner_state, kept[t].inner_state)
  assert_same_bits(states[3].inner_state, inner.init(hares[3]))
  assert kept[3].inner_state[0].count == 3
  # The count of the rule itself goes on: the next restart is at 6.
  assert states[4].count == 4
  updates, _ = inner.update(gradients[3], inner.init(hares[3]), hares[3])
  assert_same_bits(hares[4], optax.apply_updates(hares[3], updates))


def test_reset_inner_state_starts_from_the_restarted_parameters():
  # As for an inner transformation that keeps a copy of the parameters.
  keeper = optax.GradientTransformation(
    init=lambda params: params,
    update=lambda updates, kept, params=None: (updates, kept),
  )
  optimizer = ht_rl.hare_tortoise(
    keeper, momentum=0.5, reset_every=2, reset_inner_state=True
  )
  hares, states = run(optimizer, jnp.ones(3), [jnp.ones(3)] * 3)
  for kept, hare in ((0, 0), (1, 0), (2, 2), (3, 2)):
    assert_same_bits(states[kept].inner_state, hares[hare])


@pytest.mark.parametrize('compile', [lambda f: f, jax.jit])
def test_reset_inner_state_heals_moments_after_a_nan_gradient(compile):
  # zero_nans after Adam keeps the parameters finite while Adam's moments stay
  # NaN for good: 0 * NaN is NaN, so only a selection gets rid of them.
  inner = optax.chain(optax.adam(0.1), optax.zero_nans())
  finite, nan = jnp.ones(3), jnp.array([1.0, jnp.nan, 1.0])
  for flag in (True, False):
    optimizer = ht_rl.hare_tortoise(
      inner, momentum=0.9, reset_every=4, reset_inner_state=flag
    )
    update = compile(optimizer.update)
    hare = jnp.zeros(3)
    state = optimizer.init(hare)
    moved = []
    for t in range(1, 6):
      updates, state = update(nan if t == 2 else finite, state, hare)
      hare = optax.apply_updates(hare, updates)
      moved.append(bool(updates[1] != 0))
      moments = jnp.stack(
        [state.inner_state[0][0].mu, state.inner_state[0][0].nu]
      )
      if t in (2, 3):
        assert jnp.isnan(moments[:, 1]).all()
      if t == 4:
        assert (moments[:, 1] == 0).all() == flag
    assert jnp.isfinite(hare).all()
    assert jnp.isfinite(state.tortoise).all()
    # The hare moves at the restart (4), and afterwards if Adam is well again.
    assert moved == [True, False, False, True, flag]


# --- the average --------------------------------------------------------------


def test_momentum_schedule_is_given_the_number_of_updates_before_this_one():
  # With mu = (i + 1) / (i + 2) the tortoise is the plain mean of all hares.
  optimizer = ht_rl.hare_tortoise(
    optax.identity(), momentum=lambda i: (i + 1) / (i + 2)
  )
  steps = list(jax.random.normal(jax.random.key(3), (20, 4)))
  hares, states = run(optimizer, jnp.zeros(4), steps)
  mean = np.cumsum(np.array(hares, np.float64), 0) / np.arange(1, 22)[:, None]
  np.testing.assert_allclose(
    np.array(tortoises(states)), mean, rtol=0, atol=1e-5
  )


def test_update_every_averages_at_its_multiples():
  optimizer = ht_rl.hare_tortoise(
    optax.identity(), momentum=0.5, update_every=3
  )
  _, states = run(optimizer, jnp.array(0.0), [jnp.array(2.0)] * 7)
  # The hares are 2, 4, ..., 14: 6 / 2 = 3 and (3 + 12) / 2 = 7.5.
  assert [float(s.tortoise) for s in states] == [0, 0, 0, 3, 3, 3, 7.5, 7.5]


def test_momentum_0_copies():
  optimizer = ht_rl.hare_tortoise(optax.adam(0.1), momentum=0, update_every=3)
  gradients = list(jax.random.normal(jax.random.key(4), (9, 50)))
  hares, states = run(optimizer, jnp.ones(50), gradients)
  for t in range(10):
    assert_same_bits(states[t].tortoise, hares[t - t % 3])


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'float16'])
@pytest.mark.parametrize('momentum', [0.0, 0.3, 0.995, 0.999999])
def test_equal_weights_stay_exactly_equal(momentum, dtype):
  # mu * s + (1 - mu) * h, as the formula stands, moves weights that are equal.
  optimizer = ht_rl.hare_tortoise(optax.identity(), momentum=momentum)
  hare = jax.random.normal(jax.random.key(5), (1000,), dtype)
  _, states = run(optimizer, hare, [jnp.zeros_like(hare)] * 5)
  assert_same_bits(states[-1].tortoise, hare.astype(jnp.float32))


def test_bfloat16_parameters_have_a_float32_average_which_does_not_stall():
  def average(tortoise_dtype):
    optimizer = ht_rl.hare_tortoise(
      optax.identity(), momentum=0.995, tortoise_dtype=tortoise_dtype
    )
    hare = jnp.zeros(3, jnp.bfloat16)
    state = optimizer.init(hare)
    # The hare jumps to 1 and stays there.
    jump = jnp.zeros((1000, 3), jnp.bfloat16).at[0].set(1)

    def step(carry, update):
      hare, state = carry
      updates, state = optimizer.update(update, state, hare)
      return (optax.apply_updates(hare, updates), state), None

    (hare, state), _ = jax.lax.scan(step, (hare, state), jump)
    assert hare.dtype == jnp.bfloat16
    assert (hare == 1).all()
    return state.tortoise

  slow = average(None)
  assert slow.dtype == jnp.float32
  np.testing.assert_allclose(slow, 1 - 0.995**1000, rtol=0, atol=1e-5)
  stalled = average(jnp.bfloat16)
  assert stalled.dtype == jnp.bfloat16
  assert (stalled < 0.7).all()


@pytest.mark.parametrize(
  ('dtype', 'tortoise_dtype', 'expected'),
  [
    ('bfloat16', None, 'float32'),
    ('float16', None, 'float32'),
    ('float32', None, 'float32'),
    ('float64', None, 'float64'),
    ('complex64', None, 'complex64'),
    ('complex64', 'float16', 'complex64'),
    ('float32', 'bfloat16', 'bfloat16'),
    ('bfloat16', 'bfloat16', 'bfloat16'),
    ('float64', 'float32', 'float32'),
    ('int32', 'float32', 'int32'),
  ],
)
def test_dtypes(dtype, tortoise_dtype, expected):
  with jax.enable_x64(dtype == 'float64'):
    optimizer = ht_rl.hare_tortoise(
      optax.identity(),
      momentum=0.5,
      reset_every=2,
      tortoise_dtype=tortoise_dtype,
    )
    hare = jnp.array([1, 2], dtype)
    hares, states = run(optimizer, hare, [jnp.array([2, 4], dtype)] * 3)
    assert {h.dtype for h in hares} == {jnp.dtype(dtype)}
    assert {s.tortoise.dtype for s in states} == {jnp.dtype(expected)}
    if dtype == 'int32':
      slow = [[1, 2], [3, 6], [5, 10], [7, 14]]
    else:
      # (1 + 3) / 2 = 2; (2 + 5) / 2 = 3.5, restart; (3.5 + 5.5) / 2 = 4.5.
      slow = [[1, 2], [2, 4], [3.5, 7], [4.5, 9]]
      assert (hares[2] == states[2].tortoise).all()
    np.testing.assert_array_equal(np.array(tortoises(states)), slow)


def test_a_narrow_tortoise_is_the_rounded_hare_after_a_restart():
  optimizer = ht_rl.hare_tortoise(
    optax.identity(), momentum=0.9, reset_every=2, tortoise_dtype='bfloat16'
  )
  steps = list(jax.random.normal(jax.random.key(6), (2, 1000)))
  hares, states = run(optimizer, jnp.ones(1000), steps)
  assert_same_bits(states[2].tortoise, hares[2].astype(jnp.bfloat16))
  np.testing.assert_allclose(hares[2], states[2].tortoise, rtol=0, atol=1e-6)


# --- trees --------------------------------------------------------------------


def test_leaves_that_do_not_average():
  optimizer = ht_rl.hare_tortoise(optax.identity(), momentum=0.5, reset_every=2)
  hare = {
    'float': jnp.array([2.0]),
    'int': jnp.array([5, 7]),
    'bool': jnp.array(True),
    'none': None,
    'empty': jnp.zeros((0, 3)),
    'containers': ((), [], {}),
    'masked': optax.MaskedNode(),
  }
  steps = {
    **hare,
    'float': jnp.array([4.0]),
    'int': jnp.array([1, 2]),
    'bool': jnp.array(False),
  }
  for update in (optimizer.update, jax.jit(optimizer.update)):
    current, state = hare, optimizer.init(hare)
    for t in (1, 2):
      updates, state = update(steps, state, current)
      current = optax.apply_updates(current, updates)
      slow = ht_rl.tortoise_params(state)
      assert jax.tree.structure(slow) == jax.tree.structure(hare)
      assert jax.tree.structure(updates) == jax.tree.structure(hare)
      assert slow['int'].dtype == hare['int'].dtype
      np.testing.assert_array_equal(slow['int'], [5 + t, 7 + 2 * t])
      np.testing.assert_array_equal(slow['int'], current['int'])
      assert slow['bool'].dtype == bool
      assert slow['bool']
      assert slow['empty'].shape == (0, 3)
    # (2 + 6) / 2 = 4, (4 + 10) / 2 = 7.
    assert slow['float'] == current['float'] == 7


def test_a_random_key_among_the_values_of_a_step():
  key = jax.random.key(0)
  hare, slow = ht_rl.hare_tortoise_step(
    {'key': key}, {'key': jax.random.key(1)}, 1, momentum=0.5, reset_every=1
  )
  for tree in (hare, slow):
    assert (jax.random.key_data(tree['key']) == jax.random.key_data(key)).all()


def test_count_is_the_number_of_updates_and_does_not_overflow():
  optimizer = ht_rl.hare_tortoise(optax.sgd(0.1), momentum=0.5, reset_every=2)
  _, states = run(optimizer, jnp.ones(1), [jnp.ones(1)] * 4)
  assert [int(state.count) for state in states] == [0, 1, 2, 3, 4]
  assert all(state.count.dtype == jnp.int32 for state in states)
  largest = np.iinfo(np.int32).max
  state = states[-1]._replace(count=jnp.array(largest, jnp.int32))
  _, state = optimizer.update(jnp.ones(1), state, jnp.ones(1))
  assert state.count == largest


# --- the rule on any tree -----------------------------------------------------


def test_step_by_hand():
  hare = {'mean': jnp.array([4.0, 8.0]), 'seen': jnp.array(3)}
  slow = {'mean': jnp.array([0.0, 0.0]), 'seen': jnp.array(2)}
  for count, fast_mean, slow_mean, seen in (
    (1, [4, 8], [0, 0], 2),  # neither
    (2, [4, 8], [1, 2], 3),  # averages
    (3, [4, 8], [0, 0], 2),
    (6, [1, 2], [1, 2], 3),  # averages and restarts
  ):
    new_hare, new_slow = ht_rl.hare_tortoise_step(
      hare, slow, count, momentum=0.75, reset_every=6, update_every=2
    )
    np.testing.assert_array_equal(new_hare['mean'], fast_mean)
    np.testing.assert_array_equal(new_slow['mean'], slow_mean)
    assert new_hare['seen'] == 3
    assert new_slow['seen'] == seen


def test_step_with_the_count_of_the_transform_keeps_in_step_with_it():
  # Statistics that equal the parameters before each step stay equal to them.
  rule = {
    'momentum': lambda i: 0.5 + 0.1 * (i % 4),
    'reset_every': lambda t: (t == 3) | (t == 5),
    'update_every': 2,
  }
  optimizer = ht_rl.hare_tortoise(optax.identity(), **rule)
  hare = jnp.arange(4.0)
  state = optimizer.init(hare)
  stats, slow_stats = hare, hare
  for step in jax.random.normal(jax.random.key(7), (8, 4)):
    updates, state = optimizer.update(step, state, hare)
    hare = optax.apply_updates(hare, updates)
    stats, slow_stats = ht_rl.hare_tortoise_step(
      stats + step, slow_stats, state.count, **rule
    )
    # A restart by updates, p + (s - p), may miss s by a rounding of p and of s.
    np.testing.assert_allclose(hare, stats, rtol=0, atol=2e-6)
    np.testing.assert_allclose(state.tortoise, slow_stats, rtol=0, atol=2e-6)


@pytest.mark.parametrize('compile', [lambda f: f, jax.jit])
def test_restarts_do_not_stop_a_narrow_hare_from_learning(compile):
  # In an interval the tortoise moves by less than half a bfloat16 at 0.1, so
  # that a rounded tortoise would never leave it.
  optimizer = ht_rl.hare_tortoise(
    optax.sgd(5e-4), momentum=0.999, reset_every=20
  )
  update = compile(optimizer.update)
  hare = jnp.asarray(0.1, jnp.bfloat16)
  state = optimizer.init(hare)
  step = jnp.asarray(-1.0, jnp.bfloat16)

  def rounded(x):
    return float(np.asarray(x, jnp.bfloat16))

  h = s = rounded(0.1)
  for t in range(1, 401):
    updates, state = update(step, state, hare)
    hare = optax.apply_updates(hare, updates)
    h = rounded(h + rounded(5e-4))
    s = 0.999 * s + 0.001 * h
    h = rounded(s) if t % 20 == 0 else h
    assert float(hare) == h
  assert s > 0.1015
  np.testing.assert_allclose(state.tortoise, s, rtol=0, atol=1e-6)


@pytest.mark.parametrize('compile', [lambda f: f, jax.jit])
@pytest.mark.parametrize(
  ('dtype', 'slow_dtype'),
  [
    ('bfloat16', 'float32'),
    ('float16', 'float32'),
    ('float32', 'float32'),
    ('bfloat16', 'bfloat16'),
  ],
)
def test_step_makes_both_equal(compile, dtype, slow_dtype):
  rng = np.random.default_rng(8)
  scale = 10 ** rng.uniform(-7 if dtype == 'float16' else -20, 1, size=1031)
  hare = jnp.asarray(rng.normal(size=1031) * scale, dtype)
  slow = jnp.asarray(rng.normal(size=1031) * scale, slow_dtype)

  def step(hare, slow):
    return ht_rl.hare_tortoise_step(hare, slow, 4, momentum=0.9, reset_every=2)

  new_hare, new_slow = compile(step)(hare, slow)
  assert new_hare.dtype == dtype
  assert new_slow.dtype == slow_dtype
  # The narrower one is the other one, rounded.
  if dtype == slow_dtype:
    assert_same_bits(new_slow, new_hare)
  assert_same_bits(new_hare, new_slow.astype(dtype))
  mean = 0.1 * np.asarray(hare, np.float64) + 0.9 * np.asarray(slow, np.float64)
  # Rounded to nearest: half a unit in the last place, or of the subnormals. The
  # average itself errs by float32 roundings of its two terms.
  terms = np.abs(np.asarray(hare, np.float64)) + np.abs(
    np.asarray(slow, np.float64)
  )
  info = jnp.finfo(dtype)
  bound = 0.51 * np.maximum(
    float(info.eps) * np.abs(mean), float(info.smallest_subnormal)
  )
  error = np.abs(np.asarray(new_hare, np.float64) - mean)
  assert (error <= bound + 2e-7 * terms).all()


def test_step_with_a_traced_strength_of_1():
  hare = jnp.linspace(0.1, 1, 7)
  slow = jnp.linspace(3.3, 5, 7).astype(jnp.bfloat16)

  @jax.jit
  def step(strength):
    return ht_rl.hare_tortoise_step(
      hare, slow, 2, momentum=0.5, reset_every=2, reset_strength=strength
    )

  new_hare, new_slow = step(1.0)
  assert_same_bits(new_hare, new_slow.astype(jnp.float32))
  new_hare, _ = step(0.5)
  assert (new_hare != new_slow.astype(jnp.float32)).all()


@pytest.mark.parametrize('count', [0, -1, jnp.array(0)])
def test_the_count_of_a_step_includes_it(count):
  with pytest.raises(ValueError, match=r'^count must be at least 1: it inclu'):
    ht_rl.hare_tortoise_step(jnp.ones(2), jnp.ones(2), count, momentum=0.5)


def test_a_step_takes_arrays():
  with pytest.raises(ValueError, match='hare must be a tree of arrays'):
    ht_rl.hare_tortoise_step({'a': 'x'}, {'a': 'y'}, 1, momentum=0.5)


# --- errors -------------------------------------------------------------------


@pytest.mark.parametrize(
  ('argument', 'value', 'wanted'),
  [
    ('momentum', 1.0, r'in \[0, 1\)'),
    ('momentum', -0.1, r'in \[0, 1\)'),
    ('momentum', float('nan'), r'in \[0, 1\)'),
    ('momentum', jnp.array(1.5), r'in \[0, 1\)'),
    ('momentum', 1 - 1e-8, r'in \[0, 1\)'),  # 1 in float32.
    ('momentum', None, r'in \[0, 1\)'),
    ('momentum', '0.9', r'in \[0, 1\)'),
    ('momentum', [0.9, 0.99], r'in \[0, 1\)'),
    ('reset_every', 0, 'a positive integer'),
    ('reset_every', -4, 'a positive integer'),
    ('reset_every', 4.0, 'a positive integer'),
    ('reset_every', True, 'a positive integer'),
    ('reset_every', jnp.array(0), 'a positive integer'),
    ('update_every', 0, 'a positive integer'),
    ('update_every', 1.5, 'a positive integer'),
    ('update_every', None, 'a positive integer'),
    ('update_every', lambda t: t, 'a positive integer'),
    ('reset_inner_state', 'False', 'True or False'),
    ('reset_inner_state', None, 'True or False'),
    ('tortoise_dtype', 'int32', 'a real floating dtype'),
    ('tortoise_dtype', 'complex64', 'a real floating dtype'),
    ('tortoise_dtype', 'float31', 'a real floating dtype'),
    ('inner', None, 'GradientTransformation'),
    ('inner', 0.1, 'GradientTransformation'),
    ('inner', optax.adam, 'GradientTransformation'),
  ],
)
def test_wrong_arguments_are_named(argument, value, wanted):
  arguments = {'inner': optax.sgd(0.1), 'momentum': 0.9, argument: value}
  with pytest.raises(ValueError, match=f'^{argument} must be .*{wanted}'):
    ht_rl.hare_tortoise(**arguments)
  if argument in ('momentum', 'reset_every', 'update_every'):
    arguments.pop('inner')
    with pytest.raises(ValueError, match=f'^{argument} must be .*{wanted}'):
      ht_rl.hare_tortoise_step(jnp.ones(1), jnp.ones(1), 1, **arguments)


@pytest.mark.parametrize(
  'mask',
  [
    {'a': True},
    {'a': True, 'b': True, 'c': True},
    {'a': {'deeper': True}, 'b': True},
    [True, False],
    {'a': 1, 'b': True},
    'all',
    lambda params: {'a': True},
    lambda params: params,
  ],
)
@pytest.mark.parametrize('reset_every', [2, None])
def test_wrong_masks_are_named(mask, reset_every):
  optimizer = ht_rl.hare_tortoise(
    optax.sgd(0.1), momentum=0.9, reset_every=reset_every, reset_mask=mask
  )
  params = {'a': jnp.ones(2), 'b': jnp.ones(3)}
  state = optimizer.init(params)
  with pytest.raises(ValueError, match=r'^reset_mask must be a tree of bools'):
    optimizer.update(params, state, params)


@pytest.mark.parametrize(
  'momentum',
  [
    lambda t: jnp.array([0.9]),
    lambda t: [0.9, 0.99],
    lambda t: None,
    lambda t: jnp.array(True),
    lambda t: 0.9 + 0.1j,
  ],
)
@pytest.mark.parametrize('compile', [lambda f: f, jax.jit])
def test_a_schedule_must_return_a_number(compile, momentum):
  optimizer = ht_rl.hare_tortoise(optax.sgd(0.1), momentum=momentum)
  # A vector would change the shape of a scalar: it is broadcast.
  params = {'log_alpha': jnp.array(1.0)}
  with pytest.raises(ValueError, match=r'^momentum, .* must return a number,'):
    compile(optimizer.update)(params, optimizer.init(params), params)


def test_update_needs_the_parameters():
  optimizer = ht_rl.hare_tortoise(optax.sgd(0.1), momentum=0.9)
  with pytest.raises(ValueError, match='`update` needs the parameters'):
    optimizer.update(jnp.ones(1), optimizer.init(jnp.ones(1)))


@pytest.mark.parametrize(
  'reset_every',
  [
    optax.constant_schedule(4000),  # A schedule says how much, not whether.
    lambda t: t % 4000,
    lambda t: None,
    lambda t: np.array([True, False]),
  ],
)
def test_a_predicate_must_return_a_bool(reset_every):
  params = jnp.ones(2)
  for wrap in (
    functools.partial(ht_rl.hare_tortoise, momentum=0.9),
    functools.partial(ht_rl.shrink_and_perturb, init=lambda k: params, keep=0),
  ):
    optimizer = wrap(optax.sgd(0.1), reset_every=reset_every)
    with pytest.raises(ValueError, match=r'^reset_every, .* a bool scalar'):
      optimizer.update(params, optimizer.init(params), params)


def test_step_names_what_does_not_fit():
  step = functools.partial(ht_rl.hare_tortoise_step, momentum=0.9)
  with pytest.raises(ValueError, match=r'^tortoise must have the shape of the'):
    step(jnp.ones(3), jnp.ones(()), 1)
  with pytest.raises(ValueError, match=r'^tortoise must have the structure of'):
    step({'a': jnp.ones(3)}, {'b': jnp.ones(3)}, 1)
  for count in (0.5, jnp.array([1, 2])):
    with pytest.raises(ValueError, match=r'^count must be an integer scalar'):
      step(jnp.ones(3), jnp.ones(3), count)


@pytest.mark.parametrize(
  'count', [2**31, np.int64(2**31 + 3), np.uint32(2**31)]
)
def test_a_count_beyond_int32_is_named(count):
  with pytest.raises(ValueError, match=r'^count must be below 2147483648'):
    ht_rl.hare_tortoise_step(jnp.ones(1), jnp.ones(1), count, momentum=0.5)


@pytest.mark.parametrize('compile', [lambda f: f, jax.jit])
@pytest.mark.parametrize('dtype', ['int8', 'uint8', 'int16'])
def test_an_interval_is_not_cut_to_the_dtype_of_the_count(dtype, compile):
  # In eight bits 260 is 4.
  step = functools.partial(
    ht_rl.hare_tortoise_step, momentum=0.5, reset_every=jnp.array(260)
  )
  hare, _ = compile(step)(jnp.ones(1), jnp.zeros(1), np.array(4, dtype))
  assert float(hare[0]) == 1


def test_a_step_keeps_both_dtypes():
  hare, tortoise = {'n': jnp.int8(1)}, {'n': jnp.array([300], jnp.int32)[0]}
  for count in (1, 2):
    new = ht_rl.hare_tortoise_step(
      hare, tortoise, count, momentum=0.5, reset_every=2
    )
    assert [x['n'].dtype for x in new] == [jnp.int8, jnp.int32]
    assert [int(x['n']) for x in new] == [1, 1]


def test_a_copy_forgets_what_is_not_finite():
  optimizer = ht_rl.hare_tortoise(optax.sgd(0.5), momentum=0.0)
  hare = jnp.array([2.0, 4.0])
  state = optimizer.init(hare)
  state = state._replace(tortoise=jnp.array([jnp.inf, jnp.nan]))
  updates, state = optimizer.update(hare, state, hare)
  np.testing.assert_array_equal(state.tortoise, hare + updates)
