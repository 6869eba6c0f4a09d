"""One gradient step of one seed."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax

from experiments.supervised.methods import Batch
from experiments.supervised.schedule import Schedule
from experiments.supervised.training.network import Network
from experiments.supervised.training.state import TrainState
import ht_rl

PyTree: TypeAlias = Any
# From a key, a state, stored images and labels to the new state, and the sums
# of loss and hits over the batch.
Step: TypeAlias = Callable[
  [jax.Array, TrainState, jax.Array, jax.Array],
  tuple[TrainState, dict[str, jax.Array]],
]


def make_step(
  network: Network, schedule: Schedule, mesh: jax.sharding.Mesh
) -> Step:
  """Returns the function of a gradient step of a phase.

  Args:
    network: the network.
    schedule: the steps of the phase.
    mesh: devices that share the samples of a batch.
  """
  methods = [m for m in network.setting.all_methods if m.has('penalty')]
  renews_units = any(m.has('wrap_units') for m in network.setting.all_methods)
  optimizer = network.optimizer(schedule)

  def step(
    key: jax.Array, state: TrainState, images: jax.Array, labels: jax.Array
  ) -> tuple[TrainState, dict[str, jax.Array]]:
    if images.shape[0] % mesh.size == 0 and mesh.size > 1:
      by_sample = jax.NamedSharding(mesh, jax.P('data'))
      images = jax.lax.with_sharding_constraint(images, by_sample)
    image_key, dropout_key = jax.random.split(key)
    inputs = network.inputs(image_key, images)

    def loss_fn(params: PyTree) -> tuple[jax.Array, Any]:
      outputs, updated = network.model.apply(
        {'params': params, 'batch_stats': state.batch_stats},
        inputs,
        train=True,
        mutable=['batch_stats'],
        rngs={'dropout': dropout_key},
      )
      loss = jnp.mean(
        optax.softmax_cross_entropy_with_integer_labels(outputs.logits, labels)
      )
      batch = Batch(
        params,
        inputs,
        labels,
        outputs,
        teacher=lambda: network.apply(
          ht_rl.tortoise_params(state.opt_state), state.tortoise_stats, inputs
        ),
      )
      regularized = loss
      for method in methods:
        regularized += method.penalty(batch)
      hits = jnp.sum(jnp.argmax(outputs.logits, axis=-1) == labels)
      sums = {'train_loss': loss * len(labels), 'train_accuracy': hits}
      hidden = outputs.activations if renews_units else ()
      return regularized, (updated.get('batch_stats', {}), sums, hidden)

    grads, (stats, sums, hidden) = jax.grad(loss_fn, has_aux=True)(state.params)
    extra = {}
    if renews_units:
      extra['activations'] = dict(zip(network.units, hidden, strict=True))
    updates, opt_state = optimizer.update(
      grads, state.opt_state, state.params, **extra
    )
    stats, tortoise_stats = ht_rl.hare_tortoise_step(
      stats,
      state.tortoise_stats,
      opt_state.count,
      momentum=schedule.momentum,
      reset_every=schedule.reset_every,
    )
    params = optax.apply_updates(state.params, updates)
    return TrainState(params, stats, tortoise_stats, opt_state), sums

  return step
