"""DrQ with Hare & Tortoise for Dopamine; the work is in `agents.core`."""

from collections.abc import Callable
import os
from typing import Any

from absl import logging
import chex

from agents import dopamine_repair  # isort: skip  (before Dopamine)
from dopamine.jax.agents.dqn import dqn_agent
from dopamine.metrics import statistics_instance
import gin
import jax
import jax.numpy as jnp
import numpy as np
import optax

from agents import checkpoint, configurables
from agents.core import learner as learner_lib
from agents.core import replay as replay_lib
from agents.settings import check_bool, check_float, check_int
import ht_rl

del dopamine_repair  # Imported for what it does.


@gin.configurable('DrQAgent')
class DrQAgent(dqn_agent.JaxDQNAgent):
  """DrQ (Kostrikov et al., 2020) whose target network is the tortoise.

  Settings that Dopamine's agents have, too, carry Dopamine's names. Beside them
  stand `optimizer`, where Hare & Tortoise is, and the other re-initialisations
  of the paper's Table 1: every `reset_every` gradient steps each group of the
  weights becomes ``keep * old + (1 - keep) * fresh``.

  The state of the run lives on the device and is given to one jitted call an
  environment step (`agents.core.learner`).
  """

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
    for name, value in (
      ('stack_size', stack_size),
      ('update_horizon', update_horizon),
      ('batch_size', batch_size),
      ('replay_ratio', replay_ratio),
      ('epsilon_decay_period', epsilon_decay_period),
      ('summary_writing_frequency', summary_writing_frequency),
    ):
      check_int(f'DrQAgent.{name}', value, minimum=1)
    for name, fraction in (
      ('gamma', gamma),
      ('epsilon_train', epsilon_train),
      ('epsilon_eval', epsilon_eval),
      ('keep_encoder', keep_encoder),
      ('keep_head', keep_head),
    ):
      check_float(f'DrQAgent.{name}', fraction, 0.0, 1.0)
    check_bool('DrQAgent.data_augmentation', data_augmentation)
    check_bool('DrQAgent.target_action_selection', target_action_selection)
    # So that the first gradient step finds a transition of n steps.
    check_int(
      'DrQAgent.min_replay_history', min_replay_history, update_horizon + 1
    )
    check_int(
      'DrQAgent.replay_capacity', replay_capacity, update_horizon + stack_size
    )
    if reset_every is not None:
      check_int('DrQAgent.reset_every', reset_every, minimum=1)
    if seed is not None:
      check_int('DrQAgent.seed', seed, minimum=0)
    if not callable(network):
      raise ValueError(
        'DrQAgent.network must make a network when called, such as '
        f'@DuelingQNetwork, not {network!r}'
      )
    if optimizer is None:
      optimizer = ht_rl.hare_tortoise(configurables.adam(), momentum=0.995)
    if not isinstance(optimizer, optax.GradientTransformation):
      raise ValueError(
        'DrQAgent.optimizer must be an optax.GradientTransformation, such as '
        f'@hare_tortoise(), not {optimizer!r}'
      )
    self._settings: dict[str, Any] = {
      'optimizer': optimizer,
      'replay_capacity': replay_capacity,
      'batch_size': batch_size,
      'data_augmentation': data_augmentation,
      'target_action_selection': target_action_selection,
      'keep_encoder': keep_encoder,
      'keep_head': keep_head,
    }
    self._replay_ratio = replay_ratio
    self._reset_every = reset_every
    super().__init__(
      num_actions=num_actions,
      observation_shape=tuple(observation_shape),
      observation_dtype=observation_dtype,
      stack_size=stack_size,
      network=network,
      gamma=gamma,
      update_horizon=update_horizon,
      min_replay_history=min_replay_history,
      epsilon_train=epsilon_train,
      epsilon_eval=epsilon_eval,
      epsilon_decay_period=epsilon_decay_period,
      summary_writer=summary_writer,
      summary_writing_frequency=summary_writing_frequency,
      seed=seed,
    )

  # Hooks of JaxDQNAgent's constructor.

  def _build_replay_buffer(self) -> None:
    """None: the replay is a part of the state on the device."""

  def _build_networks_and_optimizer(self) -> None:
    self.learner = learner_lib.Learner(
      network=self.network_def,
      num_actions=self.num_actions,
      observation_shape=self.observation_shape,
      observation_dtype=self.observation_dtype,
      stack_size=self.stack_size,
      min_replay_history=self.min_replay_history,
      gamma=self.gamma,
      update_horizon=self.update_horizon,
      epsilon_train=self.epsilon_train,
      epsilon_eval=self.epsilon_eval,
      epsilon_decay_period=self.epsilon_decay_period,
      **self._settings,
    )
    self.run_state = jax.jit(self.learner.init)(jax.random.PRNGKey(self._seed))
    self._begin = jax.jit(self.learner.begin, donate_argnums=0)
    self._step = jax.jit(
      self.learner.step, donate_argnums=0, static_argnames='num_updates'
    )
    # Traced at once, so that settings which do not fit fail before any work.
    self._step.eval_shape(
      self.run_state,
      np.float32(0.0),
      np.bool_(False),
      np.bool_(False),
      np.zeros(self.observation_shape, self.observation_dtype),
      num_updates=self._replay_ratio,
    )
    self._reset = jax.jit(self.learner.reset, donate_argnums=0)
    self._evaluate = jax.jit(self.learner.evaluate, donate_argnums=1)
    # What ended the last episode and has not been given to the learner yet:
    # it travels with the first frame of the next one.
    self._pending: tuple[float, bool, bool] | None = None
    self._metrics: learner_lib.Metrics | None = None
    self._gradient_steps = 0
    self._policy: Callable[..., np.ndarray] | None = None

  @property
  def online_params(self) -> Any:
    """The hare's parameters."""
    return self.run_state.learner.params

  @property
  def gradient_steps(self) -> int:
    """Number of gradient steps done."""
    return int(self.run_state.learner.gradient_steps)

  @property
  def last_action(self) -> np.ndarray:
    """The action that the agent waits to hear about."""
    return np.asarray(self.run_state.actor.action)

  @property
  def target_network_params(self) -> Any:
    """The tortoise's parameters."""
    return ht_rl.tortoise_params(self.run_state.learner.opt_state)

  # The contract of a Dopamine agent.

  def begin_episode(self, observation: np.ndarray) -> np.ndarray:
    """Returns the first action of an episode."""
    if self.eval_mode:
      self._policy = self.evaluation_policy(1, self._seed)
      return self._evaluate_one(observation, first=True)
    if self._pending is not None:
      pending, self._pending = self._pending, None
      return self._train_and_act(*pending, observation)
    self.run_state, action = self._begin(
      self.run_state, self._frame(observation)
    )
    self.training_steps += 1
    return np.asarray(action)

  def step(self, reward: float, observation: np.ndarray) -> np.ndarray:
    """Learns from the last action and returns the next one."""
    if self.eval_mode:
      return self._evaluate_one(observation, first=False)
    return self._train_and_act(reward, False, False, observation)

  def end_episode(self, reward: float, terminal: bool = True) -> None:
    """Takes what the last action of an episode brought.

    Args:
      reward: the last reward.
      terminal: whether the environment ended (or a life was lost); otherwise
        the episode was cut off.
    """
    if not self.eval_mode:
      self._pending = (float(reward), bool(terminal), not terminal)

  def _train_and_act(
    self,
    reward: float,
    terminal: bool,
    truncation: bool,
    observation: np.ndarray,
  ) -> np.ndarray:
    learns = self.training_steps > self.min_replay_history
    self.run_state, action, self._metrics = self._step(
      self.run_state,
      np.float32(reward),
      np.bool_(terminal),
      np.bool_(truncation),
      self._frame(observation),
      num_updates=self._replay_ratio if learns else 0,
    )
    self.training_steps += 1
    action = np.asarray(action)
    if learns and self._reset_every is not None:
      before = self._gradient_steps // self._reset_every
      self._gradient_steps = int(self._metrics.gradient_steps)
      if self._gradient_steps // self._reset_every > before:
        learner = self._reset(self.run_state.learner)
        self.run_state = self.run_state._replace(learner=learner)
    if self.training_steps % self.summary_writing_frequency == 0:
      self._report()
    return action

  def _frame(self, observation: np.ndarray) -> np.ndarray:
    frame = np.reshape(observation, self.observation_shape)
    return frame.astype(self.observation_dtype, copy=False)

  # Evaluation.

  def evaluation_policy(
    self, num_envs: int, seed: int
  ) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The tortoise as a policy for a fixed batch of environments.

    Args:
      num_envs: number of environments N.
      seed: seed of the exploration.

    Returns:
      A function of frames [N, *observation_shape] and of whether each is an
      episode's first, bool [N]; it gives actions, int [N], and remembers the
      frames before.
    """
    params = self.target_network_params
    shape = (num_envs, self.stack_size, *self.observation_shape)
    frames = jnp.zeros(shape, self.observation_dtype)
    key = jax.random.PRNGKey(seed)
    steps = 0

    def policy(observations: np.ndarray, first: np.ndarray) -> np.ndarray:
      nonlocal frames, steps
      steps += 1
      frames, actions = self._evaluate(
        params, frames, observations, first, jax.random.fold_in(key, steps)
      )
      return np.asarray(actions)

    return policy

  def _evaluate_one(self, observation: np.ndarray, first: bool) -> np.ndarray:
    assert self._policy is not None
    actions = self._policy(self._frame(observation)[None], np.array([first]))
    return actions[0]

  # Reports.

  def metrics(self) -> dict[str, float]:
    """Figures of the last gradient step; empty before the first one.

    Raises:
      DivergedError: a loss was NaN or infinite.
    """
    if self._metrics is None:
      return {}
    figures = jax.device_get(self._metrics)
    if figures.first_bad_step:
      raise DivergedError(int(figures.first_bad_step))
    return {
      'loss': float(figures.loss),
      'q': float(figures.q),
      'gradient_norm': float(figures.gradient_norm),
      'gradient_steps': int(figures.gradient_steps),
    }

  def _report(self) -> None:
    figures = self.metrics()
    if hasattr(self, 'collector_dispatcher'):
      self.collector_dispatcher.write(
        [
          statistics_instance.StatisticsInstance(
            f'Train/{name}', np.asarray(value), step=self.training_steps
          )
          for name, value in figures.items()
        ],
        collector_allowlist=self._collector_allowlist,
      )

  # Checkpoints.

  def get_state(self) -> dict[str, Any]:
    """All that the agent is, as a pytree of arrays, for a checkpoint.

    Raises:
      DivergedError: a loss was NaN or infinite, or the next one will be.
    """
    self.metrics()
    if not np.isfinite(optax.tree.norm(self.online_params)):
      raise DivergedError(self.gradient_steps + 1)
    replay = replay_lib.trim(self.run_state.replay)
    pending = self._pending or (0.0, False, False)
    return {
      'run': self.run_state._replace(replay=replay),
      'has_pending': np.asarray(self._pending is not None),
      'pending': np.asarray(pending, np.float32),
      'training_steps': np.asarray(self.training_steps),
    }

  def set_state(self, arrays: dict[str, np.ndarray]) -> None:
    """Becomes what `get_state` described.

    Args:
      arrays: its arrays by path, as `checkpoint.Checkpoints.restore` gives.

    Raises:
      checkpoint.CheckpointError: they are of an agent with other settings.
    """
    template = {
      'run': self.run_state,
      'has_pending': 0,
      'pending': 0,
      'training_steps': 0,
    }
    state = checkpoint.unflatten(template, arrays)
    run = jax.tree.map(jnp.asarray, state['run'])
    run = run._replace(replay=replay_lib.untrim(run.replay))
    try:
      chex.assert_trees_all_equal_shapes_and_dtypes(run, self.run_state)
    except AssertionError as error:
      raise checkpoint.CheckpointError(
        'the checkpoint is of an agent with other settings'
      ) from error
    self.run_state = run
    reward, terminal, truncation = state['pending']
    self._pending = (
      (float(reward), bool(terminal), bool(truncation))
      if state['has_pending']
      else None
    )
    self.training_steps = int(state['training_steps'])
    self._gradient_steps = int(run.learner.gradient_steps)
    self._metrics = None

  def bundle_and_checkpoint(
    self, checkpoint_dir: str, iteration_number: int
  ) -> dict[str, int] | None:
    """Writes a checkpoint for Dopamine's runners."""
    if not os.path.isdir(checkpoint_dir):
      return None
    folder = os.path.join(checkpoint_dir, 'agent')
    checkpoint.Checkpoints(folder).save(iteration_number, self.get_state())
    return {'training_steps': self.training_steps}

  def unbundle(
    self,
    checkpoint_dir: str,
    iteration_number: int,
    bundle_dictionary: dict[str, Any] | None,
  ) -> bool:
    """Reads the checkpoint of an iteration; whether there was one.

    Raises:
      checkpoint.CheckpointError: it can't be read, or is of an agent with other
        settings.
    """
    folder = os.path.join(checkpoint_dir, 'agent')
    if bundle_dictionary is None or not os.path.isdir(folder):
      return False
    # Killed before the runner wrote its file, the agent is an iteration ahead.
    restored = checkpoint.Checkpoints(folder).restore(
      logging.warning, last=iteration_number
    )
    if restored is None:
      return False
    if restored[0] != iteration_number:
      raise checkpoint.CheckpointError(
        f'the checkpoint of iteration {iteration_number} in {folder} can not '
        "be read; move the runner's own files of the iterations after "
        f'{restored[0]} away to go on from there'
      )
    self.set_state(restored[1])
    return True


class DivergedError(Exception):
  """A loss was NaN or infinite.

  Attributes:
    gradient_step: the first such gradient step, counted from 1.
  """

  def __init__(self, gradient_step: int):
    super().__init__(f'the loss of gradient step {gradient_step} is not finite')
    self.gradient_step = gradient_step
