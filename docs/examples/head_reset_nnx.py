# /// script
# requires-python = ">=3.11"
# dependencies = ["flax", "ht_rl"]
#
# [tool.uv.sources]
# ht_rl = { path = "../.." }
# ///
"""Resets of the head with Flax NNX, around Hare & Tortoise.

    python docs/examples/head_reset_nnx.py

An ``nnx.Optimizer`` calls its transformation with states of plain arrays
(``nnx.as_pure``), not of ``nnx.Param``. The fresh weights for ``reset_subtree``
and ``shrink_and_perturb`` and both trees for ``replace_tortoise`` must be such
states, too. A mask is simplest as a function of the paths.

Fits a sine and prints the loss of the tortoise before the last reset, right
after it, and at the end.
"""

from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import optax

import ht_rl

RESET_EVERY, UPDATES = 1000, 3000
X = jnp.linspace(-3, 3, 256)[:, None]


class Network(nnx.Module):
  """A body and a head."""

  def __init__(self, rngs: nnx.Rngs):
    self.body = nnx.Linear(1, 64, rngs=rngs)
    self.head = nnx.Linear(64, 1, rngs=rngs)

  def __call__(self, x: jax.Array) -> jax.Array:
    """Returns predictions."""
    return self.head(jnp.tanh(self.body(x)))


def weights(network: nnx.Module) -> nnx.State:
  """Returns the parameters as the optimizer sees them."""
  return nnx.as_pure(nnx.state(network, nnx.Param))


def is_head(params: nnx.State) -> Any:
  """Returns the mask of the head: bools like the parameters."""
  return jax.tree_util.tree_map_with_path(
    lambda path, _: 'head' in jax.tree_util.keystr(path), params
  )


def loss(network: Network) -> jax.Array:
  """Returns the mean squared error."""
  return jnp.mean(jnp.square(network(X) - jnp.sin(X)))


@nnx.jit
def step(network: Network, optimizer: nnx.Optimizer) -> None:
  """Updates the network once."""
  optimizer.update(network, nnx.grad(loss)(network))


def tortoise_loss(network: Network, optimizer: nnx.Optimizer) -> float:
  """Returns the loss of the slow weights."""
  tortoise = ht_rl.tortoise_params(optimizer.opt_state)
  return float(loss(nnx.merge(nnx.graphdef(network), tortoise)))


def main() -> list[float]:
  """Trains, and returns the losses around the last reset and at the end."""
  network = Network(nnx.Rngs(0))
  optimizer = nnx.Optimizer(
    network,
    ht_rl.reset_subtree(
      ht_rl.hare_tortoise(optax.adam(1e-2), momentum=0.9, reset_every=100),
      lambda key: weights(Network(nnx.Rngs(key))),
      reset_mask=is_head,
      reset_every=RESET_EVERY,
    ),
    wrt=nnx.Param,
  )
  losses = []
  for update in range(1, UPDATES + RESET_EVERY):
    step(network, optimizer)
    if update in (UPDATES - 1, UPDATES, UPDATES + RESET_EVERY - 1):
      losses.append(tortoise_loss(network, optimizer))

  # By hand: make the tortoise a copy of the network, as after loading weights.
  state = ht_rl.replace_tortoise(
    nnx.as_pure(optimizer.opt_state), weights(network)
  )
  nnx.update(optimizer.opt_state, nnx.state(state))
  assert tortoise_loss(network, optimizer) == loss(network)
  print('loss {:.5f}, reset to {:.5f}, {:.5f} in the end'.format(*losses))
  return losses


if __name__ == '__main__':
  main()
