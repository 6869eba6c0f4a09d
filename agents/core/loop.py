"""The loop of a run: when to learn and when to reset.

`Loop` states the rules as functions of the number of steps done, so they apply
to one run, to a population under `vmap`, and inside a scan. `Driver` runs the
loop of one agent in a Python environment.

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
import jax
import jax.numpy as jnp
import numpy as np
import optax

from agents.core import restarts
from agents.core.learner import Learner
from agents.core.memory import check_memory
from agents.core.policy import Policy, make_policy
from agents.core.settings import at_least, check_settings, setting
from agents.core.state import AgentState, Outcome
from agents.errors import CheckpointError, DivergedError
import ht_rl


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


class Driver:
  """One run: the compiled functions of a loop and the state they change.

  Attributes:
    loop: the agent.
    state: the state of the run, on the device.
    steps: number of actions chosen.
    gradient_steps: number of gradient steps done.
    anchor: the hare at its last restart or reset; None if restarts are not
      measured.
  """

  def __init__(self, loop: Loop, seed: int, restart_every: int | None = None):
    """Draws the initial state, and compiles nothing large.

    Args:
      loop: the agent.
      seed: seed of all the agent's random draws, an integer in [0, 2**32).
      restart_every: `reset_every` of the optimizer's `hare_tortoise`, to
        measure its restarts; None measures none. It changes no result.

    Raises:
      ValueError: the settings do not fit together.
    """
    self.loop = loop
    self.steps = 0
    self.gradient_steps = 0
    self._cycle_steps = 0
    learner = loop.learner
    check_memory(learner)
    self.state = jax.jit(learner.init)(jax.random.PRNGKey(seed))
    groups = self.state.train.params['params'].keys()
    if groups != learner.keep.keys():  # A reset would drop the others.
      raise ValueError(
        f'{learner.name}.network must have parameters in the groups '
        f'{", ".join(learner.keep)}, not {", ".join(groups)}'
      )
    self._restart_every = restart_every
    self._restart_gap: float | None = None
    self.anchor: Any = None
    self._keep_anchor()
    self._begin = jax.jit(learner.begin, donate_argnums=0)
    # A reset is a separate program, to avoid compiling the step twice. It runs
    # before the append here. The order does not matter: neither reads what the
    # other writes.
    self._reset = jax.jit(learner.reset, donate_argnums=0)
    self._step: Any = jax.jit(
      loop.step, donate_argnums=0, static_argnames='due'
    )
    self._gap = jax.jit(restarts.restart_gap)
    self._evaluate = jax.jit(learner.evaluate, donate_argnums=1)
    # Trace now, so that settings that do not fit fail before any work is done.
    self._step.eval_shape(
      self.state,
      _outcome(Outcome(0.0)),
      self._frame(np.zeros(learner.observation_shape)),
      due=Due(loop.replay_ratio, reset=False),
    )
    self._metrics: Any = None

  @property
  def action(self) -> np.ndarray:
    """The last action chosen."""
    return np.asarray(self.state.actor.action)

  def begin(self, observation: np.ndarray) -> np.ndarray:
    """Returns the first action of the run, given its first frame."""
    self.state, action = self._begin(self.state, self._frame(observation))
    self.steps += 1
    return np.asarray(action)

  def step(self, outcome: Outcome, observation: np.ndarray) -> np.ndarray:
    """Learns from the outcome of the last action; returns the next action.

    Args:
      outcome: result of the last action.
      observation: the frame to act on: the first of a new episode if the
        outcome ended one.
    """
    due = self.loop.due(self.steps, self.gradient_steps)
    if due.reset:
      train = self._reset(self.state.train)
      self.state = self.state._replace(train=train)
      self._cycle_steps = 0
      self._keep_anchor()
    num_restarts = restarts.restarts_within(
      self._restart_every, self._cycle_steps, due.num_updates
    )
    if num_restarts:
      train = self.state.train
      self._restart_gap = float(
        self._gap(train.params, self.tortoise, self.anchor)
      )
    self.state, action, self._metrics = self._step(
      self.state,
      _outcome(outcome),
      self._frame(observation),
      due=due._replace(reset=False),
    )
    if num_restarts:
      self._keep_anchor()
    self.steps += 1
    self.gradient_steps += due.num_updates
    self._cycle_steps += due.num_updates
    return np.asarray(action)

  def take_restart_gap(self) -> float | None:
    """Returns the `restart_gap` of the last step if it had a restart, once."""
    gap, self._restart_gap = self._restart_gap, None
    return gap

  @property
  def tortoise(self) -> Any:
    """The parameters of the tortoise."""
    return ht_rl.tortoise_params(self.state.train.opt_state)

  def policy(self, num_envs: int, seed: int) -> Policy:
    """Returns the tortoise of now as a policy; see `make_policy`."""
    return make_policy(
      self.loop.learner,
      self.tortoise,
      num_envs,
      seed,
      self._evaluate,
      after=self.steps,
    )

  def metrics(self) -> dict[str, float]:
    """Returns the metrics of the last gradient step; empty before the first.

    Raises:
      DivergedError: a loss was NaN or infinite.
    """
    if self._metrics is None:
      return {}
    named = jax.device_get(self._metrics)._asdict()
    if bad := int(named.pop('first_bad_step')):
      raise _diverged(bad)
    return {name: figure.item() for name, figure in named.items()}

  def get_state(self) -> dict[str, Any]:
    """Returns the complete state of the run, for a checkpoint: a pytree.

    Raises:
      DivergedError: a loss was NaN or infinite, or the next one will be.
    """
    self.metrics()
    train = self.state.train
    if not np.isfinite(optax.tree.norm(train.params)):
      raise _diverged(self.gradient_steps + 1)
    replay = self.loop.learner.storage.trim(self.state.replay)
    return {
      'run': self.state._replace(replay=replay),
      'steps': np.asarray(self.steps),
      'anchor': self.anchor,
    }

  def set_state(self, state: dict[str, Any]) -> None:
    """Restores a state that `get_state` returned.

    Args:
      state: the pytree.

    Raises:
      CheckpointError: the state belongs to an agent with other settings.
    """
    run = jax.tree.map(jnp.asarray, state['run'])
    run = run._replace(replay=self.loop.learner.storage.untrim(run.replay))
    anchor = jax.tree.map(jnp.asarray, state['anchor'])
    try:
      chex.assert_trees_all_equal_shapes_and_dtypes(run, self.state)
      chex.assert_trees_all_equal_shapes_and_dtypes(anchor, self.anchor)
    except AssertionError as error:
      raise CheckpointError(
        'the checkpoint is of an agent with other settings'
      ) from error
    self.state = run
    self.steps = int(state['steps'])
    self.gradient_steps = int(run.train.gradient_steps)
    self._cycle_steps = int(run.train.cycle_steps)
    self.anchor = anchor
    self._restart_gap = None
    self._metrics = None

  def _keep_anchor(self) -> None:
    if self._restart_every is not None:
      # A copy survives the donation of the original.
      self.anchor = jax.tree.map(jnp.copy, self.state.train.params)

  def _frame(self, observation: np.ndarray) -> np.ndarray:
    learner = self.loop.learner
    frame = np.reshape(observation, learner.observation_shape)
    return frame.astype(learner.observation_dtype, copy=False)


def _outcome(outcome: Outcome) -> Outcome:
  """Returns the outcome with fixed dtypes, to avoid a second compilation."""
  return Outcome(
    np.float32(outcome.reward),
    np.bool_(outcome.terminal),
    np.bool_(outcome.truncation),
  )


def _diverged(gradient_step: int) -> DivergedError:
  return DivergedError(
    f'the loss of gradient step {gradient_step} is not finite'
  )
