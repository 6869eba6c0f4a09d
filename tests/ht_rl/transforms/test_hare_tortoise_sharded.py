"""Hare & Tortoise on eight devices.

The number of devices is fixed when JAX starts, so the checks run in a process
of their own: this file, as a script.
"""

import os
from pathlib import Path
import subprocess
import sys

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec
import numpy as np
import optax

import ht_rl

OPTIMIZER = ht_rl.hare_tortoise(
  optax.adam(0.1), momentum=0.9, reset_every=2, reset_inner_state=True
)


def parameters(dtype):
  rng = np.random.default_rng(0)
  return jnp.asarray(rng.normal(size=(4, 16)), dtype)


def step(hare, state):
  updates, state = OPTIMIZER.update(hare, state, hare)
  return optax.apply_updates(hare, updates), state


def check_types_in_explicit_mode(dtype):
  """The sharding is in the type; no step may change it, jitted or not."""
  mesh = jax.make_mesh((8,), ('x',), axis_types=(AxisType.Explicit,))
  with jax.set_mesh(mesh):
    hare = jax.device_put(
      parameters(dtype), NamedSharding(mesh, PartitionSpec(None, 'x'))
    )
    state = OPTIMIZER.init(hare)
    types = jax.tree.map(jax.typeof, state)
    assert types.tortoise.sharding.spec == PartitionSpec(None, 'x')
    assert jax.tree.map(jax.typeof, jax.jit(OPTIMIZER.init)(hare)) == types
    for function in (step, jax.jit(step)):
      new = hare, state
      for _ in range(2):
        new = function(*new)
        assert jax.tree.map(jax.typeof, new) == (jax.typeof(hare), types)


def check_values_and_donation_in_automatic_mode(dtype):
  """Sharded equals unsharded, the tortoise lies where the hare lies."""
  mesh = jax.make_mesh((4, 2), ('x', 'y'), axis_types=(AxisType.Auto,) * 2)
  sharding = NamedSharding(mesh, PartitionSpec('x', 'y'))
  alone = parameters(dtype), OPTIMIZER.init(parameters(dtype))
  hare = jax.device_put(parameters(dtype), sharding)
  sharded = hare, jax.jit(OPTIMIZER.init)(hare)
  assert sharded[1].tortoise.sharding.is_equivalent_to(sharding, 2)
  donating = jax.jit(step, donate_argnums=(0, 1))
  for t in range(1, 5):
    old = sharded
    alone, sharded = jax.jit(step)(*alone), donating(*sharded)
    assert old[0].is_deleted()
    assert old[1].tortoise.is_deleted()
    hare, tortoise = sharded[0], sharded[1].tortoise
    assert hare.sharding.is_equivalent_to(sharding, 2)
    assert tortoise.sharding.is_equivalent_to(sharding, 2)
    equal = hare.astype(jnp.float32) == tortoise
    assert equal.all() if t % 2 == 0 else not equal.any()
    # The same operations on each element, but for XLA's contractions.
    close = 1e-6 if dtype == 'float32' else 2**-7
    for a, b in zip(
      jax.tree.leaves(sharded), jax.tree.leaves(alone), strict=True
    ):
      np.testing.assert_allclose(
        np.asarray(a, np.float32), np.asarray(b, np.float32), close, close
      )


def test_eight_devices():
  root = Path(ht_rl.__file__).parents[1]
  environment = {
    **os.environ,
    'JAX_PLATFORMS': 'cpu',
    'PYTHONPATH': str(root),
    'XLA_FLAGS': '--xla_force_host_platform_device_count=8',
  }
  done = subprocess.run(
    [sys.executable, __file__],
    env=environment,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout.split() == ['8', 'devices', 'checked']


if __name__ == '__main__':
  for name in ('float32', 'bfloat16'):
    check_types_in_explicit_mode(name)
    check_values_and_donation_in_automatic_mode(name)
  print(len(jax.devices()), 'devices checked')
