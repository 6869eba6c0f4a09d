import agents.dopamine  # noqa: F401

from dopamine.jax import networks as dopamine_networks
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents.core import networks

ACTIONS = 6
OURS = networks.DuelingQNetwork(ACTIONS)
DOPAMINES = dopamine_networks.FullRainbowNetwork(
  num_actions=ACTIONS,
  num_atoms=1,
  noisy=False,
  dueling=True,
  distributional=False,
  inputs_preprocessed=True,
)


@pytest.fixture(scope='module')
def observations():
  return jax.random.uniform(jax.random.key(0), (5, 84, 84, 4))


@pytest.fixture(scope='module')
def params(observations):
  params = jax.jit(OURS.init)(jax.random.key(1), observations)
  # Nonzero biases, so that a misplaced one is visible.
  noise = jax.random.normal(jax.random.key(2), (ACTIONS,))
  return jax.tree.map(
    lambda p: p + 0.1 * jnp.resize(noise, p.shape) if p.ndim == 1 else p, params
  )


def test_q_values_equal_dopamines(params, observations, to_dopamine):
  def apply(observation):
    return DOPAMINES.apply(
      to_dopamine(params), observation, support=None, key=jax.random.key(3)
    ).q_values

  expected = jax.vmap(apply)(observations)
  assert np.std(expected) > 0.05
  np.testing.assert_allclose(
    OURS.apply(params, observations), expected, rtol=1e-4, atol=1e-5
  )


def test_initial_parameters_are_drawn_as_dopamines(observations, to_dopamine):
  ours = to_dopamine(jax.jit(OURS.init)(jax.random.key(4), observations))
  theirs = jax.jit(DOPAMINES.init)(
    jax.random.key(5), observations[0], support=None, key=jax.random.key(6)
  )
  ours = jax.tree_util.tree_flatten_with_path(ours)[0]
  theirs = dict(jax.tree_util.tree_flatten_with_path(theirs)[0])
  assert len(ours) == len(theirs) == 12
  for path, leaf in ours:
    assert leaf.shape == theirs[path].shape
    assert leaf.dtype == jnp.float32
    for x in (leaf, theirs[path]):
      if x.ndim == 1:
        assert not x.any()
        continue
      # Glorot uniform: fan_in + fan_out = kernel area * (inputs + outputs).
      bound = np.sqrt(6 / (np.prod(x.shape[:-2]) * sum(x.shape[-2:])))
      assert 0.98 < np.abs(x).max() / bound < 1 + 1e-6
      assert np.std(x) == pytest.approx(bound / np.sqrt(3), rel=0.1)


def test_bfloat16_computes_narrow_and_keeps_float32(params, observations):
  narrow = networks.DuelingQNetwork(ACTIONS, dtype=jnp.bfloat16)
  fresh = jax.eval_shape(narrow.init, jax.random.key(1), observations)
  assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(fresh))
  q, state = narrow.apply(params, observations, capture_intermediates=True)
  inner = state['intermediates']
  for layer in ('Conv_0', 'Conv_1', 'Conv_2'):
    assert inner['encoder'][layer]['__call__'][0].dtype == jnp.bfloat16
  for layer in ('hidden', 'advantage', 'value'):
    assert inner['head'][layer]['__call__'][0].dtype == jnp.bfloat16
  # The advantages are averaged, and the values added, in float32.
  assert q.dtype == jnp.float32
  assert (q != q.astype(jnp.bfloat16)).any()
  np.testing.assert_allclose(q, OURS.apply(params, observations), atol=0.02)


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_advantages_only_rank_the_actions(dtype):
  head = networks.DuelingHead(num_actions=3, hidden=8, dtype=dtype)
  x = jax.random.normal(jax.random.key(0), (4, 5))
  params = head.init(jax.random.key(1), x)
  shifted = jax.tree.map(lambda p: p, params)
  shifted['params']['advantage']['bias'] += 4.0
  np.testing.assert_allclose(
    head.apply(shifted, x), head.apply(params, x), atol=0.05
  )
  shifted['params']['value']['bias'] += 4.0
  np.testing.assert_allclose(
    head.apply(shifted, x), head.apply(params, x) + 4, atol=0.1
  )
