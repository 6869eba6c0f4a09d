"""Categorical value distributions (C51): support, projection and loss.

For each action the network outputs logits of a distribution over fixed atoms.
Functions take one example; batch them with `jax.vmap`.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np


def support(num_atoms: int = 51, v_max: float = 10.0) -> np.ndarray:
  """Returns the atoms' values, evenly spaced in ``-v_max .. v_max``.

  >>> support(5, v_max=2.0)
  array([-2., -1.,  0.,  1.,  2.], dtype=float32)

  Args:
    num_atoms: number of atoms N.
    v_max: the largest value.

  Returns:
    float32 [N], a constant under jit.
  """
  return np.linspace(-v_max, v_max, num_atoms).astype(np.float32)


def q_values(logits: chex.Array, support: chex.Array) -> chex.Array:
  """Computes expected values: ``sum_i softmax(logits)_i * support_i``.

  Args:
    logits: [..., N].
    support: values of the atoms, [N].

  Returns:
    Expected values, [...], in the dtype of the logits.
  """
  support = jnp.expand_dims(support, range(logits.ndim - 1))
  # Not a matrix product: accelerators compute it at lower precision.
  return jnp.sum(jax.nn.softmax(logits) * support, axis=-1)


def project(
  values: chex.Array, probabilities: chex.Array, support: chex.Array
) -> chex.Array:
  r"""Projects a distribution over any values onto the support.

  Values outside the support are clipped to it. The probability of a value
  between two atoms is split so that the mean is preserved:

  .. math::
    q_i = \sum_j p_j \max\bigl(0,
      1 - |\mathrm{clip}(v_j, z_0, z_{N-1}) - z_i| / \Delta z\bigr)

  >>> project(jnp.array([0.25, 7.0]), jnp.array([0.8, 0.2]), support(3, 1.0))
  Array([0. , 0.6, 0.4], dtype=float32)

  Args:
    values: values v, [M].
    probabilities: their probabilities p, [M].
    support: values z of the atoms, evenly spaced, [N].

  Returns:
    Probabilities q of the atoms, [N].

  References:
    Bellemare et al., "A Distributional Perspective on Reinforcement Learning",
    2017, equation 7.
  """
  chex.assert_rank([values, probabilities, support], 1)
  low, high = support[0], support[-1]
  spacing = (high - low) / (support.shape[0] - 1)
  values = jnp.clip(values, low, high)[None]
  distances = jnp.abs(values - support[:, None]) / spacing
  shares = jnp.maximum(1.0 - distances, 0.0)
  return jnp.sum(shares * probabilities[None], axis=-1)


def double_q_target(
  r_t: chex.Numeric,
  discount_t: chex.Numeric,
  logits_t_value: chex.Array,
  q_t_selector: chex.Array,
  support: chex.Array,
) -> chex.Array:
  """Computes the n-step target distribution of double Q-learning.

  The target is the distribution of ``r_t + discount_t * Z``, projected onto the
  support. Z has the logits ``logits_t_value[argmax_a q_t_selector[a]]``.

  Args:
    r_t: n-step return without its bootstrap, scalar.
    discount_t: ``gamma**n``, or 0 where the episode ended within the n steps.
    logits_t_value: the target network's logits, to bootstrap from, [A, N].
    q_t_selector: the online network's Q-values, to select the action, [A].
    support: values of the atoms, [N].

  Returns:
    Probabilities of the atoms, [N]; no gradient flows through them.
  """
  chex.assert_rank([r_t, discount_t, logits_t_value], [0, 0, 2])
  chex.assert_rank([q_t_selector, support], 1)
  probabilities = jax.nn.softmax(logits_t_value[jnp.argmax(q_t_selector)])
  target = project(r_t + discount_t * support, probabilities, support)
  return jax.lax.stop_gradient(target)


def double_q_loss(
  logits_tm1: chex.Array,
  a_tm1: chex.Numeric,
  r_t: chex.Numeric,
  discount_t: chex.Numeric,
  logits_t_value: chex.Array,
  q_t_selector: chex.Array,
  support: chex.Array,
) -> chex.Array:
  """Computes the cross-entropy to double Q-learning's target distribution.

  ``-sum_i target_i * log_softmax(logits_tm1[a_tm1])_i``

  Args:
    logits_tm1: logits of the transition's first state, [A, N].
    a_tm1: the action taken in that state, an integer scalar.
    r_t: n-step return without its bootstrap, scalar.
    discount_t: ``gamma**n``, or 0 where the episode ended.
    logits_t_value: target network's logits n steps later, [A, N].
    q_t_selector: online network's Q-values n steps later, [A].
    support: values of the atoms, [N].

  Returns:
    The loss, scalar.
  """
  chex.assert_rank([logits_tm1, a_tm1], [2, 0])
  target = double_q_target(
    r_t, discount_t, logits_t_value, q_t_selector, support
  )
  return -jnp.sum(target * jax.nn.log_softmax(logits_tm1[a_tm1]))
