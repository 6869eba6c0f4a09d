"""The gradient step of DrQ (Kostrikov et al., 2020) with Hare & Tortoise."""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from agents.core import learner as learner_lib
from agents.core import losses, streams
from agents.core import replay as replay_lib
from agents.core.batching import one_by_one
from agents.core.repeat import repeat
from agents.core.state import TrainState
import ht_rl


class Metrics(NamedTuple):
  """Metrics of the last gradient step.

  Attributes:
    loss: mean Huber loss, float32.
    q: mean Q-value of the batch's actions, float32.
    gradient_norm: global norm of the gradient, float32.
    gradient_steps: gradient steps done so far, int32.
    first_bad_step: see `TrainState`.
  """

  loss: chex.Array
  q: chex.Array
  gradient_norm: chex.Array
  gradient_steps: chex.Array
  first_bad_step: chex.Array


@dataclasses.dataclass(frozen=True)
class DrQLearner(learner_lib.Learner):
  """DrQ's gradient step; `learner.Learner` documents the settings.

  `reset_every` and `no_resets_after` count gradient steps.
  """

  name: ClassVar[str] = 'DrQAgent'

  def loss(
    self,
    params: Any,
    target_params: Any,
    batch: replay_lib.Transition,
  ) -> tuple[chex.Array, chex.Array]:
    """Computes the mean Huber loss of double Q-learning and the mean Q-value.

    Args:
      params: online parameters.
      target_params: the target network's parameters.
      batch: transitions whose `s_tm1` and `s_t` are network inputs.

    Returns:
      Two scalars.
    """
    q_tm1 = self.network.apply(params, batch.s_tm1)
    q_t_selector = self.network.apply(params, batch.s_t)
    q_t_value = self.network.apply(target_params, batch.s_t)
    errors = jax.vmap(losses.double_q_error)(
      q_tm1,
      batch.a_tm1,
      batch.r_t,
      batch.discount_t,
      q_t_value,
      q_t_selector,
    )
    q_a = jnp.take_along_axis(q_tm1, batch.a_tm1[:, None], axis=1)
    return jnp.mean(losses.huber(errors)), jnp.mean(q_a)

  def sample(
    self, replay: replay_lib.ReplayState, key: chex.PRNGKey
  ) -> replay_lib.Transition:
    """Samples a batch of augmented network inputs."""
    start_key, tm1_key, t_key = jax.random.split(key, 3)
    starts = replay_lib.sample_starts(replay, start_key, self.batch_size)
    batch = replay_lib.transitions(
      replay,
      starts,
      horizon=self.update_horizon,
      gamma=self.gamma,
      stack=self.stack_size,
      bootstrap_early=self.bootstrap_early,
    )
    return batch._replace(
      s_tm1=self.network_input(batch.s_tm1, tm1_key),
      s_t=self.network_input(batch.s_t, t_key),
    )

  def update(
    self, train: TrainState, replay: replay_lib.ReplayState
  ) -> tuple[TrainState, Metrics]:
    """Does one gradient step on one batch."""
    key = streams.gradient_step(train.key, train.gradient_steps)
    batch = self.sample(replay, key)
    gradient = one_by_one(jax.value_and_grad(self.loss, has_aux=True))
    (loss, q), gradients = gradient(
      train.params, ht_rl.tortoise_params(train.opt_state), batch
    )
    train = self.descend(train, gradients, loss)
    metrics = Metrics(
      loss=loss,
      q=q,
      gradient_norm=optax.tree.norm(gradients),
      gradient_steps=train.gradient_steps,
      first_bad_step=train.first_bad_step,
    )
    return train, metrics

  def learn(
    self, train: TrainState, replay: Any, num_updates: int
  ) -> tuple[TrainState, Any, Any]:
    """Does `num_updates` gradient steps on batches from one replay."""
    train, metrics = repeat(
      lambda train, _: self.update(train, replay),
      train,
      jnp.arange(num_updates),
    )
    return train, replay, jax.tree.map(lambda x: x[-1], metrics)

  def reset_is_due(
    self, environment_steps: int, gradient_steps: int, replay_ratio: int
  ) -> bool:
    """Returns whether the last environment step reached a reset.

    Resets are due at the multiples of `reset_every` gradient steps below
    `no_resets_after`.
    """
    if self.reset_every is None:
      return False
    passed = gradient_steps // self.reset_every
    end = self.no_resets_after
    return passed > (gradient_steps - replay_ratio) // self.reset_every and (
      end is None or passed * self.reset_every < end
    )
