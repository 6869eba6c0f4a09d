"""The loss of self-predictive representations (SPR, Schwarzer et al., 2021).

From the latent of step t and the actions that follow, the network predicts the
target network's projections of the steps t + 1 .. t + K.
"""

import chex
import jax
import jax.numpy as jnp


def loss(
  predictions: chex.Array, targets: chex.Array, mask: chex.Array
) -> chex.Array:
  r"""Computes the SPR loss of one example; batch it with `jax.vmap`.

  .. math:: \frac 1 K \sum_k m_k \, (2 - 2 \cos(\hat y_k, y_k))

  The cosine with a vector of zeros is 0, and so is its gradient.

  Args:
    predictions: the online network's predictions of the next K steps, [K, D].
    targets: the target network's projections of these steps, [K, D]; no
      gradient flows through them.
    mask: which of the K steps count, bool [K]: see `replay.Future`. The sum is
      divided by K even if fewer steps count.

  Returns:
    The loss, a scalar in ``0 .. 4``.
  """
  chex.assert_rank([predictions, targets, mask], [2, 2, 1])
  chex.assert_equal_shape([predictions, targets])
  targets = jax.lax.stop_gradient(targets)
  cosines = jnp.sum(_unit(predictions) * _unit(targets), axis=-1)
  return jnp.mean(jnp.where(mask, 2.0 - 2.0 * cosines, 0.0))


def _unit(x: chex.Array) -> chex.Array:
  """Scales vectors along the last axis to length 1; zeros stay zeros."""
  square = jnp.sum(x**2, axis=-1, keepdims=True)
  # The inner `where` keeps the branch that is not taken, and its gradient,
  # finite: a black screen has a latent of zeros while all biases are zero.
  inverse = jax.lax.rsqrt(jnp.where(square > 0, square, 1.0))
  return x * jnp.where(square > 0, inverse, 0.0)
