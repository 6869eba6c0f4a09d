import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents.core import spr

JUMPS = 5


def slow_loss(predictions, targets, mask):
  total = 0.0
  for prediction, target, counts in zip(
    predictions, targets, mask, strict=True
  ):
    if counts:
      unit = prediction / np.sqrt(sum(prediction**2))
      total += sum((unit - target / np.sqrt(sum(target**2))) ** 2)
  return total / len(mask)


def test_loss_by_hand():
  targets = jnp.array([[2.0, 0.0]] * 4)
  predictions = jnp.array([[0.5, 0.0], [0.0, 9.0], [-1.0, 0.0], [3.0, 3.0]])
  each = np.array([0.0, 2.0, 4.0, 2.0 - np.sqrt(2.0)])
  for mask in itertools.product([False, True], repeat=4):
    np.testing.assert_allclose(
      spr.loss(predictions, targets, jnp.array(mask)),
      np.sum(each[np.array(mask)]) / 4,
      atol=1e-6,
    )


def test_loss_equals_a_slow_one():
  rng = np.random.default_rng(0)
  predictions, targets = rng.normal(size=(2, 16, JUMPS, 64))
  predictions *= np.exp(3 * rng.normal(size=(16, JUMPS, 1)))
  mask = rng.random((16, JUMPS)) < 0.6
  losses = jax.jit(jax.vmap(spr.loss))(predictions, targets, mask)
  expected = list(map(slow_loss, predictions, targets, mask))
  np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_gradient_flows_through_the_predictions_that_count():
  rng = np.random.default_rng(1)
  predictions, targets = rng.normal(size=(2, JUMPS, 8))
  mask = np.array([True, True, False, True, False])
  gradients = jax.grad(spr.loss, (0, 1))(
    jnp.asarray(predictions), jnp.asarray(targets), mask
  )
  assert not np.any(gradients[1])
  np.testing.assert_array_equal(np.any(gradients[0], axis=1), mask)
  expected, step = np.zeros_like(predictions), 1e-6
  for index in np.ndindex(*predictions.shape):
    moved = np.zeros_like(predictions)
    moved[index] = step
    above = slow_loss(predictions + moved, targets, mask)
    below = slow_loss(predictions - moved, targets, mask)
    expected[index] = (above - below) / (2 * step)
  np.testing.assert_allclose(gradients[0], expected, atol=1e-6)


@pytest.mark.parametrize('which', [0, 1])
def test_zeros_are_at_right_angles_to_all(which):
  vectors = [np.ones((JUMPS, 8), np.float32), np.ones((JUMPS, 8), np.float32)]
  vectors[which][1] = 0.0
  loss, gradient = jax.value_and_grad(spr.loss)(*vectors, np.ones(JUMPS, bool))
  np.testing.assert_allclose(loss, 2.0 / JUMPS, atol=1e-6)
  assert np.all(np.isfinite(gradient))
  assert which == 1 or not np.any(gradient[1])


def test_a_nan_reaches_the_loss_unless_it_is_masked():
  predictions = np.ones((JUMPS, 8), np.float32)
  broken = predictions.copy()
  broken[2, 3] = np.nan
  mask = np.ones(JUMPS, bool)
  assert np.isnan(spr.loss(broken, predictions, mask))
  assert np.isnan(spr.loss(predictions, broken, mask))
  mask[2] = False
  assert spr.loss(broken, predictions, mask) == pytest.approx(0.0, abs=1e-6)


def test_one_example_at_a_time():
  with pytest.raises(AssertionError, match='rank'):
    spr.loss(jnp.ones((2, 3, 4)), jnp.ones((2, 3, 4)), jnp.ones((2, 3), bool))
