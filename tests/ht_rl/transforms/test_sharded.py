"""The transforms on eight devices.

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
import pytest

import ht_rl

HARE_TORTOISE = ht_rl.hare_tortoise(
  optax.adam(0.1), momentum=0.9, reset_every=2, reset_inner_state=True
)
OPTIMIZERS = {
  'hare_tortoise': HARE_TORTOISE,
  'elastic_reset': ht_rl.elastic_reset(
    optax.adam(0.1), momentum=0.9, reset_every=2
  ),
  'shrink_and_perturb': ht_rl.shrink_and_perturb(
    HARE_TORTOISE, lambda key: parameters('float32'), keep=0.75, reset_every=3
  ),
  'reset_subtree': ht_rl.reset_subtree(
    optax.adam(0.1),
    lambda key: jax.random.normal(key, (4, 16)),
    reset_mask=True,
    reset_every=2,
  ),
  'regenerate': optax.chain(ht_rl.regenerate(0.1), optax.adam(0.1)),
}


def with_reader(parameters):
  """A layer, and one that reads its units: here with the same weights."""
  return {'layer': parameters, 'reader': parameters.T}


def continual_backprop():
  optimizer = ht_rl.continual_backprop(
    optax.adam(0.1),
    lambda key: with_reader(jax.random.normal(key, (4, 16))),
    layers={'layer': ht_rl.Units('layer', 'reader')},
    replacement_rate=0.1,
    maturity=1,
  )

  def update(updates, state, params, **extra_args):
    updates, state = optimizer.update(
      with_reader(updates), state, with_reader(params), **extra_args
    )
    return updates['layer'], state

  return optax.GradientTransformationExtraArgs(
    lambda params: optimizer.init(with_reader(params)), update
  )


LAYER = {
  'init': lambda key: jax.random.normal(key, (4, 16)),
  'layers': {'layer': ht_rl.Units(incoming='', outgoing=())},
}
# These have products of matrices, or a state of its own for each unit. In
# explicit mode JAX refuses some of their operations, as docs/reinitialize.md
# says, so they are tested in automatic mode alone.
PER_UNIT = {
  'parseval': optax.chain(ht_rl.parseval(0.1), optax.adam(0.1)),
  'fire': ht_rl.fire(optax.adam(0.1), reset_every=2),
  'redo': ht_rl.redo(optax.adam(0.1), **LAYER, threshold=0.5, reset_every=2),
  'self_normalized_resets': ht_rl.self_normalized_resets(
    optax.adam(0.1), **LAYER, rejection=0.5, max_interval=2, refresh_every=3
  ),
  'continual_backprop': continual_backprop(),
}


def parameters(dtype):
  rng = np.random.default_rng(0)
  return jnp.asarray(rng.normal(size=(4, 16)), dtype)


def make_step(optimizer):
  def step(params, state):
    hidden = jnp.ones((2, 16)).at[:, ::4].set(0)
    updates, state = optax.with_extra_args_support(optimizer).update(
      params, state, params, activations={'layer': hidden}
    )
    return optax.apply_updates(params, updates), state

  return step


def check_types_in_explicit_mode(optimizer, dtype):
  """The sharding is in the type; no step may change it, jitted or not."""
  mesh = jax.make_mesh((8,), ('x',), axis_types=(AxisType.Explicit,))
  with jax.set_mesh(mesh):
    params = jax.device_put(
      parameters(dtype), NamedSharding(mesh, PartitionSpec(None, 'x'))
    )
    state = optimizer.init(params)
    types = jax.tree.map(jax.typeof, state)
    arrays = [t for t in jax.tree.leaves(types) if t.ndim]
    assert arrays
    assert {t.sharding.spec for t in arrays} == {PartitionSpec(None, 'x')}
    assert jax.tree.map(jax.typeof, jax.jit(optimizer.init)(params)) == types
    step = make_step(optimizer)
    for function in (step, jax.jit(step)):
      new = params, state
      for _ in range(3):
        new = function(*new)
        assert jax.tree.map(jax.typeof, new) == (jax.typeof(params), types)


def check_a_replaced_tortoise():
  """It lies where the old one lay, wherever the new weights come from."""
  mesh = jax.make_mesh((8,), ('x',), axis_types=(AxisType.Auto,))
  sharding = NamedSharding(mesh, PartitionSpec(None, 'x'))
  state = HARE_TORTOISE.init(jax.device_put(parameters('float32'), sharding))
  for new in (np.ones((4, 16)), jax.device_put(jnp.ones((4, 16)))):
    replaced = ht_rl.replace_tortoise(state, new)
    assert replaced.tortoise.sharding == sharding
    assert (replaced.tortoise == 1).all()
  # Without devices of its own it still follows the arrays beside it.
  state = HARE_TORTOISE.init(parameters('float32'))
  replaced = ht_rl.replace_tortoise(state, np.ones((4, 16)))
  assert not replaced.tortoise.committed


def check_values_and_donation_in_automatic_mode(optimizer, dtype):
  """Sharded equals unsharded, and the state lies where the parameters lie."""
  mesh = jax.make_mesh((4, 2), ('x', 'y'), axis_types=(AxisType.Auto,) * 2)
  sharding = NamedSharding(mesh, PartitionSpec('x', 'y'))
  step = make_step(optimizer)
  alone = parameters(dtype), optimizer.init(parameters(dtype))
  params = jax.device_put(parameters(dtype), sharding)
  sharded = params, jax.jit(optimizer.init)(params)
  # What is made of them lies there from the start, zeros after an update.
  for x in jax.tree.leaves(sharded[1]):
    copied = x.shape == params.shape and (x == params).all()
    assert not copied or x.sharding.is_equivalent_to(sharding, 2)
  alone_step = jax.jit(step)
  donating = jax.jit(step, donate_argnums=(0, 1))
  for t in range(1, 5):
    old, old_hare = sharded, np.asarray(sharded[0], np.float32)
    alone, sharded = alone_step(*alone), donating(*sharded)
    assert old[0].is_deleted()
    assert t == 1 or all(x.is_deleted() for x in jax.tree.leaves(old) if x.ndim)
    for x in jax.tree.leaves(sharded):
      of_params = x.shape == params.shape
      assert not of_params or x.sharding.is_equivalent_to(sharding, 2)
    if optimizer is HARE_TORTOISE:
      distance = jnp.abs(sharded[0] - sharded[1].tortoise)
      # A narrower hare has the tortoise rounded, and rounds its way there.
      size = jnp.abs(sharded[0]) + jnp.abs(old_hare)
      bound = 0 if dtype == 'float32' else 2**-8 * size
      equal = distance <= bound
      assert equal.all() if t % 2 == 0 else not equal.all()
    # The same operations on each element, but for XLA's contractions.
    close = 1e-6 if dtype == 'float32' else 2**-7
    for a, b in zip(
      jax.tree.leaves(sharded), jax.tree.leaves(alone), strict=True
    ):
      np.testing.assert_allclose(
        np.asarray(a, np.float32), np.asarray(b, np.float32), close, close
      )


def check_shard_map(optimizer, population):
  """Inside shard_map each device trains as it does alone.

  Either all devices have the same weights, or each has its own (a population).
  """
  mesh = jax.make_mesh((8,), ('x',), axis_types=(AxisType.Auto,))
  spec = PartitionSpec('x') if population else PartitionSpec()
  step = make_step(optimizer)

  def train(params):
    carry = step(params[0], optimizer.init(params[0]))
    if population:
      # A count made by `init` is replicated; a scan needs what it will become.
      carry = jax.tree.map(
        lambda x: jnp.where(True, x, jax.lax.axis_index('x').astype(x.dtype)),
        carry,
      )
    carry, _ = jax.lax.scan(lambda c, _: (step(*c), None), carry, length=6)
    return jax.tree.map(lambda x: x[None], carry)

  scales = np.arange(1, 9) / 8 if population else np.ones(1)
  starts = jnp.stack([parameters('float32') * s for s in scales.astype('f4')])
  mapped = jax.shard_map(
    train, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=True
  )
  together = jax.jit(mapped)(starts)
  alone = jax.jit(jax.vmap(lambda p: step_alone(step, optimizer, p)))(starts)
  # The same operations on each element, but for XLA's contractions.
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, 1e-6, 1e-6), together, alone
  )


def step_alone(step, optimizer, params):
  carry = params, optimizer.init(params)
  return jax.lax.scan(lambda c, _: (step(*c), None), carry, length=7)[0]


@pytest.mark.slow
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
  check_a_replaced_tortoise()
  for name, checked in OPTIMIZERS.items():
    check_types_in_explicit_mode(checked, 'bfloat16')
    check_values_and_donation_in_automatic_mode(checked, 'bfloat16')
    if name == 'hare_tortoise':
      check_types_in_explicit_mode(checked, 'float32')
      check_values_and_donation_in_automatic_mode(checked, 'float32')
    for population in (False, True):
      check_shard_map(checked, population)
  for checked in PER_UNIT.values():
    check_values_and_donation_in_automatic_mode(checked, 'float32')
    for population in (False, True):
      check_shard_map(checked, population)
  # An update that is the same on each device, of weights that are not.
  frozen = ht_rl.shrink_and_perturb(
    optax.set_to_zero(), lambda key: jnp.zeros((4, 16)), keep=0.5, reset_every=2
  )
  check_shard_map(frozen, population=True)
  print(len(jax.devices()), 'devices checked')
