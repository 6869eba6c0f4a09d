import dataclasses
import functools

import agents.dopamine  # noqa: F401

import chex
from dopamine.jax.agents.dqn import dqn_agent
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from agents.core import augmentation, drq_learner, networks, replay
from agents.core.state import Outcome
import ht_rl

WARM_UP = 16
LEARNING_RATE = 0.01


@functools.cache
def make_learner(momentum=0.5, reset_every=4, **settings):
  return drq_learner.DrQLearner(
    network=networks.DuelingQNetwork(
      3, channels=(2,), kernels=(4,), strides=(4,), hidden=8
    ),
    num_actions=3,
    optimizer=ht_rl.hare_tortoise(
      optax.adam(LEARNING_RATE), momentum=momentum, reset_every=reset_every
    ),
    **{
      'observation_shape': (12, 12),
      'stack_size': 2,
      'replay_capacity': 32,
      'batch_size': 4,
      'min_replay_history': WARM_UP,
      'update_horizon': 3,
      'epsilon_decay_period': 10,
      **settings,
    },
  )


@functools.cache
def jitted(agent, name):
  """Returns a method, compiled once for all tests."""
  static = 'num_updates' if name == 'step' else None
  return jax.jit(getattr(agent, name), static_argnames=static)


def stream(seed, steps, shape=(12, 12)):
  """Yields random outcomes and frames, as an environment would."""
  rng = np.random.default_rng(seed)
  for _ in range(steps):
    end = rng.random()
    yield (
      Outcome(
        np.float32(rng.normal()),
        np.bool_(end < 0.1),
        np.bool_(0.1 <= end < 0.15),
      ),
      rng.integers(256, size=shape).astype(np.uint8),
    )


def begin(agent, seed=0):
  state = jitted(agent, 'init')(jax.random.PRNGKey(seed))
  return jitted(agent, 'begin')(state, np.full((12, 12), 7, np.uint8))[0]


@pytest.fixture(scope='module')
def warm():
  """Returns an agent and its state at the start of learning."""
  agent = make_learner()
  state = begin(agent)
  for item in stream(0, WARM_UP):
    state, _, metrics = jitted(agent, 'step')(state, *item, num_updates=0)
    assert metrics is None
  return agent, state


def equal(one, other):
  """Returns whether two trees are bitwise equal."""
  assert jax.tree.structure(one) == jax.tree.structure(other)
  same = jax.tree.map(lambda a, b: bool(jnp.array_equal(a, b)), one, other)
  return all(jax.tree.leaves(same))


def assert_close(one, other, rtol=1e-5, atol=1e-6):
  assert jax.tree.structure(one) == jax.tree.structure(other)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol),
    one,
    other,
  )


# --- Exploration and acting ---


def test_epsilon_equals_dopamines():
  agent = make_learner(epsilon_train=0.05)
  steps = jnp.arange(30)
  expected = jax.vmap(
    lambda step: dqn_agent.linearly_decaying_epsilon(10, step, WARM_UP, 0.05)
  )(steps)
  assert len(np.unique(expected)) == 11
  np.testing.assert_allclose(agent.epsilon(steps), expected, rtol=1e-6)


def greedy(agent, params, frames):
  images = np.moveaxis(np.asarray(frames), 1, -1).astype(np.float32) / 255
  return np.argmax(agent.network.apply(params, images), axis=-1)


def test_exploration_is_uniform_and_as_frequent_as_asked():
  agent = make_learner()
  params = begin(agent).train.params
  count, epsilon = 3000, 0.3
  frames = jnp.full((count, 2, 12, 12), 9, jnp.uint8)
  actions = jitted(agent, 'epsilon_greedy')(
    params, frames, jax.random.key(0), epsilon
  )
  assert actions.dtype == jnp.int32
  expected = np.full(3, count * epsilon / 3)
  expected[greedy(agent, params, frames[:1])[0]] += count * (1 - epsilon)
  assert stats.chisquare(np.bincount(actions), expected).pvalue > 1e-3


def test_evaluation_is_greedy_and_starts_a_stack_where_told():
  agent = make_learner(epsilon_eval=0.0)
  params = begin(make_learner(), seed=1).train.params
  rng = np.random.default_rng(0)
  frames = rng.integers(256, size=(20, 2, 12, 12)).astype(np.uint8)
  observations = rng.integers(256, size=(20, 12, 12)).astype(np.uint8)
  first = np.arange(20) % 3 == 0
  stacks, actions = jitted(agent, 'evaluate')(
    params, frames, observations, first, jax.random.key(0)
  )
  np.testing.assert_array_equal(stacks[:, 1], observations)
  np.testing.assert_array_equal(stacks[~first, 0], frames[~first, 1])
  assert not stacks[first, 0].any()
  np.testing.assert_array_equal(actions, greedy(agent, params, stacks))
  assert len(np.unique(actions)) > 1


@pytest.mark.parametrize('tortoise_acts', [False, True])
def test_who_acts_in_training(tortoise_acts):
  agent = make_learner(epsilon_train=0.0, target_action_selection=tortoise_acts)
  state = begin(make_learner())
  state = state._replace(actor=state.actor._replace(steps=jnp.int32(100)))
  tortoise = begin(make_learner(), seed=7).train.params
  state = state._replace(
    train=state.train._replace(
      opt_state=ht_rl.replace_tortoise(state.train.opt_state, tortoise)
    )
  )
  hare = state.train.params
  chosen, by_hare, by_tortoise = [], [], []
  for *_, frame in stream(2, 20):
    actor = jitted(agent, 'act')(state.train, state.actor, frame, True)
    chosen.append(int(actor.action))
    by_hare.append(greedy(agent, hare, actor.frames[None])[0])
    by_tortoise.append(greedy(agent, tortoise, actor.frames[None])[0])
  assert by_hare != by_tortoise
  assert chosen == (by_tortoise if tortoise_acts else by_hare)


# --- A step and its parts ---


def test_sample_augments_both_states_each_on_its_own(warm):
  agent, state = warm
  key = jax.random.key(5)
  plain = dataclasses.replace(agent, data_augmentation=False)
  middle = state.replay._replace(frames=state.replay.frames[:, 4:-4, 4:-4])
  images = plain.sample(middle, key)
  raw = replay.transitions(
    middle,
    replay.sample_starts(state.replay, jax.random.split(key, 3)[0], 4),
    horizon=3,
    gamma=0.99,
    stack=2,
  )
  expected = raw._replace(
    s_tm1=augmentation.scale(jnp.moveaxis(raw.s_tm1, 1, -1)),
    s_t=augmentation.scale(jnp.moveaxis(raw.s_t, 1, -1)),
  )
  assert equal(images, expected)
  augmented = agent.sample(state.replay, key)
  pairs = zip(images, augmented, strict=True)
  same = replay.Transition(*(equal(*pair) for pair in pairs))
  assert same == replay.Transition(False, True, True, True, False)
  ramp = jnp.broadcast_to(jnp.arange(20, dtype=jnp.uint8), (4, 2, 20, 20))
  draw = jax.jit(agent.network_input)
  one, other = draw(ramp, jax.random.key(0)), draw(ramp, jax.random.key(1))
  assert not equal(one, other)
  assert equal(one[..., 0], one[..., 1])


def test_only_as_released_a_batch_bootstraps_one_step_early(warm):
  state = warm[1]
  plain = dataclasses.replace(warm[0], data_augmentation=False)
  released = dataclasses.replace(plain, bootstrap_early=True)
  records = state.replay._replace(frames=state.replay.frames[:, 4:-4, 4:-4])
  key = jax.random.key(5)
  starts = replay.sample_starts(records, jax.random.split(key, 3)[0], 4)
  late, early = plain.sample(records, key), released.sample(records, key)
  terminals = np.asarray(records.terminals)
  frames = np.asarray(records.frames)
  alive = 0
  for i, t in enumerate(np.asarray(starts)):
    for batch, n in ((late, 3), (early, 2)):
      ended = terminals[t : t + n].any()
      discount = 0.0 if ended else 0.99**3
      np.testing.assert_allclose(batch.discount_t[i], discount, rtol=1e-6)
      if not ended:
        alive += 1
        newest = frames[t + n] / np.float32(255)
        np.testing.assert_allclose(batch.s_t[i, ..., -1], newest, rtol=1e-6)
  assert alive > 0
  assert equal(
    early._replace(discount_t=0, s_t=0), late._replace(discount_t=0, s_t=0)
  )
  assert not equal(early.s_t, late.s_t)


def test_only_as_released_no_image_is_shifted_by_4(warm):
  ramp = jnp.broadcast_to(
    jnp.arange(12, dtype=jnp.uint8)[:, None] * 10, (500, 1, 12, 12)
  )
  stored = augmentation.pad(ramp)
  for released, offsets in ((False, range(-4, 5)), (True, range(-4, 4))):
    agent = dataclasses.replace(warm[0], exclusive_shift=released)
    shifted = jax.jit(agent.shift)(jax.random.key(0), stored)
    seen = (np.asarray(shifted)[:, 0, 5, 0].astype(int) - 50) // 10
    assert sorted(set(seen)) == list(offsets)


def test_update_is_the_optimizers_step_on_the_loss(warm):
  agent, state = warm
  before = learn(agent, state, 2)[-1]
  batch = agent.sample(state.replay, jax.random.fold_in(before.key, 2))
  tortoise = ht_rl.tortoise_params(before.opt_state)
  assert not equal(tortoise, before.params)
  (loss, q), gradients = jax.jit(jax.value_and_grad(agent.loss, has_aux=True))(
    before.params, tortoise, batch
  )
  updates, opt_state = agent.optimizer.update(
    gradients, before.opt_state, before.params
  )
  after, metrics = jitted(agent, 'update')(before, state.replay)
  assert_close(after.params, optax.apply_updates(before.params, updates))
  assert_close(after.opt_state, opt_state)
  norm = np.sqrt(sum(np.sum(np.square(g)) for g in jax.tree.leaves(gradients)))
  expected = (loss, q, norm, 3, 0)
  np.testing.assert_allclose(metrics, expected, rtol=1e-4)
  assert after.gradient_steps == 3
  assert equal(after.key, before.key)


def test_a_step_appends_then_learns_then_acts(warm):
  agent, state = warm
  update, act = jitted(agent, 'update'), jitted(agent, 'act')
  append = jax.jit(functools.partial(replay.append, horizon=3, stack=2))
  # No exploration, and equal Q-values before each step, so that the gradient
  # steps decide the action.
  state = state._replace(actor=state.actor._replace(steps=jnp.int32(100)))
  order_shows = {'append first': False, 'learn before act': False}
  for outcome, frame in stream(3, 10):
    params = jax.tree.map(jnp.copy, state.train.params)
    advantage = params['params']['head']['advantage']
    advantage['kernel'] *= 0
    advantage['bias'] *= 0
    state = state._replace(train=state.train._replace(params=params))
    after, action, metrics = jitted(agent, 'step')(
      state, outcome, frame, num_updates=2
    )
    memory = append(
      state.replay,
      np.pad(state.actor.frames[-1], 4, 'edge'),
      state.actor.action,
      *outcome,
    )
    assert equal(after.replay, memory)
    trained, _ = update(state.train, memory)
    trained, expected = update(trained, memory)
    assert_close(after.train.params, trained.params, atol=2e-5)
    assert_close(metrics, expected, rtol=1e-3)
    assert metrics.gradient_norm > 0.01
    early, _ = update(state.train, state.replay)
    _, early_metrics = update(early, state.replay)
    if abs(early_metrics.loss - metrics.loss) > 0.01:
      order_shows['append first'] = True
    ended = outcome.terminal | outcome.truncation
    assert equal(after.actor, act(after.train, state.actor, frame, ended))
    assert action == after.actor.action
    older = np.zeros_like(frame) if ended else state.actor.frames[-1]
    np.testing.assert_array_equal(after.actor.frames, [older, frame])
    if act(state.train, state.actor, frame, ended).action != action:
      order_shows['learn before act'] = True
    state = after
  assert all(order_shows.values())


def test_begin_acts_and_stores_nothing(warm):
  agent, state = warm
  frame = np.full((12, 12), 3, np.uint8)
  after, action = jitted(agent, 'begin')(state, frame)
  assert equal(after.replay, state.replay)
  assert equal(after.train, state.train)
  assert after.actor.steps == state.actor.steps + 1
  assert action == after.actor.action
  np.testing.assert_array_equal(
    after.actor.frames, [np.zeros_like(frame), frame]
  )


@pytest.mark.filterwarnings('error:.*donated')
def test_two_numbers_of_updates_are_two_traces_and_the_state_is_donated():
  agent = make_learner()
  traces = []

  def traced(*arguments, num_updates):
    traces.append(num_updates)
    return agent.step(*arguments, num_updates=num_updates)

  step = jax.jit(traced, donate_argnums=0, static_argnames='num_updates')
  state = begin(agent)
  for t, item in enumerate(stream(0, WARM_UP + 3)):
    before = state
    state, *_ = step(before, *item, num_updates=0 if t < WARM_UP else 1)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before))
  assert traces == [0, 1]


# --- Hare & Tortoise and the other re-initialisations ---


def learn(agent, state, steps):
  """Returns the learner's states after each of a number of gradient steps."""
  states = [state.train]
  for _ in range(steps):
    states.append(jitted(agent, 'update')(states[-1], state.replay)[0])
  return states


def test_without_momentum_the_target_is_the_online_network(warm):
  agent = make_learner(momentum=0.0, reset_every=None)
  state = warm[1]
  previous = state.train.params
  for after in learn(agent, state, 5)[1:]:
    assert equal(ht_rl.tortoise_params(after.opt_state), after.params)
    assert not equal(after.params, previous)
    previous = after.params


def test_the_hare_restarts_from_the_tortoise_when_due_and_only_then(warm):
  agent, state = warm  # Restarts every 4 gradient steps.
  states = learn(agent, state, 9)
  tortoises = [ht_rl.tortoise_params(s.opt_state) for s in states]
  at_restart = [
    equal(s.params, tortoise)
    for s, tortoise in zip(states, tortoises, strict=True)
  ]
  assert [i for i, same in enumerate(at_restart) if same] == [0, 4, 8]
  # The first three steps are those of an agent that never restarts.
  plain = learn(make_learner(reset_every=None), state, 4)
  for i in range(4):
    # Two programs: the compiler may order their sums differently.
    chex.assert_trees_all_close(
      plain[i].params, states[i].params, rtol=1e-6, atol=1e-8
    )
  assert not equal(plain[4].params, states[4].params)


def trained(warm, **settings):
  agent = dataclasses.replace(warm[0], **settings)
  return agent, learn(warm[0], warm[1], 6)[-1]


def test_a_head_reset_changes_the_head_alone(warm):
  agent, before = trained(warm, keep_encoder=1.0, keep_head=0.0)
  after = jitted(agent, 'reset')(before)
  old_tortoise = ht_rl.tortoise_params(before.opt_state)
  new_tortoise = ht_rl.tortoise_params(after.opt_state)
  assert not equal(old_tortoise, before.params)
  for old, new in ((before.params, after.params), (old_tortoise, new_tortoise)):
    assert equal(old['params']['encoder'], new['params']['encoder'])
  # One draw for both networks, and another one for each reset.
  fresh = after.params['params']['head']
  assert equal(fresh, new_tortoise['params']['head'])
  kernel = np.asarray(fresh['hidden']['kernel'])
  old_kernel = before.params['params']['head']['hidden']['kernel']
  assert not np.isin(kernel, old_kernel).any()
  assert 0 < np.abs(kernel).max() <= np.sqrt(6 / sum(kernel.shape))
  assert not fresh['hidden']['bias'].any()
  later = jitted(agent, 'reset')(
    before._replace(gradient_steps=before.gradient_steps + 1)
  )
  assert not equal(later.params['params']['head'], fresh)
  # The optimizer is re-initialised, except for the tortoise.
  expected = ht_rl.replace_tortoise(
    agent.optimizer.init(after.params), new_tortoise
  )
  assert equal(after.opt_state, expected)
  assert not equal(after.opt_state, before.opt_state)
  assert before.cycle_steps == before.gradient_steps > 0
  assert after.cycle_steps == 0
  rest = {'params': None, 'opt_state': None, 'cycle_steps': None}
  assert equal(after._replace(**rest), before._replace(**rest))


def test_a_reset_draws_with_a_key_of_its_own(warm):
  agent, before = trained(warm)
  fresh = jitted(agent, 'reset')(before).params['params']['head']
  steps = int(before.gradient_steps)
  used = [jax.random.fold_in(before.key, i) for i in range(steps + 2)]
  used += [k for key in used for k in jax.random.split(key, 3)]
  used += [jax.random.fold_in(key, steps) for key in used]
  draws = jax.jit(jax.vmap(agent.init_params))(jnp.stack(used))
  kernels = draws['params']['head']['hidden']['kernel']
  assert not np.isin(kernels, fresh['hidden']['kernel']).any()


def test_shrink_and_perturb_mixes_both_networks_with_one_draw(warm):
  agent, before = trained(warm, keep_encoder=0.75, keep_head=0.5)
  after = jitted(agent, 'reset')(before)
  networks_before_and_after = [
    (before.params, after.params),
    tuple(map(ht_rl.tortoise_params, (before.opt_state, after.opt_state))),
  ]
  draws = [
    {
      group: jax.tree.map(
        lambda o, n, keep=keep: (n - keep * o) / (1 - keep),
        old['params'][group],
        new['params'][group],
      )
      for group, keep in (('encoder', 0.75), ('head', 0.5))
    }
    for old, new in networks_before_and_after
  ]
  assert_close(*draws)
  kernel = draws[0]['encoder']['Conv_0']['kernel']
  bound = np.sqrt(6 / (np.prod(kernel.shape[:2]) * sum(kernel.shape[2:])))
  assert 0.5 * bound < np.abs(kernel).max() <= bound * 1.0001
  np.testing.assert_allclose(
    draws[0]['encoder']['Conv_0']['bias'], 0, atol=1e-6
  )


# --- Populations, platforms, other environments, bad numbers ---


def test_a_population_of_three_equals_three_runs():
  agent = make_learner()
  members, warm_up, learning = 3, WARM_UP, 9
  streams = [list(stream(10 + i, warm_up + learning)) for i in range(members)]
  population = jax.tree.map(
    lambda *x: jnp.stack(x), *(begin(agent, seed) for seed in range(members))
  )
  steps = {
    num: jax.jit(jax.vmap(functools.partial(agent.step, num_updates=num)))
    for num in (0, 1)
  }
  actions = []
  for t in range(warm_up + learning):
    items = jax.tree.map(lambda *x: np.stack(x), *(s[t] for s in streams))
    population, chosen, metrics = steps[0 if t < warm_up else 1](
      population, *items
    )
    actions.append(chosen)
  assert metrics.gradient_steps.tolist() == [learning] * members
  assert min(metrics.gradient_norm) > 0.01

  for i in range(members):
    state = begin(agent, i)
    for t in range(warm_up + learning):
      num = 0 if t < warm_up else 1
      state, action, _ = jitted(agent, 'step')(
        state, *streams[i][t], num_updates=num
      )
      assert action == actions[t][i]
    member = jax.tree.map(lambda x, i=i: x[i], population)
    assert equal(member.replay, state.replay)
    assert equal(member.actor, state.actor)
    # Not bitwise: XLA sums a batch of networks in another order. The weights
    # (below 1) differ by float32 roundings of 6e-8.
    assert_close(member.train, state.train, rtol=1e-5, atol=5e-7)


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_a_step_lowers_for_every_platform(dtype, monkeypatch):
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')  # Not unrolled.
  agent = drq_learner.DrQLearner(
    network=networks.DuelingQNetwork(18, dtype=jnp.dtype(dtype)),
    num_actions=18,
    optimizer=ht_rl.hare_tortoise(
      optax.adam(1e-4), momentum=0.995, reset_every=4000
    ),
  )
  state = jax.eval_shape(agent.init, jax.random.PRNGKey(0))
  exported = jax.export.export(
    jax.jit(functools.partial(agent.step, num_updates=2), donate_argnums=0),
    platforms=['tpu', 'cuda', 'cpu'],
  )(
    state,
    Outcome(
      jax.ShapeDtypeStruct((), jnp.float32),
      jax.ShapeDtypeStruct((), jnp.bool_),
      jax.ShapeDtypeStruct((), jnp.bool_),
    ),
    jax.ShapeDtypeStruct((84, 84), jnp.uint8),
  )
  assert exported.platforms == ('tpu', 'cuda', 'cpu')
  convolutions = [
    line
    for line in exported.mlir_module().splitlines()
    if 'stablehlo.convolution' in line
  ]
  # Three in each of three passes forward and one backward, twice but for the
  # image's own gradient, and three in acting; for each platform. Gradient steps
  # are a loop: two are no more.
  assert len(convolutions) == 3 * (3 * 3 + 2 * 3 - 1 + 3)
  assert all(('bf16' in line) == (dtype == 'bfloat16') for line in convolutions)
  after, *_ = jax.tree.unflatten(exported.out_tree, exported.out_avals)
  params = jax.tree.leaves(after.train.params)
  assert all(leaf.dtype == jnp.float32 for leaf in params)


class Linear(nn.Module):
  """Q-values linear in the observation."""

  num_actions: int

  @nn.compact
  def __call__(self, observations):
    x = observations.reshape((len(observations), -1))
    return nn.Dense(self.num_actions)(x)


def test_a_small_environment_without_images_is_learned():
  """Observations are one-hot; the action with the index of the 1 earns 1."""
  agent = drq_learner.DrQLearner(
    network=Linear(4),
    num_actions=4,
    optimizer=ht_rl.hare_tortoise(
      optax.adam(0.05), momentum=0.9, reset_every=50
    ),
    observation_shape=(4,),
    observation_dtype=jnp.float32,
    stack_size=1,
    replay_capacity=64,
    min_replay_history=20,
    update_horizon=2,
    epsilon_train=0.3,
    epsilon_decay_period=50,
    data_augmentation=False,
  )
  step = jitted(agent, 'step')
  rng = np.random.default_rng(0)
  answer = rng.integers(4)
  unit = np.eye(4, dtype=np.float32)
  state, action = agent.begin(agent.init(jax.random.key(0)), unit[answer])
  for t in range(150):
    outcome = Outcome(np.float32(action == answer), np.True_, np.False_)
    answer = rng.integers(4)
    state, action, _ = step(
      state,
      outcome,
      unit[answer],
      num_updates=1 if t > 20 else 0,
    )
  tortoise = ht_rl.tortoise_params(state.train.opt_state)
  q = agent.network.apply(tortoise, unit[:, :, None])
  np.testing.assert_allclose(q, np.eye(4), atol=0.2)


@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_a_bad_reward_is_reported_by_the_first_step_that_drew_it(warm, bad):
  agent, state = warm
  state = state._replace(
    replay=state.replay._replace(rewards=state.replay.rewards.at[0].set(bad))
  )
  expected, steps = 0, 12
  for t in range(steps):
    key = jax.random.fold_in(state.train.key, t)
    if not np.isfinite(agent.sample(state.replay, key).r_t).all():
      expected = t + 1
      break
  assert 1 < expected < steps  # Neither the first nor the last.
  for t, after in enumerate(learn(agent, state, steps)):
    assert after.first_bad_step == (expected if t >= expected else 0)
