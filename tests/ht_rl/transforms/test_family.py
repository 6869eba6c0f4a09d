"""Methods that Hare & Tortoise has as special cases, and its relatives.

With gradients in eighths and rates that are powers of two, all numbers are
exact in float32, so that these tests ask for equality.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ht_rl

STEPS = 12
START = np.array([8.0, -3.0, 0.5])
GRADIENTS = np.random.default_rng(0).integers(-32, 33, (STEPS, 3)) / 8
SGD = optax.sgd(0.5)


def run(optimizer, start=START):
  """Returns all hares and all tortoises, [STEPS, 3]."""
  update = jax.jit(optimizer.update)
  hare = jnp.asarray(start, jnp.float32)
  state = optimizer.init(hare)
  hares, tortoises = [], []
  for gradient in jnp.asarray(GRADIENTS, jnp.float32):
    updates, state = update(gradient, state, hare)
    hare = optax.apply_updates(hare, updates)
    hares.append(hare)
    tortoises.append(ht_rl.tortoise_params(state))
  return np.array(hares), np.array(tortoises)


def test_lookahead():
  optimizer = optax.lookahead(SGD, sync_period=3, slow_step_size=0.5)
  params = optax.LookaheadParams.init_synced(jnp.asarray(START, jnp.float32))
  state = optimizer.init(params)
  fast, slow = [], []
  for gradient in jnp.asarray(GRADIENTS, jnp.float32):
    updates, state = optimizer.update(gradient, state, params)
    params = optax.apply_updates(params, updates)
    fast.append(params.fast)
    slow.append(params.slow)
  hares, tortoises = run(
    ht_rl.hare_tortoise(SGD, momentum=0.5, update_every=3, reset_every=3)
  )
  np.testing.assert_array_equal(hares, fast)
  np.testing.assert_array_equal(tortoises, slow)


def test_a_hard_target_that_is_copied_periodically():
  hares, tortoises = run(ht_rl.hare_tortoise(SGD, momentum=0.0, update_every=4))
  target = jnp.asarray(START, jnp.float32)
  for t, hare in enumerate(hares, start=1):
    target = optax.periodic_update(jnp.asarray(hare), target, t, 4)
    np.testing.assert_array_equal(tortoises[t - 1], target)


def test_switch_ema():
  # Li et al., 2024: after each epoch the model takes the weights of its EMA.
  hare, ema = START, START
  expected = []
  for t, gradient in enumerate(GRADIENTS, start=1):
    hare = hare - 0.5 * gradient
    ema = 0.75 * ema + 0.25 * hare
    if t % 4 == 0:
      hare = ema
    expected.append((hare, ema))
  hares, tortoises = run(ht_rl.hare_tortoise(SGD, momentum=0.75, reset_every=4))
  hares_by_hand, emas = np.array(expected, np.float32).transpose(1, 0, 2)
  # By then the exact numbers have more bits than a float32.
  exact = np.array(expected).transpose(1, 0, 2)[1] == emas
  assert exact.all(axis=1).sum() >= 8
  np.testing.assert_array_equal(hares[:8], hares_by_hand[:8])
  np.testing.assert_array_equal(tortoises[:8], emas[:8])


def test_polyak_averaging():
  # The plain mean of all weights: exact where the mean is.
  optimizer = ht_rl.hare_tortoise(SGD, momentum=lambda i: i / (i + 1.0))
  with jax.enable_x64():
    hare = jnp.asarray(START)
    state = optimizer.init(hare)
    hares = []
    for gradient in GRADIENTS:
      updates, state = optimizer.update(jnp.asarray(gradient), state, hare)
      hare = optax.apply_updates(hare, updates)
      hares.append(np.asarray(hare))
      np.testing.assert_allclose(
        ht_rl.tortoise_params(state), np.mean(hares, axis=0), rtol=0, atol=1e-14
      )


# --- soft restarts ------------------------------------------------------------


def test_a_soft_restart_goes_a_part_of_the_way_and_leaves_the_tortoise():
  # 8 - 4 = 4, mean 6; 2, mean 4; 1, mean 2.5: to 1 + 0.5 * 1.5; 0.875.
  optimizer = ht_rl.hare_tortoise(
    SGD, momentum=0.5, reset_every=3, reset_strength=0.5
  )
  hare = jnp.array([8.0])
  state = optimizer.init(hare)
  seen = []
  for _ in range(4):
    updates, state = optimizer.update(hare, state, hare)
    hare = optax.apply_updates(hare, updates)
    seen.append((float(hare[0]), float(state.tortoise[0])))
  assert seen == [(4, 6), (2, 4), (1.75, 2.5), (0.875, 1.6875)]


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('strength', [0.25, jnp.array(0.25)])
def test_soft_restarts_of_the_step_and_of_the_transform(strength, dtype):
  rule = {'momentum': 0.5, 'reset_every': 2, 'reset_strength': strength}
  mask = {'a': True, 'b': False}
  optimizer = ht_rl.hare_tortoise(optax.identity(), reset_mask=mask, **rule)
  hare = {'a': jnp.array([8, 4], dtype), 'b': jnp.array([8], dtype)}
  steps = {'a': jnp.array([8, -4], dtype), 'b': jnp.array([8], dtype)}
  state = optimizer.init(hare)
  fast, slow = hare, state.tortoise
  for t in range(1, 4):
    updates, state = jax.jit(optimizer.update)(steps, state, hare)
    hare = optax.apply_updates(hare, updates)
    fast, slow = ht_rl.hare_tortoise_step(
      optax.apply_updates(fast, steps), slow, t, reset_mask=mask, **rule
    )
    jax.tree.map(np.testing.assert_array_equal, hare, fast)
    jax.tree.map(np.testing.assert_array_equal, state.tortoise, slow)
    if t == 2:
      # 16, mean 12; 24, mean 18: to 24 - 6 / 4. 0, mean 2; -4, mean -1.
      assert hare['a'].tolist() == [22.5, -3.25]
      assert slow['a'].tolist() == [18, -1]
      assert hare['b'].tolist() == [24]


@pytest.mark.parametrize('strength', [0.0, 1.5, -0.5, True, None, '1'])
def test_wrong_strengths_are_named(strength):
  message = r'^reset_strength must be a number in \(0, 1\], not '
  with pytest.raises(ValueError, match=message):
    ht_rl.hare_tortoise(SGD, momentum=0.5, reset_strength=strength)
  with pytest.raises(ValueError, match=message):
    ht_rl.hare_tortoise_step(
      START, START, 1, momentum=0.5, reset_strength=strength
    )


# --- the warm-up of the average -----------------------------------------------


def test_momentum_warm_up():
  schedule = ht_rl.momentum_warm_up(0.9)
  expected = [min(0.9, (1 + t) / (10 + t)) for t in range(200)]
  actual = jax.vmap(schedule)(jnp.arange(200))
  np.testing.assert_allclose(actual, expected, rtol=1e-6)
  assert actual[-1] == np.float32(0.9)
  with pytest.raises(ValueError, match=r'^momentum must be a number in \[0'):
    ht_rl.momentum_warm_up(1.0)


def test_the_first_average_with_a_warm_up_is_nearly_the_hare():
  optimizer = ht_rl.hare_tortoise(SGD, momentum=ht_rl.momentum_warm_up(0.999))
  hares, tortoises = run(optimizer)
  first = 0.1 * START + 0.9 * hares[0]
  np.testing.assert_allclose(tortoises[0], first, rtol=0, atol=1e-6)
  second = 2 / 11 * first + 9 / 11 * hares[1]
  np.testing.assert_allclose(tortoises[1], second, rtol=0, atol=1e-6)


# --- Elastic Reset ------------------------------------------------------------


@pytest.mark.parametrize('strength', [1.0, 0.5, 0.0])
def test_elastic_reset_by_hand(strength):
  hare, tortoise = START, START
  expected = []
  for t, gradient in enumerate(GRADIENTS, start=1):
    hare = hare - 0.5 * gradient
    tortoise = 0.75 * tortoise + 0.25 * hare
    if t % 4 == 0:
      hare = tortoise
      tortoise = (1 - strength) * tortoise + strength * START
    expected.append((hare, tortoise))
  hares, tortoises = run(
    ht_rl.elastic_reset(
      SGD, momentum=0.75, reset_every=4, return_strength=strength
    )
  )
  # Numbers below 16, with a few roundings.
  np.testing.assert_allclose(hares, [h for h, _ in expected], 0, 1e-5)
  np.testing.assert_allclose(tortoises, [s for _, s in expected], 0, 1e-5)
  if strength == 1:
    np.testing.assert_array_equal(tortoises[3::4], [START] * 3)


@pytest.mark.parametrize('reset_inner_state', [True, False])
def test_elastic_reset_resets_the_inner_state_if_asked(reset_inner_state):
  optimizer = ht_rl.elastic_reset(
    optax.sgd(0.5, momentum=0.9),
    momentum=0.75,
    reset_every=2,
    reset_inner_state=reset_inner_state,
  )
  params = jnp.asarray(START)
  state = optimizer.init(params)
  for gradient in GRADIENTS[:2]:
    updates, state = optimizer.update(jnp.asarray(gradient), state, params)
    params = optax.apply_updates(params, updates)
  expected = 0 if reset_inner_state else 0.9 * GRADIENTS[0] + GRADIENTS[1]
  trace = optax.tree.get(state, 'trace')
  wanted = np.broadcast_to(expected, START.shape)
  np.testing.assert_allclose(trace, wanted, rtol=1e-6)


@pytest.mark.parametrize(
  ('argument', 'value', 'wanted'),
  [
    ('return_strength', 1.5, r'a number in \[0, 1\]'),
    ('return_strength', None, r'a number in \[0, 1\]'),
    ('reset_every', None, 'a positive integer'),
    ('reset_every', 0, 'a positive integer'),
    ('momentum', 1.0, r'a number in \[0, 1\)'),
    ('inner', optax.adam, 'an optax.GradientTransformation'),
  ],
)
def test_wrong_arguments_of_elastic_reset_are_named(argument, value, wanted):
  arguments = {'inner': SGD, 'momentum': 0.5, 'reset_every': 2}
  with pytest.raises(ValueError, match=f'^{argument} must be {wanted}'):
    ht_rl.elastic_reset(**{**arguments, argument: value})
