"""BBF with Hare & Tortoise, and its relatives SPR, SR-SPR and DER.

The differences to `learner.Learner`, in the order of a gradient step: starts
are sampled from a prioritized replay, for all gradient steps of an environment
step at once; n and the discount depend on the gradient steps since the last
reset; values are categorical; the encoder is also trained by self-prediction
(SPR).

BBF's release departs from its paper. The default is the algorithm of the paper;
each departure is a setting.
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
  bbf_networks,
  categorical,
  prioritized,
  spr,
  streams,
)
from agents.core import learner as learner_lib
from agents.core import replay as replay_lib
from agents.core.batching import one_by_one
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
  """Metrics of the last gradient step.

  Attributes:
    loss: mean cross-entropy of the value distributions, unweighted, float32.
    spr_loss: mean SPR loss, unweighted, float32.
    q: mean Q-value of the batch's actions, float32.
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
  """The batch of one gradient step, with network inputs.

  Attributes:
    transitions: `s_tm1` and `s_t` are floats [B, ..., stack].
    future: `states` are floats [B, K, ..., stack]; None without SPR.
    weights: importance weight of each example's loss, float32 [B].
    noise: random key of noisy layers.
  """

  transitions: replay_lib.Transition
  future: replay_lib.Future | None
  weights: chex.Array
  noise: chex.PRNGKey


@dataclasses.dataclass(frozen=True)
class BBFLearner(learner_lib.Learner):
  """BBF's settings and its pure functions; see also `learner.Learner`.

  A cycle begins at the start of the run and at each reset. "As in the release"
  marks what BBF's release does and its paper does not say.

  Attributes:
    gamma: discount at the end of the schedule.
    min_gamma: discount at the start of a cycle; None for `gamma` throughout.
    update_horizon: n of the n-step return at the end of the schedule.
    max_update_horizon: n at the start of a cycle.
    cycle_steps: gradient steps over which the discount and n are annealed.
    jumps: number of steps K that SPR predicts; 0 for no SPR.
    spr_weight: weight of the SPR loss.
    priorities: 'per_sample'; 'uniform' for equal priorities; or 'batch_mean',
      as in the release: batch means, assigned to the first few examples only.
    no_resets_after: environment step from which on there are no resets; not
      None: the length of the run for resets until its end.
    keep_encoder: weight of old encoder and transition model in a reset.
    keep_head: weight of old head, projection and predictor in a reset.
    batches_by_age: as in the release, the batches of an environment step are
      ordered by age, oldest examples first.
    separate_target_draw: as in the release, `reset` mixes hare and tortoise
      with two different initialisations.
    released_counting: as in the release, each reset is one more step late, and
      the last reset is missing.
    noisy_evaluation: as in the release, noisy layers draw noise in evaluation
      too.
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
  batches_by_age: bool = setting(False, is_bool)
  separate_target_draw: bool = setting(False, is_bool)
  released_counting: bool = setting(False, is_bool)
  noisy_evaluation: bool = setting(False, is_bool)

  name: ClassVar[str] = 'BBFAgent'
  storage: ClassVar[types.ModuleType] = prioritized

  def __post_init__(self) -> None:
    # The replay reads at most n steps ahead, with n at the start of a cycle.
    check_int('BBFAgent.update_horizon', self.update_horizon, 1)
    check_int(
      'BBFAgent.max_update_horizon',
      self.max_update_horizon,
      self.update_horizon,
    )
    super().__post_init__()
    if self.min_gamma is not None:
      # The schedule of 1 - discount is exponential, so it must not be 0.
      for name in ('min_gamma', 'gamma'):
        value = getattr(self, name)
        check_float(f'BBFAgent.{name}', value, 0.0, 1.0, below=True)
    if not isinstance(self.network, bbf_networks.BBFNetwork):
      raise ValueError(
        'BBFAgent.network must make a BBFNetwork, as @BBFNetwork does, not a '
        f'{type(self.network).__name__}'
      )
    if self.noisy_evaluation and not self.network.noisy:
      raise ValueError(
        'BBFAgent.noisy_evaluation must be False unless BBFNetwork.noisy is '
        'True'
      )

  @functools.cached_property
  def _reset_steps(self) -> frozenset[int]:
    if self.reset_every is None:
      return frozenset()
    return frozenset(
      annealing.reset_steps(
        self.reset_every, self.no_resets_after, self.released_counting
      )
    )

  def reset_is_due(
    self, environment_steps: int, gradient_steps: int, replay_ratio: int
  ) -> bool:
    """Returns whether this environment step is in `annealing.reset_steps`."""
    return environment_steps in self._reset_steps

  @property
  def horizon(self) -> int:
    """The largest number of steps read after the start of a transition."""
    return max(self.max_update_horizon, self.jumps)

  @property
  def keep(self) -> dict[str, float]:
    """The weight of the old parameters in `reset`, for each group."""
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
    """Initialises the network's parameters, including SPR's if it is on."""
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
    """Returns n and the discount `cycle_steps` gradient steps into a cycle."""
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
    """Reads a batch of augmented network inputs.

    Args:
      replay: replay to read from.
      starts: positions, int32 [B].
      weights: importance weights of their losses, float32 [B].
      cycle_steps: gradient steps since the last reset.
      key: random key.

    Returns:
      The batch. Each stack is augmented independently.
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

  def loss(
    self, params: Any, target_params: Any, batch: Batch
  ) -> tuple[chex.Array, tuple[chex.Array, chex.Array, chex.Array]]:
    """Computes the weighted mean of the TD loss plus `spr_weight` * SPR loss.

    Args:
      params: online parameters.
      target_params: the target network's parameters.
      batch: a batch of network inputs.

    Returns:
      The loss; and for each example the cross-entropy, the SPR loss and the
      Q-value of the action, [B] each.
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
    """Does `num_updates` gradient steps on starts that are sampled together.

    The priorities are updated after the last of them.

    Args:
      train: state before the gradient steps.
      replay: replay to sample batches from.
      num_updates: G, static, at least 1.

    Returns:
      The new state, the replay with new priorities, and the metrics of the last
      gradient step.
    """

    def update(
      train: TrainState, drawn: tuple[chex.Array, chex.Array]
    ) -> tuple[TrainState, tuple[Metrics, chex.Array]]:
      key = streams.gradient_step(train.key, train.gradient_steps)
      batch = self.read(replay, *drawn, train.cycle_steps, key)
      gradient = one_by_one(jax.value_and_grad(self.loss, has_aux=True))
      (loss, (td_losses, spr_losses, q)), gradients = gradient(
        train.params, ht_rl.tortoise_params(train.opt_state), batch
      )
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
    """Returns fresh parameters to mix into the hare and into the tortoise."""
    fresh = self.init_params(key)
    if not self.separate_target_draw:
      return fresh, fresh
    return fresh, self.init_params(jax.random.fold_in(key, 1))
