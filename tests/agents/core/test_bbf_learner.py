"""Compares BBF's gradient steps and resets with loops over the records."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from agents.core import augmentation, bbf_learner, bbf_networks, networks
from agents.core.state import Outcome
import ht_rl

WARM_UP = 24
BATCH, JUMPS, STACK = 4, 2, 2
SUPPORT = np.linspace(-3.0, 3.0, 11)
RATE = 0.1
MOMENTUM = 0.75
ADAMS_RATE = 1e-3
RESTART = 3
RELEASED = {
  'bootstrap_early': True,
  'priorities': 'batch_mean',
  'batches_by_age': True,
  'separate_target_draw': True,
  'exclusive_shift': True,
}

# These tests compile more than they compute.
jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)


def make_network(**settings):
  return bbf_networks.BBFNetwork(
    3,
    encoder=networks.NatureEncoder((4, 4, 4), flatten=False),
    hidden=16,
    num_atoms=len(SUPPORT),
    v_max=SUPPORT[-1],
    **settings,
  )


def make_learner(optimizer, learner=bbf_learner.BBFLearner, **settings):
  return learner(
    num_actions=3,
    optimizer=optimizer,
    **{
      'network': make_network(),
      'observation_shape': (12, 12),
      'stack_size': STACK,
      'replay_capacity': 64,
      'batch_size': BATCH,
      'min_replay_history': WARM_UP,
      'epsilon_decay_period': 10,
      'gamma': 0.9,
      'min_gamma': 0.5,
      'update_horizon': 2,
      'max_update_horizon': 4,
      'cycle_steps': 6,
      'jumps': JUMPS,
      **settings,
    },
  )


def adam(restart=None):
  return ht_rl.hare_tortoise(
    optax.adam(ADAMS_RATE, eps=1.5e-4), momentum=MOMENTUM, reset_every=restart
  )


@dataclasses.dataclass(frozen=True)
class Recorder(bbf_learner.BBFLearner):
  """Records what the gradient steps read."""

  def read(self, replay, starts, weights, cycle_steps, key):
    TRACES.append(self)
    jax.debug.callback(
      lambda *drawn: READ.append(jax.tree.map(np.array, drawn)),
      starts,
      weights,
      ordered=True,
    )
    return super().read(replay, starts, weights, cycle_steps, key)


READ, TRACES = [], []
SGD = ht_rl.hare_tortoise(optax.sgd(RATE), momentum=MOMENTUM)
DOCUMENTED = make_learner(SGD, Recorder, data_augmentation=False)
AS_RELEASED = dataclasses.replace(DOCUMENTED, **RELEASED)
RESTARTING = make_learner(adam(RESTART))


@functools.cache
def jitted(agent, name):
  """Returns a method, compiled once for all tests."""
  static = {'step': 'num_updates', 'learn': 'num_updates'}.get(name)
  return jit(getattr(agent, name), static_argnames=static)


def stream(seed, steps):
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
      rng.integers(256, size=(12, 12)).astype(np.uint8),
    )


def begin(agent, seed=0):
  state = jitted(agent, 'init')(jax.random.PRNGKey(seed))
  return jitted(agent, 'begin')(state, np.full((12, 12), 7, np.uint8))[0]


@pytest.fixture(scope='module')
def warm():
  """Returns the state of a run at the start of learning, and its records."""
  state, records = begin(RESTARTING), []
  for outcome, frame in stream(7, WARM_UP):
    records.append(
      {
        'frame': np.array(state.actor.frames[-1]),
        'action': int(state.actor.action),
        'reward': float(outcome.reward),
        'terminal': bool(outcome.terminal),
        'end': bool(outcome.terminal or outcome.truncation),
      }
    )
    state, _, metrics = jitted(RESTARTING, 'step')(
      state, outcome, frame, num_updates=0
    )
    assert metrics is None
  assert (
    0 < sum(r['terminal'] for r in records) < sum(r['end'] for r in records)
  )
  return state, records


@pytest.fixture(scope='module')
def ready(warm):
  """Returns a learner with SGD, unequal hare and tortoise, and a replay.

  The frames are not padded, since `DOCUMENTED` does not shift them. The
  priorities are unequal, and not those of the losses.
  """
  state, _ = warm
  other = begin(RESTARTING, seed=7).train.params
  learner = state.train._replace(
    opt_state=ht_rl.replace_tortoise(SGD.init(state.train.params), other)
  )
  old = np.array(state.replay.priorities)
  new = np.random.default_rng(2).uniform(0.5, 2.0, len(old))
  new = np.where(old > 0, new, 0).astype(np.float32)
  records = state.replay.replay
  records = records._replace(frames=records.frames[:, 4:-4, 4:-4])
  return learner, state.replay._replace(
    replay=records, priorities=jnp.array(new)
  )


def equal(one, other):
  """Returns whether two trees are bitwise equal."""
  assert jax.tree.structure(one) == jax.tree.structure(other)
  same = jax.tree.map(np.array_equal, one, other)
  return all(jax.tree.leaves(same))


def assert_close(one, other, rtol=1e-5, atol=1e-6):
  """Compares relative to the largest entry of each array: sums are rounded."""

  def check(a, b):
    size = np.max(np.abs(b), initial=0.0)
    np.testing.assert_allclose(a, b, rtol=0, atol=atol + rtol * size)

  assert jax.tree.structure(one) == jax.tree.structure(other)
  jax.tree.map(check, one, other)


def largest_change(before, after):
  changes = jax.tree.map(
    lambda a, b: np.max(np.abs(np.subtract(b, a))), before, after
  )
  return max(jax.tree.leaves(changes))


def learn(agent, learner, replay, num_updates=2):
  """Does gradient steps; returns the result and what each of them read."""
  READ.clear()
  result = jitted(agent, 'learn')(learner, replay, num_updates=num_updates)
  jax.effects_barrier()
  return result, list(READ)


# --- A gradient step, computed from the records ---


def stack_at(records, t):
  frames = [records[t]['frame']]
  for before in range(t - 1, t - STACK, -1):
    if before < 0 or records[before]['end']:
      break
    frames.insert(0, records[before]['frame'])
  missing = [np.zeros((12, 12), np.uint8)] * (STACK - len(frames))
  return np.stack(missing + frames, axis=-1).astype(np.float32) / 255


def example_at(records, t, n, gamma, early):
  """Returns the example of a start, by its definition."""
  value, alive = 0.0, True
  distance = n - 1 if early else n
  for k in range(n):
    value += gamma**k * records[t + k]['reward'] * alive
    alive = alive and not records[t + k]['terminal']
  done = any(records[t + k]['terminal'] for k in range(distance))
  actions, states, mask = [], [], []
  for k in range(JUMPS):
    went_on = not any(records[t + i]['end'] for i in range(k + 1))
    mask.append(went_on)
    states.append(stack_at(records, t + k + 1 if went_on else t))
    inside = k == 0 or mask[k - 1]
    actions.append(records[t + k]['action'] if inside else 0)
  return {
    's_tm1': stack_at(records, t),
    'a_tm1': records[t]['action'],
    'r_t': value,
    'discount_t': 0.0 if done else gamma**n,
    's_t': stack_at(records, t if done else t + distance),
    'actions': np.array(actions),
    'states': np.stack(states),
    'mask': np.array(mask),
  }


@jit
def outputs(params, target_params, s_t, states, actions):
  """Returns the outputs through which no gradient flows."""
  network = DOCUMENTED.network
  logits, projections = network.apply(
    target_params, s_t, states, method='logits_and_projections'
  )
  return network.apply(params, s_t, method='logits'), logits, projections


def softmax(x):
  e = np.exp(np.float64(x) - np.max(x))
  return e / e.sum()


def projected(r, discount, probabilities):
  """Computes the C51 projection of Bellemare et al. (2017), Algorithm 1."""
  spacing = SUPPORT[1] - SUPPORT[0]
  target = np.zeros(len(SUPPORT))
  for z, p in zip(SUPPORT, probabilities, strict=True):
    value = min(max(r + discount * z, SUPPORT[0]), SUPPORT[-1])
    place = (value - SUPPORT[0]) / spacing
    low, high = int(np.floor(place)), int(np.ceil(place))
    if low == high:
      target[low] += p
    else:
      target[low] += p * (high - place)
      target[high] += p * (place - low)
  return target


@functools.partial(jit, static_argnames='spr_weight')
def gradient(params, batch, targets, projections, weights, spr_weight):
  """Returns the gradient of the loss, and the terms of each example."""

  def loss(params):
    logits, predictions = DOCUMENTED.network.apply(
      params, batch['s_tm1'], batch['actions'], method='logits_and_predictions'
    )
    total, parts = 0.0, []
    for i in range(BATCH):
      chosen = logits[i, batch['a_tm1'][i]]
      logs = chosen - jnp.log(jnp.sum(jnp.exp(chosen)))
      cross_entropy = -jnp.sum(targets[i] * logs)
      spr = 0.0
      for k in range(JUMPS):
        y, target = predictions[i, k], projections[i, k]
        y /= jnp.linalg.norm(y)
        target /= jnp.linalg.norm(target)
        spr += batch['mask'][i, k] * jnp.sum((y - target) ** 2) / JUMPS
      total += weights[i] * (cross_entropy + spr_weight * spr) / BATCH
      q = jnp.sum(jnp.exp(logs) * SUPPORT)
      parts.append(jnp.stack([cross_entropy, spr, q]))
    return total, jnp.stack(parts)

  return jax.grad(loss, has_aux=True)(params)


def n_and_gamma(cycle_steps):
  fraction = min(cycle_steps / 6, 1)
  return round(4 * 0.5**fraction), 1 - 0.5 * 0.2**fraction


def reference(learner, records, read, early=False):
  """Computes the expected result of gradient steps on what they read.

  Returns:
    Parameters and tortoise after them; cross-entropy, SPR loss and Q-value of
    each example of each step; and the last gradient.
  """
  params, tortoise = learner.params, ht_rl.tortoise_params(learner.opt_state)
  all_parts = []
  for step, (starts, weights) in enumerate(read):
    n, gamma = n_and_gamma(int(learner.cycle_steps) + step)
    examples = [example_at(records, t, n, gamma, early) for t in starts]
    batch = {
      name: np.stack([example[name] for example in examples])
      for name in examples[0]
    }
    logits, target_logits, projections = outputs(
      params, tortoise, batch['s_t'], batch['states'], batch['actions']
    )
    targets = []
    for i in range(BATCH):
      q = [softmax(logits[i, a]) @ SUPPORT for a in range(3)]
      probabilities = softmax(target_logits[i, np.argmax(q)])
      targets.append(
        projected(batch['r_t'][i], batch['discount_t'][i], probabilities)
      )
    gradients, parts = gradient(
      params, batch, np.stack(targets), projections, weights, spr_weight=5.0
    )
    params = jax.tree.map(
      lambda p, g: np.subtract(p, RATE * np.asarray(g)), params, gradients
    )
    tortoise = jax.tree.map(
      lambda s, h: MOMENTUM * np.asarray(s) + (1 - MOMENTUM) * h,
      tortoise,
      params,
    )
    all_parts.append(np.asarray(parts))
  return params, tortoise, np.stack(all_parts), gradients


# n is 4 and 3, then 3 and 2, then always 2.
@pytest.mark.parametrize('cycle_steps', [1, 4, 100])
@pytest.mark.parametrize('early', [False, True])
def test_gradient_steps_equal_the_reference(warm, ready, cycle_steps, early):
  _, records = warm
  learner, replay = ready
  agent = AS_RELEASED if early else DOCUMENTED
  learner = learner._replace(
    cycle_steps=jnp.int32(cycle_steps), gradient_steps=jnp.int32(cycle_steps)
  )
  (after, _, metrics), read = learn(agent, learner, replay)
  params, tortoise, parts, gradients = reference(learner, records, read, early)

  assert_close(after.params, params)
  assert_close(ht_rl.tortoise_params(after.opt_state), tortoise)
  assert largest_change(learner.params, params) > 0.01
  losses, spr_losses, q = np.mean(parts[-1], axis=0)
  norm = np.sqrt(sum(np.sum(np.square(g)) for g in jax.tree.leaves(gradients)))
  assert metrics._asdict() == {
    'loss': pytest.approx(losses, rel=1e-4),
    'spr_loss': pytest.approx(spr_losses, rel=1e-4),
    'q': pytest.approx(q, rel=1e-4, abs=1e-6),
    'gradient_norm': pytest.approx(norm, rel=1e-4),
    'gradient_steps': cycle_steps + 2,
    'first_bad_step': 0,
  }
  assert spr_losses > 0.1
  # Two steps on one draw, with one scale of the weights.
  drawn = np.concatenate([weights for _, weights in read])
  priorities = replay.priorities[np.concatenate([s for s, _ in read])]
  np.testing.assert_allclose(
    drawn, np.sqrt(priorities.min() / priorities), rtol=1e-6
  )
  assert drawn.min() < 0.9
  # The other way to bootstrap has another result.
  other = reference(learner, records, read, not early)
  assert largest_change(params, other[0]) > 1e-4
  # Each of the two was traced once, whatever n and the discount.
  assert TRACES.count(agent) == 2


def test_n_and_gamma_follow_the_cycle_and_go_back_at_a_reset(ready):
  learner, replay = ready
  seen = []
  for _ in range(5):
    seen.append(tuple(map(float, DOCUMENTED.schedule(learner.cycle_steps))))
    learner, replay, _ = learn(DOCUMENTED, learner, replay)[0]
  np.testing.assert_allclose(
    seen, [n_and_gamma(c) for c in (0, 2, 4, 6, 8)], rtol=1e-6
  )
  assert [n for n, _ in seen] == [4, 3, 3, 2, 2]
  after = jitted(DOCUMENTED, 'reset')(learner)
  assert DOCUMENTED.schedule(after.cycle_steps) == (4, 0.5)
  assert after.gradient_steps == learner.gradient_steps == 10


def test_n_and_gamma_can_be_constant():
  agent = make_learner(SGD, min_gamma=None, update_horizon=4)
  for step in (0, 3, 100):
    assert agent.schedule(jnp.int32(step)) == (4, 0.9)


# --- Sampling and priorities ---


def test_exactly_the_drawn_get_the_priority_of_their_own_cross_entropy(
  warm, ready
):
  learner, replay = ready
  (_, after, _), read = learn(DOCUMENTED, learner, replay)
  _, _, parts, _ = reference(learner, warm[1], read)
  expected = np.array(replay.priorities)
  new = {}
  for starts, losses in zip([s for s, _ in read], parts[..., 0], strict=True):
    for t, loss in zip(starts, losses, strict=True):
      new[t] = max(new.get(t, 0.0), np.sqrt(loss))
  assert len(new) > BATCH
  for t, priority in new.items():
    expected[t] = priority
  np.testing.assert_allclose(after.priorities, expected, rtol=1e-4)
  changed = np.flatnonzero(after.priorities != replay.priorities)
  assert sorted(new) == changed.tolist()
  np.testing.assert_allclose(after.maximum, max(1.0, *new.values()), rtol=1e-4)
  assert after.maximum > 1
  assert equal(after.replay, replay.replay)


def test_as_released_two_of_the_drawn_get_the_means_of_the_batches(warm, ready):
  learner, replay = ready
  (_, after, _), read = learn(AS_RELEASED, learner, replay)
  _, _, parts, _ = reference(learner, warm[1], read, early=True)
  one, two = read[0][0][:2]
  assert one != two
  expected = np.array(replay.priorities)
  expected[[one, two]] = np.sqrt(np.mean(parts[..., 0], axis=1))
  np.testing.assert_allclose(after.priorities, expected, rtol=1e-4)
  changed = np.flatnonzero(after.priorities != replay.priorities)
  assert changed.tolist() == sorted([one, two])


def test_only_as_released_the_first_batch_is_the_older(ready):
  learner, replay = ready

  def in_order(agent):
    groups = []
    for step in range(8):
      later = learner._replace(gradient_steps=jnp.int32(step))
      starts = np.concatenate([s for s, _ in learn(agent, later, replay)[1]])
      assert len(set(starts)) > BATCH
      groups.append(tuple(starts))
    assert len(set(groups)) > 1
    return [list(starts) == sorted(starts) for starts in groups]

  assert all(in_order(AS_RELEASED))
  assert not any(in_order(DOCUMENTED))


def test_a_loop_does_what_unrolled_steps_do(ready, monkeypatch):
  learner, replay = ready
  unrolled, read = learn(DOCUMENTED, learner, replay)
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  jitted.cache_clear()  # Agents with equal settings share a compiled program.
  traced = len(TRACES)
  looped, read_by_loop = learn(dataclasses.replace(DOCUMENTED), learner, replay)
  assert len(TRACES) == traced + 1  # The body of a loop is traced once.
  # Whatever the order of tests, the next one that needs it traces it again.
  jitted.cache_clear()
  TRACES.clear()
  assert equal(read, read_by_loop)
  # Two programs: the compiler may order their sums differently.
  assert_close(looped, unrolled)


# --- Augmentation and noise ---


def test_every_image_is_augmented_on_its_own(warm):
  replay = warm[0].replay
  # A uniform gray, so only the intensity can change.
  frames = jnp.full_like(replay.replay.frames, 100)
  replay = replay._replace(replay=replay.replay._replace(frames=frames))
  starts = jnp.full((BATCH,), int(replay.replay.starts[3]))
  key = jax.random.key(3)
  read = jitted(RESTARTING, 'read')
  batch = read(replay, starts, jnp.ones(BATCH), 0, key)
  images = np.concatenate(
    [
      batch.transitions.s_tm1,
      batch.transitions.s_t,
      batch.future.states.reshape(-1, 12, 12, STACK),
    ]
  )
  factors = images.reshape(len(images), -1) / 100 * 255
  np.testing.assert_array_equal(factors.min(axis=1), factors.max(axis=1))
  assert len(np.unique(factors[:, 0])) == len(images) == (2 + JUMPS) * BATCH
  np.testing.assert_allclose(factors, 1.0, atol=0.1001)
  again = read(replay, starts, jnp.ones(BATCH), 0, key)
  assert equal(batch._replace(noise=0), again._replace(noise=0))


def test_only_as_released_no_image_is_shifted_by_4(warm):
  ramp = jnp.broadcast_to(
    jnp.arange(12, dtype=jnp.uint8)[:, None] * 10, (500, 1, 12, 12)
  )
  stored = augmentation.pad(ramp)
  for agent, offsets in (
    (RESTARTING, range(-4, 5)),
    (AS_RELEASED, range(-4, 4)),
  ):
    shifted = jitted(agent, 'shift')(jax.random.key(0), stored)
    seen = (np.asarray(shifted)[:, 0, 5, 0].astype(int) - 50) // 10
    assert sorted(set(seen)) == list(offsets)


@pytest.mark.parametrize('in_evaluation', [False, True])
def test_noise_explores_in_training_and_in_evaluation_if_asked(
  warm, in_evaluation
):
  agent = make_learner(
    adam(),
    network=make_network(noisy=True),
    jumps=0,
    epsilon_train=0.0,
    epsilon_eval=0.0,
    target_action_selection=False,
    noisy_evaluation=in_evaluation,
  )
  rng = np.random.default_rng(0)

  def draw(path, leaf):
    # Noise large enough to decide the action.
    size = 10.0 if 'sigma' in str(path[-1]) else 0.5
    return np.float32(size * rng.normal(size=leaf.shape))

  state = jax.eval_shape(agent.init, jax.random.PRNGKey(0))
  params = jax.tree_util.tree_map_with_path(draw, state.train.params)
  learner = warm[0].train._replace(params=params)
  actor = warm[0].actor
  frame = next(stream(0, 1))[-1]
  frames = np.stack([np.zeros_like(frame), frame], axis=-1)[None]
  q = jit(agent.network.apply)(params, frames.astype(np.float32) / 255)[0]
  chosen = [
    int(
      jitted(agent, 'act')(
        learner, actor._replace(steps=jnp.int32(t)), frame, True
      ).action
    )
    for t in range(100, 130)
  ]
  assert set(chosen) == {0, 1, 2}
  stacks = jnp.zeros((30, STACK, 12, 12), jnp.uint8)
  images = jnp.broadcast_to(frame, (30, 12, 12))
  for seed in range(3):
    _, actions = jitted(agent, 'evaluate')(
      params, stacks, images, True, jax.random.key(seed)
    )
    greedy = {int(np.argmax(q))}
    assert set(actions.tolist()) == ({0, 1, 2} if in_evaluation else greedy)

  # Each gradient step has its own noise.
  replay = warm[0].replay
  starts = replay.replay.starts[:BATCH]
  batch, other = (
    jitted(RESTARTING, 'read')(
      replay, starts, jnp.ones(BATCH), 0, jax.random.key(seed)
    )._replace(future=None)
    for seed in (1, 2)
  )
  loss = jitted(agent, 'loss')
  value, (_, spr_losses, _) = loss(params, params, batch)
  assert loss(params, params, batch._replace(noise=other.noise))[0] != value
  assert not spr_losses.any()


# --- Resets and restarts ---


def run(agent, state, steps, resets=()):
  """Does one gradient step per environment step, with resets after some.

  Returns:
    The learner before and after the reset (if any) of each gradient step, with
    the beginning as the first; and the state at the end.
  """
  learners = [(state.train, state.train)]
  for item in stream(5, steps):
    state, *_ = jitted(agent, 'step')(state, *item, num_updates=1)
    before = state.train
    if before.gradient_steps in resets:
      state = state._replace(train=jitted(agent, 'reset')(before))
    learners.append((before, state.train))
  return learners, state


@pytest.fixture(scope='module')
def restarting(warm):
  return run(RESTARTING, warm[0], 13, resets=(5, 10))[0]


def test_restarts_and_resets_happen_when_due_and_only_then(restarting):
  tortoises = [
    (ht_rl.tortoise_params(before.opt_state), before.params)
    for before, _ in restarting
  ]
  same = [i for i, pair in enumerate(tortoises) if equal(*pair)]
  # Every 3 gradient steps, counted from the last reset.
  assert same == [0, 3, 8, 13]
  for i, (before, after) in enumerate(restarting):
    assert before.gradient_steps == after.gradient_steps == i
    since = i % 5 or (5 if i else 0)
    assert before.cycle_steps == before.opt_state.count == since
    assert after.cycle_steps == after.opt_state.count == i % 5
    assert equal(before, after) == (i not in (5, 10))


def groups(params, names):
  return {name: params['params'][name] for name in names}


def mixed_in(old, new):
  """Returns the weights that were mixed with half of the old ones."""
  return 2 * np.subtract(new, 0.5 * np.asarray(old))


def both(learner):
  return learner.params, ht_rl.tortoise_params(learner.opt_state)


MIXED = ('encoder', 'transition_model')
DRAWN = ('projection', 'predictor', 'head')


def test_a_reset_mixes_the_encoder_and_draws_the_rest_in_both(restarting):
  before, after = restarting[5]
  assert set(after.params['params']) == {*MIXED, *DRAWN}
  hare, tortoise = (
    (groups(old, MIXED), groups(new, MIXED))
    for old, new in zip(both(before), both(after), strict=True)
  )
  # new - 0.5 old = 0.5 fresh, with the same fresh draw for both.
  fresh, also_fresh = (
    jax.tree.map(mixed_in, *pair) for pair in (hare, tortoise)
  )
  assert_close(fresh, also_fresh)
  assert not equal(hare[1], tortoise[1])
  assert_fresh(fresh, before.params)

  drawn, also_drawn = (groups(params, DRAWN) for params in both(after))
  assert equal(drawn, also_drawn)
  assert_fresh(drawn, before.params)
  # Each reset has another draw.
  later = groups(restarting[10][1].params, DRAWN)
  assert not shared(drawn, later)


def shared(one, other):
  """Returns whether kernels of two trees share a number."""
  pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
  return any(np.isin(a, b).any() for a, b in pairs if a.ndim > 1)


def assert_fresh(params, old):
  """Asserts that parameters are initialised anew."""
  assert not shared(params, groups(old, params))
  for leaf in jax.tree.leaves(params):
    if leaf.ndim == 1:
      np.testing.assert_allclose(leaf, 0, atol=1e-6)
    else:
      field = np.prod(leaf.shape[:-2], dtype=int)
      bound = np.sqrt(6 / (field * sum(leaf.shape[-2:])))
      assert 0.6 * bound < np.abs(leaf).max() <= 1.0001 * bound


def test_a_reset_begins_with_a_new_optimizer(restarting):
  before, after = restarting[5]
  params, tortoise = both(after)
  expected = ht_rl.replace_tortoise(
    jit(RESTARTING.optimizer.init)(params), tortoise
  )
  assert equal(after.opt_state, expected)
  moments = before.opt_state.inner_state[0].mu
  assert all(np.any(leaf) for leaf in jax.tree.leaves(moments))
  rest = {'params': None, 'opt_state': None, 'cycle_steps': None}
  assert equal(after._replace(**rest), before._replace(**rest))


def test_only_as_released_the_two_networks_are_drawn_separately(ready):
  learner, _ = ready
  after = jitted(AS_RELEASED, 'reset')(learner)
  hare, tortoise = (groups(params, DRAWN) for params in both(after))
  assert not shared(hare, tortoise)
  fresh = [
    jax.tree.map(mixed_in, groups(old, MIXED), groups(new, MIXED))
    for old, new in zip(both(learner), both(after), strict=True)
  ]
  assert not shared(*fresh)
  for params, draw in zip(both(learner), (hare, tortoise), strict=True):
    assert_fresh(draw, params)
  for params, draw in zip(both(learner), fresh, strict=True):
    assert_fresh(draw, params)


def test_with_all_of_it_off_nothing_ever_jumps(warm, restarting):
  # The longest step of Adam (Kingma & Ba, 2015, section 2.1).
  bound = ADAMS_RATE * 0.1 / np.sqrt(0.001)
  agent = make_learner(
    adam(), keep_encoder=1.0, keep_head=1.0, priorities='uniform'
  )
  state = warm[0]
  learner = state.train._replace(
    opt_state=jit(agent.optimizer.init)(state.train.params)
  )
  learners, state = run(agent, state._replace(train=learner), 13, (5, 10))
  for before, after in learners:
    assert equal(both(before), both(after))
  for (_, one), (_, other) in itertools.pairwise(learners):
    for old, new in zip(both(one), both(other), strict=True):
      assert 0 < largest_change(old, new) < bound
  # 'uniform' changes no priorities.
  replay = state.replay
  queued = int(replay.replay.last - replay.replay.first)
  assert sorted(set(np.array(replay.priorities))) == [0, 1]
  assert np.sum(replay.priorities) == queued
  assert replay.maximum == 1

  jumps = [
    largest_change(one.params, other.params)
    for (_, one), (_, other) in itertools.pairwise(restarting)
  ]
  far = [i + 1 for i, jump in enumerate(jumps) if jump > 10 * bound]
  assert far == [5, 10]


# --- Populations, platforms, bad numbers ---


def test_a_population_of_three_equals_three_runs():
  agent, members, learning = RESTARTING, 3, 5
  starts, streams = [], []
  for i in range(members):
    state, items = begin(agent, i), list(stream(10 + i, WARM_UP + learning))
    for item in items[:WARM_UP]:
      state, *_ = jitted(agent, 'step')(state, *item, num_updates=0)
    starts.append(state)
    streams.append(items[WARM_UP:])
  population = jax.tree.map(lambda *x: jnp.stack(x), *starts)
  step = jit(jax.vmap(functools.partial(agent.step, num_updates=1)))
  reset = jit(jax.vmap(agent.reset))
  actions = []
  for t in range(learning):
    items = jax.tree.map(lambda *x: np.stack(x), *(s[t] for s in streams))
    population, chosen, metrics = step(population, *items)
    actions.append(chosen)
    if t == 1:
      population = population._replace(train=reset(population.train))
  assert metrics.gradient_steps.tolist() == [learning] * members
  assert min(metrics.gradient_norm) > 0.01

  for i, state in enumerate(starts):
    for t in range(learning):
      state, action, _ = jitted(agent, 'step')(
        state, *streams[i][t], num_updates=1
      )
      assert action == actions[t][i]
      if t == 1:
        learner = jitted(agent, 'reset')(state.train)
        state = state._replace(train=learner)
    member = jax.tree.map(lambda x, i=i: x[i], population)
    assert equal(member.actor, state.actor)
    assert equal(member.replay.replay, state.replay.replay)
    # Not bitwise: XLA sums a batch of networks in another order, and gradients
    # are far larger than what they are sums of.
    assert_close(member, state, rtol=1e-4)


@pytest.mark.parametrize('members', [None, 3], ids=['alone', 'population'])
@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_a_step_lowers_for_every_platform(dtype, members, monkeypatch):
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')  # Not unrolled.
  agent = bbf_learner.BBFLearner(
    network=bbf_networks.BBFNetwork(
      18, encoder=bbf_networks.ImpalaEncoder(dtype=jnp.dtype(dtype))
    ),
    num_actions=18,
    optimizer=ht_rl.hare_tortoise(
      optax.adamw(1e-4, weight_decay=0.1), momentum=0.995, reset_every=4000
    ),
  )
  init, step = agent.init, functools.partial(agent.step, num_updates=2)
  lead = ()
  if members:
    init, step, lead = jax.vmap(init), jax.vmap(step), (members,)
  keys = jax.ShapeDtypeStruct((*lead, 2), jnp.uint32)
  state = jax.eval_shape(init, keys)
  params = jax.tree.leaves(state.train.params)
  assert sum(p.size for p in params) == 39_771_401 * (members or 1)
  exported = jax.export.export(
    jax.jit(step, donate_argnums=0), platforms=['tpu', 'cuda', 'cpu']
  )(
    state,
    Outcome(
      jax.ShapeDtypeStruct(lead, jnp.float32),
      jax.ShapeDtypeStruct(lead, jnp.bool_),
      jax.ShapeDtypeStruct(lead, jnp.bool_),
    ),
    jax.ShapeDtypeStruct((*lead, 84, 84), jnp.uint8),
  )
  assert exported.platforms == ('tpu', 'cuda', 'cpu')
  convolutions = [
    line
    for line in exported.mlir_module().splitlines()
    if 'stablehlo.convolution' in line
  ]
  # Fifteen in each of three passes forward and two backward but for the
  # image's own gradient, two for each of five jumps there and back, and fifteen
  # in acting; for each platform. Gradient steps are a loop: two are no more.
  count = 3 * 15 + 2 * 15 - 1 + 3 * 2 * 5 + 15
  assert len(convolutions) == 3 * count
  assert all(('bf16' in line) == (dtype == 'bfloat16') for line in convolutions)
  after, *_ = jax.tree.unflatten(exported.out_tree, exported.out_avals)
  params = jax.tree.leaves(after.train.params)
  assert all(leaf.dtype == jnp.float32 for leaf in params)


def test_a_bad_reward_is_reported_by_the_first_step_that_drew_it(warm, ready):
  _, records = warm
  learner, replay = ready
  reads, groups = [], 3
  for _ in range(groups):
    (learner, replay, _), read = learn(DOCUMENTED, learner, replay)
    reads += [starts for starts, _ in read]

  def first_bad(position):
    """Returns the first gradient step that reads a bad reward there."""
    bad = [dict(record) for record in records]
    bad[position]['reward'] = np.nan
    for step, starts in enumerate(reads):
      n, gamma = n_and_gamma(step)
      for t in starts:
        if np.isnan(example_at(bad, t, n, gamma, early=False)['r_t']):
          return step + 1
    return 0

  position = max(range(WARM_UP), key=first_bad)
  expected = first_bad(position)
  assert 1 < expected < 2 * groups
  learner, replay = ready
  rewards = replay.replay.rewards.at[position].set(np.nan)
  replay = replay._replace(replay=replay.replay._replace(rewards=rewards))
  for done in (2, 4, 6):
    learner, replay, metrics = learn(DOCUMENTED, learner, replay)[0]
    reported = expected if done >= expected else 0
    assert learner.first_bad_step == metrics.first_bad_step == reported
    assert np.isfinite(replay.priorities).all()
