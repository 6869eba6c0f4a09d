"""Training with networks that compute in bfloat16."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from agents.core import bbf_networks
from agents.core.bbf_learner import BBFLearner
from agents.core.drq_learner import DrQLearner
from agents.core.networks import DuelingQNetwork
from agents.core.replay import Transition
from agents.core.state import Outcome
import ht_rl

ACTIONS = 3


def drq(dtype):
  return DrQLearner(
    DuelingQNetwork(ACTIONS, hidden=32, dtype=dtype),
    num_actions=ACTIONS,
    optimizer=ht_rl.hare_tortoise(optax.adam(1e-3), momentum=0.9),
  )


def bbf(dtype):
  encoder = bbf_networks.ImpalaEncoder(channels=(4, 8, 8), dtype=dtype)
  return BBFLearner(
    bbf_networks.BBFNetwork(ACTIONS, encoder=encoder, hidden=16),
    num_actions=ACTIONS,
    optimizer=ht_rl.hare_tortoise(
      optax.adamw(1e-3, weight_decay=0.1), momentum=0.9
    ),
  )


def floats(tree):
  """The dtypes of a tree's floating-point leaves."""
  leaves = jax.tree.leaves(tree)
  return {x.dtype.name for x in leaves if jnp.issubdtype(x.dtype, jnp.floating)}


@pytest.mark.parametrize('learner', [drq, bbf])
def test_what_is_kept_and_told_is_float32(learner):
  narrow, full = learner(jnp.bfloat16), learner(jnp.float32)
  key = jax.random.PRNGKey(0)
  state = jax.eval_shape(narrow.init, key)
  outcome = Outcome(jnp.float32(0), jnp.bool_(False), jnp.bool_(False))
  frame = jnp.zeros((84, 84), jnp.uint8)

  def step(learner):
    return lambda state: learner.step(state, outcome, frame, num_updates=1)

  after, _, metrics = jax.eval_shape(step(narrow), state)
  # Weights, Adam's moments, the tortoise, the replay; and the losses.
  assert floats(after) == {'float32'}
  assert floats(metrics) == {'float32'}
  same, _, _ = jax.eval_shape(step(full), state)
  assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(
    lambda x: (x.shape, x.dtype), same
  )


def test_targets_and_loss_are_computed_in_float32():
  learner = drq(jnp.bfloat16)
  rng = np.random.default_rng(0)
  params = learner.init_params(jax.random.PRNGKey(0))
  target = learner.init_params(jax.random.PRNGKey(1))
  batch = Transition(
    s_tm1=jnp.asarray(rng.random((8, 84, 84, 4), np.float32)),
    a_tm1=jnp.asarray(rng.integers(0, ACTIONS, 8), jnp.int32),
    r_t=jnp.asarray(rng.normal(size=8), jnp.float32),
    discount_t=jnp.full(8, 0.99**10, jnp.float32),
    s_t=jnp.asarray(rng.random((8, 84, 84, 4), np.float32)),
  )

  def q(params, x):
    return np.asarray(learner.network.apply(params, x), np.float64)

  # Everything after the network in float64.
  each = np.arange(8)
  best = q(params, batch.s_t).argmax(axis=1)
  bootstrap = q(target, batch.s_t)[each, best]
  error = (
    np.asarray(batch.r_t, np.float64)
    + np.asarray(batch.discount_t, np.float64) * bootstrap
    - q(params, batch.s_tm1)[each, batch.a_tm1]
  )
  size = np.abs(error)
  loss = np.where(size <= 1, size**2 / 2, size - 0.5).mean()
  # A bfloat16 has 8 bits: a rounding anywhere here would be off by 1e-3.
  np.testing.assert_allclose(
    learner.loss(params, target, batch)[0], loss, rtol=2e-6
  )
