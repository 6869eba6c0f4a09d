"""The loop of one run, in a Python environment."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from agents.core import restarts
from agents.core.learner import Learner
from agents.core.loop import Due, Loop
from agents.core.memory import check_memory
from agents.core.policy import Policy, make_policy
from agents.core.state import AgentState, Outcome
from agents.errors import CheckpointError, DivergedError
import ht_rl


def check_parts(learner: Learner) -> None:
  """Raises ValueError if network or optimizer are not what a learner needs."""
  train = jax.eval_shape(learner.init, jax.random.PRNGKey(0)).train
  groups = train.params['params'].keys()
  if groups != learner.keep.keys():  # A reset would drop the others.
    raise ValueError(
      f'{learner.name}.network must have parameters in the groups '
      f'{", ".join(learner.keep)}, not {", ".join(groups)}'
    )
  try:
    ht_rl.tortoise_params(train.opt_state)
  except ValueError as error:
    raise ValueError(
      f'{learner.name}.optimizer must hold exactly one @hare_tortoise()'
    ) from error
  update, params = learner.optimizer.update, train.params
  jax.eval_shape(update, params, train.opt_state, params)  # Checks its masks.


class Programs:
  """The compiled functions of a loop, which any number of runs can share.

  Attributes:
    loop: the agent.
    init: maps a key to the initial state of a run.
    begin: `Learner.begin`; its state is donated.
    reset: `Learner.reset`; its state is donated.
    step: `Loop.step`; its state is donated.
    gap: `restarts.restart_gap`.
    evaluate: `Learner.evaluate`; its frames are donated.
  """

  def __init__(self, loop: Loop, num_runs: int = 1):
    """Checks that the settings fit together, and compiles nothing large.

    Args:
      loop: the agent.
      num_runs: number of runs whose states will be in memory at once.

    Raises:
      ValueError: the settings do not fit together.
    """
    self.loop = loop
    learner = loop.learner
    check_memory(learner, num_runs)
    check_parts(learner)
    self.init = jax.jit(learner.init)
    state = jax.eval_shape(learner.init, jax.random.PRNGKey(0))
    self.begin = jax.jit(learner.begin, donate_argnums=0)
    # A reset is a separate program, to avoid compiling the step twice. It runs
    # before the append here. The order does not matter: neither reads what the
    # other writes.
    self.reset = jax.jit(learner.reset, donate_argnums=0)
    self.step: Any = jax.jit(loop.step, donate_argnums=0, static_argnames='due')
    self.gap = jax.jit(restarts.restart_gap)
    self.evaluate = jax.jit(learner.evaluate, donate_argnums=1)
    # Trace now, so that settings that do not fit fail before any work is done.
    self.step.eval_shape(
      state,
      typed(Outcome(0.0)),
      frame_of(learner, np.zeros(learner.observation_shape)),
      due=Due(loop.replay_ratio, reset=False),
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
    device: where all arrays of the run are; None for JAX's default device.
  """

  state: AgentState
  device: jax.Device | None = None

  def __init__(
    self,
    loop: Loop,
    seed: int,
    restart_every: int | None = None,
    programs: Programs | None = None,
  ):
    """Draws the initial state.

    Args:
      loop: the agent.
      seed: seed of all the agent's random draws, an integer in [0, 2**32).
      restart_every: `reset_every` of the optimizer's `hare_tortoise`, to
        measure its restarts; None measures none. It changes no result.
      programs: the loop's, where runs share them; None makes them.

    Raises:
      ValueError: the settings do not fit together.
    """
    self.loop = loop
    self.steps = 0
    self.gradient_steps = 0
    self._cycle_steps = 0
    self.programs = Programs(loop) if programs is None else programs
    key = jax.device_put(jax.random.PRNGKey(seed), self.device)
    self.state = self.programs.init(key)
    self._restart_every = restart_every
    self._restart_gap: chex.Array | None = None
    self._has_restart = False
    self.anchor: Any = None
    self._keep_anchor()
    self._metrics: Any = None

  @property
  def action(self) -> np.ndarray:
    """The last action chosen."""
    return np.asarray(self.state.actor.action)

  def begin(self, observation: np.ndarray) -> np.ndarray:
    """Returns the first action of the run, given its first frame."""
    frame = frame_of(self.loop.learner, observation)
    self.state, action = self.programs.begin(self.state, frame)
    self.steps += 1
    return np.asarray(action)

  def step(self, outcome: Outcome, observation: np.ndarray) -> np.ndarray:
    """Learns from the outcome of the last action; returns the next action.

    Args:
      outcome: result of the last action.
      observation: the frame to act on: the first of a new episode if the
        outcome ended one.
    """
    due = self.prepare()
    self.state, action, metrics = self.programs.step(
      self.state,
      typed(outcome),
      frame_of(self.loop.learner, observation),
      due=due,
    )
    self.complete(due, metrics)
    return np.asarray(action)

  def prepare(self) -> Due:
    """Does what precedes the program of a step; returns what the step has.

    That is a reset, and the measure of a restart. `step` calls it; where runs
    step together, their population does.
    """
    due = self.loop.due(self.steps, self.gradient_steps)
    if due.reset:
      train = self.programs.reset(self.state.train)
      self.state = self.state._replace(train=train)
      self._cycle_steps = 0
      self._keep_anchor()
    self._has_restart = bool(
      restarts.restarts_within(
        self._restart_every, self._cycle_steps, due.num_updates
      )
    )
    if self._has_restart:
      train = self.state.train
      tortoise = ht_rl.tortoise_params(train.opt_state)
      # Not fetched yet: no device waits for the measure of another.
      self._restart_gap = self.programs.gap(train.params, tortoise, self.anchor)
    return due._replace(reset=False)

  def complete(self, due: Due, metrics: Any) -> None:
    """Counts a step whose program has run; see `prepare`.

    Args:
      due: what the step had.
      metrics: of its last gradient step; None without one.
    """
    self._metrics = metrics
    if self._has_restart:
      self._keep_anchor()
    self.steps += 1
    self.gradient_steps += due.num_updates
    self._cycle_steps += due.num_updates

  def report_is_due(self) -> bool:
    """Returns whether the last step ends with a report of the metrics."""
    return self.steps % self.loop.summary_writing_frequency == 0

  def take_restart_gap(self) -> float | None:
    """Returns the `restart_gap` of the last step if it had a restart, once."""
    gap, self._restart_gap = self._restart_gap, None
    return None if gap is None else float(gap)

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
      self.programs.evaluate,
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
    state = self.state  # Read once: a population may make a copy of it.
    if not np.isfinite(optax.tree.norm(state.train.params)):
      raise _diverged(self.gradient_steps + 1)
    replay = self.loop.learner.storage.trim(state.replay)
    return {
      'run': state._replace(replay=replay),
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
    run = jax.device_put(state['run'], self.device)
    run = run._replace(replay=self.loop.learner.storage.untrim(run.replay))
    anchor = jax.device_put(state['anchor'], self.device)
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


def frame_of(learner: Learner, observation: np.ndarray) -> np.ndarray:
  """Returns an environment's frame in the shape and dtype of the learner."""
  frame = np.reshape(observation, learner.observation_shape)
  return frame.astype(learner.observation_dtype, copy=False)


def typed(outcome: Outcome) -> Outcome:
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
