"""Compares the rules of the loop with a simulation that counts each step."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from agents.core import annealing, loop, restarts
from agents.core import driver as driver_lib
from agents.core.bbf_learner import BBFLearner
from agents.core.bbf_networks import BBFNetwork
from agents.core.drq_learner import DrQLearner
from agents.core.networks import DuelingQNetwork, NatureEncoder
from agents.core.state import Outcome
import ht_rl

WARM_UP = 12
SHAPE = (12, 12)


def make_optimizer():
  return ht_rl.hare_tortoise(optax.sgd(0.01), momentum=0.9, reset_every=7)


@functools.cache
def make_drq(replay_ratio=2, **settings):
  learner = DrQLearner(
    network=DuelingQNetwork(
      3, channels=(2,), kernels=(4,), strides=(4,), hidden=4
    ),
    num_actions=3,
    optimizer=make_optimizer(),
    **{
      'observation_shape': SHAPE,
      'stack_size': 2,
      'replay_capacity': 50,
      'batch_size': 2,
      'min_replay_history': WARM_UP,
      'update_horizon': 3,
      **settings,
    },
  )
  return loop.Loop(learner, replay_ratio)


def make_bbf(replay_ratio=2, **settings):
  learner = BBFLearner(
    network=BBFNetwork(
      3, encoder=NatureEncoder((2, 2, 2), flatten=False), hidden=4
    ),
    num_actions=3,
    optimizer=make_optimizer(),
    observation_shape=SHAPE,
    min_replay_history=WARM_UP,
    **settings,
  )
  return loop.Loop(learner, replay_ratio)


def count(is_reset, replay_ratio, steps):
  """Returns gradient steps and resets of each environment step, by counting.

  A reset due after the gradient steps of one step happens in the next one.
  """
  gradient_steps, waiting, seen = 0, False, []
  for step in range(1, steps + 1):
    if step <= WARM_UP:
      seen.append((0, False))
      continue
    seen.append((replay_ratio, waiting))
    before, gradient_steps = gradient_steps, gradient_steps + replay_ratio
    waiting = is_reset(step, before, gradient_steps)
  return seen


def dues(agent, steps):
  """Returns what is due in each environment step."""
  gradient_steps, seen = 0, []
  for step in range(1, steps + 1):
    seen.append(tuple(agent.due(step, gradient_steps)))
    gradient_steps += seen[-1][0]
  return seen


@pytest.mark.parametrize('replay_ratio', [1, 2, 8])
@pytest.mark.parametrize('every', [1, 3, 8, 20])
@pytest.mark.parametrize('end', [None, 0, 21, 40])
def test_drq_resets_at_multiples_of_gradient_steps(replay_ratio, every, end):
  def is_reset(step, before, after):
    # The last multiple that was reached is below the end.
    passed = [g for g in range(before + 1, after + 1) if g % every == 0]
    return bool(passed) and (end is None or passed[-1] < end)

  agent = make_drq(replay_ratio, reset_every=every, no_resets_after=end)
  expected = count(is_reset, replay_ratio, 60)
  assert dues(agent, 60) == expected


@pytest.mark.parametrize('released', [False, True])
@pytest.mark.parametrize('every', [1, 10, 25])
def test_bbf_resets_after_environment_steps(every, released):
  resets = annealing.reset_steps(every, 60, released)
  agent = make_bbf(
    reset_every=every, no_resets_after=60, released_counting=released
  )
  expected = count(lambda step, before, after: step in resets, 2, 80)
  assert dues(agent, 80) == expected
  assert any(reset for _, reset in expected) == (resets[-1] > WARM_UP)


def test_without_an_interval_there_is_no_reset():
  for agent in (make_drq(), make_bbf(reset_every=None)):
    assert not any(reset for _, reset in dues(agent, 300))


def test_a_plan_names_every_step_in_order():
  agent = make_drq(reset_every=20)
  unrolled = [due for due, repeats in agent.plan(57) for _ in range(repeats)]
  assert unrolled == dues(agent, 57)


@pytest.mark.parametrize(
  'agent',
  [
    make_drq(reset_every=20),
    make_drq(reset_every=16, no_resets_after=40),
    make_drq(),
    make_bbf(reset_every=15, no_resets_after=50),
  ],
)
def test_cycles_are_what_a_counter_of_gradient_steps_sees(agent):
  lengths = [0]
  for num_updates, is_reset in dues(agent, 70):
    if is_reset:
      lengths.append(0)
    for _ in range(num_updates):
      lengths[-1] += 1
  assert agent.cycles(70) == lengths


def test_cycles_of_known_runs():
  # 58 steps learn, two gradient steps each; a reset follows each 20 of them.
  assert make_drq(reset_every=20).cycles(70) == [20, 20, 20, 20, 20, 16]
  assert make_drq(reset_every=16, no_resets_after=40).cycles(70) == [16, 16, 84]
  assert make_drq().cycles(70) == [116]
  # At the environment steps 15, 30 and 45, of which 12 fill the replay.
  bbf = make_bbf(reset_every=15, no_resets_after=50)
  assert bbf.cycles(70) == [6, 30, 30, 50]


def items(seed, steps):
  rng = np.random.default_rng(seed)
  for _ in range(steps):
    end = rng.random()
    outcome = Outcome(rng.normal(), end < 0.1, 0.1 <= end < 0.15)
    yield outcome, rng.integers(256, size=SHAPE, dtype=np.uint8)


STEPS = 40
FIRST = np.full(SHAPE, 7, np.uint8)


@pytest.fixture(scope='module')
def driven():
  """Returns a run of the driver, and its gradient steps since a reset."""
  driver, since = driver_lib.Driver(make_drq(reset_every=20), seed=3), []
  actions = [driver.begin(FIRST)]
  for outcome, frame in items(0, STEPS):
    actions.append(driver.step(outcome, frame))
    since.append(int(driver.state.train.cycle_steps))
  return driver, [int(action) for action in actions], since


def test_nobody_sees_a_network_that_was_drawn_anew_a_moment_ago(driven):
  _, _, since = driven
  assert since[:WARM_UP] == [0] * WARM_UP
  # Two gradient steps a step: ten steps to a reset, and the next two follow it.
  assert since[WARM_UP:] == [2 * (i % 10 + 1) for i in range(STEPS - WARM_UP)]


def test_the_driver_does_what_the_pure_functions_do(driven):
  driver, actions, _ = driven
  agent = driver.loop
  step = jax.jit(agent.step, static_argnames='due')
  state = agent.learner.init(jax.random.PRNGKey(3))
  state, action = agent.learner.begin(state, FIRST)
  expected = [int(action)]
  for t, (outcome, frame) in enumerate(items(0, STEPS), 1):
    outcome = jax.tree.map(jnp.asarray, outcome)
    outcome = outcome._replace(reward=outcome.reward.astype(jnp.float32))
    due = agent.due(t, int(state.train.gradient_steps))
    state, action, _ = step(state, outcome, frame, due=due)
    expected.append(int(action))
  assert actions == expected
  # Two programs: the compiler may order their sums differently.
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
    state,
    driver.state,
  )


def test_a_driver_goes_on_from_its_state(driven):
  driver = driver_lib.Driver(driven[0].loop, seed=8)
  driver.begin(FIRST)
  middle, rest = list(items(0, STEPS))[:25], list(items(0, STEPS))[25:]
  for outcome, frame in middle:
    driver.step(outcome, frame)
  stored = jax.tree.map(np.array, driver.get_state())
  expected = [int(driver.step(*item)) for item in rest]
  end = jax.tree.map(np.array, driver.state)
  other = driver_lib.Driver(driven[0].loop, seed=9)
  other.set_state(stored)
  assert [int(other.step(*item)) for item in rest] == expected
  jax.tree.map(np.testing.assert_array_equal, other.state, end)


@pytest.mark.parametrize(
  ('name', 'value'), [('replay_ratio', 0), ('summary_writing_frequency', 1.5)]
)
def test_a_wrong_setting_is_named(name, value):
  learner = make_drq().learner
  with pytest.raises(ValueError, match=f'^DrQAgent.{name} must be'):
    loop.Loop(learner, **{name: value})


def test_a_message_names_the_unit_of_an_interval():
  with pytest.raises(ValueError, match='not 0; it counts gradient steps'):
    make_drq(reset_every=0)
  with pytest.raises(ValueError, match='not 0; it counts environment steps'):
    make_bbf(reset_every=0)


# How far a restart moves the hare.

INTERVAL = 7  # `reset_every` of `make_optimizer`.


def flat(tree):
  leaves = jax.tree.leaves(tree)
  return np.concatenate([np.ravel(x) for x in leaves]).astype(np.float64)


def gaps_of(driver, steps):
  """Yields hare and tortoise before each step, and the gap after it."""
  driver.begin(FIRST)
  for outcome, frame in items(0, steps):
    before = flat(driver.state.train.params), flat(driver.tortoise)
    driver.step(outcome, frame)
    yield before, driver.take_restart_gap()


@pytest.mark.parametrize('reset_every', [None, 20])
def test_the_gap_is_that_of_the_weights_before_each_restart(reset_every):
  agent = make_drq(reset_every=reset_every)
  driver = driver_lib.Driver(agent, seed=3, restart_every=INTERVAL)
  anchor, expected, seen = flat(driver.state.train.params), [], []
  count = 0
  for step, ((hare, tortoise), gap) in enumerate(gaps_of(driver, 45), 1):
    seen.append(gap)
    reset = reset_every is not None and count > 0 and count % reset_every == 0
    if reset:
      # The reset comes before the gradient steps; its weights are unseen here.
      count, anchor = 0, None
    restarted = False
    for _ in range(2 * (step > WARM_UP)):
      count += 1
      restarted |= count % INTERVAL == 0
    if restarted and anchor is not None:
      way = np.linalg.norm(hare - anchor)
      expected.append(np.linalg.norm(hare - tortoise) / way)
    elif restarted:
      expected.append(np.nan)
    else:
      expected.append(None)
    if restarted:
      anchor = flat(driver.state.train.params)
  assert [x is None for x in seen] == [x is None for x in expected]
  assert sum(x is not None for x in seen) >= 6
  known = [
    (a, b)
    for a, b in zip(seen, expected, strict=True)
    if b is not None and not np.isnan(b)
  ]
  assert len(known) >= 4
  np.testing.assert_allclose(*zip(*known, strict=True), rtol=1e-5)


def test_a_run_that_goes_on_measures_the_same():
  agent = make_drq(reset_every=20)
  whole = driver_lib.Driver(agent, seed=3, restart_every=INTERVAL)
  gaps = [gap for _, gap in gaps_of(whole, 40)]
  first = driver_lib.Driver(agent, seed=3, restart_every=INTERVAL)
  first.begin(FIRST)
  rows = list(items(0, 40))
  for item in rows[:25]:
    first.step(*item)
  stored = jax.tree.map(np.array, first.get_state())
  second = driver_lib.Driver(agent, seed=4, restart_every=INTERVAL)
  second.set_state(stored)
  later = []
  for item in rows[25:]:
    second.step(*item)
    later.append(second.take_restart_gap())
  assert later == gaps[25:]
  assert sum(gap is not None for gap in later) > 2


def test_measuring_changes_no_result():
  agent = make_drq(reset_every=20)
  ends = []
  for restart_every in (None, INTERVAL):
    driver = driver_lib.Driver(agent, seed=3, restart_every=restart_every)
    for _ in gaps_of(driver, 30):
      pass
    ends.append(jax.tree.map(np.array, driver.state))
  jax.tree.map(np.testing.assert_array_equal, *ends)


def test_a_hare_that_has_not_moved_has_no_gap():
  tree = {'a': np.ones(3, np.float32)}
  assert restarts.restart_gap(tree, tree, tree) == 0


@pytest.mark.parametrize(
  ('interval', 'before', 'num_updates', 'expected'),
  [(None, 6, 9, 0), (7, 5, 2, 1), (7, 7, 2, 0), (2, 0, 5, 2), (7, 6, 1, 1)],
)
def test_restarts_are_counted_as_multiples(
  interval, before, num_updates, expected
):
  assert restarts.restarts_within(interval, before, num_updates) == expected
