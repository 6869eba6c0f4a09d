"""Compares what is read after a start with a loop over a list of episodes."""

import functools
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents.core import replay

GAMMAS = np.array([0.5, 0.9, 1.0], np.float32)


class Record(NamedTuple):
  frame: np.ndarray
  action: int
  reward: float
  terminal: bool
  truncation: bool


# --- The definition ---


class Episodes:
  """Records as a list of episodes; overwritten records cannot be read."""

  def __init__(self, records, horizon, stack, capacity):
    self.horizon, self.stack = horizon, stack
    self.first_stored = len(records) - capacity
    self.episodes = []  # (position of the first record, records)
    over = True
    for position, record in enumerate(records):
      if over:
        self.episodes.append((position, []))
      self.episodes[-1][1].append(record)
      over = record.terminal or record.truncation

  def starts(self):
    starts = []
    for first, records in self.episodes:
      for i in range(len(records)):
        followed = i + self.horizon < len(records)
        terminates = records[-1].terminal and len(records) - i <= self.horizon
        stored = first + i - (self.stack - 1) >= self.first_stored
        if (followed or terminates) and stored:
          starts.append(first + i)
    return starts

  def find(self, start):
    """Returns an episode's records from a start on, and those before it."""
    for first, records in reversed(self.episodes):
      if first <= start:
        return records[start - first :], records[: start - first]
    raise AssertionError

  def state(self, start, ahead):
    """Returns the stack `ahead` records after a start, in the same episode."""
    records, before = self.find(start)
    frames = [record.frame for record in before + records[: ahead + 1]]
    frames = frames[-self.stack :]
    newest = start + ahead
    assert newest - len(frames) + 1 >= self.first_stored  # Never overwritten.
    zeros = [np.zeros_like(frames[0])] * (self.stack - len(frames))
    return np.stack(zeros + frames)

  def transition(self, start, n, gamma, bootstrap_early):
    records, _ = self.find(start)
    r_t = sum(
      float(gamma) ** k * records[k].reward
      for k in range(n)
      if k < len(records)
    )
    distance = n - 1 if bootstrap_early else n
    over = len(records) <= distance  # It terminated before that record.
    return replay.Transition(
      s_tm1=self.state(start, 0),
      a_tm1=records[0].action,
      r_t=r_t,
      discount_t=0.0 if over else float(gamma) ** n,
      s_t=self.state(start, min(distance, len(records) - 1)),
    )

  def future(self, start, jumps):
    records, _ = self.find(start)
    last = len(records) - 1
    return replay.Future(
      states=[self.state(start, min(k + 1, last)) for k in range(jumps)],
      actions=[records[min(k, last)].action for k in range(jumps)],
      inside=[k + 1 <= last for k in range(jumps)],
    )


# --- Ours ---


@functools.cache
def filler(horizon, stack):
  append = functools.partial(replay.append, horizon=horizon, stack=stack)

  def fill(state, records, count):
    def body(i, state):
      return append(state, *jax.tree.map(lambda x: x[i], records))

    return jax.lax.fori_loop(0, count, body, state)

  return jax.jit(fill)


def fill(records, horizon, stack, capacity, size=64):
  """Returns a replay with these records, in one call of one shape."""
  frame = records[0].frame
  state = replay.init(capacity, frame.shape, frame.dtype)
  count = len(records)
  padded = records + [records[0]] * (size - count)
  arrays = Record(*(np.array(field) for field in zip(*padded, strict=True)))
  return filler(horizon, stack)(state, arrays, count)


def queue(state):
  first, last = int(state.first), int(state.last)
  capacity = len(state.starts)
  return np.asarray(state.starts)[np.arange(first, last) % capacity].tolist()


@functools.cache
def reader(horizon, stack, jumps):
  """Returns a reader of all n, discounts and bootstraps, and the future."""

  def read(state, starts):
    def read_one(n, gamma, bootstrap_early):
      return replay.transitions(
        state,
        starts,
        horizon=horizon,
        gamma=gamma,
        stack=stack,
        n=n,
        bootstrap_early=bootstrap_early,
      )

    ns = 1 + jnp.arange(horizon)
    read_all = jax.vmap(jax.vmap(read_one, (0, None, None)), (None, 0, None))
    both = [read_all(ns, GAMMAS, early) for early in (False, True)]
    return both, replay.future(state, starts, jumps=jumps, stack=stack)

  return jax.jit(read)


# (horizon, stack, jumps, capacity); capacities down to the smallest allowed.
SETTINGS = [
  (1, 1, 1, 2),
  (2, 3, 0, 9),
  (3, 2, 2, 5),
  (4, 3, 1, 11),
  (5, 4, 5, 9),
  (10, 4, 5, 23),
]
ENDS = st.sampled_from([(False, False)] * 6 + [(True, False), (False, True)])
STEPS = st.tuples(ENDS, st.sampled_from([0.0, 1.0, -1.0, 2.5]))


@settings(deadline=None, max_examples=80)
@given(st.sampled_from(SETTINGS), st.lists(STEPS, min_size=1, max_size=64))
def test_what_is_read_equals_the_loop(setting, steps):
  horizon, stack, jumps, capacity = setting
  records = [
    Record(np.array([t + 1], np.int32), t % 7, reward, *end)
    for t, (end, reward) in enumerate(steps)
  ]
  model = Episodes(records, horizon, stack, capacity)
  state = fill(records, horizon, stack, capacity)
  starts = queue(state)
  assert starts == model.starts()
  if not starts:
    return
  padded = np.resize(np.array(starts, np.int32), capacity)
  both, future = jax.tree.map(
    np.asarray, reader(horizon, stack, jumps)(state, padded)
  )
  for b, start in enumerate(starts):
    expected = model.future(start, jumps)
    assert future.states[b].shape == (jumps, stack, 1)
    if jumps:
      np.testing.assert_array_equal(future.states[b], expected.states)
    assert future.actions[b].tolist() == expected.actions
    assert future.inside[b].tolist() == expected.inside
    for early, read in enumerate(both):
      for g, gamma in enumerate(GAMMAS):
        for n in range(1, horizon + 1):
          actual = jax.tree.map(lambda x: x[g, n - 1, b], read)  # noqa: B023
          wanted = model.transition(start, n, gamma, bool(early))
          np.testing.assert_array_equal(actual.s_tm1, wanted.s_tm1)
          np.testing.assert_array_equal(actual.s_t, wanted.s_t)
          assert actual.a_tm1 == wanted.a_tm1
          # float32 sums of at most 10 rewards.
          np.testing.assert_allclose(
            actual.r_t, wanted.r_t, rtol=1e-6, atol=2e-6
          )
          np.testing.assert_allclose(
            actual.discount_t, wanted.discount_t, rtol=1e-6
          )


transitions = jax.jit(
  replay.transitions,
  static_argnames=('horizon', 'gamma', 'stack', 'n', 'bootstrap_early'),
)


def by_hand():
  """Returns rewards 2**t, terminal after 5, then a new episode; stacks of 2."""
  records = [
    Record(np.array([10 + t], np.uint8), t, 2.0**t, t == 5, False)
    for t in range(12)
  ]
  return fill(records, horizon=3, stack=2, capacity=16, size=12)


def test_the_future_by_hand():
  read = jax.jit(functools.partial(replay.future, jumps=3, stack=2))
  future = read(by_hand(), np.array([0, 3, 4, 5, 6]))
  assert future.states[..., 0].tolist() == [
    [[10, 11], [11, 12], [12, 13]],
    [[13, 14], [14, 15], [14, 15]],
    [[14, 15], [14, 15], [14, 15]],
    [[14, 15], [14, 15], [14, 15]],
    [[16, 17], [17, 18], [18, 19]],
  ]
  assert future.actions.tolist() == [
    [0, 1, 2],
    [3, 4, 5],
    [4, 5, 5],
    [5, 5, 5],
    [6, 7, 8],
  ]
  assert future.inside.tolist() == [
    [True, True, True],
    [True, True, False],
    [True, False, False],
    [False, False, False],
    [True, True, True],
  ]


@pytest.mark.parametrize(
  ('n', 'start', 'early', 'late'),
  [
    # r_t, discount_t, newest frame of s_t.
    (3, 1, (2 + 4 / 2 + 8 / 4, 1 / 8, 13), (2 + 4 / 2 + 8 / 4, 1 / 8, 14)),
    (3, 3, (8 + 16 / 2 + 32 / 4, 1 / 8, 15), (8 + 16 / 2 + 32 / 4, 0, 15)),
    (3, 4, (16 + 32 / 2, 0, 15), (16 + 32 / 2, 0, 15)),
    (1, 2, (4, 1 / 2, 12), (4, 1 / 2, 13)),
    (1, 5, (32, 1 / 2, 15), (32, 0, 15)),
  ],
)
def test_bootstrapping_early_by_hand(n, start, early, late):
  """As in BBF's release: at n = 1 the bootstrap state is the start itself."""
  state = by_hand()
  for bootstrap_early, expected in [(True, early), (False, late)]:
    batch = transitions(
      state,
      np.array([start]),
      horizon=3,
      gamma=0.5,
      stack=2,
      n=n,
      bootstrap_early=bootstrap_early,
    )
    r_t, discount_t, newest = expected
    assert batch.r_t[0] == r_t
    assert batch.discount_t[0] == discount_t
    assert batch.s_t[0, -1, 0] == newest


def test_bootstrapping_early_makes_the_last_reward_count_twice():
  """Compares state values before one reward: correct, and as released."""
  n, gamma, length = 2, 0.5, 8
  records = [
    Record(np.array([t], np.int32), 0, float(t == 4), t == length - 1, False)
    for t in range(length)
  ]
  state = fill(records, horizon=n, stack=1, capacity=16, size=length)
  values = {}
  for bootstrap_early in (False, True):
    batch = transitions(
      state,
      np.arange(length),
      horizon=n,
      gamma=gamma,
      stack=1,
      bootstrap_early=bootstrap_early,
    )
    value = np.zeros(length)
    r_t, discount_t = np.asarray(batch.r_t), np.asarray(batch.discount_t)
    s_t = np.asarray(batch.s_t)[:, 0, 0]
    for _ in range(60):  # Until the fixed point.
      value = r_t + discount_t * value[s_t]
    values[bootstrap_early] = value[:5].tolist()
  assert values[False] == [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1]
  # Step 3 counts the reward twice; each step before it discounts by gamma**2.
  assert values[True] == pytest.approx(
    [3 / 4 / 64, 3 / 4 / 16, 3 / 4 / 4, 1 / 2 + 1 / 4, 1]
  )


def test_a_traced_n_reads_what_a_static_one_does_without_a_compilation():
  state, starts = by_hand(), np.arange(9)
  traces = []

  @jax.jit
  def read(state, starts, n, gamma):
    traces.append(n)
    return replay.transitions(
      state, starts, horizon=3, gamma=gamma, stack=2, n=n
    )

  for n in (3, 2, 1):
    for gamma in (0.5, 0.75):  # With these, sums and powers are exact.
      static = transitions(state, starts, horizon=n, gamma=gamma, stack=2)
      for actual, expected in zip(
        read(state, starts, n, gamma), static, strict=True
      ):
        np.testing.assert_array_equal(actual, expected)
  assert len(traces) == 1


def test_a_population_reads_as_its_members_do():
  members = [
    fill(
      [
        Record(np.array([seed + t], np.uint8), t, float(t), t % end == 0, False)
        for t in range(12)
      ],
      horizon=3,
      stack=2,
      capacity=9,
      size=12,
    )
    for seed, end in [(0, 5), (50, 3), (100, 7)]
  ]
  population = jax.tree.map(lambda *x: jnp.stack(x), *members)
  starts = np.array([4, 5, 6])

  def read(state, n):
    return (
      replay.transitions(state, starts, horizon=3, gamma=0.5, stack=2, n=n),
      replay.future(state, starts, jumps=2, stack=2),
    )

  ns = jnp.array([1, 2, 3])
  together = jax.jit(jax.vmap(read))(population, ns)
  alone = jax.jit(read)
  for i, member in enumerate(members):
    jax.tree.map(
      lambda x, y: np.testing.assert_array_equal(x[i], y),  # noqa: B023
      together,
      alone(member, ns[i]),
    )
