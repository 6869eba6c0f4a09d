import agents.dopamine  # noqa: F401

from dopamine.jax import losses as dopamine_losses
from dopamine.jax import networks as dopamine_networks
from dopamine.jax.agents.full_rainbow import full_rainbow_agent
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from agents.core import drq_learner, losses, networks, replay


def test_huber_by_hand():
  x = jnp.array([0.0, 0.5, -1.0, 2.0, -3.0])
  np.testing.assert_allclose(losses.huber(x), [0, 0.125, 0.5, 1.5, 2.5])
  np.testing.assert_allclose(
    losses.huber(x, delta=2.0), [0, 0.125, 0.5, 2.0, 4.0]
  )
  slopes = jax.vmap(jax.grad(losses.huber))(x)
  np.testing.assert_allclose(slopes, [0, 0.5, -1, 1, -1])


def test_huber_equals_dopamines():
  x = jnp.linspace(-3, 3, 101)
  expected = dopamine_losses.huber_loss(x, jnp.zeros_like(x))
  np.testing.assert_allclose(losses.huber(x), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_huber_hides_no_bad_number(bad):
  assert not jnp.isfinite(losses.huber(jnp.float32(bad)))


@pytest.mark.parametrize(
  ('discount', 'selector', 'expected'),
  [
    (0.5, [0.0, 1.0, 0.0], 3.0 + 0.5 * 20.0),
    (0.5, [2.0, 1.0, 0.0], 3.0 + 0.5 * 10.0),  # Not the largest value.
    (0.0, [0.0, 1.0, 0.0], 3.0),  # The episode ended.
  ],
)
def test_double_q_by_hand(discount, selector, expected):
  value = jnp.array([10.0, 20.0, 30.0])
  arguments = jnp.float32(3.0), jnp.float32(discount), value
  target = losses.double_q_target(*arguments, jnp.array(selector))
  assert target == expected
  error = losses.double_q_error(
    jnp.array([1.0, 2.0, 4.0]), jnp.int32(2), *arguments, jnp.array(selector)
  )
  assert error == expected - 4.0


def test_gradient_flows_through_the_learned_value_alone():
  q = jnp.array([1.0, 2.0])
  gradients = jax.grad(losses.double_q_error, argnums=(0, 2, 3, 4, 5))(
    q, jnp.int32(1), jnp.float32(3.0), jnp.float32(0.5), 2 * q, 3 * q
  )
  np.testing.assert_array_equal(gradients[0], [0, -1])
  assert not any(np.any(gradient) for gradient in gradients[1:])


def test_one_example_at_a_time():
  with pytest.raises(AssertionError, match='rank'):
    losses.double_q_error(
      *(jnp.ones((2, 3)), jnp.zeros(2, jnp.int32), jnp.ones(2), jnp.ones(2)),
      *(jnp.ones((2, 3)), jnp.ones((2, 3))),
    )


def test_loss_and_gradients_equal_dopamines(to_dopamine):
  actions, batch_size, cumulative_gamma = 4, 8, 0.99**10
  ours = drq_learner.DrQLearner(
    network=networks.DuelingQNetwork(actions),
    num_actions=actions,
    optimizer=optax.identity(),
  )
  rng = np.random.default_rng(0)
  init = jax.jit(ours.init_params)
  params, target_params = init(jax.random.key(0)), init(jax.random.key(1))
  states, next_states = rng.random((2, batch_size, 84, 84, 4), np.float32)
  taken = rng.integers(actions, size=batch_size, dtype=np.int32)
  # Errors on both branches of the Huber loss.
  rewards = rng.uniform(-3, 3, batch_size).astype(np.float32)
  terminals = rng.random(batch_size) < 0.4
  batch = replay.Transition(
    s_tm1=jnp.asarray(states),
    a_tm1=jnp.asarray(taken),
    r_t=jnp.asarray(rewards),
    discount_t=jnp.where(terminals, 0.0, cumulative_gamma),
    s_t=jnp.asarray(next_states),
  )
  (loss, q), gradients = jax.jit(jax.value_and_grad(ours.loss, has_aux=True))(
    params, target_params, batch
  )

  # An optimizer whose new state is the gradient: `train` returns it.
  record = optax.GradientTransformation(
    lambda params: params, lambda updates, state, params=None: (updates,) * 2
  )
  theirs, _, losses_each, mean_loss, _ = full_rainbow_agent.train(
    dopamine_networks.FullRainbowNetwork(
      num_actions=actions,
      num_atoms=1,
      noisy=False,
      dueling=True,
      distributional=False,
      inputs_preprocessed=True,
    ),
    to_dopamine(params),
    to_dopamine(target_params),
    record,
    record.init(to_dopamine(params)),
    states,
    taken,
    next_states,
    rewards,
    terminals,
    np.ones(batch_size, np.float32),
    None,
    cumulative_gamma,
    True,  # double_dqn
    False,  # distributional
    False,  # mse_loss: Huber
    jax.random.PRNGKey(0),
  )
  assert np.min(losses_each) < 0.5 < np.max(losses_each)
  assert terminals.any()
  assert not terminals.all()
  np.testing.assert_allclose(loss, mean_loss, rtol=1e-5)
  all_q = ours.network.apply(params, batch.s_tm1)
  np.testing.assert_allclose(
    q, np.mean(np.asarray(all_q)[np.arange(batch_size), taken]), rtol=1e-4
  )
  gradients = to_dopamine(gradients)
  assert jax.tree.structure(gradients) == jax.tree.structure(theirs)

  def close(ours, theirs):
    scale = np.abs(theirs).max()
    assert scale > 0
    np.testing.assert_allclose(ours / scale, theirs / scale, atol=2e-5)

  jax.tree.map(close, gradients, theirs)
