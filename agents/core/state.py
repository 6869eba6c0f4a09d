"""The agent's state in a run: pytrees of arrays."""

from typing import Any, NamedTuple

import chex
import optax


class TrainState(NamedTuple):
  """The state that gradient steps and resets change.

  Attributes:
    params: online parameters, the hare.
    opt_state: optimizer state; the target network, the tortoise, is in it.
    gradient_steps: int32, number of gradient steps done.
    cycle_steps: int32, number of gradient steps since the last reset.
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
  """The state that acting changes.

  Attributes:
    frames: the frames that the network sees, [stack, *observation_shape].
    action: int32, the last action chosen.
    steps: int32, number of actions chosen.
    key: random key, constant; see `agents.core.streams`.
  """

  frames: chex.Array
  action: chex.Array
  steps: chex.Array
  key: chex.PRNGKey


class AgentState(NamedTuple):
  """The complete state of an agent: learner, replay and actor."""

  train: TrainState
  replay: Any
  actor: ActorState


class Outcome(NamedTuple):
  """The result of the last action.

  Attributes:
    reward: float32, already clipped for learning.
    terminal: bool, the action ended the episode (or lost a life).
    truncation: bool, the episode was truncated after the action.
  """

  reward: chex.Numeric
  terminal: chex.Numeric = False
  truncation: chex.Numeric = False
