"""Schedules for the momentum of an average."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ht_rl import arguments


def momentum_warm_up(momentum: ArrayLike) -> Callable[[ArrayLike], jax.Array]:
  r"""Returns a schedule that starts at 0.1 and grows to a momentum.

  .. math:: \mu_t = \min\left(\mu, \frac{1 + t}{10 + t}\right)

  with :math:`t` the number of updates done before. The average forgets the
  first weights quickly, and its horizon grows with the run.

  Args:
    momentum: :math:`\mu`, a number in [0, 1).

  Returns:
    A schedule, as :func:`hare_tortoise` takes one for its ``momentum``.

  Raises:
    ValueError: if ``momentum`` is outside its range.

  Examples:
    >>> schedule = momentum_warm_up(0.5)
    >>> [round(float(schedule(t)), 2) for t in (0, 5, 8, 1000)]
    [0.1, 0.4, 0.5, 0.5]

  References:
    ``num_updates`` of TensorFlow's ``tf.train.ExponentialMovingAverage``.
  """
  arguments.check_scalar(
    'momentum', momentum, 'a number in [0, 1)', lambda mu: 0 <= mu < 1
  )

  def schedule(count: ArrayLike) -> jax.Array:
    t = jnp.asarray(count, jnp.float32)
    return jnp.minimum(jnp.asarray(momentum, jnp.float32), (1 + t) / (10 + t))

  return schedule
