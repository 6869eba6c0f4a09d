# /// script
# requires-python = ">=3.11"
# dependencies = ["flax", "ht_rl", "scikit-learn"]
#
# [tool.uv.sources]
# ht_rl = { path = "../.." }
# ///
"""Batch normalization in Flax: its statistics follow the same rule.

    python docs/examples/batchnorm.py

No optimizer trains the running statistics of batch normalization. Here
`hare_tortoise_step` averages and restarts them together with the weights, so
that the tortoise is a complete network. Prints the test accuracy of both
networks on 8x8 digits; after each restart they are bitwise equal.
"""

from typing import Any

from flax import linen as nn
from flax.training import train_state
import jax
import jax.numpy as jnp
import optax
from sklearn import datasets

import ht_rl

TRAIN, BATCH, UPDATES = 1280, 64, 550  # The other 517 digits are for testing.
RULE: dict[str, Any] = {'momentum': 0.99, 'reset_every': 100}


class Network(nn.Module):
  """Two hidden layers, each with batch normalization."""

  @nn.compact
  def __call__(self, x: jax.Array, train: bool) -> jax.Array:
    """Returns logits [B, 10] of images [B, 64]."""
    for _ in range(2):
      x = nn.Dense(100, use_bias=False)(x)
      x = nn.relu(nn.BatchNorm(not train, momentum=0.9)(x))
    return nn.Dense(10)(x)


class TrainState(train_state.TrainState):
  """Flax's, with the statistics of the hare and of the tortoise."""

  batch_stats: Any
  tortoise_stats: Any


@jax.jit
def step(state: TrainState, x: jax.Array, labels: jax.Array) -> TrainState:
  """One update of the weights and of the statistics."""

  def loss_fn(params):
    variables = {'params': params, 'batch_stats': state.batch_stats}
    logits, new = state.apply_fn(variables, x, True, mutable=['batch_stats'])
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return loss.mean(), new['batch_stats']

  grads, batch_stats = jax.grad(loss_fn, has_aux=True)(state.params)
  state = state.apply_gradients(grads=grads)
  # The weights are averaged by now, and restarted if that was due. The count of
  # their new state keeps the statistics in time with them.
  batch_stats, tortoise_stats = ht_rl.hare_tortoise_step(
    batch_stats, state.tortoise_stats, state.opt_state.count, **RULE
  )
  return state.replace(batch_stats=batch_stats, tortoise_stats=tortoise_stats)


def main(seed: int = 0) -> dict[str, float]:
  """Trains, prints the accuracies and returns the last ones."""
  x, labels = map(jnp.asarray, datasets.load_digits(return_X_y=True))
  x = (x - x.mean()) / x.std()
  init_key, order_key, batch_key = jax.random.split(jax.random.key(seed), 3)
  order = jax.random.permutation(order_key, len(x))
  x, labels = x[order], labels[order]

  network = Network()
  variables = network.init(init_key, x[:1], False)
  state = TrainState.create(
    apply_fn=network.apply,
    params=variables['params'],
    tx=ht_rl.hare_tortoise(optax.adamw(1e-3), **RULE),
    batch_stats=variables['batch_stats'],
    tortoise_stats=variables['batch_stats'],
  )

  @jax.jit
  def predict(params, batch_stats):
    variables = {'params': params, 'batch_stats': batch_stats}
    return network.apply(variables, x[TRAIN:], False)

  for update, key in enumerate(jax.random.split(batch_key, UPDATES), 1):
    batch = jax.random.randint(key, [BATCH], 0, TRAIN)
    state = step(state, x[batch], labels[batch])
    if update % 50 == 0:
      logits = {
        'hare': predict(state.params, state.batch_stats),
        'tortoise': predict(
          ht_rl.tortoise_params(state.opt_state), state.tortoise_stats
        ),
      }
      accuracies = {
        name: float(jnp.mean(y.argmax(-1) == labels[TRAIN:]))
        for name, y in logits.items()
      }
      equal = bool(jnp.array_equal(logits['hare'], logits['tortoise']))
      assert equal == (update % RULE['reset_every'] == 0)
      print(
        f'update {update}: test accuracy of the hare {accuracies["hare"]:.3f}, '
        f'of the tortoise {accuracies["tortoise"]:.3f}'
        + (', equal to the bit' if equal else '')
      )
  return accuracies


if __name__ == '__main__':
  main()
