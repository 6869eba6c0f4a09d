"""Runs the agents once under the strict modes of JAX."""

import contextlib

import jax
import numpy as np
import optax
import pytest

from agents.core import loop
from agents.core.bbf_learner import BBFLearner
from agents.core.bbf_networks import BBFNetwork
from agents.core.driver import Driver
from agents.core.drq_learner import DrQLearner
from agents.core.networks import DuelingQNetwork, NatureEncoder
from agents.core.state import Outcome
import ht_rl

pytestmark = pytest.mark.usefixtures('compile_fast')

SHAPE = (12, 12)
WARM_UP = 12


def bbf(noisy=False, **settings):
  network = BBFNetwork(
    3,
    encoder=NatureEncoder((2, 2, 2), flatten=False),
    hidden=4,
    num_atoms=5,
    noisy=noisy,
  )
  return BBFLearner, {'network': network, **settings}


AGENTS = {
  'drq': (
    DrQLearner,
    {'network': DuelingQNetwork(3, (2,), (4,), (4,), hidden=4)},
  ),
  'bbf': bbf(jumps=2),
  'noisy': bbf(noisy=True, jumps=0, max_update_horizon=3, min_gamma=None),
  'released': bbf(
    jumps=2,
    bootstrap_early=True,
    priorities='batch_mean',
    batches_by_age=True,
    separate_target_draw=True,
    exclusive_shift=True,
  ),
}


@pytest.fixture
def strict():
  with contextlib.ExitStack() as stack:
    stack.enter_context(jax.numpy_rank_promotion('raise'))
    stack.enter_context(jax.debug_nans(True))
    stack.enter_context(jax.checking_leaks())
    yield


SLOW = ('noisy', 'released')


@pytest.mark.parametrize(
  'name',
  [
    pytest.param(name, marks=pytest.mark.slow if name in SLOW else ())
    for name in AGENTS
  ],
)
def test_an_agent_learns_resets_and_evaluates(name, strict):
  learner_class, settings = AGENTS[name]
  learner = learner_class(
    num_actions=3,
    optimizer=ht_rl.hare_tortoise(
      optax.adam(0.01), momentum=0.9, reset_every=3
    ),
    observation_shape=SHAPE,
    stack_size=2,
    replay_capacity=50,
    batch_size=2,
    min_replay_history=WARM_UP,
    reset_every=WARM_UP + 1 if 'BBF' in learner_class.name else 2,
    **settings,
  )
  driver = Driver(loop.Loop(learner), seed=3)
  frame = np.full(SHAPE, 7, np.uint8)
  driver.begin(frame)
  for step in range(1, WARM_UP + 3):
    driver.step(Outcome(1.0, step % 5 == 0), frame + np.uint8(step))
  assert driver.gradient_steps == 4
  assert int(driver.state.train.cycle_steps) == 2  # It was reset between.
  policy = driver.policy(2, seed=3)
  actions = policy(np.stack([frame, frame]), np.array([True, False]))
  assert set(actions.tolist()) <= {0, 1, 2}
  assert np.isfinite(driver.metrics()['loss'])
