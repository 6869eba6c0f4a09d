"""The figures of a sweep: progress, speed, time left, scores so far."""

from collections import Counter
from collections.abc import Callable, Mapping
import time
from typing import NamedTuple

from experiments.rate import Rate
from experiments.sweep import estimate
from experiments.sweep.history import Attempt
from experiments.sweep.monitor import Monitor, Status
from experiments.sweep.plan import Run
from ht_rl import atari100k
from ht_rl.atari100k.run_folder import RunFolderError

_RATE_SECONDS = 300.0  # A run may log a step a minute.


class Running(NamedTuple):
  """A running run.

  Attributes:
    run: the run.
    attempt: its attempt; None if a single command runs it.
    step: last agent step that was logged.
    steps: agent steps of its training.
    rate: agent steps per second; None if unknown, or if it evaluates.
  """

  run: Run
  attempt: Attempt | None
  step: int
  steps: int
  rate: float | None

  def __str__(self) -> str:
    """Returns the progress as text."""
    words = [f'{self.run}: step {self.step:,} of {self.steps:,}']
    if self.step >= self.steps:
      words = [f'{self.run}: evaluation']
    elif self.rate is not None:
      words.append(f'{self.rate:.1f} steps/s')
    if self.attempt is not None:
      words.append(f'{self.attempt.device} of {self.attempt.host}')
    return ', '.join(words)


class Figures(NamedTuple):
  """The figures of a sweep.

  Attributes:
    statuses: number of runs of each status.
    configs: the same for each configuration.
    scores: a line about the scores so far of each configuration.
    running: running runs.
    rate: agent steps per second of all runs together.
    left: seconds until all runs are done; None if unknown.
  """

  statuses: Mapping[Status, int]
  configs: Mapping[str, Mapping[Status, int]]
  scores: Mapping[str, str]
  running: list[Running]
  rate: float
  left: float | None


class Board:
  """Computes the figures of a sweep, repeatedly."""

  def __init__(self, monitor: Monitor):
    self._monitor = monitor
    self._scores: dict[Run, float | None] = {}
    self._steps: dict[Run, int] = {}
    self._rates: dict[Run, Rate] = {}
    self._costs: dict[str, estimate.Cost] = {}
    self._finished = 0

  def figures(self, status: Callable[[Run], Status]) -> Figures:
    """Returns the figures, from the monitor's last look.

    Args:
      status: returns the status of a run.
    """
    monitor = self._monitor
    statuses = {run: status(run) for run in monitor.runs}
    steps = estimate.steps_done(monitor)
    running = [
      self._running(run, steps.get(run, 0))
      for run, of in statuses.items()
      if of is Status.RUNNING
    ]
    finished = sum(of is Status.DONE for of in statuses.values())
    if finished != self._finished:
      self._finished = finished
      self._costs = estimate.costs(monitor)
    configs = {
      config: Counter(
        of for run, of in statuses.items() if run.config == config
      )
      for config in dict.fromkeys(run.config for run in monitor.runs)
    }
    return Figures(
      Counter(statuses.values()),
      configs,
      {config: self._score(config, statuses) for config in configs},
      running,
      sum(one.rate or 0.0 for one in running),
      estimate.seconds_left(
        monitor,
        self._costs,
        steps,
        len(running),
      ),
    )

  def _running(self, run: Run, step: int) -> Running:
    before = self._steps.get(run, step)
    if run not in self._rates or step < before:  # Continued from a checkpoint.
      self._rates[run] = Rate(_RATE_SECONDS)
    if run not in self._steps or step != before:  # Runs log only some steps.
      self._rates[run].add(time.monotonic(), step)
    self._steps[run] = step
    attempts = self._monitor.look(run).history.attempts
    attempt = attempts[-1] if attempts and attempts[-1].end is None else None
    steps = self._monitor.sweep.configurations[run.config].training_steps
    rate = self._rates[run].per_second if step < steps else None
    return Running(run, attempt, step, steps, rate)

  def _score(self, config: str, statuses: Mapping[Run, Status]) -> str:
    games: dict[str, list[float]] = {}
    for run, status in statuses.items():
      if run.config == config and status is Status.DONE:
        score = self._normalized(run)
        if score is not None:
          games.setdefault(run.game, []).append(score)
    if not games:
      return 'no score yet'
    seeds = [len(of) for of in games.values()]
    least, most = min(seeds), max(seeds)
    number = str(most) if least == most else f'{least} to {most}'
    iqm = float(atari100k.aggregate(games)['iqm'])
    return (
      f'{len(games)} of {len(atari100k.GAMES)} games, {number} '
      f'{"seed" if most == 1 else "seeds"}, IQM {iqm:.3f}'
    )

  def _normalized(self, run: Run) -> float | None:
    if run not in self._scores:
      try:
        result = self._monitor.sweep.folder(run).read_result() or {}
      except (RunFolderError, OSError):
        result = {}
      self._scores[run] = result.get('human_normalized_score')
    return self._scores[run]
