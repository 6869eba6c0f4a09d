"""The base class of learners: acting, storing and learning as pure functions.

One environment step is one call of `Learner.step`: it appends the outcome of
the last action, does all gradient steps that are due, and selects the next
action. Jit it and donate the state; then only a frame, a reward and two flags
go to the device, and an action comes back::

    jax.jit(learner.step, donate_argnums=0, static_argnames='num_updates')

`agents.core.loop` decides when gradient steps and resets are due. All methods
are pure, so that `agents.core.strategies` can step several runs in one program.
"""

import dataclasses
import types
from typing import Any, ClassVar

import chex
from flax import linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
import optax

from agents.core import augmentation, streams
from agents.core import replay as replay_lib
from agents.core.batching import one_by_one
from agents.core.settings import (
  at_least,
  between,
  check_settings,
  is_bool,
  optional,
  setting,
)
from agents.core.state import ActorState, AgentState, Outcome, TrainState
import ht_rl
from ht_rl.arguments import check_int
from ht_rl.transforms import reinitialize


@dataclasses.dataclass(frozen=True)
class Learner:
  """The settings of an agent, and its pure functions.

  Attributes:
    network: module from floats [B, *observation_shape, stack] to Q-values.
    num_actions: number of actions.
    optimizer: an optax transform with one `ht_rl.hare_tortoise` in it, whose
      tortoise is the target network.
    observation_shape: shape of one frame.
    observation_dtype: dtype of a frame; uint8 is scaled to [0, 1].
    stack_size: number of frames that the network sees.
    replay_capacity: number of records kept.
    batch_size: transitions per gradient step.
    min_replay_history: environment steps before the first gradient step.
    gamma: discount per step.
    update_horizon: n of the n-step return.
    epsilon_train: final exploration rate.
    epsilon_eval: exploration rate in evaluation.
    epsilon_decay_period: steps over which the exploration rate falls from 1 to
      its final value, after `min_replay_history` steps at 1.
    data_augmentation: whether to shift images and scale their intensity.
    target_action_selection: whether the tortoise acts in training too (it
      always acts in evaluation).
    reset_every: gradient steps between two resets (BBF: environment steps);
      None for no resets.
    no_resets_after: step, in the same unit, from which on there are no resets;
      None for resets until the end.
    keep_encoder: weight of the old encoder in a reset; the new initialisation
      has the rest.
    keep_head: weight of the old head, likewise.
    bootstrap_early: as in released code, bootstrap one step before the n-th.
    exclusive_shift: as in released code, never shift an image by +4 pixels.
  """

  network: nn.Module
  num_actions: int
  optimizer: optax.GradientTransformation
  observation_shape: tuple[int, ...] = (84, 84)
  observation_dtype: DTypeLike = jnp.uint8
  stack_size: int = setting(4, at_least(1))
  replay_capacity: int = setting(100_000, at_least(1))
  batch_size: int = setting(32, at_least(1))
  min_replay_history: int = setting(1600, at_least(1))
  gamma: float = setting(0.99, between(0.0, 1.0))
  update_horizon: int = setting(10, at_least(1))
  epsilon_train: float = setting(0.01, between(0.0, 1.0))
  epsilon_eval: float = setting(0.001, between(0.0, 1.0))
  epsilon_decay_period: int = setting(2500, at_least(1))
  data_augmentation: bool = setting(True, is_bool)
  target_action_selection: bool = setting(False, is_bool)
  reset_every: int | None = setting(
    None, optional(at_least(1, 'gradient steps'))
  )
  no_resets_after: int | None = setting(
    None, optional(at_least(0, 'gradient steps'))
  )
  keep_encoder: float = setting(1.0, between(0.0, 1.0))
  keep_head: float = setting(0.0, between(0.0, 1.0))
  bootstrap_early: bool = setting(False, is_bool)
  exclusive_shift: bool = setting(False, is_bool)

  # The name of the agent in gin files and messages.
  name: ClassVar[str] = 'Learner'
  # The replay: a module with `init`, `append`, `trim` and `untrim`.
  storage: ClassVar[types.ModuleType] = replay_lib

  def __post_init__(self) -> None:
    check_settings(self, self.name)
    if not isinstance(self.optimizer, optax.GradientTransformation):
      raise ValueError(
        f'{self.name}.optimizer must be an optax.GradientTransformation, such '
        f'as @hare_tortoise(), not {self.optimizer!r}'
      )
    if self.data_augmentation and len(self.observation_shape) != 2:
      raise ValueError(
        f'{self.name}.data_augmentation must be False unless frames are images '
        '(height, width): observation_shape is '
        f'{self.observation_shape}'
      )
    # The first gradient step needs one complete n-step transition.
    check_int(
      f'{self.name}.min_replay_history',
      self.min_replay_history,
      self.horizon + 1,
    )
    check_int(
      f'{self.name}.replay_capacity',
      self.replay_capacity,
      self.horizon + self.stack_size,
    )

  @property
  def noisy_evaluation(self) -> bool:
    """Returns whether noisy layers draw noise in evaluation too."""
    return False

  @property
  def horizon(self) -> int:
    """The largest number of steps read after the start of a transition."""
    return self.update_horizon

  @property
  def stored_shape(self) -> tuple[int, ...]:
    """Shape of a frame in the replay: padded if frames will be shifted."""
    if not self.data_augmentation:
      return self.observation_shape
    height, width = self.observation_shape
    return height + 2 * augmentation.PAD, width + 2 * augmentation.PAD

  @property
  def keep(self) -> dict[str, float]:
    """The weight of the old parameters in `reset`, for each group."""
    return {'encoder': self.keep_encoder, 'head': self.keep_head}

  def init(self, key: chex.PRNGKey) -> AgentState:
    """Returns the initial state of a run, drawn from `key`."""
    init_key, learn_key, act_key = streams.of_run(key)
    params = self.init_params(init_key)
    frames_shape = (self.stack_size, *self.observation_shape)
    return AgentState(
      train=TrainState(
        params=params,
        opt_state=self.optimizer.init(params),
        gradient_steps=jnp.zeros((), jnp.int32),
        cycle_steps=jnp.zeros((), jnp.int32),
        first_bad_step=jnp.zeros((), jnp.int32),
        key=learn_key,
      ),
      replay=self.storage.init(
        self.replay_capacity, self.stored_shape, self.observation_dtype
      ),
      actor=ActorState(
        frames=jnp.zeros(frames_shape, self.observation_dtype),
        action=jnp.zeros((), jnp.int32),
        steps=jnp.zeros((), jnp.int32),
        key=act_key,
      ),
    )

  def init_params(self, key: chex.PRNGKey) -> Any:
    """Initialises the network's parameters."""
    observations = jnp.zeros((1, *self.observation_shape, self.stack_size))
    return self.network.init(key, observations)

  def network_input(self, stored: chex.Array, key: chex.PRNGKey) -> chex.Array:
    """Converts stacks [B, stack, *stored_shape] to floats [B, ..., stack].

    With `data_augmentation`, each stack is augmented independently.
    """
    if not self.data_augmentation:
      return augmentation.scale(jnp.moveaxis(stored, 1, -1))
    shift_key, intensity_key = jax.random.split(key)
    x = jnp.moveaxis(self.shift(shift_key, stored), 1, -1)
    return augmentation.random_intensity(intensity_key, augmentation.scale(x))

  def shift(self, key: chex.PRNGKey, stored: chex.Array) -> chex.Array:
    """Shifts each stack by its own random offsets."""
    return augmentation.random_crop(
      key, stored, inclusive=not self.exclusive_shift
    )

  def descend(
    self, train: TrainState, gradients: Any, loss: chex.Array
  ) -> TrainState:
    """Applies one optimizer update; records the first non-finite loss."""
    updates, opt_state = self.optimizer.update(
      gradients, train.opt_state, train.params
    )
    gradient_steps = train.gradient_steps + 1
    is_first_bad = (train.first_bad_step == 0) & ~jnp.isfinite(loss)
    return train._replace(
      params=optax.apply_updates(train.params, updates),
      opt_state=opt_state,
      gradient_steps=gradient_steps,
      cycle_steps=train.cycle_steps + 1,
      first_bad_step=jnp.where(
        is_first_bad, gradient_steps, train.first_bad_step
      ),
    )

  def learn(
    self, train: TrainState, replay: Any, num_updates: int
  ) -> tuple[TrainState, Any, Any]:
    """Does `num_updates` gradient steps on batches from one replay.

    Args:
      train: state before the gradient steps.
      replay: replay to sample batches from.
      num_updates: static, at least 1.

    Returns:
      The new state, the replay, and the metrics of the last gradient step, a
      NamedTuple.
    """
    raise NotImplementedError

  def reset_is_due(
    self, environment_steps: int, gradient_steps: int, replay_ratio: int
  ) -> bool:
    """Returns whether a reset is due after these steps of a run.

    Args:
      environment_steps: environment steps done.
      gradient_steps: gradient steps done, the last environment step's included.
      replay_ratio: gradient steps for each environment step.
    """
    raise NotImplementedError

  def step(
    self,
    state: AgentState,
    outcome: Outcome,
    observation: chex.Array,
    num_updates: int,
  ) -> tuple[AgentState, chex.Array, Any]:
    """Does one environment step: append, learn, act.

    Args:
      state: state of the run; donate it.
      outcome: result of the last action.
      observation: [*observation_shape], the frame to act on: the first of a new
        episode if the outcome ended one.
      num_updates: number of gradient steps, static: the replay ratio, or 0
        before learning begins.

    Returns:
      The new state, the action (int32), and the metrics of the last gradient
      step, or None without one.
    """
    actor = state.actor
    frame = actor.frames[-1]
    replay = self.storage.append(
      state.replay,
      augmentation.pad(frame) if self.data_augmentation else frame,
      actor.action,
      *outcome,
      horizon=self.horizon,
      stack=self.stack_size,
    )
    train, metrics = state.train, None
    if num_updates:
      train, replay, metrics = self.learn(train, replay, num_updates)
    ended = jnp.logical_or(outcome.terminal, outcome.truncation)
    actor = self.act(train, actor, observation, ended)
    return AgentState(train, replay, actor), actor.action, metrics

  def begin(
    self, state: AgentState, observation: chex.Array
  ) -> tuple[AgentState, chex.Array]:
    """Acts on the first frame of a run, before there is a record to append."""
    actor = self.act(state.train, state.actor, observation, True)
    return state._replace(actor=actor), actor.action

  def act(
    self,
    train: TrainState,
    actor: ActorState,
    observation: chex.Array,
    first: chex.Numeric,
  ) -> ActorState:
    """Adds a frame to the stack and selects an epsilon-greedy action."""
    params = train.params
    if self.target_action_selection:
      params = ht_rl.tortoise_params(train.opt_state)
    steps = actor.steps + 1
    frames = replay_lib.push_frame(actor.frames[None], observation[None], first)
    key = streams.action(actor.key, steps)
    actions = self.epsilon_greedy(
      params, frames, key, self.epsilon(steps), noisy=True
    )
    return actor._replace(frames=frames[0], action=actions[0], steps=steps)

  def evaluate(
    self,
    params: Any,
    frames: chex.Array,
    observations: chex.Array,
    first: chex.Array,
    key: chex.PRNGKey,
  ) -> tuple[chex.Array, chex.Array]:
    """Selects actions in a batch of N evaluation environments.

    Args:
      params: parameters of the policy: the tortoise.
      frames: stacks of the previous step, [N, stack, *observation_shape].
      observations: new frames, [N, *observation_shape].
      first: bool [N], whether the new frame is the first of an episode.
      key: random key of this step.

    Returns:
      The stacks with the new frames, and actions, int32 [N].
    """
    frames = replay_lib.push_frame(frames, observations, first)
    actions = self.epsilon_greedy(
      params, frames, key, self.epsilon_eval, noisy=self.noisy_evaluation
    )
    return frames, actions

  def epsilon_greedy(
    self,
    params: Any,
    frames: chex.Array,
    key: chex.PRNGKey,
    epsilon: chex.Numeric,
    noisy: bool = False,
  ) -> chex.Array:
    """Selects epsilon-greedy actions for stacks [N, stack, ...]."""
    explore_key, action_key = jax.random.split(key)
    num = frames.shape[0]
    observations = augmentation.scale(jnp.moveaxis(frames, 1, -1))
    noise = {'noise': jax.random.fold_in(key, 2)} if noisy else {}
    apply = one_by_one(
      lambda params, x, rngs: self.network.apply(params, x, rngs=rngs)
    )
    q = apply(params, observations, noise)
    explore = jax.random.uniform(explore_key, (num,)) < epsilon
    random = jax.random.randint(action_key, (num,), 0, self.num_actions)
    return jnp.where(explore, random, jnp.argmax(q, axis=-1)).astype(jnp.int32)

  def epsilon(self, steps: chex.Numeric) -> chex.Array:
    """Returns the exploration rate: 1 in warm-up, then a linear decay."""
    left = self.epsilon_decay_period + self.min_replay_history - steps
    fraction = jnp.clip(left / self.epsilon_decay_period, 0.0, 1.0)
    return self.epsilon_train + (1.0 - self.epsilon_train) * fraction

  def reset(self, train: TrainState) -> TrainState:
    """Re-initialises parts of both networks, and the optimizer.

    Each group of parameters of hare and tortoise becomes
    ``keep * old + (1 - keep) * fresh``, with one `fresh` initialisation for
    both: a head reset at 0 (Nikishin et al., 2022), shrink and perturb between
    0 and 1 (Ash & Adams, 2020), no change at 1. The optimizer state starts
    anew, including the interval counter of Hare & Tortoise.
    """
    fresh, fresh_tortoise = self.draw_anew(
      streams.key_of(train.key, streams.RESET, train.gradient_steps)
    )
    params = self._mix(train.params, fresh)
    tortoise = ht_rl.tortoise_params(train.opt_state)
    opt_state = ht_rl.replace_tortoise(
      self.optimizer.init(params), self._mix(tortoise, fresh_tortoise)
    )
    return train._replace(
      params=params,
      opt_state=opt_state,
      cycle_steps=jnp.zeros((), jnp.int32),
    )

  def draw_anew(self, key: chex.PRNGKey) -> tuple[Any, Any]:
    """Returns fresh parameters to mix into the hare and into the tortoise."""
    fresh = self.init_params(key)
    return fresh, fresh

  def _mix(self, old: Any, fresh: Any) -> Any:
    groups = reinitialize.mix(self.keep, old['params'], fresh['params'])
    return {'params': groups}
