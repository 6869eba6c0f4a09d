"""Self-predictive representations (SPR, Schwarzer et al., 2021): the loss.

From the latent of step t and the actions from there on, the network predicts
what the target network will make of the steps t + 1 .. t + K.
"""

import chex
import jax
import jax.numpy as jnp


def loss(
  predictions: chex.Array, targets: chex.Array, mask: chex.Array
) -> chex.Array:
  r"""The SPR loss of one example; batch it with `jax.vmap`.

  .. math:: \frac 1 K \sum_k m_k \, (2 - 2 \cos(\hat y_k, y_k))

  A vector of zeros counts as at right angles to all others, with no gradient.

  Args:
    predictions: what the online network expects of the next K steps, [K, D].
    targets: what the target network made of them, [K, D]; no gradient flows
      through them.
    mask: which of the K count, bool [K]: see `replay.Future`. The sum is
      divided by K, however many do.

  Returns:
    The loss, a scalar in ``0 .. 4``.
  """
  chex.assert_rank([predictions, targets, mask], [2, 2, 1])
  chex.assert_equal_shape([predictions, targets])
  targets = jax.lax.stop_gradient(targets)
  cosines = jnp.sum(_unit(predictions) * _unit(targets), axis=-1)
  return jnp.mean(jnp.where(mask, 2.0 - 2.0 * cosines, 0.0))


def _unit(x: chex.Array) -> chex.Array:
  """Scales the vectors of the last axis to length 1, zeros to themselves."""
  square = jnp.sum(x**2, axis=-1, keepdims=True)
  # The inner `where` keeps the branch that isn't taken, and its gradient,
  # finite: an all-black screen has a latent of zeros until biases have moved.
  inverse = jax.lax.rsqrt(jnp.where(square > 0, square, 1.0))
  return x * jnp.where(square > 0, inverse, 0.0)
