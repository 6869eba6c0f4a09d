"""Replay on the device: stores each frame once and builds batches inside jit.

A record t is (o_t, a_t, r_t, terminal_t, truncation_t): the frame that the
agent saw, the action it took, and the outcome. Records are kept in a ring
buffer. Frame stacks, n-step returns and episode masks are computed from them
when a batch is sampled.

Record t can start an n-step transition once record t+n of the same episode has
arrived, or the episode has terminated within n steps. Such starts enter a queue
at that moment, and leave it when the ring buffer overwrites the oldest frame of
their stack. A uniform draw from the queue is therefore a uniform draw from all
valid transitions, at a cost that does not depend on the capacity.
"""

from collections.abc import Sequence
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike


class ReplayState(NamedTuple):
  """Records in a ring buffer, and the queue of transitions to sample from.

  The position of a record is the number of records appended before it; its slot
  in the ring buffer is the position modulo the capacity.

  Attributes:
    frames: observations, [capacity, *observation_shape].
    actions: int32 [capacity].
    rewards: float32 [capacity].
    terminals: bool [capacity], the environment ended (or a life was lost).
    ends: bool [capacity], the episode ended, terminal or truncated.
    cursor: int32, number of records appended so far.
    age: int32, number of records so far of the current episode.
    starts: int32 [capacity], ring buffer of positions that start a transition.
    first: int32, number of starts that have left the queue.
    last: int32, number of starts that have entered the queue.
  """

  frames: chex.Array
  actions: chex.Array
  rewards: chex.Array
  terminals: chex.Array
  ends: chex.Array
  cursor: chex.Array
  age: chex.Array
  starts: chex.Array
  first: chex.Array
  last: chex.Array


class Transition(NamedTuple):
  """A batch of n-step transitions.

  Attributes:
    s_tm1: stacks of frames, [B, stack, *observation_shape].
    a_tm1: int32 [B].
    r_t: n-step returns without the bootstrap, float32 [B].
    discount_t: gamma**n, 0 where the episode terminated, float32 [B].
    s_t: stacks of frames n steps later, or at the terminal record.
  """

  s_tm1: chex.Array
  a_tm1: chex.Array
  r_t: chex.Array
  discount_t: chex.Array
  s_t: chex.Array


class Future(NamedTuple):
  """A batch of the K steps after each start, for self-prediction.

  Attributes:
    states: stacks of frames 1 .. K steps after the start, [B, K, stack,
      *observation_shape].
    actions: actions taken 0 .. K-1 steps after the start, int32 [B, K].
    inside: bool [B, K], whether the state 1 .. K steps after the start is in
      the same episode. (BBF's release excludes an episode's last state.)
  """

  states: chex.Array
  actions: chex.Array
  inside: chex.Array


def init(
  capacity: int, observation_shape: Sequence[int], dtype: DTypeLike = jnp.uint8
) -> ReplayState:
  """Returns an empty replay.

  Args:
    capacity: number of records in the ring buffer.
    observation_shape: shape of one frame.
    dtype: dtype of the frames.
  """

  # Separate arrays: fields that share a buffer could not be donated together.
  def zero() -> chex.Array:
    return jnp.zeros((), jnp.int32)

  return ReplayState(
    frames=jnp.zeros((capacity, *observation_shape), dtype),
    actions=jnp.zeros((capacity,), jnp.int32),
    rewards=jnp.zeros((capacity,), jnp.float32),
    terminals=jnp.zeros((capacity,), bool),
    ends=jnp.zeros((capacity,), bool),
    cursor=zero(),
    age=zero(),
    starts=jnp.zeros((capacity,), jnp.int32),
    first=zero(),
    last=zero(),
  )


def append(
  state: ReplayState,
  frame: chex.Array,
  action: chex.Numeric,
  reward: chex.Numeric,
  terminal: chex.Numeric,
  truncation: chex.Numeric,
  *,
  horizon: int,
  stack: int,
) -> ReplayState:
  """Appends one record.

  Args:
    state: the replay.
    frame: o_t, [*observation_shape].
    action: a_t, integer scalar.
    reward: r_t, the reward for a_t, scalar.
    terminal: bool scalar, a_t ended the episode.
    truncation: bool scalar, the episode was truncated after a_t, though the
      environment had not ended.
    horizon: n of the n-step returns that will be sampled, or the largest number
      of steps that will be read after a start.
    stack: number of frames that the network sees.

  Returns:
    The replay with the new record. Its capacity must be at least
    `horizon + stack`.
  """
  capacity = state.actions.shape[0]
  position = state.cursor
  slot = position % capacity
  terminal = jnp.asarray(terminal, bool)
  end = terminal | jnp.asarray(truncation, bool)

  # This record completes the transition that started `horizon` records ago; if
  # it is terminal, also all transitions that started since.
  steps_ago = jnp.arange(horizon, -1, -1)
  known = (steps_ago <= state.age) & ((steps_ago == horizon) | terminal)
  places = (state.last + jnp.cumsum(known) - 1) % capacity
  places = jnp.where(known, places, capacity)  # Out of range: dropped.
  starts = state.starts.at[places].set(position - steps_ago, mode='drop')
  last = state.last + jnp.sum(known)

  # Overwriting one record expires at most one start, never a new one. The last
  # of the new starts may already have taken its place. Read from the new array,
  # so that XLA need not copy the old one.
  oldest = position - capacity + stack
  taken = last - state.first > capacity
  front = starts[state.first % capacity]
  expired = (state.first < state.last) & (taken | (front < oldest))

  return ReplayState(
    frames=state.frames.at[slot].set(frame),
    actions=state.actions.at[slot].set(action),
    rewards=state.rewards.at[slot].set(reward),
    terminals=state.terminals.at[slot].set(terminal),
    ends=state.ends.at[slot].set(end),
    cursor=position + 1,
    age=jnp.where(end, 0, state.age + 1),
    starts=starts,
    first=state.first + expired,
    last=last,
  )


def sample_starts(
  state: ReplayState, key: chex.PRNGKey, batch_size: int
) -> chex.Array:
  """Samples starts of transitions uniformly, with replacement.

  Args:
    state: a replay with at least one transition (`last > first`).
    key: random key.
    batch_size: number of draws B.

  Returns:
    Positions, int32 [B].
  """
  offset = jax.random.randint(key, (batch_size,), 0, state.last - state.first)
  return state.starts[(state.first + offset) % state.starts.shape[0]]


def stack_frames(
  state: ReplayState, position: chex.Array, stack: int
) -> chex.Array:
  """Returns the last `stack` frames, zeros before the episode's start.

  Args:
    state: the replay.
    position: positions of the newest frames, int32 [B].
    stack: number of frames.

  Returns:
    [B, stack, *observation_shape], the newest frame last.
  """
  capacity = state.actions.shape[0]
  before = (
    position[:, None] - jnp.arange(stack - 1, 0, -1)[None]
  )  # Oldest first.
  breaks = (before < 0) | state.ends[before % capacity]
  # A frame belongs to the stack if nothing ended between it and the newest.
  inside = jnp.logical_not(jnp.cumsum(breaks[:, ::-1], axis=1)[:, ::-1])
  inside = jnp.concatenate([inside, jnp.ones_like(position[:, None], bool)], 1)
  slots = jnp.concatenate([before, position[:, None]], axis=1) % capacity
  frames = state.frames[slots]
  inside = inside.reshape(inside.shape + (1,) * (frames.ndim - 2))
  return jnp.where(inside, frames, jnp.zeros_like(frames))


def push_frame(
  frames: chex.Array, observations: chex.Array, first: chex.Numeric
) -> chex.Array:
  """Adds a frame to each stack; a first frame clears the stack before.

  Args:
    frames: [N, stack, *observation_shape].
    observations: [N, *observation_shape].
    first: bool scalar or [N].

  Returns:
    [N, stack, *observation_shape], the new frame last.
  """
  first = jnp.broadcast_to(first, frames.shape[:1])
  first = first.reshape(first.shape + (1,) * (frames.ndim - 1))
  older = jnp.where(first, jnp.zeros_like(frames), frames)[:, 1:]
  return jnp.concatenate([older, observations[:, None]], axis=1)


def transitions(
  state: ReplayState,
  starts: chex.Array,
  *,
  horizon: int,
  gamma: chex.Numeric,
  stack: int,
  n: chex.Numeric | None = None,
  bootstrap_early: bool = False,
) -> Transition:
  """Returns the n-step transitions that begin at the given starts.

  Let T be the first terminal record at or after t within n steps, if there is
  one. Then ``r_t = sum_{k<n, t+k<=T} gamma**k r_{t+k}``. The bootstrap state is
  that of record t+n with discount gamma**n; there is none if ``T < t+n``.

  Args:
    state: the replay.
    starts: positions from `sample_starts`, int32 [B].
    horizon: the largest n, at most the `horizon` given to `append`.
    gamma: discount per step, in [0, 1].
    stack: number of frames that the network sees.
    n: in ``1 .. horizon``, by default `horizon`. `n` and `gamma` may be traced,
      so that they can change without recompilation.
    bootstrap_early: whether to bootstrap from record t+n-1, if ``T >= t+n-1``,
      still with gamma**n. BBF's release does so, and thereby counts r_{t+n-1}
      twice.

  Returns:
    The batch. If the episode terminated, `s_t` is the stack at the terminal
    record; it has no effect, since its discount is 0.
  """
  capacity = state.actions.shape[0]
  n = horizon if n is None else n
  steps = jnp.arange(horizon)[None]
  slots = (starts[:, None] + steps) % capacity
  survived = jnp.cumprod(1 - state.terminals[slots].astype(jnp.int32), axis=1)
  reached = jnp.concatenate(
    [jnp.ones_like(survived[:, :1]), survived[:, :-1]], axis=1
  )
  weights = gamma ** jnp.arange(horizon, dtype=jnp.float32)[None]
  # Select instead of multiplying: rewards after the end may be NaN.
  counted = (reached == 1) & (steps < n)
  rewards = jnp.where(counted, state.rewards[slots], 0.0)
  distance = n - 1 if bootstrap_early else n
  ahead = jnp.sum(survived * (steps < distance), axis=1)
  return Transition(
    s_tm1=stack_frames(state, starts, stack),
    a_tm1=state.actions[starts % capacity],
    r_t=jnp.sum(weights * rewards, axis=1),
    discount_t=gamma**n * (ahead == distance).astype(jnp.float32),
    s_t=stack_frames(state, starts + ahead, stack),
  )


def future(
  state: ReplayState, starts: chex.Array, *, jumps: int, stack: int
) -> Future:
  """Returns the K states and actions after each start, for self-prediction.

  Let T be the first record at or after t that ended its episode. State t+k
  belongs to the episode if ``t+k <= T``.

  Args:
    state: the replay.
    starts: positions from `sample_starts`, int32 [B].
    jumps: number of steps K, at most the `horizon` given to `append`.
    stack: number of frames that the network sees.

  Returns:
    The batch. Records after T are never read: record T replaces them.
  """
  capacity = state.actions.shape[0]
  slots = (starts[:, None] + jnp.arange(jumps)[None]) % capacity
  inside = jnp.cumprod(1 - state.ends[slots].astype(jnp.int32), axis=1)
  # Steps from t, not beyond T.
  ahead = jnp.cumsum(inside, axis=1)
  positions = starts[:, None] + ahead
  before = starts[:, None] + jnp.pad(ahead, ((0, 0), (1, 0)))[:, :-1]
  states = stack_frames(state, positions.reshape(-1), stack)
  return Future(
    states=states.reshape(*positions.shape, *states.shape[1:]),
    actions=state.actions[before % capacity],
    inside=inside.astype(bool),
  )


def trim(state: ReplayState) -> ReplayState:
  """Removes slots that were never written, for a smaller checkpoint."""
  capacity = state.actions.shape[0]
  written = max(1, min(int(state.cursor), capacity))
  return state._replace(
    frames=state.frames[:written],
    actions=state.actions[:written],
    rewards=state.rewards[:written],
    terminals=state.terminals[:written],
    ends=state.ends[:written],
  )


def untrim(state: ReplayState) -> ReplayState:
  """Restores the full capacity: the inverse of `trim`."""
  capacity = state.starts.shape[0]

  def pad(x: chex.Array) -> chex.Array:
    return jnp.zeros((capacity, *x.shape[1:]), x.dtype).at[: len(x)].set(x)

  return state._replace(
    frames=pad(state.frames),
    actions=pad(state.actions),
    rewards=pad(state.rewards),
    terminals=pad(state.terminals),
    ends=pad(state.ends),
  )
