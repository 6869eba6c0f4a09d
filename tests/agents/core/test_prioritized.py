"""Compares prioritized replay with a dictionary and float64 sums."""

import functools

from hypothesis import given, settings
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from agents.core import prioritized


@functools.cache
def compiled(horizon, stack):
  return jax.jit(
    functools.partial(prioritized.append, horizon=horizon, stack=stack)
  )


sample = jax.jit(prioritized.sample, static_argnames=('size', 'by_age'))
update = jax.jit(prioritized.update)
update_as_released = jax.jit(prioritized.update_as_released)


def append(state, t, terminal, truncation, horizon, stack):
  """Appends record t, whose frame is t + 1."""
  frame = np.array([t + 1], np.int32)
  step = compiled(horizon, stack)
  return step(state, frame, 0, 0.0, terminal, truncation)


def fill(count, capacity=24, length=5, horizon=2, stack=2):
  """Returns a replay of terminating episodes of equal length."""
  state = prioritized.init(capacity, (1,), jnp.int32)
  for t in range(count):
    end = t % length == length - 1
    state = append(state, t, end, False, horizon, stack)
  return state


def queue(state):
  """Returns the starts that can be drawn, oldest first."""
  replay = state.replay
  places = np.arange(int(replay.first), int(replay.last)) % len(replay.starts)
  return np.asarray(replay.starts)[places]


def priorities(state):
  """Returns the priorities of the starts, float64; all others must be 0."""
  capacity = len(state.priorities)
  every = np.asarray(state.priorities, np.float64)
  slots = queue(state) % capacity
  assert not np.delete(every, slots).any()
  assert (every[slots] > 0).all()
  return every[slots]


def full(values):
  """Returns a replay with these priorities, in which each record is a start."""
  capacity = len(values)
  state = prioritized.init(capacity, (1,))
  replay = state.replay._replace(
    cursor=jnp.int32(capacity),
    starts=jnp.arange(capacity, dtype=jnp.int32),
    last=jnp.int32(capacity),
  )
  return state._replace(
    replay=replay, priorities=jnp.asarray(values, jnp.float32)
  )


# --- Which starts have which priority ---


class Model:
  """Computes priorities in a loop over the whole history."""

  def __init__(self, horizon, stack, capacity):
    self.horizon, self.stack, self.capacity = horizon, stack, capacity
    self.records = []  # (terminal, truncation)
    self.priorities = {}
    self.maximum = 1.0

  def append(self, terminal, truncation):
    self.records.append((terminal, truncation))
    starts = self.starts()
    kept = {t: p for t, p in self.priorities.items() if t in starts}
    self.priorities = {t: kept.get(t, self.maximum) for t in starts}

  def starts(self):
    """Returns the starts that are complete, not truncated, and stored."""
    count, starts = len(self.records), []
    for t in range(count):
      for ahead in range(self.horizon + 1):
        if t + ahead >= count:
          break
        terminal, truncation = self.records[t + ahead]
        if ahead == self.horizon or terminal:
          starts.append(t)
          break
        if truncation:
          break
    return [t for t in starts if t - self.stack + 1 >= count - self.capacity]

  def update(self, starts, losses):
    new = {}
    for t, loss in zip(starts, losses, strict=True):
      if t in self.priorities and np.isfinite(loss) and loss >= 0:
        new[t] = max(new.get(t, 0.0), np.sqrt(loss + 1e-10))
    self.priorities.update(new)
    self.maximum = max([self.maximum, *new.values()])


SETTINGS = [(1, 1, 2), (2, 2, 4), (3, 4, 9), (5, 2, 16)]
ENDS = st.sampled_from([(False, False)] * 4 + [(True, False), (False, True)])
LOSSES = st.sampled_from([0.0, 1e-12, 0.25, 3.0, 1e30, -1.0, np.inf, np.nan])
# Losses after a record, for positions so many records ago. Some of them have
# left the queue or were never in it.
UPDATES = st.lists(
  st.tuples(st.integers(0, 24), LOSSES), min_size=4, max_size=4
)


@settings(deadline=None, max_examples=100)
@given(
  st.sampled_from(SETTINGS),
  st.lists(
    st.tuples(ENDS, st.one_of(st.none(), UPDATES)), min_size=1, max_size=40
  ),
)
def test_priorities_equal_the_model(setting, history):
  horizon, stack, capacity = setting
  state = prioritized.init(capacity, (1,), jnp.int32)
  model = Model(horizon, stack, capacity)
  for t, (end, updates) in enumerate(history):
    state = append(state, t, *end, horizon, stack)
    model.append(*end)
    if updates is not None:
      starts = [max(0, t - ago) for ago, _ in updates]
      losses = [loss for _, loss in updates]
      state = update(state, np.array(starts), np.array(losses, np.float32))
      model.update(starts, losses)
    assert queue(state).tolist() == list(model.priorities)
    np.testing.assert_allclose(
      priorities(state), list(model.priorities.values()), rtol=1e-6
    )
    np.testing.assert_allclose(state.maximum, model.maximum, rtol=1e-6)


def test_a_start_that_was_overwritten_is_not_resurrected():
  state = fill(24)
  oldest = int(queue(state)[0])
  for t in range(24, 27):  # The last of an episode, and two of a new one.
    state = append(state, t, t == 24, False, 2, 2)
  assert oldest not in queue(state)
  before = priorities(state)
  after = update(state, jnp.array([oldest]), jnp.array([9.0]))
  np.testing.assert_array_equal(priorities(after), before)
  # The start in the same slot does not inherit its priority.
  for t in range(27, 29 + oldest):
    after = append(after, t, False, False, 2, 2)
  assert oldest + 24 in queue(after)
  later = update(after, jnp.array([oldest]), jnp.array([9.0]))
  np.testing.assert_array_equal(priorities(later), priorities(after))
  assert later.maximum == 1


def test_of_several_losses_of_one_start_the_largest_counts():
  state = fill(20)
  starts = jnp.array([3, 3, 3, 4])
  losses = jnp.array([0.25, 0.16, jnp.nan, 0.09])
  for order in ([0, 1, 2, 3], [2, 1, 0, 3], [1, 0, 3, 2]):
    order = jnp.array(order)
    new = update(state, starts[order], losses[order]).priorities
    np.testing.assert_allclose(new[3:5], [0.5, 0.3], rtol=1e-6)


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf, -1e-3])
def test_a_bad_loss_changes_nothing(bad):
  state = fill(20)
  starts, _ = sample(state, jax.random.key(0), 8)
  after = update(state, starts, jnp.full(8, bad))
  jax.tree.map(np.testing.assert_array_equal, after, state)


def test_the_largest_loss_of_float32_leaves_a_replay_that_can_be_sampled():
  state = full(np.ones(200))
  largest = np.finfo(np.float32).max
  state = update(state, jnp.arange(200), jnp.full(200, largest))
  state = update(state, jnp.array([7]), jnp.array([0.0]))
  starts, weights = sample(state, jax.random.key(0), 64)
  assert len(set(starts.tolist())) > 32
  assert set(weights.tolist()) == {1.0}  # The root of the largest, 64 times.


# --- Sampling ---


@st.composite
def many_priorities(draw):
  """Draws priorities from 1e-5 (the root of 1e-10) to 1e5, and many zeros."""
  rng = np.random.default_rng(draw(st.integers(0, 2**32)))
  capacity = draw(st.sampled_from([1, 2, 5, 24, 100, 1000, 1023]))
  low, high = sorted(draw(st.tuples(st.floats(-5, 5), st.floats(-5, 5))))
  values = 10 ** rng.uniform(low, high, capacity)
  values[rng.random(capacity) < draw(st.sampled_from([0, 0.5, 0.95]))] = 0
  if draw(st.booleans()):  # All mass at one end.
    values[: draw(st.integers(0, capacity))] = 0
  if draw(st.booleans()):
    values[draw(st.integers(1, capacity)) :] = 0
  values[rng.integers(capacity)] = 10**high
  return values.astype(np.float32)


@settings(deadline=None, max_examples=200)
@given(many_priorities(), st.integers(0, 2**31 - 1))
def test_each_draw_is_a_start_in_its_own_piece(values, seed):
  size = 32
  starts, weights = sample(
    full(values), jax.random.key(seed), size, by_age=True
  )
  starts = np.asarray(starts)
  assert (values[starts] > 0).all()
  ends = np.cumsum(values, dtype=np.float64) / values.sum(dtype=np.float64)
  begins = np.concatenate([[0], ends[:-1]])
  # float32 sums have rounding errors of some 2**-24 of the total.
  assert (begins[starts] <= (np.arange(size) + 1) / size + 1e-6).all()
  assert (ends[starts] >= np.arange(size) / size - 1e-6).all()
  expected = (values[starts] + 1e-10).astype(np.float64) ** -0.5
  np.testing.assert_allclose(weights, expected / expected.max(), rtol=1e-5)


@pytest.mark.parametrize(
  ('target', 'index', 'rest'),
  [
    (-0.5, 1, -0.5),
    (0.0, 1, 0.0),
    (0.5, 1, 0.5),
    (1.0, 3, 0.0),
    (2.5, 3, 1.5),
    (3.0, 3, 2.0),
    (3.5, 3, 2.5),
  ],
)
def test_rounding_beyond_an_end_never_leads_to_a_priority_of_0(
  target, index, rest
):
  # With rounded sums, a target can be slightly outside of its range.
  values = jnp.array([0.0, 1.0, 0.0, 2.0, 0.0])
  assert prioritized._locate(values, target) == (index, rest)


def frequencies(state, draws, size):
  """Returns how often each start of the queue is drawn."""
  keys = jax.random.split(jax.random.key(0), draws // size)
  starts, _ = jax.jit(
    jax.vmap(lambda key: prioritized.sample(state, key, size))
  )(keys)
  values, counts = np.unique(np.asarray(starts), return_counts=True)
  assert set(values) <= set(queue(state))
  counts = dict(zip(values.tolist(), counts, strict=True))
  return np.array([counts.get(t, 0) for t in queue(state).tolist()])


def pvalue(counts, weights):
  weights = weights.astype(np.float64)
  expected = weights / weights.sum() * counts.sum()
  assert expected.min() > 10
  return stats.chisquare(counts, expected).pvalue


# Before and after wrapping around; single draws and stratified draws.
@pytest.mark.parametrize('size', [1, 7])
@pytest.mark.parametrize('count', [17, 75])
def test_starts_are_drawn_in_proportion_to_their_priorities(count, size):
  state = fill(count)
  starts = queue(state)
  counts = frequencies(state, 21_000, size)
  assert pvalue(counts, np.ones(len(starts))) > 1e-3

  rng = np.random.default_rng(0)
  losses = rng.uniform(0.05, 2, len(starts)).astype(np.float32)
  state = update(state, starts, losses)
  counts = frequencies(state, 21_000, size)
  assert pvalue(counts, np.sqrt(losses)) > 1e-3
  assert pvalue(counts, np.ones(len(starts))) < 1e-9

  for t in range(count, count + 9):  # New starts enter, old ones leave.
    state = append(state, t, False, False, 2, 2)
  assert set(queue(state)) != set(starts)
  counts = frequencies(state, 21_000, size)
  assert pvalue(counts, priorities(state)) > 1e-3


def test_a_large_replay_is_drawn_from_in_proportion():
  """Checks 200,000 starts by the shares of 100 ranges of the ring."""
  rng = np.random.default_rng(0)
  values = rng.uniform(0.1, 1, 200_000) * np.repeat(np.arange(1, 101), 2000)
  counts = frequencies(full(values), 64_000, 64)
  stretches = counts.reshape(100, 2000).sum(1)
  weights = values.reshape(100, 2000).sum(1)
  expected = weights / weights.sum() * 64_000
  # Stratified shares vary less than independent draws: in each of the 1000
  # draws, only the strata at the two ends of a range are random.
  assert np.abs(stretches - expected).max() < 5 * np.sqrt(1000 / 2)
  # The shares of every 1000th slot.
  places, weights = (x.reshape(-1, 1000).sum(0) for x in (counts, values))
  assert pvalue(places, weights) > 1e-3


def test_batches_of_a_group_differ_in_age_only_if_asked_for():
  state = fill(75)  # The oldest are in the middle of the ring.
  starts = queue(state)
  middle = np.median(starts)
  shares = {False: [], True: []}
  for seed in range(200):
    groups = {}
    for by_age in (False, True):
      drawn, _ = sample(state, jax.random.key(seed), 16, by_age=by_age)
      groups[by_age] = np.asarray(drawn)
      shares[by_age].append(np.mean(groups[by_age][:8] < middle))
    assert (np.diff(groups[True]) >= 0).all()
    # The same draws in another order.
    np.testing.assert_array_equal(np.sort(groups[False]), groups[True])
  # The first half of a group is the older half of the replay, or any of it.
  assert min(shares[True]) > 0.7
  older = np.mean(starts < middle)
  error = np.std(shares[False]) / np.sqrt(200)
  assert abs(np.mean(shares[False]) - older) < 4 * error < 0.1


# --- As released ---


def test_as_released_only_the_first_starts_of_a_group_get_a_mean():
  state = full(np.linspace(0.5, 1, 100))
  starts, _ = sample(state, jax.random.key(0), 8, by_age=True)
  losses = np.array([[1, 2, 3, 6], [0, 0, 2, 0]], np.float32)
  after = update_as_released(state, starts.reshape(2, 4), losses)
  expected = np.array(state.priorities)
  expected[starts[0]], expected[starts[1]] = np.sqrt(3), np.sqrt(0.5)
  np.testing.assert_allclose(after.priorities, expected, rtol=1e-6)
  np.testing.assert_allclose(after.maximum, np.sqrt(3), rtol=1e-6)


def test_as_released_nearly_all_starts_keep_the_priority_they_came_with():
  """After 100 groups of 2 x 8 from 200 starts, few priorities have changed."""
  released = documented = full(np.ones(200))
  for seed in range(100):
    key = jax.random.key(seed)
    starts, _ = sample(released, key, 16, by_age=True)
    losses = 0.5 + 0.001 * starts.reshape(2, 8)
    released = update_as_released(released, starts.reshape(2, 8), losses)
    starts, _ = sample(documented, key, 16)
    documented = update(documented, starts, 0.5 + 0.001 * starts)
  touched = np.flatnonzero(np.asarray(released.priorities) != 1)
  # The first two of 16 strata.
  assert 0 < len(touched) < 40
  assert touched.max() < 50
  assert np.mean(np.asarray(documented.priorities) != 1) > 0.95


# --- Populations, donation, checkpoints ---


def test_a_population_does_as_its_members_do():
  members = []
  for seed in range(3):
    state = fill(30 + 7 * seed)
    losses = np.random.default_rng(seed).uniform(0, 2, 8).astype(np.float32)
    starts, _ = sample(state, jax.random.key(seed), 8)
    members.append(update(state, starts, losses))
  population = jax.tree.map(lambda *x: jnp.stack(x), *members)
  frame = np.zeros(1, np.int32)

  def step(state, key):
    state = prioritized.append(
      state, frame, 1, 1.0, False, False, horizon=2, stack=2
    )
    starts, weights = prioritized.sample(state, key, 8)
    return prioritized.update(state, starts, weights), starts

  keys = jax.random.split(jax.random.key(1), 3)
  together = jax.jit(jax.vmap(step))(population, keys)
  alone = jax.jit(step)
  for i, member in enumerate(members):
    expected = alone(member, keys[i])
    jax.tree.map(
      lambda x, y: np.testing.assert_array_equal(x[i], y),  # noqa: B023
      together,
      expected,
    )


def test_a_new_replay_can_be_donated():
  state = prioritized.init(8, (2,))

  @functools.partial(jax.jit, donate_argnums=0)
  def step(state, frame):
    return prioritized.append(
      state, frame, 0, 0.0, False, False, horizon=2, stack=2
    )

  step(state, np.zeros(2, np.uint8))
  assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))


@pytest.mark.parametrize('count', [0, 1, 9, 23, 24, 60])
def test_untrim_is_the_inverse_of_trim(count):
  state = fill(count)
  if count > 2:
    starts = queue(state)
    state = update(state, starts, np.arange(len(starts)) / 10)
  trimmed = prioritized.trim(state)
  written = max(1, min(count, 24))
  assert len(trimmed.priorities) == len(trimmed.replay.frames) == written
  back = prioritized.untrim(trimmed)
  assert jax.tree.structure(back) == jax.tree.structure(state)
  for restored, before in zip(
    jax.tree.leaves(back), jax.tree.leaves(state), strict=True
  ):
    assert restored.dtype == before.dtype
    np.testing.assert_array_equal(restored, before)
