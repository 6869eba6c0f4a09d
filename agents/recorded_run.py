"""One run of the protocol: its emulator, its counters, and its files.

`agents.dopamine.runner` trains one such run, `agents.population` several.
"""

from collections.abc import Callable, Mapping
import functools
import hashlib
import importlib.metadata
import os
import time
from typing import Any, Protocol

import jax
import numpy as np

from agents import agent_state, atari, checkpoint, machine, weights
from agents import evaluation as evaluation_lib
from agents.commit import commit
from agents.core.driver import Driver
from agents.emulators import Environment
from agents.errors import CheckpointError, ReplayError
from agents.run_settings import RunSettings
from ht_rl import atari100k
from ht_rl.atari100k.run_episodes import EpisodesFile
from ht_rl.atari100k.run_folder import RunFolder


class Progress(Protocol):
  """Shows the progress of a phase; see `experiments.progress` for one."""

  def update(self, step: int, **figures: float | None) -> None:
    """Shows that `step` steps are done, and the given figures."""

  def close(self) -> None:
    """Ends the phase."""


class Silent:
  """A `Progress` that shows nothing."""

  def update(self, step: int, **figures: float | None) -> None:
    """Shows nothing."""

  def close(self) -> None:
    """Does nothing."""


class Reporter(Protocol):
  """Reports figures, for example to TensorBoard."""

  def write(self, name: str, value: float, step: int) -> None:
    """Reports a figure of a step."""

  def flush(self) -> None:
    """Writes out what was reported."""

  def close(self) -> None:
    """Ends the reports."""


# Makes the `Progress` of a phase from its name, the name of its unit, the
# number of units, and the number done.
NewProgress = Callable[[str, str, int, int], Progress]


class RecordedRun:
  """A run in its folder.

  Its owner plays the driver's action in the environment, and steps the driver:
  between `count`, which is told of the environment's step, and `record`, which
  writes what there is to write after the driver's.

  Attributes:
    folder: where its files are.
    game: canonical name of the game.
    seed: of environment and evaluation.
    environment: the emulator.
    driver: the agent.
    step: number of agent steps done.
    reporter: is told the figures of the environment; None for none.
    last_return: of the last training episode that ended, in game points; None
      before.
  """

  driver: Driver

  def __init__(
    self,
    folder: RunFolder,
    game: str,
    seed: int,
    settings: RunSettings,
    config: str = '',
    say: Callable[[str], None] = print,
    environment: Environment | None = None,
  ):
    """Loads the game; `attach` a driver before anything else.

    Args:
      folder: where its files are.
      game: name of the game, as in `ht_rl.atari100k`.
      seed: seed of the environment and of the evaluation.
      settings: length, evaluation and intervals of the run.
      config: name of the configuration, for the result.
      say: called with each line for the user.
      environment: of the game and the seed; None makes one.

    Raises:
      ValueError: the game is unknown, or the seed out of range.
    """
    self.folder = folder
    self.game = game
    self.seed = seed
    if environment is None:
      environment = atari.AtariEnvironment(game, seed)
    self.environment = environment
    self.step = 0
    self.reporter: Reporter | None = None
    self.last_return: float | None = None
    self._settings = settings
    self._config = config
    self._commit = commit()
    self._say = say
    self._evaluated_step = 0
    self._episode_return = 0.0
    self._episode_length = 0
    self._seconds = 0.0
    self._since = 0.0

  # Checkpoints.

  def attach(self, driver: Driver) -> None:
    """Gives the run its agent, and restores the last checkpoint of both.

    Raises:
      CheckpointError: no checkpoint can be read, or the last one does not fit.
      OSError: a file can't be written.
    """
    self.driver = driver
    self._checkpoints = checkpoint.Checkpoints(self.folder.checkpoints)
    restored = self._checkpoints.restore(self._say)
    if restored is not None:
      self.step, arrays = restored
      self._restore(arrays)
      self._say(f'going on from the checkpoint of step {self.step:,}')
    self._metrics = self.folder.open_metrics(
      self.step, is_evaluated=self._evaluated_step == self.step
    )

  def _restore(self, arrays: Mapping[str, np.ndarray]) -> None:
    parts: dict[str, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
      part, _, rest = name.partition('.')
      parts.setdefault(part, {})[rest] = array
    folder = self._checkpoints.directory / str(self.step)
    try:
      agent_state.restore(self.driver, parts['agent'])
      self.environment.set_state(parts['environment'])
      counters = parts['counters']
      self._evaluated_step = int(counters['evaluated_step'])
      self._episode_return = float(counters['episode_return'])
      self._episode_length = int(counters['episode_length'])
      if not np.isnan(counters['last_return']):
        self.last_return = float(counters['last_return'])
      self._seconds = float(counters['seconds'])
    except KeyError as error:
      raise CheckpointError(
        f'the checkpoint {folder} has no {error}: it is of another version of '
        'this project; remove the folder of the run to begin again'
      ) from error
    except ReplayError as error:
      raise CheckpointError(
        f'the checkpoint {folder} does not fit: {error}'
      ) from error

  def checkpoint(self) -> None:
    """Writes a checkpoint.

    Raises:
      DivergedError: a loss was NaN or infinite, or the next one will be.
      CheckpointError: it could not be written.
    """
    state = {
      'agent': agent_state.of(self.driver),
      'environment': self.environment.get_state(),
      'counters': {
        'evaluated_step': np.int64(self._evaluated_step),
        'episode_return': np.float64(self._episode_return),
        'episode_length': np.int64(self._episode_length),
        'last_return': np.float64(
          np.nan if self.last_return is None else self.last_return
        ),
        'seconds': np.float64(self._seconds),
      },
    }
    self._checkpoints.save(self.step, state)
    if self.reporter is not None:
      self.reporter.flush()

  def note_checkpoint(self, error: Exception) -> None:
    """Adds to an error which checkpoint is the last good one."""
    steps = self._checkpoints.steps()
    folder = self._checkpoints.directory
    error.add_note(
      f'the last good checkpoint is {folder / str(steps[-1])}'
      if steps
      else 'there is no checkpoint yet'
    )

  # Training.

  @property
  def is_trained(self) -> bool:
    """Whether all steps of training are done."""
    return self.step >= self._settings.training_steps

  def begin(self) -> int:
    """Starts or restarts the clock; returns the action to play first."""
    self._since = time.monotonic() - self._seconds
    if self.step == 0:
      return int(self.driver.begin(self.environment.reset()))
    return int(self.driver.action)

  def count(self, timestep: atari.Timestep) -> None:
    """Counts a step of the environment, and the episode that it ends."""
    self.step += 1
    self._episode_return += timestep.reward
    self._episode_length += 1
    if timestep.episode_over:
      self.last_return = self._episode_return
      self._metrics.write(
        {
          'step': self.step,
          'episode_return': self._episode_return,
          'episode_length': self._episode_length,
          'seconds': round(self._seconds, 3),
        }
      )
      self._report('Train/EpisodeReturn', self._episode_return)
      self._report('Train/EpisodeLength', self._episode_length)
      self._episode_return = 0.0
      self._episode_length = 0

  def record(self) -> dict[str, float] | None:
    """Writes the figures of a step that the driver has done.

    Returns:
      The learner's figures, if this step logs them.

    Raises:
      DivergedError: a loss was NaN or infinite.
    """
    if (gap := self.driver.take_restart_gap()) is not None:
      self._metrics.write({'step': self.step, 'restart_gap': gap})
      self._report('Train/restart_gap', gap)
    self._seconds = time.monotonic() - self._since
    if self.step % self._settings.log_every and not self.is_trained:
      return None
    figures = self.driver.metrics()
    self._metrics.write({'step': self.step, **figures})
    return figures

  def checkpoint_is_due(self) -> bool:
    """Returns whether this step ends with a checkpoint."""
    return self.step % self._settings.checkpoint_every == 0 or self.is_trained

  def leave_out(self, seconds: float) -> None:
    """Leaves time that was not training out of `training_seconds`."""
    self._since += seconds

  def evaluation_is_due(self) -> bool:
    """Returns whether an evaluation during training is due, and not done."""
    every = self._settings.eval_every
    if not every or self.step % every or self.is_trained:
      return False
    return self.step != self._evaluated_step

  def evaluation_job(self) -> evaluation_lib.Job:
    """Returns what to evaluate: the tortoise of now."""
    settings = self._settings
    if self.is_trained:
      num_episodes = settings.num_eval_episodes
      kept = self._kept_episodes
      more: dict[str, Any] = {'finished': kept.episodes, 'keep': kept.add}
    else:
      num_episodes, more = settings.num_training_eval_episodes, {}
    policy = self.driver.policy(num_episodes, self.seed)
    return evaluation_lib.Job(
      policy, self.game, num_episodes, self.seed, **more
    )

  def record_evaluation(self, evaluation: evaluation_lib.Evaluation) -> None:
    """Writes the score of an evaluation during training."""
    mean = float(np.mean(evaluation.returns))
    self._metrics.write(
      {
        'step': self.step,
        'evaluation_return': mean,
        'evaluation_episodes': len(evaluation.returns),
      }
    )
    self._report('Eval/AverageReturn', mean)
    self._evaluated_step = self.step

  # The end.

  @functools.cached_property
  def _kept_episodes(self) -> EpisodesFile:
    """The finished episodes of the final evaluation."""
    digest = hashlib.sha256()
    for array in jax.tree.leaves(jax.device_get(self.driver.tortoise)):
      digest.update(np.asarray(array).tobytes())
    return self.folder.open_episodes(
      digest.hexdigest(), self._settings.num_eval_episodes
    )

  @property
  def num_kept_episodes(self) -> int:
    """Number of episodes that a final evaluation before has finished."""
    return len(self._kept_episodes.episodes)

  @property
  def protocol(self) -> atari.Protocol:
    """The protocol of this run's training and evaluation."""
    learner = self.driver.loop.learner
    return atari.Protocol(
      training_steps=self._settings.training_steps,
      eval_episodes=self._settings.num_eval_episodes,
      epsilon_eval=learner.epsilon_eval,
      stack=learner.stack_size,
    )

  def finish(
    self, evaluation: evaluation_lib.Evaluation, **more: Any
  ) -> dict[str, Any]:
    """Writes the tortoise and the result; removes the checkpoints.

    Args:
      evaluation: of the tortoise.
      **more: for the result.

    Returns:
      The content of `result.json`.
    """
    self._report('Eval/AverageReturn', float(np.mean(evaluation.returns)))
    if self.reporter is not None:
      self.reporter.close()
    weights.save(self.folder.tortoise_file, self.driver.tortoise)
    self.folder.write_result({**self._result(evaluation), **more})
    self._kept_episodes.remove()
    if not self._settings.keep_checkpoints:
      self._checkpoints.remove()
    result = self.folder.read_result()
    assert result is not None
    return result

  def _report(self, name: str, value: float) -> None:
    if self.reporter is not None:
      self.reporter.write(name, value, self.step)

  def _result(self, evaluation: evaluation_lib.Evaluation) -> dict[str, Any]:
    mean = float(np.mean(evaluation.returns))
    normalized = None
    if self.game in atari100k.GAMES:
      normalized = float(atari100k.human_normalized_score(self.game, mean))
    device = jax.devices()[0]
    return {
      'config': self._config,
      'game': self.game,
      'seed': self.seed,
      'score': mean,
      'human_normalized_score': normalized,
      'returns': evaluation.returns.tolist(),
      'lengths': evaluation.lengths.tolist(),
      'gradient_steps': self.driver.gradient_steps,
      'protocol': self.protocol.as_dict(),
      'training_seconds': round(self._seconds, 1),
      'device': f'{device.platform}: {device.device_kind}',
      'cpu': machine.cpu(),
      'cpu_count': os.cpu_count(),
      'commit': self._commit,
      'versions': {
        name: importlib.metadata.version(name)
        for name in ('jax', 'flax', 'optax', 'dopamine-rl', 'ale-py', 'numpy')
      },
    }
