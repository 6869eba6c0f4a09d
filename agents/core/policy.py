"""A network as a policy for a batch of environments."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from agents.core import streams
from agents.core.learner import Learner

# Maps frames and flags of first frames to actions; see `make_policy`.
Policy = Callable[[np.ndarray, np.ndarray], jax.Array]


def make_policy(
  learner: Learner,
  params: Any,
  num_envs: int,
  seed: int,
  evaluate: Callable[..., Any] | None = None,
  *,
  after: int = 0,
) -> Policy:
  """Returns the policy of some parameters for a batch of environments.

  Args:
    learner: the learner of the parameters.
    params: parameters, such as `Driver.tortoise`.
    num_envs: number of environments N.
    seed: seed of the exploration.
    evaluate: `learner.evaluate`, compiled; None compiles it.
    after: number of training actions before. Policies after different numbers
      draw different exploration.

  Returns:
    A function that maps frames [N, *observation_shape] and flags of first
    frames, bool [N], to actions, int [N]. It keeps the earlier frames of each
    stack. It returns while the device still computes: leave the frames as they
    are until the actions are read.
  """
  if evaluate is None:
    evaluate = jax.jit(learner.evaluate, donate_argnums=1)
  shape = (num_envs, learner.stack_size, *learner.observation_shape)
  frames = jnp.zeros(shape, learner.observation_dtype)
  seed_key = jax.random.PRNGKey(seed)
  key = streams.key_of(seed_key, streams.EVALUATION, after)
  steps = 0

  def act(observations: np.ndarray, first: np.ndarray) -> jax.Array:
    nonlocal frames, steps
    steps += 1
    frames, actions = evaluate(
      params, frames, observations, first, streams.action(key, steps)
    )
    return actions

  return act
