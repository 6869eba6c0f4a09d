"""BBF with Hare & Tortoise for Dopamine; the work is in `agents.core`."""

from collections.abc import Callable
from typing import Any

import gin
import jax
import jax.numpy as jnp
import optax

from agents import configurables, device_agent
from agents.core import annealing, bbf_learner, bbf_networks
import ht_rl
from ht_rl.arguments import check_bool, check_choice, check_float, check_int


@gin.configurable('BBFAgent')
class BBFAgent(device_agent.DeviceAgent):
  """BBF (Schwarzer et al., 2023) whose target network is the tortoise.

  With other settings it is SPR, SR-SPR or DER. The components of the paper's
  Table 1 are switches: `reset_every`, `keep_encoder` (shrink and perturb; 1 for
  none), `keep_head` (head reset; 1 for none), `jumps` (self-supervised
  objective; 0 for none), and Hare & Tortoise is in the optimizer.

  Settings that Dopamine's agents or BBF's release have, too, carry their names.
  """

  learner_class = bbf_learner.BBFLearner

  def __init__(
    self,
    num_actions: int,
    network: Callable[..., Any] = configurables.bbf_network,
    optimizer: optax.GradientTransformation | None = None,
    observation_shape: tuple[int, ...] = (84, 84),
    observation_dtype: Any = jnp.uint8,
    stack_size: int = 4,
    gamma: float = 0.997,
    min_gamma: float | None = 0.97,
    update_horizon: int = 3,
    max_update_horizon: int = 10,
    cycle_steps: int = 10_000,
    min_replay_history: int = 2000,
    replay_capacity: int = 100_000,
    batch_size: int = 32,
    replay_ratio: int = 2,
    epsilon_train: float = 0.0,
    epsilon_eval: float = 0.001,
    epsilon_decay_period: int = 2001,
    data_augmentation: bool = True,
    target_action_selection: bool = True,
    jumps: int = 5,
    spr_weight: float = 5.0,
    priorities: str = 'per_sample',
    reset_every: int | None = 20_000,
    no_resets_after: int = 100_000,
    keep_encoder: float = 0.5,
    keep_head: float = 0.0,
    bootstrap_early: bool = False,
    batches_by_age: bool = False,
    separate_target_draw: bool = False,
    exclusive_shift: bool = False,
    released_counting: bool = False,
    summary_writer: Any = None,
    summary_writing_frequency: int = 500,
    seed: int | None = None,
  ):
    """Creates the agent; see `agents.core.bbf_learner` for the settings.

    Args:
      num_actions: number of actions of the environment.
      network: makes the network when called with `num_actions`.
      optimizer: an optax transform with one `ht_rl.hare_tortoise` in it; the
        default is AdamW with a target network of momentum 0.995, no restarts.
      observation_shape: shape of one frame.
      observation_dtype: dtype of a frame.
      stack_size: number of frames that the network sees.
      gamma: discount at the end of a cycle.
      min_gamma: discount at its beginning; None for `gamma` throughout.
      update_horizon: n of the n-step return at the end of a cycle.
      max_update_horizon: n at its beginning.
      cycle_steps: gradient steps in which both move.
      min_replay_history: steps in which the replay fills, before learning.
      replay_capacity: number of records kept.
      batch_size: examples in a gradient step.
      replay_ratio: gradient steps for each environment step.
      epsilon_train: final exploration rate.
      epsilon_eval: exploration rate in evaluation.
      epsilon_decay_period: steps in which exploration falls to its final rate.
      data_augmentation: whether to augment the images.
      target_action_selection: whether the tortoise acts in training, too.
      jumps: steps that the encoder predicts; 0 for no SPR.
      spr_weight: weight of the self-supervised objective.
      priorities: 'per_sample', 'uniform', or 'batch_mean' as released.
      reset_every: environment steps between two resets; None for never.
      no_resets_after: environment step from which on there are none.
      keep_encoder: fraction of encoder and transition model that a reset keeps.
      keep_head: fraction of head, projection and predictor that it keeps.
      bootstrap_early: as released, bootstrap one step early.
      batches_by_age: as released, batches of a group differ in age.
      separate_target_draw: as released, a reset draws twice.
      exclusive_shift: as released, no shift by +4 pixels.
      released_counting: as released, each reset comes later by one step more,
        and the last one is left out.
      summary_writer: for Dopamine's runners; metrics go to their dispatcher.
      summary_writing_frequency: agent steps between two reports.
      seed: seed of everything that the agent draws; None for the time.
    """
    check_int('BBFAgent.update_horizon', update_horizon, minimum=1)
    # The replay looks no further ahead than n at the beginning of a cycle.
    check_int(
      'BBFAgent.max_update_horizon', max_update_horizon, minimum=update_horizon
    )
    check_int('BBFAgent.cycle_steps', cycle_steps, minimum=1)
    check_int('BBFAgent.jumps', jumps, minimum=0)
    check_float('BBFAgent.spr_weight', spr_weight, 0.0, 1e6)
    check_choice('BBFAgent.priorities', priorities, bbf_learner.PRIORITIES)
    if min_gamma is not None:
      # Its distance to 1 is moved by equal ratios.
      check_float('BBFAgent.min_gamma', min_gamma, 0.0, 1.0, below=True)
      check_float('BBFAgent.gamma', gamma, 0.0, 1.0, below=True)
    for name, value in (
      ('bootstrap_early', bootstrap_early),
      ('batches_by_age', batches_by_age),
      ('separate_target_draw', separate_target_draw),
      ('exclusive_shift', exclusive_shift),
      ('released_counting', released_counting),
    ):
      check_bool(f'BBFAgent.{name}', value)
    self._reset_steps: frozenset[int] = frozenset()
    if reset_every is not None:
      check_int('BBFAgent.reset_every', reset_every, minimum=1)
      check_int('BBFAgent.no_resets_after', no_resets_after, minimum=0)
      self._reset_steps = frozenset(
        annealing.reset_steps(
          reset_every,
          no_resets_after,
          offset=int(released_counting),
          released_counting=released_counting,
        )
      )
    if optimizer is None:
      optimizer = ht_rl.hare_tortoise(
        configurables.adam(weight_decay=0.1), momentum=0.995
      )
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
        'min_gamma': min_gamma,
        'update_horizon': update_horizon,
        'max_update_horizon': max_update_horizon,
        'cycle_steps': cycle_steps,
        'epsilon_train': epsilon_train,
        'epsilon_eval': epsilon_eval,
        'epsilon_decay_period': epsilon_decay_period,
        'data_augmentation': data_augmentation,
        'target_action_selection': target_action_selection,
        'jumps': jumps,
        'spr_weight': spr_weight,
        'priorities': priorities,
        'keep_encoder': keep_encoder,
        'keep_head': keep_head,
        'bootstrap_early': bootstrap_early,
        'batches_by_age': batches_by_age,
        'separate_target_draw': separate_target_draw,
        'exclusive_shift': exclusive_shift,
        # XLA's CPU backend computes a convolution inside a loop several times
        # slower than outside.
        'unroll': jax.default_backend() == 'cpu',
      },
      replay_ratio=replay_ratio,
      summary_writer=summary_writer,
      summary_writing_frequency=summary_writing_frequency,
      seed=seed,
    )

  def _build_networks_and_optimizer(self) -> None:
    if not isinstance(self.network_def, bbf_networks.BBFNetwork):
      raise ValueError(
        'BBFAgent.network must make a BBFNetwork, as @BBFNetwork does, not a '
        f'{type(self.network_def).__name__}'
      )
    super()._build_networks_and_optimizer()

  def _reset_is_due(self) -> bool:
    # The agent has one observation more than there are steps behind it.
    return self.training_steps - 1 in self._reset_steps
