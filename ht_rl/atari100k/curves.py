"""How methods' scores grow with their agent steps: sample efficiency."""

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
from ht_rl.atari100k.summary import Curve, Summary

# Points of a curve that is made from training episodes, and the share of the
# run that each is the mean of.
_POINTS = 20
_WINDOW = 0.1

# Of whole runs: enough for a band that is drawn.
_REPLICATES = 2000


def with_curves(summary: Summary, runs: Sequence[Run]) -> Summary:
  """Adds to each method how its interquartile mean grew in training.

  Where all runs were evaluated while they trained, at two steps at least, the
  curves are those of the evaluations, at the steps that all runs of a method
  have. Otherwise they are those of the training episodes, which explore: at
  each of 20 steps the mean of the episodes that ended in the tenth of the run
  before it.

  Args:
    summary: a comparison of the runs.
    runs: of any methods; those without a folder have no curve.

  Returns:
    The comparison with the curves of the methods of which every run has one.

  Raises:
    ScoreFileError: a file of the runs is damaged.
  """
  by_method: dict[str, list[Run]] = {}
  for run in runs:
    if run.game in summary.games and run.folder is not None:
      by_method.setdefault(run.method, []).append(run)
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
  curves, notes = {}, []
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
  """A run's evaluations, the last of which is its score."""
  assert run.steps is not None
  steps, returns = runs_lib.evaluations(run)
  before = steps < run.steps
  return RunCurve(
    np.append(steps[before], run.steps), np.append(returns[before], run.score)
  )


def _at_common_steps(
  curves: Sequence[RunCurve],
) -> tuple[np.ndarray, list[np.ndarray]]:
  """The steps that all curves have, and each curve's returns there."""
  steps = curves[0].steps
  for curve in curves[1:]:
    steps = np.intersect1d(steps, curve.steps)
  return steps, [c.returns[np.searchsorted(c.steps, steps)] for c in curves]


def _of_training(
  curves: Sequence[RunCurve],
) -> tuple[np.ndarray, list[np.ndarray]]:
  """Moving means of episodes, from where on all curves have one."""
  last = max((c.steps[-1] for c in curves if len(c.steps)), default=0)
  steps = np.linspace(0, last, _POINTS + 1)[1:].astype(np.int64)
  means = np.array([_moving_mean(c, steps, _WINDOW * last) for c in curves])
  known = np.isfinite(means).all(axis=0)
  return steps[known], list(means[:, known])


def _moving_mean(
  curve: RunCurve, steps: np.ndarray, window: float
) -> np.ndarray:
  """Means of the episodes that ended within a window before each step.

  Where none did it is the last one before; NaN before the first one.
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
  """The estimate at each step, of scores [runs, steps] of each game."""
  first = {game: of[:, 0] for game, of in scores.items()}
  counts = bootstrap_counts(first, rng, _REPLICATES)
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
