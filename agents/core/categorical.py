"""Categorical value distributions (C51): their support, projection and loss.

A network gives each action's value as a distribution over fixed atoms, by its
logits. The functions of one example are batched with `jax.vmap`.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np


def support(num_atoms: int = 51, v_max: float = 10.0) -> np.ndarray:
  """The values of the atoms, evenly spaced in ``-v_max .. v_max``.

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
  """The means of distributions: ``sum_i softmax(logits)_i * support_i``.

  Args:
    logits: [..., N].
    support: values of the atoms, [N].

  Returns:
    Means, [...], in the dtype of the logits.
  """
  # Not a matrix product, which accelerators compute in fewer bits.
  return jnp.sum(jax.nn.softmax(logits) * support, axis=-1)


def project(
  values: chex.Array, probabilities: chex.Array, support: chex.Array
) -> chex.Array:
  r"""Moves a distribution on any values to the atoms of the support.

  A value outside the support counts as the atom at its end; the probability of
  one between two atoms is split so that the mean stays:

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
  distances = jnp.abs(jnp.clip(values, low, high) - support[:, None]) / spacing
  return jnp.sum(jnp.maximum(1.0 - distances, 0.0) * probabilities, axis=-1)


def double_q_target(
  r_t: chex.Numeric,
  discount_t: chex.Numeric,
  logits_t_value: chex.Array,
  q_t_selector: chex.Array,
  support: chex.Array,
) -> chex.Array:
  """The target distribution of double Q-learning, n-step.

  That of ``r_t + discount_t * Z``, with Z distributed as `logits_t_value` says
  for the action ``argmax_a q_t_selector[a]``, on the atoms of the support.

  Args:
    r_t: n-step return without its bootstrap, scalar.
    discount_t: ``gamma**n``, or 0 where the episode ended within the n steps.
    logits_t_value: logits of the distributions that are read, [A, N]: the
      target network's.
    q_t_selector: Q-values that choose the action, [A]: the online network's.
    support: values of the atoms, [N].

  Returns:
    Probabilities of the atoms, [N], through which no gradient flows.
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
  """Cross-entropy of double Q-learning's target distribution.

  ``-sum_i target_i * log_softmax(logits_tm1[a_tm1])_i``

  Args:
    logits_tm1: logits of the state that is learned about, [A, N].
    a_tm1: the action taken there, an integer scalar.
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
