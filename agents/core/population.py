"""The loop of several runs of one agent, in Python environments."""

from collections.abc import Callable, Sequence
import time
from typing import Any

import jax
import numpy as np

from agents.core import placement, strategies
from agents.core.driver import Driver, Programs
from agents.core.loop import Due, Loop
from agents.core.state import AgentState, Outcome
from agents.errors import is_out_of_memory
from ht_rl.arguments import check_choice, check_int

# On a CPU 'auto' has no choice, so no timing decides a result. A program of
# several runs does there what those of single runs do, on the same cores, and
# takes longer to compile; stacked runs take several times as long.
_ON_CPU = ('turns',)
# A program with more runs than this one after another compiles for minutes.
_MOST_UNROLLED = 8
_SECONDS = 1.5


class Population:
  """Runs of one agent with different seeds, which step together.

  They differ in nothing but their seeds and environments. All devices of this
  process share them; see `agents.core.placement`.

  Attributes:
    strategy: how the steps share a device; see `agents.core.strategies`.
    members: the runs. Each is a `Driver` and can also do all that a run alone
      can, such as a step by itself.
  """

  def __init__(
    self,
    loop: Loop,
    seeds: Sequence[int],
    restart_every: int | None = None,
    strategy: str = 'auto',
    say: Callable[[str], None] = lambda line: None,
    programs: Programs | None = None,
  ):
    """Draws the initial states; 'auto' also compiles and times.

    Args:
      loop: the agent.
      seeds: seed of each run; see `Driver`.
      restart_every: as for `Driver`.
      strategy: one of `strategies.STRATEGIES`, or 'auto' for the one that is
        fastest here ('turns' on a CPU).
      say: called with the line that says what 'auto' found.
      programs: the loop's, for as many runs; None makes them.

    Raises:
      ValueError: an argument is wrong, the settings do not fit together, or the
        runs do not fit in memory.
    """
    check_int('the number of seeds', len(seeds), 1)
    check_choice('strategy', strategy, ('auto', *strategies.STRATEGIES))
    self.loop = loop
    if programs is None:
      programs = Programs(loop, len(seeds))
    if strategy == 'auto':
      strategy, self._runs = _fastest(programs, len(seeds), say)
    else:
      self._runs = placement.Divided(strategy, programs, len(seeds))
    self.strategy = strategy
    self.members = [
      Member(self._runs, index, loop, seed, restart_every, programs)
      for index, seed in enumerate(seeds)
    ]

  def step(
    self,
    indices: Sequence[int],
    outcomes: Outcome,
    observations: np.ndarray,
  ) -> np.ndarray:
    """Learns from the outcomes of the last actions; returns the next actions.

    Args:
      indices: of the runs that step; they have done equally many steps. A run
        that is left out once is out for good: its state is then undefined.
      outcomes: results of the last actions of all runs, arrays [N].
      observations: the frames to act on, [N, *observation_shape].

    Returns:
      The actions of `indices`, int32.
    """
    learner = self.loop.learner
    members = [self.members[index] for index in indices]
    (due,) = {member.prepare() for member in members}
    typed = Outcome(
      np.asarray(outcomes.reward, np.float32),
      np.asarray(outcomes.terminal, bool),
      np.asarray(outcomes.truncation, bool),
    )
    shape = (len(self.members), *learner.observation_shape)
    frames = np.reshape(observations, shape)
    frames = frames.astype(learner.observation_dtype, copy=False)
    actions, metrics = self._runs.step(indices, typed, frames, due)
    for member, figures in zip(members, metrics, strict=True):
      member.complete(due, figures)
    return actions


class Member(Driver):
  """One run of a population: a `Driver` whose state the population keeps."""

  def __init__(self, runs: placement.Divided, index: int, *arguments: Any):
    """Draws the initial state.

    Args:
      runs: where the state is.
      index: of the run in them.
      *arguments: for `Driver`.
    """
    self._runs = runs
    self._index = index
    self.device = runs.device(index)
    super().__init__(*arguments)

  @property
  def state(self) -> AgentState:
    """The state of the run, on its device."""
    return self._runs.read(self._index)

  @state.setter
  def state(self, state: AgentState) -> None:
    self._runs.write(self._index, state)


def candidates(num_runs: int, platform: str) -> list[str]:
  """Returns the strategies that 'auto' times.

  Args:
    num_runs: number of runs on a device.
    platform: of the device, such as 'cpu'.
  """
  found = _ON_CPU if platform == 'cpu' else strategies.STRATEGIES
  return [
    name
    for name in found
    if name != 'unrolled' or 1 < num_runs <= _MOST_UNROLLED
  ]


def _fastest(
  programs: Programs, num_runs: int, say: Callable[[str], None]
) -> tuple[str, placement.Divided]:
  """Times the candidates, one after another; returns the fastest, empty.

  Those that need more memory than there is are left out.
  """
  share = placement.largest_share(num_runs)
  names = candidates(share, jax.default_backend())
  made = {name: placement.Divided(name, programs, num_runs) for name in names}
  if len(names) == 1:
    return names[0], made[names[0]]
  seconds, shown = {}, []
  for name, runs in made.items():
    try:
      for index in range(num_runs):
        runs.write(index, programs.init(jax.random.PRNGKey(index)))
      seconds[name] = _seconds_of_a_step(programs.loop, num_runs, runs)
      shown.append(f'{name} {1e3 * seconds[name]:.1f} ms')
    except (MemoryError, RuntimeError) as error:
      # Without any that fits, the error is that of the last one.
      is_last = name == names[-1] and not seconds
      if is_last or not is_out_of_memory(error):
        raise
      shown.append(f'{name} too much memory')
    runs.clear()  # Its memory is for the next one.
  best = min(seconds, key=lambda name: seconds[name])
  timed = ', '.join(shown)
  say(f'a step of {num_runs} runs takes: {timed}; they go on by {best!r}')
  return best, made[best]


def _seconds_of_a_step(
  loop: Loop, num_runs: int, runs: placement.Divided
) -> float:
  """Returns the shortest time of a learning step of all runs."""
  learner = loop.learner
  frames = np.zeros(
    (num_runs, *learner.observation_shape), learner.observation_dtype
  )
  no = np.zeros(num_runs, bool)
  outcomes = Outcome(np.zeros(num_runs, np.float32), no, no)
  due = Due(loop.replay_ratio, reset=False)

  def step() -> float:
    begun = time.perf_counter()
    # The actions are computed last, and waited for.
    runs.step(range(num_runs), outcomes, frames, due)
    return time.perf_counter() - begun

  step()  # Compiles.
  times = [step()]
  while sum(times) < _SECONDS:
    times.append(step())
  return min(times)
