"""DrQ with Hare & Tortoise for Dopamine; the work is in `agents.core`."""

from collections.abc import Callable
from typing import Any

import gin
import jax.numpy as jnp
import optax

from agents import configurables, device_agent
from agents.core import drq_learner
import ht_rl
from ht_rl.arguments import check_int


@gin.configurable('DrQAgent')
class DrQAgent(device_agent.DeviceAgent):
  """DrQ (Kostrikov et al., 2020) whose target network is the tortoise.

  Settings that Dopamine's agents have, too, carry Dopamine's names. Beside them
  stand `optimizer`, where Hare & Tortoise is, and the other re-initialisations
  of the paper's Table 1: every `reset_every` gradient steps each group of the
  weights becomes ``keep * old + (1 - keep) * fresh``.
  """

  learner_class = drq_learner.DrQLearner

  def __init__(
    self,
    num_actions: int,
    network: Callable[..., Any] = configurables.dueling_q_network,
    optimizer: optax.GradientTransformation | None = None,
    observation_shape: tuple[int, ...] = (84, 84),
    observation_dtype: Any = jnp.uint8,
    stack_size: int = 4,
    gamma: float = 0.99,
    update_horizon: int = 10,
    min_replay_history: int = 1600,
    replay_capacity: int = 100_000,
    batch_size: int = 32,
    replay_ratio: int = 2,
    epsilon_train: float = 0.01,
    epsilon_eval: float = 0.001,
    epsilon_decay_period: int = 2500,
    data_augmentation: bool = True,
    target_action_selection: bool = False,
    reset_every: int | None = None,
    keep_encoder: float = 1.0,
    keep_head: float = 0.0,
    summary_writer: Any = None,
    summary_writing_frequency: int = 500,
    seed: int | None = None,
  ):
    """Creates the agent; see `agents.core.learner.Learner` for the settings.

    Args:
      num_actions: number of actions of the environment.
      network: makes the Q-network when called with `num_actions`.
      optimizer: an optax transform with one `ht_rl.hare_tortoise` in it; the
        default is Adam with a target network of momentum 0.995 and no restarts.
      observation_shape: shape of one frame.
      observation_dtype: dtype of a frame.
      stack_size: number of frames that the network sees.
      gamma: discount per step.
      update_horizon: n of the n-step return.
      min_replay_history: steps in which the replay fills, before learning.
      replay_capacity: number of records kept.
      batch_size: transitions in a gradient step.
      replay_ratio: gradient steps for each environment step.
      epsilon_train: final exploration rate.
      epsilon_eval: exploration rate in evaluation.
      epsilon_decay_period: steps in which exploration falls to its final rate.
      data_augmentation: whether to augment the images.
      target_action_selection: whether the tortoise acts in training, too.
      reset_every: gradient steps between re-initialisations; None for never.
      keep_encoder: fraction of the encoder's weights kept at one.
      keep_head: fraction of the head's weights kept at one.
      summary_writer: for Dopamine's runners; metrics go to their dispatcher.
      summary_writing_frequency: agent steps between two reports.
      seed: seed of everything that the agent draws; None for the time.
    """
    if reset_every is not None:
      check_int('DrQAgent.reset_every', reset_every, minimum=1)
    self._reset_every = reset_every
    if optimizer is None:
      optimizer = ht_rl.hare_tortoise(configurables.adam(), momentum=0.995)
    super().__init__(
      num_actions=num_actions,
      network=network,
      settings={
        'optimizer': optimizer,
        'observation_shape': tuple(observation_shape),
        'observation_dtype': observation_dtype,
        'stack_size': stack_size,
        'replay_capacity': replay_capacity,
        'batch_size': batch_size,
        'min_replay_history': min_replay_history,
        'gamma': gamma,
        'update_horizon': update_horizon,
        'epsilon_train': epsilon_train,
        'epsilon_eval': epsilon_eval,
        'epsilon_decay_period': epsilon_decay_period,
        'data_augmentation': data_augmentation,
        'target_action_selection': target_action_selection,
        'keep_encoder': keep_encoder,
        'keep_head': keep_head,
      },
      replay_ratio=replay_ratio,
      summary_writer=summary_writer,
      summary_writing_frequency=summary_writing_frequency,
      seed=seed,
    )

  def _reset_is_due(self) -> bool:
    if self._reset_every is None:
      return False
    done = self.gradient_steps
    return done // self._reset_every > (
      (done - self._replay_ratio) // self._reset_every
    )
