# /// script
# requires-python = ">=3.11"
# dependencies = ["ht_rl"]
#
# [tool.uv.sources]
# ht_rl = { path = "../.." }
# ///
"""Training on all devices: the tortoise has the sharding of the hare.

    python docs/examples/sharded.py

Each device has a part of the batch and of the hidden units. Only the parameters
and the data are placed: Adam's moments and the tortoise inherit the sharding of
the parameters. Checks this, compares with training on one device, and prints
the largest difference of a weight.
"""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
import numpy as np
import optax

import ht_rl

# A CPU acts as four devices; this has no effect on an accelerator.
jax.config.update('jax_num_cpu_devices', 4)

FEATURES, HIDDEN, BATCH, UPDATES = 32, 512, 256, 120
SPECS = {'weights_1': P(None, 'i'), 'bias': P('i'), 'weights_2': P('i')}

optimizer = ht_rl.hare_tortoise(
  optax.adamw(1e-3), momentum=0.99, reset_every=50
)


def init(key: jax.Array) -> dict[str, jax.Array]:
  """Draws the parameters of a network with one hidden layer."""
  key_1, key_2, key_3 = jax.random.split(key, 3)
  return {
    'weights_1': jax.random.normal(key_1, (FEATURES, HIDDEN)) / FEATURES**0.5,
    'bias': jax.random.normal(key_2, (HIDDEN,)),
    'weights_2': jax.random.normal(key_3, (HIDDEN,)) / HIDDEN**0.5,
  }


def loss(params: dict[str, jax.Array], x: jax.Array) -> jax.Array:
  """Returns the mean squared error; the target is the first feature."""
  hidden = jax.nn.relu(x @ params['weights_1'] + params['bias'])
  return jnp.mean(jnp.square(hidden @ params['weights_2'] - x[:, 0]))


# The whole training is one call. If a CPU acts as several devices, calls that
# overlap can block each other: a loop of jitted updates would have to wait for
# each (jax.block_until_ready). Accelerators need neither.
@functools.partial(jax.jit, donate_argnums=(0, 1))
def train(params, state, batches):
  """Trains on batches [updates, B, features]; names no sharding."""

  def step(carry, x):
    params, state = carry
    grads = jax.grad(loss)(params, x)
    updates, state = optimizer.update(grads, state, params)
    return (optax.apply_updates(params, updates), state), loss(params, x)

  (params, state), losses = jax.lax.scan(step, (params, state), batches)
  return params, state, losses


def run(devices: list[jax.Device]):
  """Trains on the devices; returns hare, optimizer state and losses."""
  mesh = jax.make_mesh(
    (len(devices),), ('i',), (AxisType.Auto,), devices=devices
  )
  place = functools.partial(NamedSharding, mesh)
  hare = jax.device_put(
    init(jax.random.key(0)), {name: place(spec) for name, spec in SPECS.items()}
  )
  batches = jax.device_put(
    jax.random.normal(jax.random.key(1), (UPDATES, BATCH, FEATURES)),
    place(P(None, 'i')),
  )
  return train(hare, optimizer.init(hare), batches)


def main() -> float:
  """Trains on all devices and on one; returns the largest difference."""
  devices = jax.devices()
  hare, state, losses = run(devices)
  print(f'{len(devices)} devices, loss {losses[0]:.2f} to {losses[-1]:.4f}')
  for name, slow in ht_rl.tortoise_params(state).items():
    part = slow.addressable_shards[0].data.shape
    print(f'{name} of the tortoise: {slow.shape}, on each device {part}')
  as_hare = optax.tree.map_params(
    optimizer,
    lambda slow, fast: slow.sharding.is_equivalent_to(fast.sharding, fast.ndim),
    state,
    hare,
    transform_non_params=lambda count: count.sharding.is_fully_replicated,
  )
  assert jax.tree.all(as_hare)

  differences = jax.tree.map(
    lambda many, one: np.abs(np.asarray(many) - np.asarray(one)).max(),
    (hare, state),
    run(devices[:1])[:2],
  )
  difference = float(max(jax.tree.leaves(differences)))
  assert difference < 1e-5
  print(f'largest difference from training on one device: {difference:.1e}')
  return difference


if __name__ == '__main__':
  main()
