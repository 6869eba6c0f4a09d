"""The loop of a run: when to learn and when to reset.

`Loop` states the rules as functions of the number of steps done, so they apply
to one run, to a population under `vmap`, and inside a scan.
`agents.core.driver` runs the loop of one agent in a Python environment.

Environment step t receives the outcome of action t, counted from 1. It learns
if t is above `min_replay_history`. A reset that is due after the gradient steps
of one environment step happens right before those of the next, so that no
evaluation or checkpoint sees freshly initialised layers.
"""

from collections.abc import Iterator
import dataclasses
import itertools
from typing import Any, NamedTuple

import chex

from agents.core.learner import Learner
from agents.core.settings import at_least, check_settings, setting
from agents.core.state import AgentState, Outcome


class Due(NamedTuple):
  """What an environment step does besides appending and acting.

  Attributes:
    num_updates: number of gradient steps.
    reset: whether a reset precedes them.
  """

  num_updates: int
  reset: bool


@dataclasses.dataclass(frozen=True)
class Loop:
  """All settings of an agent: a learner and how often it learns.

  Attributes:
    learner: the algorithm.
    replay_ratio: gradient steps for each environment step.
    summary_writing_frequency: environment steps between metric reports.
  """

  learner: Learner
  replay_ratio: int = setting(2, at_least(1))
  summary_writing_frequency: int = setting(500, at_least(1))

  def __post_init__(self) -> None:
    check_settings(self, self.learner.name)

  def due(self, step: int, gradient_steps: int) -> Due:
    """Returns what is due in an environment step.

    Args:
      step: number of the environment step, counted from 1.
      gradient_steps: number of gradient steps done before this step.
    """
    if step <= self.learner.min_replay_history:
      return Due(0, reset=False)
    return Due(
      self.replay_ratio,
      reset=gradient_steps > 0
      and self.learner.reset_is_due(
        environment_steps=step - 1,
        gradient_steps=gradient_steps,
        replay_ratio=self.replay_ratio,
      ),
    )

  def plan(self, steps: int) -> Iterator[tuple[Due, int]]:
    """Yields what is due in steps 1 to `steps`, as runs of equal steps.

    Each item is what is due and the number of consecutive steps with it, so
    that a program can scan over these steps. A reset is an item of one step.

    >>> import optax
    >>> import ht_rl
    >>> from agents.core.drq_learner import DrQLearner
    >>> from agents.core.networks import DuelingQNetwork
    >>> learner = DrQLearner(
    ...   DuelingQNetwork(4),
    ...   num_actions=4,
    ...   optimizer=ht_rl.hare_tortoise(optax.sgd(0.1), momentum=0.9),
    ...   min_replay_history=100,
    ...   reset_every=50,
    ... )
    >>> for due, count in Loop(learner, replay_ratio=1).plan(170):
    ...   print(count, due)
    100 Due(num_updates=0, reset=False)
    50 Due(num_updates=1, reset=False)
    1 Due(num_updates=1, reset=True)
    19 Due(num_updates=1, reset=False)
    """

    def each() -> Iterator[Due]:
      gradient_steps = 0
      for step in range(1, steps + 1):
        yield (due := self.due(step, gradient_steps))
        gradient_steps += due.num_updates

    for due, same in itertools.groupby(each()):
      yield due, len(list(same))

  def cycles(self, steps: int) -> list[int]:
    """Returns the gradient steps before, between and after the resets of a run.

    The count of Hare & Tortoise starts anew in each of these cycles.

    Args:
      steps: environment steps of the run.

    Returns:
      The number of gradient steps of each cycle; a run with n resets has n + 1.
    """
    lengths = [0]
    for due, count in self.plan(steps):
      if due.reset:
        lengths.append(0)
      lengths[-1] += due.num_updates * count
    return lengths

  def step(
    self, state: AgentState, outcome: Outcome, observation: chex.Array, due: Due
  ) -> tuple[AgentState, chex.Array, Any]:
    """Does one environment step of a run; pure, for jit, scan and vmap.

    Args:
      state: state of the run; donate it.
      outcome: result of the last action.
      observation: [*observation_shape], the frame to act on: the first of a new
        episode if the outcome ended one.
      due: from `due`, static.

    Returns:
      The new state, the action (int32), and the metrics of the last gradient
      step, or None without one.
    """
    if due.reset:
      state = state._replace(train=self.learner.reset(state.train))
    return self.learner.step(
      state, outcome, observation, num_updates=due.num_updates
    )
