# /// script
# requires-python = ">=3.11"
# dependencies = ["ht_rl"]
#
# [tool.uv.sources]
# ht_rl = { path = "../.." }
# ///
"""Hare & Tortoise in a plain optax training loop.

    python docs/examples/quickstart.py

Fits a line to noisy points and prints the final errors of hare and tortoise:
the tortoise averages the noise away.
"""

import jax
import jax.numpy as jnp
import optax

import ht_rl

TRUTH = jnp.array([2.0, -1.0])


def loss(params: jax.Array, key: jax.Array) -> jax.Array:
  """Returns the mean squared error on 16 noisy points of a line."""
  x_key, noise_key = jax.random.split(key)
  x = jax.random.normal(x_key, (16, 2))
  y = x @ TRUTH + jax.random.normal(noise_key, (16,))
  return jnp.mean(jnp.square(x @ params - y))


optimizer = ht_rl.hare_tortoise(
  optax.adam(0.05), momentum=0.99, reset_every=100
)


@jax.jit
def step(params, state, key):
  """Does one update, as for any optax optimizer."""
  grads = jax.grad(loss)(params, key)
  updates, state = optimizer.update(grads, state, params)
  return optax.apply_updates(params, updates), state


def main(seed: int = 0) -> dict[str, float]:
  """Trains, prints the errors and returns them."""
  params = jnp.zeros(2)
  state = optimizer.init(params)
  for key in jax.random.split(jax.random.key(seed), 950):
    params, state = step(params, state, key)

  target_params = ht_rl.tortoise_params(state)

  hare = float(jnp.linalg.norm(params - TRUTH))
  tortoise = float(jnp.linalg.norm(target_params - TRUTH))
  print(f'error of the hare {hare:.3f}, of the tortoise {tortoise:.3f}')
  return {'hare': hare, 'tortoise': tortoise}


if __name__ == '__main__':
  main()
