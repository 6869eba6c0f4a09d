"""Optimizers that keep the value and the gradient of the last weights."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ht_rl

INNERS = {
  'lbfgs': optax.lbfgs(),
  'backtracking': optax.chain(
    optax.sgd(1.0),
    optax.scale_by_backtracking_linesearch(15, store_grad=True),
  ),
}
TRANSFORMS = {
  'hare_tortoise': lambda inner: ht_rl.hare_tortoise(
    inner, momentum=0.9, reset_every=3
  ),
  'reset_inner_state': lambda inner: ht_rl.hare_tortoise(
    inner, momentum=0.9, reset_every=3, reset_inner_state=True
  ),
  'shrink_and_perturb': lambda inner: ht_rl.shrink_and_perturb(
    inner,
    lambda key: jnp.array([5.0, -7.0]),
    keep=0.5,
    reset_every=3,
    reset_inner_state=False,
  ),
  'reset_subtree': lambda inner: ht_rl.reset_subtree(
    inner,
    lambda key: jnp.array([5.0, -7.0]),
    reset_mask=True,
    reset_every=3,
    reset_inner_state=False,
  ),
}


@pytest.mark.parametrize('compile', [lambda f: f, jax.jit])
@pytest.mark.parametrize('make', TRANSFORMS.values(), ids=TRANSFORMS)
@pytest.mark.parametrize('inner', INNERS.values(), ids=INNERS)
def test_no_value_and_gradient_of_other_weights_is_used(inner, make, compile):
  computed = []

  def loss(x):
    return jnp.sum(jnp.array([1.0, 10.0]) * (x - 2) ** 2)

  def counted(x):
    jax.debug.callback(lambda: computed.append(None))
    return loss(x)

  optimizer = make(inner)
  value_and_grad = optax.value_and_grad_from_state(counted)

  @compile
  def step(x, state):
    value, grad = value_and_grad(x, state=state)
    updates, state = optimizer.update(
      grad, state, x, value=value, grad=grad, value_fn=loss
    )
    return optax.apply_updates(x, updates), state, value, grad

  x, state = jnp.array([-3.0, 4.0]), optimizer.init(jnp.array([-3.0, 4.0]))
  for _ in range(8):
    # In NumPy: 2 c (x - 2).
    error = np.asarray(x, np.float64) - 2
    expected = error @ (error * [1, 10]), 2 * error * [1, 10]
    x, state, *actual = step(x, state)
    for a, b in zip(actual, expected, strict=True):
      np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
  jax.effects_barrier()
  # At the first step and after both restarts; else the kept ones are used.
  assert len(computed) == 3


class Pair(NamedTuple):
  value: jax.Array
  grad: jax.Array


def test_parameters_with_the_same_names_are_left_alone():
  params = Pair(value=jnp.ones(2), grad=jnp.ones(2))
  optimizer = ht_rl.hare_tortoise(optax.adam(0.1), momentum=0.9, reset_every=1)
  state = optimizer.init(params)
  _, state = optimizer.update(params, state, params)
  assert all(jnp.isfinite(x).all() for x in jax.tree.leaves(state))
