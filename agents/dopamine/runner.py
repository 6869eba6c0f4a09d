"""Dopamine's Runner with the Atari-100k protocol and exact resuming.

A checkpoint holds the complete state of a run as arrays: the agent with its
replay, the emulator, and a few counters. A run that was killed continues from
its last checkpoint bit for bit as if it had not been killed.
"""

from collections.abc import Callable
import contextlib
import pathlib
from typing import Any

from agents.dopamine import refused, reporter

from dopamine.discrete_domains import run_experiment
from tensorflow import errors as tf_errors

from agents import atari, configurables
from agents import evaluation as evaluation_lib
from agents.errors import CheckpointError, StoppedError
from agents.recorded_run import NewProgress, Progress, RecordedRun, Silent
from agents.run_evaluation import evaluate_due, evaluate_trained
from agents.run_settings import RunSettings
from ht_rl.atari100k.run_folder import RunFolder


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
    progress: NewProgress | None = None,
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
    reporter.check_collectors()
    self._settings = settings
    self._new_progress = progress or (lambda *_: Silent())
    self._say = say
    self._should_stop = should_stop
    self._run = RecordedRun(
      RunFolder(pathlib.Path(base_dir)),
      game,
      seed,
      settings,
      config,
      say=say,
    )
    try:
      super().__init__(
        str(base_dir),
        create_agent_fn,
        create_environment_fn=lambda: self._run.environment,
        num_iterations=1,
        training_steps=settings.training_steps,
        use_legacy_logger=False,
        fine_grained_print_to_console=False,
      )
    except tf_errors.OpError as error:  # From TensorBoard's writer.
      raise OSError(error.message) from error
    self._run.reporter = reporter.Reporter(self._collector_dispatcher)

  # Checkpoints, in place of Dopamine's.

  def _initialize_checkpointer_and_maybe_resume(
    self, checkpoint_file_prefix: str
  ) -> None:
    del checkpoint_file_prefix  # For Dopamine's pickled files.
    self._run.attach(self._agent.driver)

  def _checkpoint_experiment(self, iteration: int | None = None) -> None:
    del iteration  # Checkpoints are named by the step.
    self._run.checkpoint()

  @property
  def protocol(self) -> atari.Protocol:
    """The protocol of this run's training and evaluation."""
    return self._run.protocol

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
    for line in configurables.warnings(
      self._agent.driver.loop, self._settings.training_steps
    ):
      self._say(line)
    try:
      self._run_train_phase(None)
      return self._run.finish(self._run_eval_phase(None))
    except CheckpointError:
      raise  # Its message already names the last good checkpoint.
    except Exception as error:
      if isinstance(error, tf_errors.OpError):  # From TensorBoard's writer.
        error = OSError(error.message)
      self._run.note_checkpoint(error)
      raise error

  def _run_train_phase(self, statistics: Any) -> None:
    del statistics  # The run writes metrics.jsonl instead.
    progress = self._new_progress(
      'train', 'step', self._settings.training_steps, self._run.step
    )
    with contextlib.closing(progress):
      self._train(progress)

  def _train(self, progress: Progress) -> None:
    run, driver = self._run, self._agent.driver
    # The run may have stopped during an evaluation.
    evaluate_due([run], self._should_stop)
    if run.evaluation_is_due():
      raise StoppedError(f'stopped at step {run.step:,}')
    action = run.begin()
    while not run.is_trained:
      timestep = run.environment.advance(action)
      run.count(timestep)
      action = int(driver.step(timestep.outcome, timestep.observation))
      figures = run.record()
      if driver.report_is_due():
        self._agent.report()
      if figures is not None:
        shown = {'return': run.last_return, 'loss': figures.get('loss')}
        progress.update(run.step, **shown)
      run.leave_out(evaluate_due([run], self._should_stop))
      stops = self._should_stop() and not run.is_trained
      if run.checkpoint_is_due() or stops:
        self._checkpoint_experiment()
      if stops:
        raise StoppedError(f'stopped at step {run.step:,}')

  def _run_eval_phase(self, statistics: Any) -> evaluation_lib.Evaluation:
    del statistics
    [(_, evaluation)] = evaluate_trained(
      [self._run], self._new_progress, self._should_stop
    )
    return evaluation
