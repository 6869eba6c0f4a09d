"""Evaluates recorded runs, all at once."""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import time

from agents import evaluation
from agents.errors import StoppedError
from agents.recorded_run import NewProgress, RecordedRun


def evaluate_due(
  runs: Sequence[RecordedRun], should_stop: Callable[[], bool]
) -> float:
  """Evaluates runs during training, those for which it is due.

  Args:
    runs: the runs.
    should_stop: is asked after each step; if it returns True, the evaluations
      that are not over remain due.

  Returns:
    The time it took, in seconds.
  """
  due = [run for run in runs if run.evaluation_is_due()]
  if not due:
    return 0.0
  started = time.monotonic()

  def check(steps: int, episodes: int) -> None:
    del steps, episodes
    if should_stop():
      raise StoppedError

  with contextlib.suppress(StoppedError):
    jobs = (run.evaluation_job() for run in due)
    for index, result in evaluation.evaluate_all(jobs, progress=check):
      due[index].record_evaluation(result)
  return time.monotonic() - started


def evaluate_trained(
  runs: Sequence[RecordedRun],
  new_progress: NewProgress,
  should_stop: Callable[[], bool],
) -> Iterator[tuple[RecordedRun, evaluation.Evaluation]]:
  """Plays the final evaluations, or what is left of them after a kill.

  Args:
    runs: trained runs.
    new_progress: makes the `Progress` of the episodes of all runs.
    should_stop: is asked after each step.

  Yields:
    Each run and its evaluation, as soon as it is over.

  Raises:
    StoppedError: `should_stop` returned True.
  """

  def show(steps: int, episodes: int) -> None:
    if should_stop():
      raise StoppedError('stopped during the evaluation')
    progress.update(episodes, steps=steps)

  total = sum(run.protocol.eval_episodes for run in runs)
  kept = sum(run.num_kept_episodes for run in runs)
  progress = new_progress('evaluate', 'episode', total, kept)
  with contextlib.closing(progress):
    jobs = (run.evaluation_job() for run in runs)
    for index, result in evaluation.evaluate_all(jobs, progress=show):
      yield runs[index], result
