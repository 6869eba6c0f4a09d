"""Temporal-difference losses of one example; batch them with `jax.vmap`."""

import chex
import jax
import jax.numpy as jnp


def huber(x: chex.Array, delta: float = 1.0) -> chex.Array:
  """Computes the Huber loss: quadratic near zero, linear beyond (1964).

  Args:
    x: errors, any shape.
    delta: absolute error where the two branches meet.

  Returns:
    ``x**2 / 2`` where ``|x| <= delta``, else ``delta * (|x| - delta / 2)``.
  """
  magnitude = jnp.abs(x)
  quadratic = jnp.minimum(magnitude, delta)
  return 0.5 * quadratic**2 + delta * (magnitude - quadratic)


def double_q_target(
  r_t: chex.Numeric,
  discount_t: chex.Numeric,
  q_t_value: chex.Array,
  q_t_selector: chex.Array,
) -> chex.Array:
  """Computes the n-step double Q-learning target (van Hasselt et al., 2016).

  ``r_t + discount_t * q_t_value[argmax_a q_t_selector[a]]``

  Args:
    r_t: n-step return without its bootstrap, scalar.
    discount_t: ``gamma**n``, or 0 where the episode ended within the n steps.
    q_t_value: the target network's Q-values, to bootstrap from, [A].
    q_t_selector: the online network's Q-values, to select the action, [A].

  Returns:
    The bootstrapped target, scalar; no gradient flows through it.
  """
  chex.assert_rank([r_t, discount_t, q_t_value, q_t_selector], [0, 0, 1, 1])
  target = r_t + discount_t * q_t_value[jnp.argmax(q_t_selector)]
  return jax.lax.stop_gradient(target)


def double_q_error(
  q_tm1: chex.Array,
  a_tm1: chex.Numeric,
  r_t: chex.Numeric,
  discount_t: chex.Numeric,
  q_t_value: chex.Array,
  q_t_selector: chex.Array,
) -> chex.Array:
  """Computes the temporal-difference error of double Q-learning.

  Args:
    q_tm1: Q-values of the transition's first state, [A].
    a_tm1: the action taken in that state, an integer scalar.
    r_t: n-step return without its bootstrap, scalar.
    discount_t: ``gamma**n``, or 0 where the episode ended.
    q_t_value: target network's Q-values n steps later, [A].
    q_t_selector: online network's Q-values n steps later, [A].

  Returns:
    ``target - q_tm1[a_tm1]``, scalar.
  """
  chex.assert_rank([q_tm1, a_tm1], [1, 0])
  target = double_q_target(r_t, discount_t, q_t_value, q_t_selector)
  return target - q_tm1[a_tm1]
