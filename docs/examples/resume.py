# /// script
# requires-python = ">=3.11"
# dependencies = ["ht_rl", "orbax-checkpoint"]
#
# [tool.uv.sources]
# ht_rl = { path = "../.." }
# ///
"""Orbax checkpoints: the tortoise is saved with the optimizer's state.

    python docs/examples/resume.py

Trains to the end; then trains again, stops midway and continues from the newest
checkpoint alone. Checks that both runs end with the same bits in every array,
prints the number of arrays, and returns it.
"""

import pathlib
import tempfile

import jax
import jax.numpy as jnp
import optax
import orbax.checkpoint as ocp

import ht_rl

UPDATES, STOP = 500, 270  # In the middle of an interval.
CHECKPOINTS = ocp.CheckpointManagerOptions(
  save_interval_steps=50, max_to_keep=2
)

optimizer = ht_rl.hare_tortoise(
  optax.adam(1e-2), momentum=0.99, reset_every=100
)


def init():
  """Returns the hare and the state of the optimizer, tortoise included."""
  params = {'weights': jnp.zeros(8), 'bias': jnp.zeros([])}
  return {'params': params, 'opt_state': optimizer.init(params)}


def loss(params, x):
  """Mean squared error; the sine of the first feature is to be learned."""
  y = x @ params['weights'] + params['bias']
  return jnp.mean(jnp.square(y - jnp.sin(x[:, 0])))


@jax.jit
def step(training, key):
  """One update."""
  params, state = training['params'], training['opt_state']
  # The batch depends on the number of the update alone: a generator of random
  # numbers that lives elsewhere would have to be saved, too.
  x = jax.random.normal(jax.random.fold_in(key, state.count), (32, 8))
  grads = jax.grad(loss)(params, x)
  updates, state = optimizer.update(grads, state, params)
  return {'params': optax.apply_updates(params, updates), 'opt_state': state}


def train(folder: pathlib.Path, updates: int):
  """Trains up to that number of updates, from the newest checkpoint if any."""
  with ocp.CheckpointManager(folder, options=CHECKPOINTS) as manager:
    done = manager.latest_step()
    if done is None:
      training = init()
    else:
      # The template has structure, shapes and dtypes, and computes nothing.
      # Without it, Orbax gives back dicts where optax has named tuples.
      template = jax.eval_shape(init)
      training = manager.restore(done, args=ocp.args.StandardRestore(template))
    for update in range((done or 0) + 1, updates + 1):
      training = step(training, jax.random.key(0))
      manager.save(update, args=ocp.args.StandardSave(training))
  print(f'trained from update {done or 0} to {updates}')
  return training


def main() -> int:
  """Trains without and with a stop; returns how many arrays are equal."""
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    expected = train(folder / 'whole', UPDATES)
    train(folder / 'stopped', STOP)
    resumed = train(folder / 'stopped', UPDATES)
  equal = jax.tree.map(jnp.array_equal, expected, resumed)
  assert jax.tree.all(equal)
  number = len(jax.tree.leaves(equal))
  print(f'all {number} arrays are equal to the bit, the tortoise among them')
  return number


if __name__ == '__main__':
  main()
