"""Several runs of one agent in Atari games, in one process.

The runs of a `Group` have games with equally many actions. An agent knows its
game by the number of actions alone, so that such runs differ in nothing that is
compiled, and step together as one `agents.core.population.Population`. Games
with other numbers of actions are other groups, which are trained one after
another. Nothing is padded or masked: each network is that of the run alone.

Each run has its own folder, with the files of a run alone and its own
checkpoints. It can go on alone, or in another population.
"""

from collections.abc import Callable, Iterator, Sequence
import contextlib
from typing import Any, Protocol, TypeVar

import jax
import numpy as np

from agents import atari, emulators
from agents.core import placement
from agents.core.driver import Programs
from agents.core.loop import Loop
from agents.core.population import Population
from agents.core.state import Outcome
from agents.errors import DivergedError, StoppedError
from agents.recorded_run import NewProgress, Progress, RecordedRun, Silent
from agents.run_evaluation import evaluate_due, evaluate_trained
from agents.run_settings import RunSettings
from ht_rl.atari100k.run_folder import RunFolder


class Place(Protocol):
  """Which run it is, and where."""

  @property
  def run_folder(self) -> RunFolder:
    """Its folder."""

  @property
  def config(self) -> str:
    """Name of the configuration."""

  @property
  def game(self) -> str:
    """Canonical name of the game."""

  @property
  def seed(self) -> int:
    """Seed of the run."""


P = TypeVar('P', bound=Place)


def group_by_size(places: Sequence[P]) -> list[list[P]]:
  """Divides runs into those whose games have equally many actions.

  Args:
    places: the runs, in any order.

  Returns:
    Groups in the order of their first runs; runs keep their order.
  """
  groups: dict[int, list[P]] = {}
  sizes: dict[str, int] = {}
  for place in places:
    if place.game not in sizes:
      environment = atari.AtariEnvironment(place.game, seed=0)
      sizes[place.game] = int(environment.action_space.n)
    groups.setdefault(sizes[place.game], []).append(place)
  return list(groups.values())


class Group:
  """Runs that train together, each in its folder.

  Attributes:
    runs: the runs, in the order of the places.
    errors: of the runs that diverged, by their index.
  """

  def __init__(
    self,
    places: Sequence[Place],
    loop: Loop,
    settings: RunSettings,
    restart_every: int | None = None,
    strategy: str = 'auto',
    new_progress: NewProgress | None = None,
    say: Callable[[str], None] = print,
    should_stop: Callable[[], bool] = lambda: False,
    programs: Programs | None = None,
  ):
    """Loads the games, and restores the last checkpoint of each run.

    Args:
      places: the runs; their games have equally many actions.
      loop: their agent.
      settings: length, evaluation and intervals of the runs.
      restart_every: `reset_every` of the agent's `hare_tortoise`.
      strategy: how they share the device; see `core.population.Population`.
      new_progress: see `agents.recorded_run`.
      say: called with each line for the user.
      should_stop: called after each step; if it returns True, the runs write
        checkpoints and `StoppedError` is raised.
      programs: the loop's, for as many runs; None makes them.

    Raises:
      ValueError: a setting is wrong, or the runs do not fit in memory.
      CheckpointError: a run has checkpoints, and none can be read.
      OSError: a file can't be written.
    """
    self._settings = settings
    self._new_progress = new_progress or (lambda *_: Silent())
    self._should_stop = should_stop
    self.errors: dict[int, DivergedError] = {}
    self._names = [f'{place.game}, seed {place.seed}' for place in places]
    seeds = [place.seed for place in places]
    self._population = Population(
      loop, seeds, restart_every, strategy, say, programs
    )
    self._emulators = emulators.Emulators(
      [(place.game, place.seed) for place in places],
      emulators.num_workers(len(places), jax.default_backend()),
    )
    with contextlib.ExitStack() as failing:
      failing.callback(self._emulators.close)
      self.runs = [
        RecordedRun(
          place.run_folder,
          place.game,
          place.seed,
          settings,
          place.config,
          say=_prefixed(say, name),
          environment=environment,
        )
        for place, name, environment in zip(
          places, self._names, self._emulators.environments, strict=True
        )
      ]
      for run, member in zip(self.runs, self._population.members, strict=True):
        run.attach(member)
      failing.pop_all()

  def execute(self) -> dict[int, dict[str, Any]]:
    """Trains and evaluates all runs, and writes their results; once.

    A run that diverges is left out from then on; `errors` has its error.

    Returns:
      The results of the runs that did not diverge, by their index.

    Raises:
      StoppedError: `should_stop` returned True; each run has a checkpoint.
      CheckpointError: a checkpoint could not be written.
      OSError: another file could not be written, or a process that plays ended.
    """
    with contextlib.closing(self._emulators):
      self._train()
    results = {}
    more = {
      'population': {
        'size': len(self.runs),
        'strategy': self._population.strategy,
        'devices': len(placement.devices(len(self.runs))),
      }
    }
    going_on = [self.runs[index] for index in self._going_on()]
    for run, evaluation in evaluate_trained(
      going_on, self._new_progress, self._should_stop
    ):
      results[self.runs.index(run)] = run.finish(evaluation, **more)
    return dict(sorted(results.items()))

  def _going_on(self) -> list[int]:
    """Returns the indices of the runs that did not diverge."""
    return [i for i in range(len(self.runs)) if i not in self.errors]

  def _train(self) -> None:
    start = min(run.step for run in self.runs)
    progress = self._new_progress(
      'train', 'step', self._settings.training_steps, start
    )
    with contextlib.closing(progress):
      self._evaluate()  # They may have stopped during an evaluation.
      if any(self.runs[i].evaluation_is_due() for i in self._going_on()):
        raise StoppedError(f'stopped at step {start:,}')
      actions = [run.begin() for run in self.runs]
      size, learner = len(self.runs), self._population.loop.learner
      outcomes = np.zeros((size, 3), np.float32)
      frames = np.zeros(
        (size, *learner.observation_shape), learner.observation_dtype
      )
      while going_on := self._going_on():
        step = min(self.runs[i].step for i in going_on)
        if step >= self._settings.training_steps:
          return
        # Those that were killed at an earlier step catch up first, each by
        # itself: they have less to do in a step than those that learn already.
        behind = [i for i in going_on if self.runs[i].step == step]
        timesteps = self._emulators.advance(
          behind, [actions[i] for i in behind]
        )
        for i, timestep in zip(behind, timesteps, strict=True):
          self.runs[i].count(timestep)
          outcomes[i] = timestep.outcome
          frames[i] = timestep.observation[..., 0]
        if len(behind) == len(going_on):
          chosen = self._population.step(behind, Outcome(*outcomes.T), frames)
          for i, action in zip(behind, chosen.tolist(), strict=True):
            actions[i] = action
        else:
          for i in behind:
            member = self._population.members[i]
            actions[i] = int(member.step(Outcome(*outcomes[i]), frames[i]))
        self._record(behind, progress)

  def _record(self, indices: Sequence[int], progress: Progress) -> None:
    """Writes what runs have to write after a step; may stop them all."""
    shown = {}
    for i in indices:
      with self._diverging(i):
        figures = self.runs[i].record()
        self._report(self.runs[i])
        if figures is not None:
          shown = {'loss': figures.get('loss')}
    if shown:
      progress.update(self.runs[indices[0]].step, **shown)
    self._evaluate(indices)
    going_on = self._going_on()
    is_last = all(self.runs[i].is_trained for i in going_on)
    stops = self._should_stop() and not is_last
    for i in going_on:
      if stops or (i in indices and self.runs[i].checkpoint_is_due()):
        with self._diverging(i):
          self.runs[i].checkpoint()
    if stops:
      at = min((self.runs[i].step for i in self._going_on()), default=0)
      raise StoppedError(f'stopped at step {at:,}')

  def _report(self, run: RecordedRun) -> None:
    """Reports the learner's figures, if it is time."""
    if run.reporter is None or not run.driver.report_is_due():
      return
    for name, value in run.driver.metrics().items():
      run.reporter.write(f'Train/{name}', value, run.driver.steps)

  @contextlib.contextmanager
  def _diverging(self, index: int) -> Iterator[None]:
    """Leaves out the run if it diverges in the block."""
    try:
      yield
    except DivergedError as error:
      named = DivergedError(f'{self._names[index]}: {error}')
      self.runs[index].note_checkpoint(named)
      self.errors[index] = named

  def _evaluate(self, indices: Sequence[int] | None = None) -> None:
    """Evaluates the runs for which it is due; stops their clocks meanwhile."""
    runs = [
      self.runs[i] for i in self._going_on() if indices is None or i in indices
    ]
    seconds = evaluate_due(runs, self._should_stop)
    if seconds:
      for run in self.runs:
        run.leave_out(seconds)


def _prefixed(say: Callable[[str], None], name: str) -> Callable[..., None]:
  return lambda line: say(f'{name}: {line}')
