"""Compares the replay with Dopamine's two and a loop over a list of records."""

import functools
from typing import NamedTuple

import agents.dopamine  # noqa: F401

from dopamine.jax.replay_memory import accumulator, elements
from dopamine.tf.replay_memory import circular_replay_buffer
from hypothesis import given, settings
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from agents import atari
from agents.core import replay

GAMMA = 0.9


class Record(NamedTuple):
  frame: np.ndarray
  action: int
  reward: float
  terminal: bool
  truncation: bool


# --- The definition, as a loop over a list of records ---


def ends(record):
  return record.terminal or record.truncation


def oracle_terminal(records, start, horizon):
  """Returns the first terminal record within the n steps, or None."""
  for t in range(start, min(start + horizon, len(records))):
    if records[t].terminal:
      return t
    if records[t].truncation:
      return None
  return None


def oracle_starts(records, horizon, stack, capacity):
  starts = []
  for start in range(len(records)):
    future = start + horizon < len(records) and not any(
      ends(record) for record in records[start : start + horizon]
    )
    terminal = oracle_terminal(records, start, horizon) is not None
    frames_stored = start - (stack - 1) > len(records) - 1 - capacity
    if (future or terminal) and frames_stored:
      starts.append(start)
  return starts


def oracle_stack(records, newest, stack):
  frames = np.zeros((stack, *records[0].frame.shape), records[0].frame.dtype)
  for age in range(stack):
    t = newest - age
    if t < 0 or (age > 0 and ends(records[t])):
      break
    frames[stack - 1 - age] = records[t].frame
  return frames


def oracle_transition(records, start, horizon, stack):
  terminal = oracle_terminal(records, start, horizon)
  last = start + horizon - 1 if terminal is None else terminal
  r_t, discount = 0.0, 1.0
  for t in range(start, last + 1):
    r_t += discount * float(records[t].reward)
    discount *= GAMMA
  newest = start + horizon if terminal is None else terminal
  return replay.Transition(
    s_tm1=oracle_stack(records, start, stack),
    a_tm1=records[start].action,
    r_t=r_t,
    discount_t=discount if terminal is None else 0.0,
    s_t=oracle_stack(records, newest, stack),
  )


# --- Ours, compiled once for each setting ---


@functools.cache
def compiled(horizon, stack):
  append = jax.jit(
    functools.partial(replay.append, horizon=horizon, stack=stack),
    donate_argnums=0,
  )
  transitions = jax.jit(
    functools.partial(
      replay.transitions, horizon=horizon, gamma=GAMMA, stack=stack
    )
  )
  return append, transitions


def fill(records, horizon, stack, capacity):
  frame = records[0].frame
  state = replay.init(capacity, frame.shape, frame.dtype)
  for record in records:
    state = compiled(horizon, stack)[0](state, *record)
  return state


def queue(state):
  """Returns the starts that can be drawn, oldest first."""
  first, last = int(state.first), int(state.last)
  capacity = len(state.starts)
  assert 0 <= last - first <= capacity
  return np.asarray(state.starts)[np.arange(first, last) % capacity].tolist()


def read(state, starts, horizon, stack):
  """Returns the transitions of any number of starts, by calls of one shape."""
  size = 128
  chunks = []
  for i in range(0, len(starts), size):
    chunk = np.resize(np.asarray(starts[i : i + size], np.int32), size)
    batch = compiled(horizon, stack)[1](state, chunk)
    chunks.append(jax.tree.map(lambda x: np.asarray(x), batch))
  batch = jax.tree.map(lambda *x: np.concatenate(x)[: len(starts)], *chunks)
  return dict(zip(starts, zip(*batch, strict=True), strict=True))


def assert_equal(actual, expected):
  actual = replay.Transition(*actual)
  np.testing.assert_array_equal(actual.s_tm1, expected.s_tm1)
  assert actual.a_tm1 == expected.a_tm1
  # Ours is a float32 sum of at most 10 rewards.
  np.testing.assert_allclose(actual.r_t, expected.r_t, rtol=1e-6, atol=1e-6)
  np.testing.assert_allclose(actual.discount_t, expected.discount_t, rtol=1e-6)
  np.testing.assert_array_equal(actual.s_t, expected.s_t)


# --- Any stream of records ---


SETTINGS = [
  (horizon, stack, horizon + stack + 5 * (horizon + stack) % 7)
  for horizon in range(1, 6)
  for stack in range(1, 5)
]
STEPS = st.tuples(
  st.sampled_from([(False, False)] * 4 + [(True, False), (False, True)]),
  st.sampled_from([0.0, 1.0, -1.0, 2.5, np.nan]),
)


def test_some_capacities_are_the_smallest_allowed():
  assert any(capacity == n + stack for n, stack, capacity in SETTINGS)


@settings(deadline=None, max_examples=100)
@given(
  st.sampled_from(SETTINGS),
  st.lists(STEPS, min_size=1, max_size=50),
  st.integers(0, 49),
)
def test_queue_and_fields_equal_the_loop(setting, steps, look):
  horizon, stack, capacity = setting
  records = [
    Record(np.array([t + 1], np.int32), t % 5, reward, *end)
    for t, (end, reward) in enumerate(steps)
  ]
  append, _ = compiled(horizon, stack)
  state = replay.init(capacity, (1,), jnp.int32)
  for t, record in enumerate(records):
    state = append(state, *record)
    starts = oracle_starts(records[: t + 1], horizon, stack, capacity)
    assert queue(state) == starts
    if starts and (t == look or t + 1 == len(records)):
      batch = read(state, starts, horizon, stack)
      for start in starts:
        expected = oracle_transition(records[: t + 1], start, horizon, stack)
        assert_equal(batch[start], expected)


def test_the_queue_holds_every_record_when_all_are_terminal():
  """A new start takes the place of the one that expires."""
  append, _ = compiled(2, 1)
  state = replay.init(4, (1,), jnp.int32)
  for t in range(12):
    state = append(state, np.array([t], np.int32), 0, 1.0, True, False)
    assert queue(state) == list(range(max(0, t - 3), t + 1))


def test_a_record_that_is_terminal_and_cut_off_is_terminal():
  frame = np.ones(1, np.float32)
  records = [Record(frame, 0, 1.0, False, False)] * 2
  records += [Record(frame, 0, 1.0, True, True)]
  records += [Record(frame, 0, 5.0, False, False)] * 2
  state = fill(records, 3, 2, 8)
  assert queue(state) == [0, 1, 2]
  batch = read(state, [0, 1, 2], 3, 2)
  returns = [replay.Transition(*batch[t]).r_t for t in range(3)]
  np.testing.assert_allclose(returns, [2.71, 1.9, 1.0], rtol=1e-6)


# --- Recorded games ---


def play(game, steps, **limits):
  environment = atari.AtariEnvironment(game, seed=0, **limits)
  rng = np.random.default_rng(0)
  records = []
  frame = environment.reset()
  for _ in range(steps):
    action = int(rng.integers(environment.action_space.n))
    after, reward, terminal, _ = environment.step(action)
    over = environment.game_over
    truncation = over and not terminal
    records.append(Record(frame[..., 0], action, reward, terminal, truncation))
    frame = environment.reset() if over else after
  return [*records[:-1], records[-1]._replace(truncation=not terminal)]


@pytest.fixture(scope='module', params=['Pong', 'Breakout'])
def game(request):
  """Returns records of a random game, with rewards and all kinds of end."""
  if request.param == 'Pong':  # A whole game, and some truncated ones.
    records = play('Pong', 1200) + play('Pong', 180, max_episode_steps=75)
  else:  # A life lasts about 40 steps.
    records = play('Breakout', 500) + play(
      'Breakout', 200, max_episode_steps=70
    )
  assert sum(record.terminal for record in records) >= 1
  assert sum(record.truncation for record in records) >= 2
  assert {record.reward for record in records} >= {0, 1}
  return records


@pytest.mark.parametrize(('horizon', 'stack'), [(10, 4), (3, 4), (1, 2)])
def test_recorded_games_equal_dopamines_accumulator(game, horizon, stack):
  """Compares all starts except those within n steps of a terminal record.

  Near a terminal record T, Dopamine's accumulator departs from the definition
  in the docstring of `transitions`, because it drops records before it has
  built all their transitions:
  - T-n is called terminal though r_T is not in its return, and is repeated with
    fewer and fewer frames in its stack;
  - T-n+1 .. T-1 have only the newest frame in their stacks;
  - T itself is missing.
  """
  theirs = accumulator.TransitionAccumulator(stack, horizon, GAMMA)
  yielded = {}
  for t, record in enumerate(game):
    element = elements.TransitionElement(
      record.frame,
      t,  # In place of the action: identifies the start.
      record.reward,
      record.terminal,
      record.terminal or record.truncation,
    )
    for made in theirs.accumulate(element):
      yielded.setdefault(made.action, []).append(made)

  capacity = len(game) + stack
  state = fill(game, horizon, stack, capacity)
  starts = queue(state)
  ours = read(state, starts, horizon, stack)
  kinds = {'same': 0, 'T-n': 0, 'tail': 0, 'T': 0}
  for start in starts:
    made = yielded.pop(start, [])
    transition = replay.Transition(*ours[start])
    terminal = oracle_terminal(game, start, horizon + 1)
    if terminal == start:
      kinds['T'] += 1
      assert made == []
      assert transition.discount_t == 0
      assert transition.r_t == game[start].reward
      continue
    state, next_state = (
      np.moveaxis(stacked, -1, 0)
      for stacked in (made[0].state, made[0].next_state)
    )
    np.testing.assert_allclose(transition.r_t, made[0].reward, rtol=1e-6)
    assert transition.a_tm1 == game[start].action
    if terminal is None:
      kinds['same'] += 1
      assert len(made) == 1
      assert not made[0].is_terminal
      np.testing.assert_allclose(transition.discount_t, GAMMA**horizon)
      np.testing.assert_array_equal(transition.s_tm1, state)
      np.testing.assert_array_equal(transition.s_t, next_state)
    elif terminal == start + horizon:
      kinds['T-n'] += 1
      assert made[0].is_terminal
      np.testing.assert_allclose(transition.discount_t, GAMMA**horizon)
      np.testing.assert_array_equal(transition.s_tm1, state)
      np.testing.assert_array_equal(transition.s_t, next_state)
    else:
      kinds['tail'] += 1
      assert len(made) == 1
      assert made[0].is_terminal
      assert transition.discount_t == 0
      np.testing.assert_array_equal(transition.s_tm1[-1], state[-1])
      assert not state[:-1].any()
  assert not yielded
  terminals = sum(record.terminal for record in game)
  assert kinds['T'] == kinds['T-n'] == terminals
  assert kinds['tail'] == terminals * (horizon - 1)
  assert kinds['same'] > 0.6 * len(game)


@pytest.mark.parametrize(('horizon', 'stack'), [(10, 4), (3, 4), (1, 2)])
def test_recorded_games_equal_dopamines_older_replay(game, horizon, stack):
  """Compares all starts: the TensorFlow replay has the same definition."""
  padding = stack * (2 + sum(ends(record) for record in game))
  theirs = circular_replay_buffer.OutOfGraphReplayBuffer(
    observation_shape=game[0].frame.shape,
    stack_size=stack,
    replay_capacity=len(game) + padding + horizon + 2,
    batch_size=1,
    update_horizon=horizon,
    gamma=GAMMA,
  )
  places = []
  # It returns the last n records only after n more.
  after = [game[0]._replace(terminal=False, truncation=False)] * (horizon + 1)
  for record in game + after:
    theirs.add(
      record.frame,
      record.action,
      record.reward,
      record.terminal,
      episode_end=ends(record),
    )
    places.append(int(theirs.cursor()) - 1)

  state = fill(game, horizon, stack, len(game) + stack)
  starts = queue(state)
  ours = read(state, starts, horizon, stack)
  checked = 0
  for start in starts:
    if not theirs.is_valid_transition(places[start]):
      # It also omits starts less than n steps before a truncation.
      following = game[start : start + horizon]
      assert any(record.truncation for record in following)
      continue
    s_tm1, a_tm1, r_t, s_t, _, _, done, _ = theirs.sample_transition_batch(
      1, [places[start]]
    )
    terminal = bool(done[0])
    expected = replay.Transition(
      s_tm1=np.moveaxis(s_tm1[0], -1, 0),
      a_tm1=a_tm1[0],
      r_t=r_t[0],
      discount_t=0.0 if terminal else GAMMA**horizon,
      # After a terminal record it returns frames of the next episode.
      s_t=ours[start][-1] if terminal else np.moveaxis(s_t[0], -1, 0),
    )
    assert_equal(ours[start], expected)
    checked += 1
  assert checked > 0.95 * len(starts)


@pytest.mark.parametrize('capacity', [14, 100, 250])
def test_recorded_games_in_a_small_ring_equal_the_loop(game, capacity):
  horizon, stack = 10, 4
  records = game[-(capacity + 60) :]
  state = fill(records, horizon, stack, capacity)
  starts = oracle_starts(records, horizon, stack, capacity)
  assert queue(state) == starts != []
  for start, fields in read(state, starts, horizon, stack).items():
    assert_equal(fields, oracle_transition(records, start, horizon, stack))


def test_at_a_terminal_record_by_hand():
  """Checks the starts around T, where Dopamine's accumulator departs."""
  n, stack, terminal = 3, 2, 5
  records = [
    Record(np.array([10 + t], np.uint8), t, 2.0**t, t == terminal, False)
    for t in range(8)
  ]
  batch = read(fill(records, n, stack, 16), [1, 2, 3, 4, 5], n, stack)
  bootstrapped = GAMMA**3
  for start, r_t, discount_t, s_tm1, s_t in [
    (1, 2 + 4 * 0.9 + 8 * 0.81, bootstrapped, [10, 11], [13, 14]),
    (2, 4 + 8 * 0.9 + 16 * 0.81, bootstrapped, [11, 12], [14, 15]),  # T-n
    (3, 8 + 16 * 0.9 + 32 * 0.81, 0.0, [12, 13], [14, 15]),
    (4, 16 + 32 * 0.9, 0.0, [13, 14], [14, 15]),
    (5, 32.0, 0.0, [14, 15], [14, 15]),  # T
  ]:
    transition = replay.Transition(*batch[start])
    assert transition.a_tm1 == start
    np.testing.assert_allclose(transition.r_t, r_t, rtol=1e-6)
    np.testing.assert_allclose(transition.discount_t, discount_t, rtol=1e-6)
    np.testing.assert_array_equal(transition.s_tm1[:, 0], s_tm1)
    np.testing.assert_array_equal(transition.s_t[:, 0], s_t)


# --- Sampling and checkpoints ---


def episodes(length, count):
  return [
    Record(np.array([t + 1], np.int32), 0, 1.0, t % length == length - 1, False)
    for t in range(count)
  ]


@pytest.mark.parametrize('count', [17, 75])  # Before and after wrapping around.
def test_starts_are_drawn_equally(count):
  state = fill(episodes(5, count), 2, 2, 24)
  starts = queue(state)
  draws = replay.sample_starts(state, jax.random.key(0), 20_000)
  values, counts = np.unique(np.asarray(draws), return_counts=True)
  assert values.tolist() == starts
  assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize('count', [0, 1, 9, 23, 24, 60])
def test_untrim_is_the_inverse_of_trim(count):
  records = episodes(5, max(count, 1))
  state = fill(records, 2, 2, 24) if count else replay.init(24, (1,), jnp.int32)
  trimmed = replay.trim(state)
  assert len(trimmed.frames) == max(1, min(count, 24))
  back = replay.untrim(trimmed)
  assert jax.tree.structure(back) == jax.tree.structure(state)
  for restored, before in zip(back, state, strict=True):
    assert restored.dtype == before.dtype
    np.testing.assert_array_equal(restored, before)


def test_a_new_replay_can_be_donated():
  state = replay.init(8, (2,))
  frame = np.zeros(2, np.uint8)
  record = Record(frame, 0, 0.0, False, False)
  compiled(2, 2)[0](state, *record)
  assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
