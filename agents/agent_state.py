"""The state of an agent in a checkpoint, for every owner of a driver."""

from typing import Any

import numpy as np

from agents import checkpoint
from agents.core.driver import Driver
from agents.core.state import Outcome


def of(driver: Driver, pending: Outcome | None = None) -> dict[str, Any]:
  """Returns the state of an agent, for a checkpoint: a pytree of arrays.

  Args:
    driver: the agent.
    pending: an outcome that the driver has yet to be given, which only agents
      under Dopamine's own runner have.

  Raises:
    DivergedError: a loss was NaN or infinite, or the next one will be.
  """
  return {
    **driver.get_state(),
    'has_pending': np.asarray(pending is not None),
    'pending': np.asarray(pending or Outcome(0.0), np.float32),
  }


def restore(driver: Driver, arrays: dict[str, np.ndarray]) -> Outcome | None:
  """Restores a state that `of` returned.

  Args:
    driver: the agent.
    arrays: the state's arrays by path, from `checkpoint.Checkpoints.restore`.

  Returns:
    The pending outcome.

  Raises:
    CheckpointError: the state belongs to an agent with other settings.
  """
  template = {
    'run': driver.state,
    'steps': 0,
    'anchor': driver.anchor,
    'has_pending': 0,
    'pending': 0,
  }
  state = checkpoint.unflatten(template, arrays)
  driver.set_state(state)
  if not state['has_pending']:
    return None
  reward, terminal, truncation = state['pending']
  return Outcome(float(reward), bool(terminal), bool(truncation))
