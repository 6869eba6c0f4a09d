"""Dopamine's Runner with the Atari-100k protocol and exact resuming.

A checkpoint holds the complete state of a run as arrays: the agent with its
replay, the emulator, and a few counters. A run that was killed continues from
its last checkpoint bit for bit as if it had not been killed.
"""

from collections.abc import Callable
import contextlib
import importlib.metadata
import os
import pathlib
import time
from typing import Any, Protocol

from agents.dopamine import refused

from dopamine.discrete_domains import run_experiment
from dopamine.metrics import collector_dispatcher, statistics_instance
import gin
import jax
import numpy as np
from tensorflow import errors as tf_errors

from agents import atari, checkpoint, configurables, weights
from agents import evaluation as evaluation_lib
from agents.errors import CheckpointError, StoppedError
from agents.run_settings import RunSettings
from ht_rl import atari100k
from ht_rl.atari100k.run_folder import RunFolder


class Progress(Protocol):
  """Shows the progress of a phase; see `experiments.progress` for one."""

  def update(self, step: int, **figures: float | None) -> None:
    """Shows that `step` steps are done, and the given figures."""

  def close(self) -> None:
    """Ends the phase."""


class Atari100kRunner(run_experiment.Runner):
  """Trains for 100k agent steps, then evaluates, as `agents.atari` says."""

  def __init__(
    self,
    base_dir: str,
    create_agent_fn: Callable[..., Any],
    game: str,
    seed: int,
    settings: RunSettings,
    config: str = '',
    progress: Callable[[str, str, int, int], Progress] | None = None,
    say: Callable[[str], None] = print,
    should_stop: Callable[[], bool] = lambda: False,
  ):
    """Creates environment and agent, and restores the last checkpoint.

    Args:
      base_dir: the folder of this run.
      create_agent_fn: makes the agent, as for Dopamine's Runner.
      game: name of the game, as in `ht_rl.atari100k`.
      seed: seed of the environment and of the evaluation.
      settings: length, evaluation and intervals of the run.
      config: name of the configuration, for the result.
      progress: makes the `Progress` of a phase from its name, the name of its
        unit, the number of units, and the number done.
      say: called with each line for the user.
      should_stop: called after each step; if it returns True, the run writes a
        checkpoint and raises `StoppedError`.

    Raises:
      ValueError: a setting is wrong, or would change nothing.
      CheckpointError: no checkpoint can be read.
      OSError: a file can't be written.
    """
    refused.check('run_experiment.Runner', refused.RUNNER)
    _check_collectors()
    self._folder = RunFolder(pathlib.Path(base_dir))
    self._game = game
    self._seed = seed
    self._config = config
    self._settings = settings
    self._new_progress = progress or (lambda *_: _Silent())
    self._say = say
    self._should_stop = should_stop
    self._step = 0
    self._evaluated_step = 0
    self._episode_return = 0.0
    self._episode_length = 0
    self._last_return: float | None = None
    self._seconds = 0.0
    try:
      super().__init__(
        str(base_dir),
        create_agent_fn,
        create_environment_fn=lambda: atari.AtariEnvironment(game, seed),
        num_iterations=1,
        training_steps=settings.training_steps,
        use_legacy_logger=False,
        fine_grained_print_to_console=False,
      )
    except tf_errors.OpError as error:  # From TensorBoard's writer.
      raise OSError(error.message) from error
    self._metrics_file = self._folder.open_metrics(keep_until=self._step)

  # Checkpoints, in place of Dopamine's.

  def _initialize_checkpointer_and_maybe_resume(
    self, checkpoint_file_prefix: str
  ) -> None:
    del checkpoint_file_prefix  # For Dopamine's pickled files.
    self._checkpoints = checkpoint.Checkpoints(self._folder.checkpoints)
    restored = self._checkpoints.restore(self._say)
    if restored is None:
      return
    self._step, arrays = restored
    parts: dict[str, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
      part, _, rest = name.partition('.')
      parts.setdefault(part, {})[rest] = array
    self._agent.set_state(parts['agent'])
    self._environment.set_state(parts['environment'])
    counters = parts['counters']
    self._evaluated_step = int(counters['evaluated_step'])
    self._episode_return = float(counters['episode_return'])
    self._episode_length = int(counters['episode_length'])
    if not np.isnan(counters['last_return']):
      self._last_return = float(counters['last_return'])
    self._seconds = float(counters['seconds'])
    self._say(f'going on from the checkpoint of step {self._step:,}')

  def _checkpoint_experiment(self, iteration: int | None = None) -> None:
    del iteration  # Checkpoints are named by the step.
    state = {
      'agent': self._agent.get_state(),
      'environment': self._environment.get_state(),
      'counters': {
        'evaluated_step': np.int64(self._evaluated_step),
        'episode_return': np.float64(self._episode_return),
        'episode_length': np.int64(self._episode_length),
        'last_return': np.float64(
          np.nan if self._last_return is None else self._last_return
        ),
        'seconds': np.float64(self._seconds),
      },
    }
    self._checkpoints.save(self._step, state)
    self._collector_dispatcher.flush()

  @property
  def protocol(self) -> atari.Protocol:
    """The protocol of this run's training and evaluation."""
    return atari.Protocol(
      training_steps=self._settings.training_steps,
      eval_episodes=self._settings.num_eval_episodes,
      epsilon_eval=self._agent.epsilon_eval,
    )

  # The experiment.

  def run_experiment(self) -> dict[str, Any]:
    """Trains, evaluates, and writes `result.json`.

    Returns:
      The content of the file.

    Raises:
      StoppedError: `should_stop` returned True; a runner with the same
        arguments continues the run.
      DivergedError: a loss was NaN or infinite.
      CheckpointError: a checkpoint could not be written.
    """
    self._warn_of_restarts()
    try:
      self._run_train_phase(None)
      evaluation = self._run_eval_phase(None)
      weights.save(self._folder.tortoise_file, self._agent.driver.tortoise)
      self._folder.write_result(self._result(evaluation))
      self._collector_dispatcher.flush()
      self._collector_dispatcher.close()
      if not self._settings.keep_checkpoints:
        self._checkpoints.remove()
    except CheckpointError:
      raise  # Its message already names the last good checkpoint.
    except Exception as error:
      if isinstance(error, tf_errors.OpError):  # From TensorBoard's writer.
        error = OSError(error.message)
      steps = self._checkpoints.steps()
      folder = self._checkpoints.directory
      error.add_note(
        f'the last good checkpoint is {folder / str(steps[-1])}'
        if steps
        else 'there is no checkpoint yet'
      )
      raise error
    result = self._folder.read_result()
    assert result is not None
    return result

  def _warn_of_restarts(self) -> None:
    """Says so if Hare & Tortoise never restarts in this run."""
    interval = configurables.restart_interval()
    if interval is None:
      return
    cycles = self._agent.driver.loop.cycles(self._settings.training_steps)
    if interval <= max(cycles):
      return
    why = f'the run has only {max(cycles):,}'
    if len(cycles) > 1:
      why = (
        'each reset starts its count anew, and no two are more than '
        f'{max(cycles):,} apart'
      )
    self._say(
      'warning: Hare & Tortoise never restarts in this run: '
      f'hare_tortoise.reset_every is {interval:,} gradient steps, but {why}'
    )

  def _run_train_phase(self, statistics: Any) -> None:
    del statistics  # The run writes metrics.jsonl instead.
    progress = self._new_progress(
      'train', 'step', self._settings.training_steps, self._step
    )
    with contextlib.closing(progress):
      self._train(progress)

  def _train(self, progress: Progress) -> None:
    agent, environment = self._agent, self._environment
    driver = agent.driver
    self._evaluate_if_due()  # The run may have stopped during an evaluation.
    since = time.monotonic() - self._seconds
    if self._step == 0:
      action = driver.begin(environment.reset())
    else:
      action = driver.action
    while self._step < self._settings.training_steps:
      timestep = environment.advance(int(action))
      self._step += 1
      self._episode_return += timestep.reward
      self._episode_length += 1
      if timestep.episode_over:
        self._log_episode()
      action = driver.step(timestep.outcome, timestep.observation)
      if (gap := driver.take_restart_gap()) is not None:
        self._metrics_file.write({'step': self._step, 'restart_gap': gap})
        self._report('Train/restart_gap', gap)
      if driver.steps % agent.summary_writing_frequency == 0:
        agent.report()
      self._seconds = time.monotonic() - since
      is_last = self._step == self._settings.training_steps
      if self._step % self._settings.log_every == 0 or is_last:
        figures = driver.metrics()
        self._metrics_file.write({'step': self._step, **figures})
        shown = {'return': self._last_return, 'loss': figures.get('loss')}
        progress.update(self._step, **shown)
      since += self._evaluate_if_due()
      stops = self._should_stop() and not is_last
      if self._step % self._settings.checkpoint_every == 0 or is_last or stops:
        self._checkpoint_experiment()
      if stops:
        raise StoppedError(f'stopped at step {self._step:,}')

  def _evaluate_if_due(self) -> float:
    """Evaluates the tortoise during training, if an evaluation is due.

    Returns:
      The time it took, in seconds.
    """
    every = self._settings.eval_every
    is_last = self._step == self._settings.training_steps
    if not every or self._step % every or is_last:
      return 0.0
    if self._step == self._evaluated_step:
      return 0.0
    started = time.monotonic()
    num_episodes = self._settings.num_training_eval_episodes
    policy = self._agent.driver.policy(num_episodes, self._seed)

    def check(steps: int, episodes: int) -> None:
      del steps, episodes
      if self._should_stop():
        raise StoppedError

    with contextlib.suppress(StoppedError):
      evaluation = evaluation_lib.evaluate(
        policy, self._game, num_episodes, self._seed, progress=check
      )
      mean = float(np.mean(evaluation.returns))
      self._metrics_file.write(
        {
          'step': self._step,
          'evaluation_return': mean,
          'evaluation_episodes': num_episodes,
        }
      )
      self._report('Eval/AverageReturn', mean)
      self._evaluated_step = self._step
    return time.monotonic() - started

  def _log_episode(self) -> None:
    self._last_return = self._episode_return
    self._metrics_file.write(
      {
        'step': self._step,
        'episode_return': self._episode_return,
        'episode_length': self._episode_length,
        'seconds': round(self._seconds, 3),
      }
    )
    self._report('Train/EpisodeReturn', self._episode_return)
    self._report('Train/EpisodeLength', self._episode_length)
    self._episode_return = 0.0
    self._episode_length = 0

  def _run_eval_phase(self, statistics: Any) -> evaluation_lib.Evaluation:
    del statistics
    num_episodes = self._settings.num_eval_episodes
    policy = self._agent.driver.policy(num_episodes, self._seed)

    def show(steps: int, episodes: int) -> None:
      if self._should_stop():
        raise StoppedError('stopped during the evaluation')
      progress.update(episodes, steps=steps)

    progress = self._new_progress('evaluate', 'episode', num_episodes, 0)
    with contextlib.closing(progress):
      evaluation = evaluation_lib.evaluate(
        policy, self._game, num_episodes, self._seed, progress=show
      )
    self._report('Eval/AverageReturn', float(np.mean(evaluation.returns)))
    return evaluation

  def _report(self, name: str, value: float) -> None:
    self._collector_dispatcher.write(
      [
        statistics_instance.StatisticsInstance(
          name, np.asarray(value), step=self._step
        )
      ]
    )

  def _result(self, evaluation: evaluation_lib.Evaluation) -> dict[str, Any]:
    mean = float(np.mean(evaluation.returns))
    normalized = None
    if self._game in atari100k.GAMES:
      normalized = float(atari100k.human_normalized_score(self._game, mean))
    device = jax.devices()[0]
    return {
      'config': self._config,
      'game': self._game,
      'seed': self._seed,
      'score': mean,
      'human_normalized_score': normalized,
      'returns': evaluation.returns.tolist(),
      'lengths': evaluation.lengths.tolist(),
      'gradient_steps': self._agent.driver.gradient_steps,
      'protocol': self.protocol.as_dict(),
      'training_seconds': round(self._seconds, 1),
      'device': f'{device.platform}: {device.device_kind}',
      'cpu_count': os.cpu_count(),
      'versions': {
        name: importlib.metadata.version(name)
        for name in ('jax', 'flax', 'optax', 'dopamine-rl', 'ale-py', 'numpy')
      },
    }


def _check_collectors() -> None:
  """Raises ValueError for a collector that Dopamine would silently ignore."""
  try:
    chosen = gin.query_parameter('CollectorDispatcher.collectors')
  except ValueError:  # Not set.
    return
  known = list(collector_dispatcher.AVAILABLE_COLLECTORS)
  is_list = isinstance(chosen, (tuple, list))
  if not is_list or any(name not in known for name in chosen):
    raise ValueError(
      'CollectorDispatcher.collectors must be a tuple of names among '
      f'{", ".join(known)}, not {chosen!r}'
    )


class _Silent:
  """A `Progress` that shows nothing."""

  def update(self, step: int, **figures: float | None) -> None:
    """Shows nothing."""

  def close(self) -> None:
    """Does nothing."""
