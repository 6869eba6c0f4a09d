"""BBF with Hare & Tortoise, and its relatives SPR, SR-SPR and DER.

What differs from `learner.Learner`, in the order of a gradient step: starts are
drawn from a prioritized replay, those of all gradient steps of an environment
step at once; n and the discount follow the steps since the last reset; values
are categorical; the encoder also predicts its own future (SPR).

BBF's release departs from its paper. The documented algorithm is the default,
and each departure has a setting.
"""

import dataclasses
import functools
import types
from typing import Any, ClassVar, NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from agents.core import (
  annealing,
  augmentation,
  bbf_networks,
  categorical,
  prioritized,
  spr,
  streams,
)
from agents.core import learner as learner_lib
from agents.core import replay as replay_lib
from agents.core.repeat import repeat
from agents.core.settings import (
  at_least,
  between,
  is_bool,
  one_of,
  optional,
  setting,
)
from agents.core.state import TrainState
import ht_rl
from ht_rl.arguments import check_float, check_int

PRIORITIES = ('per_sample', 'batch_mean', 'uniform')


class Metrics(NamedTuple):
  """Figures of the last gradient step.

  Attributes:
    loss: mean cross-entropy of the values' distributions, unweighted, float32.
    spr_loss: mean loss of the self-supervised objective, unweighted, float32.
    q: mean Q-value of the actions learned about, float32.
    gradient_norm: global norm of the gradient, float32.
    gradient_steps: gradient steps done so far, int32.
    first_bad_step: see `TrainState`.
  """

  loss: chex.Array
  spr_loss: chex.Array
  q: chex.Array
  gradient_norm: chex.Array
  gradient_steps: chex.Array
  first_bad_step: chex.Array


class Batch(NamedTuple):
  """What a gradient step learns from, ready for the network.

  Attributes:
    transitions: whose `s_tm1` and `s_t` are floats [B, ..., stack].
    future: whose `states` are floats [B, K, ..., stack]; None without SPR.
    weights: of each example's loss, float32 [B].
    noise: random key of noisy layers.
  """

  transitions: replay_lib.Transition
  future: replay_lib.Future | None
  weights: chex.Array
  noise: chex.PRNGKey


@dataclasses.dataclass(frozen=True)
class BBFLearner(learner_lib.Learner):
  """BBF's settings, and its pure functions; see `learner.Learner` for more.

  Attributes:
    gamma: discount at the end of a cycle, which a reset begins.
    min_gamma: discount at its beginning; None for `gamma` throughout.
    update_horizon: n of the n-step returns at the end of a cycle.
    max_update_horizon: n at its beginning.
    cycle_steps: gradient steps in which both move.
    jumps: steps that the encoder predicts; 0 for no SPR.
    spr_weight: weight of the self-supervised objective.
    priorities: 'per_sample'; 'uniform' for all alike; or 'batch_mean', as
      released: means over batches, for the first few examples only.
    keep_encoder: fraction of encoder and transition model that `reset` keeps.
    keep_head: fraction of head, projection and predictor that it keeps.
    bootstrap_early: as released, bootstrap one step before the n-th.
    batches_by_age: as released, the first batch of an environment step has its
      oldest examples.
    separate_target_draw: as released, `reset` mixes the tortoise with another
      fresh draw than the hare.
    exclusive_shift: as released, images are never shifted by +4 pixels.
    released_counting: as released, each reset comes later by one step more, and
      the last one is left out.
  """

  min_replay_history: int = 2000
  gamma: float = 0.997
  min_gamma: float | None = setting(0.97, optional(between(0.0, 1.0)))
  update_horizon: int = 3
  max_update_horizon: int = setting(10, at_least(1))
  cycle_steps: int = setting(10_000, at_least(1))
  epsilon_train: float = 0.0
  epsilon_decay_period: int = 2001
  target_action_selection: bool = True
  jumps: int = setting(5, at_least(0))
  spr_weight: float = setting(5.0, between(0.0, 1e6))
  priorities: str = setting('per_sample', one_of(*PRIORITIES))
  reset_every: int | None = setting(
    20_000, optional(at_least(1, 'environment steps'))
  )
  no_resets_after: int = setting(100_000, at_least(0, 'environment steps'))
  keep_encoder: float = 0.5
  keep_head: float = 0.0
  bootstrap_early: bool = setting(False, is_bool)
  batches_by_age: bool = setting(False, is_bool)
  separate_target_draw: bool = setting(False, is_bool)
  exclusive_shift: bool = setting(False, is_bool)
  released_counting: bool = setting(False, is_bool)

  name: ClassVar[str] = 'BBFAgent'
  storage: ClassVar[types.ModuleType] = prioritized

  def __post_init__(self) -> None:
    # The replay looks no further ahead than n at the beginning of a cycle.
    check_int('BBFAgent.update_horizon', self.update_horizon, 1)
    check_int(
      'BBFAgent.max_update_horizon',
      self.max_update_horizon,
      self.update_horizon,
    )
    super().__post_init__()
    if self.min_gamma is not None:
      # The schedule moves the distance to 1 by equal ratios.
      for name in ('min_gamma', 'gamma'):
        value = getattr(self, name)
        check_float(f'BBFAgent.{name}', value, 0.0, 1.0, below=True)
    if not isinstance(self.network, bbf_networks.BBFNetwork):
      raise ValueError(
        'BBFAgent.network must make a BBFNetwork, as @BBFNetwork does, not a '
        f'{type(self.network).__name__}'
      )

  @functools.cached_property
  def _reset_steps(self) -> frozenset[int]:
    if self.reset_every is None:
      return frozenset()
    return frozenset(
      annealing.reset_steps(
        self.reset_every,
        self.no_resets_after,
        offset=int(self.released_counting),
        released_counting=self.released_counting,
      )
    )

  def reset_is_due(
    self, environment_steps: int, gradient_steps: int, replay_ratio: int
  ) -> bool:
    """Returns whether `annealing.reset_steps` has this environment step."""
    return environment_steps in self._reset_steps

  @property
  def horizon(self) -> int:
    """How many steps are read after the start of a transition, at most."""
    return max(self.max_update_horizon, self.jumps)

  @property
  def keep(self) -> dict[str, float]:
    """The fraction that `reset` keeps of each group of parameters."""
    keep = {
      'encoder': self.keep_encoder,
      'projection': self.keep_head,
      'head': self.keep_head,
    }
    if self.jumps:
      keep |= {
        'transition_model': self.keep_encoder,
        'predictor': self.keep_head,
      }
    return keep

  def init_params(self, key: chex.PRNGKey) -> Any:
    """Draws the network's parameters, those of SPR if it is on."""
    observations = jnp.zeros((1, *self.observation_shape, self.stack_size))
    if not self.jumps:
      return self.network.init(key, observations)
    actions = jnp.zeros((1, self.jumps), jnp.int32)
    return self.network.init(
      key, observations, actions, method='logits_and_predictions'
    )

  def schedule(
    self, cycle_steps: chex.Numeric
  ) -> tuple[chex.Numeric, chex.Numeric]:
    """Steps n and discount, `cycle_steps` gradient steps after a reset."""
    period = self.cycle_steps
    n = annealing.horizon(
      cycle_steps, self.max_update_horizon, self.update_horizon, period
    )
    if self.min_gamma is None:
      return n, self.gamma
    gamma = annealing.discount(cycle_steps, self.min_gamma, self.gamma, period)
    return n, gamma

  def read(
    self,
    replay: prioritized.PrioritizedState,
    starts: chex.Array,
    weights: chex.Array,
    cycle_steps: chex.Numeric,
    key: chex.PRNGKey,
  ) -> Batch:
    """Reads a batch and augments it, ready for the network.

    Args:
      replay: where to read.
      starts: positions, int32 [B].
      weights: of their losses, float32 [B].
      cycle_steps: gradient steps since the last reset.
      key: random key.

    Returns:
      The batch. Each image has its own augmentation.
    """
    tm1_key, t_key, future_key, noise = jax.random.split(key, 4)
    n, gamma = self.schedule(cycle_steps)
    batch = replay_lib.transitions(
      replay.replay,
      starts,
      horizon=self.max_update_horizon,
      gamma=gamma,
      stack=self.stack_size,
      n=n,
      bootstrap_early=self.bootstrap_early,
    )
    batch = batch._replace(
      s_tm1=self.network_input(batch.s_tm1, tm1_key),
      s_t=self.network_input(batch.s_t, t_key),
    )
    future = None
    if self.jumps:
      future = replay_lib.future(
        replay.replay, starts, jumps=self.jumps, stack=self.stack_size
      )
      lead, shape = future.states.shape[:2], future.states.shape[2:]
      states = self.network_input(future.states.reshape(-1, *shape), future_key)
      future = future._replace(states=states.reshape(*lead, *states.shape[1:]))
    return Batch(batch, future, weights, noise)

  def shift(self, key: chex.PRNGKey, stored: chex.Array) -> chex.Array:
    """Shifts each stack by its own random offsets."""
    return augmentation.random_crop(
      key, stored, inclusive=not self.exclusive_shift
    )

  def loss(
    self, params: Any, target_params: Any, batch: Batch
  ) -> tuple[chex.Array, tuple[chex.Array, chex.Array, chex.Array]]:
    """Weighted mean of cross-entropy and `spr_weight` times the SPR loss.

    Args:
      params: online parameters.
      target_params: the target network's parameters.
      batch: what to learn from.

    Returns:
      The loss; and of each example cross-entropy, SPR loss and Q-value of the
      action, [B].
    """
    transitions, future = batch.transitions, batch.future
    keys = jax.random.split(batch.noise, 3)

    def apply(params: Any, key: chex.PRNGKey, method: str, *inputs: Any) -> Any:
      rngs = {'noise': key}
      return self.network.apply(params, *inputs, method=method, rngs=rngs)

    if future is None:
      logits_tm1 = apply(params, keys[0], 'logits', transitions.s_tm1)
      logits_t = apply(target_params, keys[1], 'logits', transitions.s_t)
      spr_losses = jnp.zeros_like(transitions.r_t)
    else:
      logits_tm1, predictions = apply(
        params,
        keys[0],
        'logits_and_predictions',
        transitions.s_tm1,
        future.actions,
      )
      logits_t, targets = apply(
        target_params,
        keys[1],
        'logits_and_projections',
        transitions.s_t,
        future.states,
      )
      spr_losses = jax.vmap(spr.loss)(predictions, targets, future.inside)
    support = self.network.support
    q_t_selector = apply(params, keys[2], '__call__', transitions.s_t)
    td_losses = jax.vmap(categorical.double_q_loss, (0,) * 6 + (None,))(
      logits_tm1,
      transitions.a_tm1,
      transitions.r_t,
      transitions.discount_t,
      logits_t,
      q_t_selector,
      support,
    )
    q_tm1 = categorical.q_values(logits_tm1, support)
    q_a = jnp.take_along_axis(q_tm1, transitions.a_tm1[:, None], axis=1)[:, 0]
    losses = td_losses + self.spr_weight * spr_losses
    return jnp.mean(batch.weights * losses), (td_losses, spr_losses, q_a)

  def learn(
    self,
    train: TrainState,
    replay: prioritized.PrioritizedState,
    num_updates: int,
  ) -> tuple[TrainState, prioritized.PrioritizedState, Metrics]:
    """Does `num_updates` gradient steps on starts that are drawn together.

    The priorities change when all are done.

    Args:
      train: the state to go on from.
      replay: where batches are sampled.
      num_updates: G, static, at least 1.

    Returns:
      The new state, the replay with new priorities, and the figures of the last
      gradient step.
    """

    def update(
      train: TrainState, drawn: tuple[chex.Array, chex.Array]
    ) -> tuple[TrainState, tuple[Metrics, chex.Array]]:
      key = jax.random.fold_in(train.key, train.gradient_steps)
      batch = self.read(replay, *drawn, train.cycle_steps, key)
      (loss, (td_losses, spr_losses, q)), gradients = jax.value_and_grad(
        self.loss, has_aux=True
      )(train.params, ht_rl.tortoise_params(train.opt_state), batch)
      train = self.descend(train, gradients, loss)
      metrics = Metrics(
        loss=jnp.mean(td_losses),
        spr_loss=jnp.mean(spr_losses),
        q=jnp.mean(q),
        gradient_norm=optax.tree.norm(gradients),
        gradient_steps=train.gradient_steps,
        first_bad_step=train.first_bad_step,
      )
      return train, (metrics, td_losses)

    starts, weights = prioritized.sample(
      replay,
      streams.key_of(train.key, streams.REPLAY, train.gradient_steps),
      num_updates * self.batch_size,
      by_age=self.batches_by_age,
    )
    shape = (num_updates, self.batch_size)
    starts, weights = starts.reshape(shape), weights.reshape(shape)
    train, (metrics, losses) = repeat(update, train, (starts, weights))
    if self.priorities == 'per_sample':
      replay = prioritized.update(replay, starts.ravel(), losses.ravel())
    elif self.priorities == 'batch_mean':
      replay = prioritized.update_as_released(replay, starts, losses)
    return train, replay, jax.tree.map(lambda x: x[-1], metrics)

  def draw_anew(self, key: chex.PRNGKey) -> tuple[Any, Any]:
    """Fresh parameters to mix into the hare and into the tortoise."""
    fresh = self.init_params(key)
    if not self.separate_target_draw:
      return fresh, fresh
    return fresh, self.init_params(jax.random.fold_in(key, 1))
