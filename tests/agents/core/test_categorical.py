import types

import agents.dopamine  # noqa: F401

from dopamine.jax.agents.rainbow import rainbow_agent
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents.core import categorical

HAND = categorical.support(5, v_max=2.0)  # -2, -1, 0, 1, 2
ATOMS = categorical.support()
# Half the last bit of a float32 above 8, in units of the atoms' spacing.
ROUNDING = 2**-21 / 0.4


def slow_project(values, probabilities, num_atoms, v_max):
  """Projects as Bellemare et al. (2017) do in their Algorithm 1."""
  projected = np.zeros(num_atoms)
  spacing = 2.0 * v_max / (num_atoms - 1)
  for value, probability in zip(values, probabilities, strict=True):
    position = (min(max(value, -v_max), v_max) + v_max) / spacing
    below, above = int(np.floor(position)), int(np.ceil(position))
    if below == above:
      projected[below] += probability
    else:
      projected[below] += probability * (above - position)
      projected[above] += probability * (position - below)
  return projected


def slow_softmax(logits):
  exponentials = np.exp(logits - np.max(logits))
  return exponentials / np.sum(exponentials)


def examples(num=200, actions=4):
  """Returns arguments of `double_q_loss` with all kinds of n-step return."""
  rng = np.random.default_rng(0)

  def normal(*shape):
    return rng.normal(size=shape).astype(np.float32)

  return (
    3 * normal(num, actions, len(ATOMS)),
    rng.integers(actions, size=num, dtype=np.int32),
    # Within the support, outside it, and on it.
    np.where(rng.random(num) < 0.3, 2.0, 8 * normal(num)).astype(np.float32),
    np.where(rng.random(num) < 0.3, 0.0, 0.97**10).astype(np.float32),
    3 * normal(num, actions, len(ATOMS)),
    normal(num, actions),
  )


def test_support():
  exact = np.arange(-25, 26) / 2.5
  np.testing.assert_array_equal(ATOMS, exact.astype(np.float32))
  assert ATOMS.dtype == np.float32


@pytest.mark.parametrize(
  ('values', 'probabilities', 'expected'),
  [
    # Each value is an atom.
    (
      [-2, -1, 0, 1, 2],
      [0.1, 0.2, 0.3, 0.25, 0.15],
      [0.1, 0.2, 0.3, 0.25, 0.15],
    ),
    # Between two atoms, the nearer one gets more.
    ([0.25], [1.0], [0, 0, 0.75, 0.25, 0]),
    ([-1.5, -1.9], [0.5, 0.5], [0.25 + 0.45, 0.25 + 0.05, 0, 0, 0]),
    # Two values that share an atom.
    ([0.5, 1.5], [0.4, 0.6], [0, 0, 0.2, 0.5, 0.3]),
    # Clipped at both ends, however far.
    ([-2.5, 1e6, -1e30], [0.3, 0.6, 0.1], [0.4, 0, 0, 0, 0.6]),
    # Terminal: all probability is at the return.
    ([-0.75] * 5, [0.1, 0.2, 0.3, 0.25, 0.15], [0, 0.75, 0.25, 0, 0]),
  ],
)
def test_projection_by_hand(values, probabilities, expected):
  projected = categorical.project(
    jnp.array(values, jnp.float32), jnp.array(probabilities), HAND
  )
  np.testing.assert_allclose(projected, expected, atol=1e-6)


def test_projection_equals_a_slow_one_and_dopamines():
  rng = np.random.default_rng(1)
  for scale, shift in [(0.9, 0.3), (0.0, 5.17), (1.0, -7.0), (3.0, 12.0)]:
    values = scale * ATOMS.astype(np.float64) + shift
    probabilities = slow_softmax(2 * rng.normal(size=len(ATOMS)))
    projected = categorical.project(
      jnp.float32(values), jnp.float32(probabilities), ATOMS
    )
    np.testing.assert_allclose(
      projected, slow_project(values, probabilities, 51, 10.0), atol=ROUNDING
    )
    theirs = rainbow_agent.project_distribution(
      jnp.float32(values), jnp.float32(probabilities), jnp.asarray(ATOMS)
    )
    np.testing.assert_allclose(projected, theirs, atol=ROUNDING)
    np.testing.assert_allclose(np.sum(projected), 1.0, atol=1e-5)
    mean = np.sum(np.clip(values, -10, 10) * probabilities)
    np.testing.assert_allclose(np.sum(projected * ATOMS), mean, atol=1e-4)


def test_q_values():
  logits = 4 * np.random.default_rng(2).normal(size=(3, 2, 51))
  expected = [
    [np.sum(slow_softmax(x) * np.arange(-25, 26) / 2.5) for x in xs]
    for xs in logits
  ]
  q = categorical.q_values(jnp.float32(logits), ATOMS)
  np.testing.assert_allclose(q, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
  ('discount', 'selector', 'expected'),
  [
    # The second action has all on atom 1, and 0.5 + 0.5 * 1 is an atom.
    (0.5, [0.0, 1.0], [0, 0, 0, 1, 0]),
    # The first action has half on -1 and on 0, which become 0 and 0.5.
    (0.5, [1.0, 0.0], [0, 0, 0.75, 0.25, 0]),
    (0.0, [1.0, 0.0], [0, 0, 0.5, 0.5, 0]),  # The episode ended.
  ],
)
def test_double_q_by_hand(discount, selector, expected):
  with np.errstate(divide='ignore'):
    logits_t = jnp.log(jnp.array([[0, 0.5, 0.5, 0, 0], [0, 0, 0, 1, 0]]))
  logits_t = jnp.maximum(logits_t, -1e9)
  arguments = jnp.float32(0.5), jnp.float32(discount), logits_t
  target = categorical.double_q_target(*arguments, jnp.array(selector), HAND)
  np.testing.assert_allclose(target, expected, atol=1e-6)
  learned = np.array([0.1, 0.2, 0.3, 0.25, 0.15])
  loss = categorical.double_q_loss(
    jnp.log(jnp.array([np.ones(5), 7 * learned])),  # Any factor gives the same.
    jnp.int32(1),
    *arguments,
    jnp.array(selector),
    HAND,
  )
  np.testing.assert_allclose(
    loss, -np.dot(expected, np.log(learned)), rtol=1e-5
  )


def test_loss_equals_a_slow_one():
  batch = examples()
  losses = jax.jit(
    jax.vmap(categorical.double_q_loss, (0, 0, 0, 0, 0, 0, None))
  )(*batch, ATOMS)
  for logits, a, r, discount, logits_t, selector, loss in zip(
    *(np.float64(x) for x in batch), losses, strict=True
  ):
    best = max(range(len(selector)), key=lambda b: selector[b])
    target = slow_project(
      r + discount * np.arange(-25, 26) / 2.5,
      slow_softmax(logits_t[best]),
      51,
      10.0,
    )
    expected = -np.sum(target * np.log(slow_softmax(logits[int(a)])))
    np.testing.assert_allclose(loss, expected, rtol=2e-5)


def test_targets_equal_dopamines():
  _, _, r, _, logits_t, selector = examples()
  gamma, terminal = 0.97**10, np.arange(len(r)) % 3 == 0
  # Dopamine calls the network with a state; here the state is the output.
  theirs = rainbow_agent.target_distribution(
    lambda state: types.SimpleNamespace(
      q_values=state['q'], probabilities=jax.nn.softmax(state['logits'])
    ),
    {'q': jnp.asarray(selector), 'logits': jnp.asarray(logits_t)},
    jnp.asarray(r),
    jnp.asarray(terminal),
    jnp.asarray(ATOMS),
    gamma,
  )
  ours = jax.vmap(categorical.double_q_target, (0, 0, 0, 0, None))(
    r, jnp.where(terminal, 0.0, gamma), logits_t, selector, ATOMS
  )
  np.testing.assert_allclose(ours, theirs, atol=ROUNDING)


def test_gradient_flows_through_the_learned_logits_alone():
  logits, a, *rest = (x[1] for x in examples())
  gradients = jax.grad(categorical.double_q_loss, (0, 2, 3, 4, 5))(
    jnp.asarray(logits), jnp.asarray(a), *map(jnp.asarray, rest), ATOMS
  )
  target = categorical.double_q_target(*map(jnp.asarray, rest), ATOMS)
  expected = np.zeros_like(logits)
  expected[a] = jax.nn.softmax(logits[a]) - target
  np.testing.assert_allclose(gradients[0], expected, atol=1e-6)
  assert not any(np.any(gradient) for gradient in gradients[1:])


@pytest.mark.parametrize('which', [0, 2, 3, 4])
def test_a_nan_reaches_the_loss(which):
  arguments = [jnp.asarray(x[1]) for x in examples()]
  arguments[which] = jnp.full_like(arguments[which], jnp.nan)
  assert jnp.isnan(categorical.double_q_loss(*arguments, ATOMS))


def test_one_example_at_a_time():
  with pytest.raises(AssertionError, match='rank'):
    categorical.double_q_loss(*map(jnp.asarray, examples(3)), ATOMS)
  with pytest.raises(AssertionError, match='rank'):
    categorical.project(jnp.ones((2, 5)), jnp.ones((2, 5)), HAND)
