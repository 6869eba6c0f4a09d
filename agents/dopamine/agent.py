"""An agent for Dopamine's runners, implemented by `agents.core`."""

import os
from typing import Any

from agents.dopamine import refused

from absl import logging
from dopamine.jax.agents.dqn import dqn_agent
from dopamine.metrics import statistics_instance
import numpy as np

from agents import agent_state, checkpoint, configurables
from agents.core.driver import Driver
from agents.core.loop import Loop
from agents.core.policy import Policy
from agents.core.state import Outcome
from agents.errors import CheckpointError
from ht_rl.arguments import check_seed


class DeviceAgent(dqn_agent.JaxDQNAgent):
  """A Dopamine agent that wraps the `Driver` of a run.

  Attributes:
    driver: the run; its state lives on the device.
  """

  driver: Driver

  def __init__(
    self, loop: Loop, seed: int | None = None, summary_writer: Any = None
  ):
    """Draws the initial state.

    Args:
      loop: the agent's settings, as `@DrQAgent` and `@BBFAgent` make them.
      seed: seed of all the agent's random draws; None for the current time.
      summary_writer: for Dopamine's runners; metrics go to their dispatcher.

    Raises:
      ValueError: the seed is out of range, or gin has a setting of
        `JaxDQNAgent` that would change nothing.
    """
    learner = loop.learner
    refused.check('dqn_agent.JaxDQNAgent', refused.JAX_DQN_AGENT, learner.name)
    if seed is not None:
      check_seed(f'{learner.name}.seed', seed)
    # The outcome that ended the last episode of training, until the first frame
    # of the next one: the learner takes the two together.
    self._pending: Outcome | None = None
    # The policy of an evaluation, and the number of training actions before.
    self._policy: Policy | None = None
    self._policy_steps = 0
    super().__init__(
      num_actions=learner.num_actions,
      observation_shape=learner.observation_shape,
      observation_dtype=learner.observation_dtype,
      stack_size=learner.stack_size,
      network=lambda num_actions: learner.network,
      gamma=learner.gamma,
      update_horizon=learner.update_horizon,
      min_replay_history=learner.min_replay_history,
      epsilon_train=learner.epsilon_train,
      epsilon_eval=learner.epsilon_eval,
      epsilon_decay_period=learner.epsilon_decay_period,
      summary_writer=summary_writer,
      summary_writing_frequency=loop.summary_writing_frequency,
      seed=seed,
    )
    restart_every = configurables.restart_interval(loop)
    self.driver = Driver(loop, self._seed, restart_every)

  # Hooks of JaxDQNAgent's constructor.

  def _build_replay_buffer(self) -> None:
    """Builds nothing: the replay is part of the state on the device."""

  def _build_networks_and_optimizer(self) -> None:
    """Builds nothing: the driver has them."""

  # JaxDQNAgent counts the steps in an attribute of this name.

  @property
  def training_steps(self) -> int:
    """Number of actions chosen in training."""
    return self.driver.steps

  @training_steps.setter
  def training_steps(self, steps: int) -> None:
    del steps  # JaxDQNAgent's constructor sets it to 0, as the driver does.

  # The interface of a Dopamine agent. With Runner.max_steps_per_episode = None
  # an episode goes on from training into evaluation and back: training has it
  # as truncated where it leaves, and as a new one where it comes back.

  def begin_episode(self, observation: np.ndarray) -> np.ndarray:
    """Returns the first action of an episode."""
    if self.eval_mode:
      return self._evaluate_one(observation, first=True)
    outcome, self._pending = self._pending, None
    if not self.driver.steps:
      return self.driver.begin(observation)
    # The outcome is unknown where a resumed run begins in a new environment.
    return self._advance(outcome or Outcome(0.0, truncation=True), observation)

  def step(self, reward: float, observation: np.ndarray) -> np.ndarray:
    """Learns from the last action and returns the next action."""
    if self.eval_mode:
      first = not self._is_evaluating
      if first:  # The reward is that of the last action of training.
        self.end_episode(reward, terminal=False)
      return self._evaluate_one(observation, first)
    if self._pending is not None:  # The reward is that of an evaluation.
      return self.begin_episode(observation)
    return self._advance(Outcome(reward), observation)

  def end_episode(self, reward: float, terminal: bool = True) -> None:
    """Stores the outcome of the last action of an episode.

    Args:
      reward: the last reward.
      terminal: whether the environment ended (or a life was lost); otherwise
        the episode was truncated.
    """
    if self._pending is None and not (self.eval_mode and self._is_evaluating):
      self._pending = Outcome(reward, bool(terminal), not terminal)

  @property
  def _is_evaluating(self) -> bool:
    """Returns whether an evaluation began after the last training action."""
    return self._policy is not None and self._policy_steps == self.driver.steps

  def _advance(self, outcome: Outcome, observation: np.ndarray) -> np.ndarray:
    action = self.driver.step(outcome, observation)
    if self.driver.report_is_due():
      self.report()
    return action

  def _evaluate_one(self, observation: np.ndarray, first: bool) -> np.ndarray:
    shape = (1, *self.observation_shape)
    frame = np.reshape(observation, shape).astype(self.observation_dtype)
    # One policy for all episodes between two training steps, so that its
    # exploration goes on from one episode to the next.
    if self._policy is None or not self._is_evaluating:
      self._policy = self.driver.policy(1, self._seed)
      self._policy_steps = self.driver.steps
    return np.asarray(self._policy(frame, np.array([first])))[0]

  def report(self) -> None:
    """Writes the metrics of the last gradient step to the dispatcher."""
    figures = self.driver.metrics()
    # Our runner reports each gap by itself and leaves none here.
    if (gap := self.driver.take_restart_gap()) is not None:
      figures['restart_gap'] = gap
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
    """Returns the complete state of the agent, as a pytree of arrays.

    Raises:
      DivergedError: a loss was NaN or infinite, or the next one will be.
    """
    return agent_state.of(self.driver, self._pending)

  def set_state(self, arrays: dict[str, np.ndarray]) -> None:
    """Restores a state that `get_state` returned.

    Args:
      arrays: its arrays by path, from `checkpoint.Checkpoints.restore`.

    Raises:
      CheckpointError: the state belongs to an agent with other settings.
    """
    self._pending = agent_state.restore(self.driver, arrays)
    self._policy = None

  def bundle_and_checkpoint(
    self, checkpoint_dir: str, iteration_number: int
  ) -> dict[str, int] | None:
    """Writes a checkpoint for Dopamine's runners."""
    if not os.path.isdir(checkpoint_dir):
      return None
    checkpoints = checkpoint.Checkpoints(os.path.join(checkpoint_dir, 'agent'))
    state = self.get_state()
    # There is one of this iteration if a run was killed before the runner wrote
    # its own file: that run goes on from an earlier iteration.
    checkpoints.remove_from(iteration_number)
    checkpoints.save(iteration_number, state)
    return {'training_steps': self.training_steps}

  def unbundle(
    self,
    checkpoint_dir: str,
    iteration_number: int,
    bundle_dictionary: dict[str, Any] | None,
  ) -> bool:
    """Reads the checkpoint of an iteration; returns whether there was one.

    Raises:
      CheckpointError: the checkpoint cannot be read, or belongs to an agent
        with other settings.
    """
    folder = os.path.join(checkpoint_dir, 'agent')
    if bundle_dictionary is None or not os.path.isdir(folder):
      return False
    # If a run was killed before the runner wrote its own file, the agent is an
    # iteration ahead of it.
    restored = checkpoint.Checkpoints(folder).restore(
      logging.warning, last=iteration_number
    )
    if restored is None:
      return False
    if restored[0] != iteration_number:
      raise CheckpointError(
        f'the checkpoint of iteration {iteration_number} in {folder} cannot be '
        f'read; to continue from iteration {restored[0]}, move away the '
        "runner's own files of later iterations"
      )
    self.set_state(restored[1])
    return True
