"""A Dopamine agent whose state lives on the device; the work is in `core`."""

from collections.abc import Callable
import os
from typing import Any, ClassVar

from absl import logging
import chex

from agents import dopamine_repair  # isort: skip  (before Dopamine)
from dopamine.jax.agents.dqn import dqn_agent
from dopamine.metrics import statistics_instance
import jax
import jax.numpy as jnp
import numpy as np
import optax

from agents import checkpoint
from agents.core import learner as learner_lib
from agents.errors import CheckpointError, DivergedError
import ht_rl
from ht_rl.arguments import check_bool, check_float, check_int

del dopamine_repair  # Imported for what it does.


class DeviceAgent(dqn_agent.JaxDQNAgent):
  """What DrQ and BBF share: a Dopamine agent around a `learner.Learner`.

  The state of the run lives on the device and is given to one jitted call an
  environment step (`agents.core.learner`).
  """

  learner_class: ClassVar[type[learner_lib.Learner]]

  def __init__(
    self,
    num_actions: int,
    network: Callable[..., Any],
    settings: dict[str, Any],
    replay_ratio: int,
    summary_writer: Any,
    summary_writing_frequency: int,
    seed: int | None,
  ):
    """Checks what all agents have in common, and creates the agent.

    Args:
      num_actions: number of actions of the environment.
      network: makes the Q-network when called with `num_actions`.
      settings: the other fields of `learner_class`.
      replay_ratio: gradient steps for each environment step.
      summary_writer: for Dopamine's runners; metrics go to their dispatcher.
      summary_writing_frequency: agent steps between two reports.
      seed: seed of everything that the agent draws; None for the time.
    """
    name = type(self).__name__
    for key in (
      'stack_size',
      'update_horizon',
      'batch_size',
      'epsilon_decay_period',
    ):
      check_int(f'{name}.{key}', settings[key], minimum=1)
    check_int(f'{name}.replay_ratio', replay_ratio, minimum=1)
    check_int(
      f'{name}.summary_writing_frequency', summary_writing_frequency, minimum=1
    )
    for key in (
      'gamma',
      'epsilon_train',
      'epsilon_eval',
      'keep_encoder',
      'keep_head',
    ):
      check_float(f'{name}.{key}', settings[key], 0.0, 1.0)
    for key in ('data_augmentation', 'target_action_selection'):
      check_bool(f'{name}.{key}', settings[key])
    shape = settings['observation_shape']
    if settings['data_augmentation'] and len(shape) != 2:
      raise ValueError(
        f'{name}.data_augmentation must be False where a frame is no image '
        f'(height, width): observation_shape is {shape}'
      )
    if seed is not None:
      check_int(f'{name}.seed', seed, minimum=0)
    if not callable(network):
      raise ValueError(
        f'{name}.network must make a network when called, such as '
        f'@DuelingQNetwork, not {network!r}'
      )
    if not isinstance(settings['optimizer'], optax.GradientTransformation):
      raise ValueError(
        f'{name}.optimizer must be an optax.GradientTransformation, such as '
        f'@hare_tortoise(), not {settings["optimizer"]!r}'
      )
    self._settings = settings
    self._replay_ratio = replay_ratio
    super().__init__(
      num_actions=num_actions,
      observation_shape=tuple(settings['observation_shape']),
      observation_dtype=settings['observation_dtype'],
      stack_size=settings['stack_size'],
      network=network,
      gamma=settings['gamma'],
      update_horizon=settings['update_horizon'],
      min_replay_history=settings['min_replay_history'],
      epsilon_train=settings['epsilon_train'],
      epsilon_eval=settings['epsilon_eval'],
      epsilon_decay_period=settings['epsilon_decay_period'],
      summary_writer=summary_writer,
      summary_writing_frequency=summary_writing_frequency,
      seed=seed,
    )

  def _reset_is_due(self) -> bool:
    """Whether to reset after the gradient steps of this environment step."""
    raise NotImplementedError

  # Hooks of JaxDQNAgent's constructor.

  def _build_replay_buffer(self) -> None:
    """None: the replay is a part of the state on the device."""

  def _build_networks_and_optimizer(self) -> None:
    self.learner = self.learner_class(
      network=self.network_def, num_actions=self.num_actions, **self._settings
    )
    # So that the first gradient step finds a transition of n steps.
    horizon, name = self.learner.horizon, type(self).__name__
    check_int(
      f'{name}.min_replay_history', self.learner.min_replay_history, horizon + 1
    )
    check_int(
      f'{name}.replay_capacity',
      self.learner.replay_capacity,
      horizon + self.learner.stack_size,
    )
    self.run_state = jax.jit(self.learner.init)(jax.random.PRNGKey(self._seed))
    groups = self.online_params['params'].keys()
    if groups != self.learner.keep.keys():  # A reset would lose the others.
      raise ValueError(
        f'{name}.network must have parameters in the groups '
        f'{", ".join(self.learner.keep)}, not {", ".join(groups)}'
      )
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
    self._metrics: Any = None
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
    if learns and self._reset_is_due():
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
      raise _diverged(int(figures.first_bad_step))
    named = figures._asdict()
    del named['first_bad_step']
    return {name: figure.item() for name, figure in named.items()}

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
      raise _diverged(self.gradient_steps + 1)
    replay = self.learner.storage.trim(self.run_state.replay)
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
      CheckpointError: they are of an agent with other settings.
    """
    template = {
      'run': self.run_state,
      'has_pending': 0,
      'pending': 0,
      'training_steps': 0,
    }
    state = checkpoint.unflatten(template, arrays)
    run = jax.tree.map(jnp.asarray, state['run'])
    run = run._replace(replay=self.learner.storage.untrim(run.replay))
    try:
      chex.assert_trees_all_equal_shapes_and_dtypes(run, self.run_state)
    except AssertionError as error:
      raise CheckpointError(
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
      CheckpointError: it can't be read, or is of an agent with other
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
      raise CheckpointError(
        f'the checkpoint of iteration {iteration_number} in {folder} can not '
        "be read; move the runner's own files of the iterations after "
        f'{restored[0]} away to go on from there'
      )
    self.set_state(restored[1])
    return True


def _diverged(gradient_step: int) -> DivergedError:
  return DivergedError(
    f'the loss of gradient step {gradient_step} is not finite'
  )
