"""Sample efficiency: the interquartile mean over agent steps."""

from collections.abc import Callable, Sequence
import dataclasses

import numpy as np

from ht_rl.atari100k import runs as runs_lib
from ht_rl.atari100k.aggregates import (
  Estimate,
  aggregate,
  bootstrap_counts,
  interval,
)
from ht_rl.atari100k.games import human_normalized_score
from ht_rl.atari100k.run_folder import RunCurve
from ht_rl.atari100k.runs import Run
from ht_rl.atari100k.summary import BAND_REPLICATES, Curve, Summary

# A curve of training episodes has this many points; each is the mean over this
# share of the run.
_POINTS = 20
_WINDOW = 0.1


def with_curves(summary: Summary, runs: Sequence[Run]) -> Summary:
  """Adds to each method its interquartile mean during training.

  If all runs were evaluated during training, at two steps or more, the curves
  are those of the evaluations, at the steps that all runs of a method share.
  Otherwise they are those of the training episodes, which explore: at each of
  20 steps the mean of the episodes that ended in the last tenth of the run
  before that step.

  Args:
    summary: a comparison of the runs.
    runs: of any methods; those without a folder have no curve.

  Returns:
    The comparison; a method has a curve if each of its runs has one.

  Raises:
    ScoreFileError: a file of the runs is damaged.
  """
  by_method: dict[str, list[Run]] = {}
  for run in runs:
    if run.game in summary.games:
      by_method.setdefault(run.method, []).append(run)
  notes = []
  for name, of in list(by_method.items()):
    folders = [run.folder for run in of]
    if None in folders:
      del by_method[name]
      if any(folders):  # Nobody expects a curve of a file of scores.
        notes.append(f'{name} has no curve: some of its runs have no folder.')
  points = {
    name: _at_common_steps([_evaluations(run) for run in of])
    for name, of in by_method.items()
  }
  source = 'evaluation episodes'
  if not all(len(steps) > 1 for steps, _ in points.values()):
    points = {
      name: _of_training([runs_lib.training_episodes(r) for r in of])
      for name, of in by_method.items()
    }
    source = 'training episodes'
  curves = {}
  for name, (steps, returns) in points.items():
    scores = {
      game: np.array(
        [
          human_normalized_score(game, of_run)
          for run, of_run in zip(by_method[name], returns, strict=True)
          if run.game == game
        ]
      )
      for game in summary.games
    }
    if len(steps) > 1 and all(map(len, scores.values())):
      rng = np.random.default_rng([summary.seed, *name.encode()])
      curves[name] = Curve(steps, _iqm(scores, rng, summary.confidence), source)
    else:
      notes.append(
        f'{name} has no curve: not all of its runs have {source} at common '
        'steps.'
      )
  return dataclasses.replace(
    summary,
    notes=(*summary.notes, *notes),
    methods=tuple(
      dataclasses.replace(method, curve=curves.get(method.name))
      for method in summary.methods
    ),
  )


def _evaluations(run: Run) -> RunCurve:
  """Returns the evaluations of a run; the last one is its score."""
  assert run.steps is not None
  steps, returns = runs_lib.evaluations(run)
  before = steps < run.steps
  return RunCurve(
    np.append(steps[before], run.steps), np.append(returns[before], run.score)
  )


def _at_common_steps(
  curves: Sequence[RunCurve],
) -> tuple[np.ndarray, list[np.ndarray]]:
  """Returns the common steps of all curves, and each curve's values there."""
  steps = curves[0].steps
  for curve in curves[1:]:
    steps = np.intersect1d(steps, curve.steps)
  return steps, [c.returns[np.searchsorted(c.steps, steps)] for c in curves]


def _of_training(
  curves: Sequence[RunCurve],
) -> tuple[np.ndarray, list[np.ndarray]]:
  """Returns moving means of episodes, at steps where all curves have one."""
  last = max((c.steps[-1] for c in curves if len(c.steps)), default=0)
  steps = np.linspace(0, last, _POINTS + 1)[1:].astype(np.int64)
  means = np.array([_moving_mean(c, steps, _WINDOW * last) for c in curves])
  known = np.isfinite(means).all(axis=0)
  return steps[known], list(means[:, known])


def _moving_mean(
  curve: RunCurve, steps: np.ndarray, window: float
) -> np.ndarray:
  """Returns the mean of the episodes that ended in a window before each step.

  If none did, the last episode before counts; before the first it is NaN.
  """
  sums = np.cumsum(np.append(0.0, curve.returns))
  stop = np.searchsorted(curve.steps, steps, side='right')
  start = np.searchsorted(curve.steps, steps - window, side='right')
  start = np.minimum(start, stop - 1)
  known = stop > 0
  mean = np.full(len(steps), np.nan)
  start, stop = start[known], stop[known]
  mean[known] = (sums[stop] - sums[start]) / (stop - start)
  return mean


def _iqm(
  scores: dict[str, np.ndarray], rng: np.random.Generator, confidence: float
) -> Estimate:
  """Estimates the IQM at each step from each game's scores [runs, steps]."""
  first = {game: of[:, 0] for game, of in scores.items()}
  counts = bootstrap_counts(first, rng, BAND_REPLICATES)
  num_steps = len(next(iter(scores.values()))[0])

  def at_each_step(statistic: Callable[..., np.ndarray]) -> np.ndarray:
    return np.array(
      [
        statistic({game: of[:, i] for game, of in scores.items()})
        for i in range(num_steps)
      ]
    )

  value = at_each_step(lambda x: aggregate(x)['iqm'])
  if len(counts[0]) == len(scores):  # One run a game: nothing to resample.
    unknown = np.full_like(value, np.nan)
    return Estimate(value, unknown, unknown)
  drawn = at_each_step(lambda x: aggregate(x, counts)['iqm'])
  return Estimate(value, *interval(drawn.T, confidence))
