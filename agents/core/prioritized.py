"""Prioritized replay on the device (Schaul et al., 2016).

The start of a transition is sampled with probability proportional to its
priority: the square root of its most recent loss, or the largest priority so
far if it has not been sampled yet. Priorities are one flat array. Sampling uses
cumulative sums instead of a tree: a few operations on whole arrays. An update
is a scatter.
"""

from collections.abc import Sequence
import math
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from agents.core import replay as replay_lib


class PrioritizedState(NamedTuple):
  """A replay and the priorities of the transitions that can be sampled.

  Attributes:
    replay: the records, and the queue of starts.
    priorities: float32 [capacity], one for each slot of the ring buffer:
      positive if its record is in the queue of starts, else 0.
    maximum: float32, the largest priority so far.
  """

  replay: replay_lib.ReplayState
  priorities: chex.Array
  maximum: chex.Array


def init(
  capacity: int, observation_shape: Sequence[int], dtype: DTypeLike = jnp.uint8
) -> PrioritizedState:
  """Returns an empty replay.

  Args:
    capacity: number of records in the ring buffer.
    observation_shape: shape of one frame.
    dtype: dtype of the frames.
  """
  return PrioritizedState(
    replay=replay_lib.init(capacity, observation_shape, dtype),
    priorities=jnp.zeros((capacity,), jnp.float32),
    maximum=jnp.ones((), jnp.float32),
  )


def append(
  state: PrioritizedState,
  frame: chex.Array,
  action: chex.Numeric,
  reward: chex.Numeric,
  terminal: chex.Numeric,
  truncation: chex.Numeric,
  *,
  horizon: int,
  stack: int,
) -> PrioritizedState:
  """Appends one record; newly known starts get the largest priority.

  Args:
    state: the replay.
    frame: o_t, [*observation_shape].
    action: a_t, integer scalar.
    reward: r_t, the reward for a_t, scalar.
    terminal: bool scalar, a_t ended the episode.
    truncation: bool scalar, the episode was truncated after a_t, though the
      environment had not ended.
    horizon: the largest number of steps that will be read after a start.
    stack: number of frames that the network sees.

  Returns:
    The replay with the new record. Its capacity must be at least
    `horizon + stack`.
  """
  replay = replay_lib.append(
    state.replay,
    frame,
    action,
    reward,
    terminal,
    truncation,
    horizon=horizon,
    stack=stack,
  )
  capacity = state.priorities.shape[0]
  # This record has overwritten the oldest frame of one start.
  expired = (state.replay.cursor + stack - 1) % capacity
  places = state.replay.last + jnp.arange(horizon + 1)
  entered = replay.starts[places % capacity] % capacity
  entered = jnp.where(places < replay.last, entered, capacity)
  priorities = state.priorities.at[expired].set(0.0)
  priorities = priorities.at[entered].set(state.maximum, mode='drop')
  return state._replace(replay=replay, priorities=priorities)


def sample(
  state: PrioritizedState, key: chex.PRNGKey, size: int, *, by_age: bool = False
) -> tuple[chex.Array, chex.Array]:
  """Samples starts of transitions in proportion to their priorities.

  Sampling is stratified: the sum of all priorities is divided into `size` equal
  ranges, and one start is drawn from each (Schaul et al., 2016, appendix
  B.2.1).

  Args:
    state: a replay with at least one transition.
    key: random key.
    size: number of draws N: one batch, or all batches of an environment step.
    by_age: whether to order the draws from oldest to newest, so that the
      batches of one environment step differ in age, as in BBF's release; else
      the order is random.

  Returns:
    Positions, int32 [N], and importance weights of their losses, float32 [N]:
    ``p_i**-0.5``, divided by the largest of the N.
  """
  uniform_key, order_key = jax.random.split(key)
  capacity = state.priorities.shape[0]
  # Two levels: one cumulative sum of 200k floats is slower and less exact.
  width = math.isqrt(capacity - 1) + 1
  blocks = jnp.pad(state.priorities, (0, -capacity % width)).reshape(-1, width)
  sums = jnp.sum(blocks, axis=1)
  total = jnp.sum(sums)
  pieces = jnp.arange(size) + jax.random.uniform(uniform_key, (size,))
  targets = pieces * (total / size)
  block, rest = jax.vmap(_locate, (None, 0))(sums, targets)
  place, _ = jax.vmap(_locate)(blocks[block], rest)
  slots = block * width + place

  newest = state.replay.cursor - 1
  starts = newest - (newest - slots) % capacity
  if by_age:
    starts = jnp.sort(starts)
  else:
    starts = jax.random.permutation(order_key, starts)
  priorities = state.priorities[starts % capacity]
  return starts, jnp.sqrt(jnp.min(priorities) / priorities)


def _locate(
  values: chex.Array, target: chex.Array
) -> tuple[chex.Array, chex.Array]:
  """Finds where the cumulative sum of `values` first exceeds a target.

  The index is never one with a value of 0: an accelerator adds in any order, so
  rounding can make a cumulative sum grow where the value is 0.

  Args:
    values: non-negative, float32 [M].
    target: scalar, at least 0.

  Returns:
    The index, and the target minus the sum of the values before it.
  """
  sums = jnp.cumsum(values)
  positive = values > 0
  exceeds = positive & (sums > target)
  last = values.shape[0] - 1 - jnp.argmax(positive[::-1])
  index = jnp.where(jnp.any(exceeds), jnp.argmax(exceeds), last)
  return index, target - sums[index] + values[index]


def update(
  state: PrioritizedState, starts: chex.Array, losses: chex.Array
) -> PrioritizedState:
  """Sets priorities to ``sqrt(loss + 1e-10)``.

  A start that was sampled several times gets the largest of its priorities. A
  start that has left the queue in the meantime stays out. A loss that is
  negative, infinite or NaN changes nothing.

  Args:
    state: the replay.
    starts: positions from `sample`, int32 [N].
    losses: loss of each start, float32 [N].

  Returns:
    The replay with new priorities.
  """
  replay, capacity = state.replay, state.priorities.shape[0]
  slots = starts % capacity
  oldest = replay.starts[replay.first % capacity]
  queued = (starts >= oldest) & (state.priorities[slots] > 0)
  accepted = queued & jnp.isfinite(losses) & (losses >= 0)
  new = jnp.where(accepted, jnp.sqrt(losses + 1e-10), 0.0)
  slots = jnp.where(accepted, slots, capacity)  # Out of range: dropped.
  # First 0, then the maximum: if slots repeat, a plain `set` would keep an
  # arbitrary one of their priorities on an accelerator.
  priorities = state.priorities.at[slots].set(0.0, mode='drop')
  return state._replace(
    priorities=priorities.at[slots].max(new, mode='drop'),
    maximum=jnp.maximum(state.maximum, jnp.max(new)),
  )


def update_as_released(
  state: PrioritizedState, starts: chex.Array, losses: chex.Array
) -> PrioritizedState:
  """Sets priorities as BBF's release does, which changes only G of them.

  The release computes the mean loss of each batch, and assigns the means of the
  G batches to the first G starts; all others keep their priorities.

  Args:
    state: the replay.
    starts: positions from `sample` for G gradient steps, int32 [G, B].
    losses: loss of each start, float32 [G, B].

  Returns:
    The replay with new priorities.
  """
  first = starts.reshape(-1)[: starts.shape[0]]
  return update(state, first, jnp.mean(losses, axis=1))


def trim(state: PrioritizedState) -> PrioritizedState:
  """Removes slots that were never written, for a smaller checkpoint."""
  replay = replay_lib.trim(state.replay)
  return state._replace(
    replay=replay, priorities=state.priorities[: replay.actions.shape[0]]
  )


def untrim(state: PrioritizedState) -> PrioritizedState:
  """Restores the full capacity: the inverse of `trim`."""
  replay = replay_lib.untrim(state.replay)
  missing = replay.actions.shape[0] - state.priorities.shape[0]
  return PrioritizedState(
    replay=replay,
    priorities=jnp.pad(state.priorities, (0, missing)),
    maximum=state.maximum,
  )
