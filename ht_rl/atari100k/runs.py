"""Scores of single runs, and their table of methods by games."""

from collections.abc import Callable, Iterable, Mapping, Sequence
import pathlib
from typing import Any, NamedTuple

import numpy as np

from ht_rl.atari100k.games import GAMES
from ht_rl.atari100k.run_folder import RunCurve, RunFolder, RunFolderError


class Run(NamedTuple):
  """The score of one run, or a mean over runs.

  Attributes:
    method: name of the method.
    game: one of the 26 games.
    seed: tells the runs of a method and game apart; None for a mean over runs.
    score: in game points.
    source: the file and the place in it, for messages.
    steps: agent steps of training; None where unknown.
    protocol: how the run was trained and evaluated; None where unknown.
    folder: the run's folder; None where there is none.
    settings: the settings of the run, one a line; None where unknown.
  """

  method: str
  game: str
  seed: int | None
  score: float
  source: str
  steps: int | None = None
  protocol: Mapping[str, Any] | None = None
  folder: pathlib.Path | None = None
  settings: str | None = None


class ScoreFileError(ValueError):
  """Files of scores are wrong.

  Attributes:
    problems: all that is wrong, one line each.
  """

  def __init__(self, problems: Sequence[str]):
    super().__init__('\n'.join(problems))
    self.problems = tuple(problems)


def by_method(runs: Iterable[Run]) -> dict[str, dict[str, np.ndarray]]:
  """Gathers the scores of each method and game.

  >>> runs = [
  ...   Run('drq', 'Pong', 1, -7.0, 'scores.csv, line 2'),
  ...   Run('drq', 'Pong', 0, -9.0, 'scores.csv, line 3'),
  ... ]
  >>> by_method(runs)
  {'drq': {'Pong': array([-9., -7.])}}

  Args:
    runs: in any order.

  Returns:
    For each method, in the order in which they come, and each of its games, in
    the order of `GAMES`, its scores in the order of the seeds, in game points,
    float64 [runs].
  """
  runs = list(runs)
  scores: dict[str, dict[str, list[float]]] = {run.method: {} for run in runs}
  place = {game: index for index, game in enumerate(GAMES)}
  for run in sorted(runs, key=lambda run: (place[run.game], run.seed or 0)):
    scores[run.method].setdefault(run.game, []).append(run.score)
  return {
    method: {game: np.array(column) for game, column in games.items()}
    for method, games in scores.items()
  }


def evaluations(run: Run) -> RunCurve:
  """Mean returns of the evaluations during the training of a run.

  Args:
    run: its folder is read now.

  Returns:
    No points where the run has none.

  Raises:
    ScoreFileError: the file is damaged.
  """
  return _curve(run, RunFolder.evaluations)


def training_episodes(run: Run) -> RunCurve:
  """Returns of the training episodes of a run, at the steps of their ends.

  Args:
    run: its folder is read now.

  Returns:
    No points where the run has none.

  Raises:
    ScoreFileError: the file is damaged.
  """
  return _curve(run, RunFolder.training_episodes)


def _curve(run: Run, of: Callable[[RunFolder], RunCurve]) -> RunCurve:
  if run.folder is None:
    return RunCurve(np.array([], np.int64), np.array([], np.float64))
  folder = RunFolder(run.folder)
  try:
    return of(folder)
  except RunFolderError as error:
    raise ScoreFileError([str(error)]) from error
  except OSError as error:
    problem = f'{folder.metrics_file}: {error.strerror}'
    raise ScoreFileError([problem]) from error
