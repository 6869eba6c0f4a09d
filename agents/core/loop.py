"""The loop of a run: when to learn and when to reset.

`Loop` states the rules as functions of the number of steps done, so that they
hold for one run, for a population under `vmap` and inside a scan alike.
`Driver` is the loop of one run beside an environment in Python.

Environment step number t is the one that hears what action number t brought.
It learns if t is above `min_replay_history`. A reset that is due after the
gradient steps of one environment step happens right before those of the next:
nobody evaluates or stores a network that was drawn anew a moment ago.
"""

from collections.abc import Callable, Iterator
import dataclasses
import itertools
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from agents.core.learner import Learner
from agents.core.settings import at_least, check_settings, setting
from agents.core.state import AgentState, Outcome
from agents.errors import CheckpointError, DivergedError
import ht_rl

# Of frames, and of which of them begin an episode, it makes actions.
Policy = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Due(NamedTuple):
  """What an environment step does beside appending and acting.

  Attributes:
    num_updates: number of gradient steps.
    reset: whether a reset comes right before them.
  """

  num_updates: int
  reset: bool


@dataclasses.dataclass(frozen=True)
class Loop:
  """A learner and how often it learns: all settings of an agent.

  Attributes:
    learner: the algorithm.
    replay_ratio: gradient steps for each environment step.
    summary_writing_frequency: environment steps between two reports.
  """

  learner: Learner
  replay_ratio: int = setting(2, at_least(1))
  summary_writing_frequency: int = setting(500, at_least(1))

  def __post_init__(self) -> None:
    check_settings(self, self.learner.name)

  def due(self, step: int, gradient_steps: int) -> Due:
    """Returns what is due in an environment step.

    Args:
      step: its number, counted from 1.
      gradient_steps: number of gradient steps done before it.
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
    """Yields what is due in steps 1 to `steps`, and in how many in a row.

    For programs that scan over steps: each piece is of one kind. A reset is a
    piece of its own, of one step.

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

  def step(
    self, state: AgentState, outcome: Outcome, observation: chex.Array, due: Due
  ) -> tuple[AgentState, chex.Array, Any]:
    """Does one environment step of a run; pure, so jit, scan and vmap it.

    Args:
      state: the run; donate it.
      outcome: what the last action brought.
      observation: [*observation_shape], the frame to act on: the first of a new
        episode where the outcome ended one.
      due: from `due`, static.

    Returns:
      The new state, the action (int32), and the figures of the last gradient
      step, if there was one.
    """
    if due.reset:
      state = state._replace(train=self.learner.reset(state.train))
    return self.learner.step(
      state, outcome, observation, num_updates=due.num_updates
    )


class Driver:
  """One run: a loop's functions, compiled, and the state that they change.

  Attributes:
    loop: the agent.
    state: the state of the run, on the device.
    steps: number of actions chosen.
    gradient_steps: number of gradient steps done.
  """

  def __init__(self, loop: Loop, seed: int):
    """Draws the first state, and compiles nothing large.

    Args:
      loop: the agent.
      seed: seed of all that the agent draws, an integer in [0, 2**63).

    Raises:
      ValueError: the settings do not fit together.
    """
    self.loop = loop
    self.steps = 0
    self.gradient_steps = 0
    learner = loop.learner
    self.state = jax.jit(learner.init)(jax.random.PRNGKey(seed))
    groups = self.state.train.params['params'].keys()
    if groups != learner.keep.keys():  # A reset would lose the others.
      raise ValueError(
        f'{learner.name}.network must have parameters in the groups '
        f'{", ".join(learner.keep)}, not {", ".join(groups)}'
      )
    self._begin = jax.jit(learner.begin, donate_argnums=0)
    # A reset is a program of its own, so that it costs no second compilation of
    # the step. It comes before the append, which changes nothing: neither looks
    # at what the other writes.
    self._reset = jax.jit(learner.reset, donate_argnums=0)
    self._step: Any = jax.jit(
      loop.step, donate_argnums=0, static_argnames='due'
    )
    self._evaluate = jax.jit(learner.evaluate, donate_argnums=1)
    # Traced at once, so that settings which do not fit fail before any work.
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
    """Returns the first action, on the first frame of the run."""
    self.state, action = self._begin(self.state, self._frame(observation))
    self.steps += 1
    return np.asarray(action)

  def step(self, outcome: Outcome, observation: np.ndarray) -> np.ndarray:
    """Learns from what the last action brought, and returns the next one.

    Args:
      outcome: of the last action.
      observation: the frame to act on; where the outcome ended an episode, the
        first one of the next.
    """
    due = self.loop.due(self.steps, self.gradient_steps)
    if due.reset:
      train = self._reset(self.state.train)
      self.state = self.state._replace(train=train)
    self.state, action, self._metrics = self._step(
      self.state,
      _outcome(outcome),
      self._frame(observation),
      due=due._replace(reset=False),
    )
    self.steps += 1
    self.gradient_steps += due.num_updates
    return np.asarray(action)

  @property
  def tortoise(self) -> Any:
    """The parameters of the tortoise."""
    return ht_rl.tortoise_params(self.state.train.opt_state)

  def policy(self, num_envs: int, seed: int) -> Policy:
    """Returns the tortoise as a policy; see `make_policy`."""
    return make_policy(
      self.loop.learner, self.tortoise, num_envs, seed, self._evaluate
    )

  def metrics(self) -> dict[str, float]:
    """Returns the figures of the last gradient step; empty before the first.

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
    """Returns all that the run is, as a pytree of arrays, for a checkpoint.

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
    }

  def set_state(self, state: dict[str, Any]) -> None:
    """Becomes what `get_state` described.

    Args:
      state: its tree.

    Raises:
      CheckpointError: it is of an agent with other settings.
    """
    run = jax.tree.map(jnp.asarray, state['run'])
    run = run._replace(replay=self.loop.learner.storage.untrim(run.replay))
    try:
      chex.assert_trees_all_equal_shapes_and_dtypes(run, self.state)
    except AssertionError as error:
      raise CheckpointError(
        'the checkpoint is of an agent with other settings'
      ) from error
    self.state = run
    self.steps = int(state['steps'])
    self.gradient_steps = int(run.train.gradient_steps)
    self._metrics = None

  def _frame(self, observation: np.ndarray) -> np.ndarray:
    learner = self.loop.learner
    frame = np.reshape(observation, learner.observation_shape)
    return frame.astype(learner.observation_dtype, copy=False)


def make_policy(
  learner: Learner,
  params: Any,
  num_envs: int,
  seed: int,
  evaluate: Callable[..., Any] | None = None,
) -> Policy:
  """Returns parameters as a policy for a fixed batch of environments.

  Args:
    learner: the algorithm that they are of.
    params: the parameters, such as `Driver.tortoise`.
    num_envs: number of environments N.
    seed: seed of the exploration.
    evaluate: the learner's `evaluate`, if it is compiled already.

  Returns:
    A function of frames [N, *observation_shape] and of whether each is an
    episode's first, bool [N]; it gives actions, int [N], and remembers the
    frames before.
  """
  evaluate = evaluate or jax.jit(learner.evaluate, donate_argnums=1)
  shape = (num_envs, learner.stack_size, *learner.observation_shape)
  frames = jnp.zeros(shape, learner.observation_dtype)
  key = jax.random.PRNGKey(seed)
  steps = 0

  def act(observations: np.ndarray, first: np.ndarray) -> np.ndarray:
    nonlocal frames, steps
    steps += 1
    frames, actions = evaluate(
      params, frames, observations, first, jax.random.fold_in(key, steps)
    )
    return np.asarray(actions)

  return act


def _outcome(outcome: Outcome) -> Outcome:
  """The arrays that go up to the device: always of the same dtypes."""
  return Outcome(
    np.float32(outcome.reward),
    np.bool_(outcome.terminal),
    np.bool_(outcome.truncation),
  )


def _diverged(gradient_step: int) -> DivergedError:
  return DivergedError(
    f'the loss of gradient step {gradient_step} is not finite'
  )
