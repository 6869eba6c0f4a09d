"""An optimizer that restarts for a while converges afterwards.

optax asks this of what is contributed to it (`contrib/_common_test.py`); the
check is our own. Much is computed here, so XLA's optimisations stay on.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ht_rl


def square(z):
  return (z * jnp.conj(z)).real


def parabola(end):
  end = jnp.array(end)
  return jnp.zeros_like(end) - 1, end, lambda x: jnp.sum(square(x - end))


def rosenbrock(a):
  def loss(x):
    return square(a - x[0]) + 100 * square(x[1] - x[0] ** 2)

  a = jnp.array(a)
  return jnp.zeros_like(a, shape=2), jnp.array([a, a**2]), loss


PARABOLAS = {
  'vector': parabola([1.0, -1.0, 1.0]),
  'matrix': parabola([[3.0, -2.0], [1.0, 4.0]]),
  'complex': parabola([1.0 + 2.0j, -3.0j]),
}
PROBLEMS = {
  **PARABOLAS,
  'rosenbrock': rosenbrock(1.0),
  'complex rosenbrock': rosenbrock(0.8 + 0.6j),
}


@pytest.mark.parametrize(
  ('inner', 'problems'),
  [
    (optax.sgd(1e-3), PROBLEMS),
    (optax.adam(3e-3), PROBLEMS),
    (optax.contrib.dowg(), PARABOLAS),
  ],
  ids=['sgd', 'adam', 'dowg'],
)
def test_converges(make_optimizer, inner, problems):
  # All at once: the parameters of each problem are a branch of one tree.
  start, end, losses = (
    {name: problem[i] for name, problem in problems.items()} for i in range(3)
  )
  optimizer = make_optimizer(
    inner, start, lambda t: (t % 900 == 0) & (t < 5000)
  )

  def loss(params):
    return sum(losses[name](x) for name, x in params.items())

  def step(carry, _):
    params, state = carry
    gradient = jax.tree.map(jnp.conj, jax.grad(loss)(params))
    updates, new = optimizer.update(gradient, state, params)
    return (optax.apply_updates(params, updates), new), None

  (params, state), _ = jax.lax.scan(
    step, (start, optimizer.init(start)), length=25_000
  )
  assert_converged(params, end)
  if make_optimizer.__name__ == 'hare_tortoise':
    assert_converged(ht_rl.tortoise_params(state), end)


def assert_converged(actual, expected):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-3),
    actual,
    expected,
  )
