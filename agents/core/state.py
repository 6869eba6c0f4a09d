"""The state of a run on the agent's side: pytrees of arrays."""

from typing import Any, NamedTuple

import chex
import optax


class TrainState(NamedTuple):
  """What gradient steps change.

  Attributes:
    params: online parameters, the hare.
    opt_state: optimizer state; the target network, the tortoise, is in it.
    gradient_steps: int32, number of gradient steps done.
    cycle_steps: int32, number of them since the last reset.
    first_bad_step: int32, the first gradient step with a NaN or infinite loss,
      counted from 1; 0 if there was none.
    key: random key, constant; see `agents.core.streams`.
  """

  params: Any
  opt_state: optax.OptState
  gradient_steps: chex.Array
  cycle_steps: chex.Array
  first_bad_step: chex.Array
  key: chex.PRNGKey


class ActorState(NamedTuple):
  """What acting changes.

  Attributes:
    frames: the frames that the network sees, [stack, *observation_shape].
    action: int32, the last action chosen.
    steps: int32, number of actions chosen.
    key: random key, constant; each step folds in its number.
  """

  frames: chex.Array
  action: chex.Array
  steps: chex.Array
  key: chex.PRNGKey


class AgentState(NamedTuple):
  """All that a run consists of on the agent's side."""

  train: TrainState
  replay: Any
  actor: ActorState


class Outcome(NamedTuple):
  """What the last action brought.

  Attributes:
    reward: float32, clipped as the agent should see it.
    terminal: bool, the action ended the episode (or lost a life).
    truncation: bool, the episode was cut off after the action.
  """

  reward: chex.Numeric
  terminal: chex.Numeric = False
  truncation: chex.Numeric = False
