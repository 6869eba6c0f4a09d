"""Gradient steps without emulator, replay, augmentation and acting."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from agents.core import prioritized
from agents.core.bbf_learner import BBFLearner
from agents.core.driver import Driver
import ht_rl


def gradient_steps(driver: Driver) -> tuple[Callable[[int], None], float]:
  """Returns a function that does gradient steps on one prepared batch.

  Args:
    driver: a run that has begun to learn; it stays as it is.

  Returns:
    The function, and XLA's count of floating-point operations of a step.
  """
  learner: Any = driver.loop.learner
  run = driver.state
  key = jax.random.PRNGKey(0)
  if isinstance(learner, BBFLearner):
    starts, weights = prioritized.sample(run.replay, key, learner.batch_size)
    batch = jax.jit(learner.read)(
      run.replay, starts, weights, jnp.zeros((), jnp.int32), key
    )
  else:
    batch = jax.jit(learner.sample)(run.replay, key)

  def update(state: Any, batch: Any) -> Any:
    (loss, _), gradients = jax.value_and_grad(learner.loss, has_aux=True)(
      state.params, ht_rl.tortoise_params(state.opt_state), batch
    )
    return learner.descend(state, gradients, loss)

  state = jax.tree.map(jnp.copy, run.train)
  compiled = jax.jit(update, donate_argnums=0).lower(state, batch).compile()

  def train(steps: int) -> None:
    nonlocal state
    for _ in range(steps):
      state = compiled(state, batch)
    jax.block_until_ready(state)

  cost = compiled.cost_analysis()
  assert cost is not None
  return train, cost['flops']
