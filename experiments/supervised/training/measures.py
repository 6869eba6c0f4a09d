"""Functions that test a network and measure its plasticity, for one seed."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax

from experiments.supervised.methods.redo import unit_activations
from experiments.supervised.training.network import Network, kernels
from experiments.supervised.training.state import TrainState
from ht_rl import plasticity

PyTree: TypeAlias = Any

# The score up to which a unit counts as dormant in these measurements.
DORMANT_THRESHOLD = 0.025


def make_test(
  network: Network, *, some_labels: bool
) -> Callable[..., dict[str, jax.Array]]:
  """Returns a function of weights, statistics, stored images and their labels.

  It returns the sums over the images of `accuracy`, `top5` and `loss`.

  Args:
    network: the network.
    some_labels: whether labels may be -1: such images do not count.
  """

  def test(
    params: PyTree, stats: PyTree, images: jax.Array, labels: jax.Array
  ) -> dict[str, jax.Array]:
    inputs = network.normalize(images)
    logits = network.apply(params, stats, inputs).logits
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    own = jnp.take_along_axis(logits, labels[:, None], axis=-1)
    of_images = {
      'accuracy': jnp.argmax(logits, axis=-1) == labels,
      'top5': jnp.sum(logits > own, axis=-1) < 5,
      'loss': loss,
    }
    counts = labels >= 0 if some_labels else None
    return {name: jnp.sum(x, where=counts) for name, x in of_images.items()}

  return test


def make_measure(network: Network) -> Callable[..., dict[str, jax.Array]]:
  """Returns a function that measures the plasticity of the hare.

  Its arguments are a key, a state, the initial weights and statistics, all
  images, and the indices and labels of a phase; see `Trainer.measure`.
  """

  def measure(
    key: jax.Array,
    state: TrainState,
    initial: PyTree,
    images: jax.Array,
    indices: jax.Array,
    labels: jax.Array,
  ) -> dict[str, jax.Array]:
    inputs, labels = network.sample(key, images, indices, labels)
    params, stats = state.params, state.batch_stats
    outputs = network.apply(params, stats, inputs)

    def cross_entropy(logits: jax.Array) -> jax.Array:
      return jnp.mean(
        optax.softmax_cross_entropy_with_integer_labels(logits, labels)
      )

    def loss_of_features(features: jax.Array) -> jax.Array:
      variables = {'params': params, 'batch_stats': stats}
      return cross_entropy(
        network.model.apply(variables, features, method='head')
      )

    def loss_of_params(params: PyTree) -> jax.Array:
      return cross_entropy(network.apply(params, stats, inputs).logits)

    units = unit_activations(
      outputs.activations, network.model.hidden_layers, params
    ).values()
    features = outputs.features
    dormant = (
      {'dormant': plasticity.dormant_ratio([*units], DORMANT_THRESHOLD)}
      if units
      else {}
    )
    return {
      'weight_magnitude': plasticity.weight_magnitude(kernels(params)),
      'weight_distance': plasticity.weight_distance(
        kernels(params), kernels(initial[0])
      ),
      'weight_norm': _mean_norm(params),
      'weight_norm_distance': _mean_norm(
        jax.tree.map(jnp.subtract, params, initial[0])
      ),
      'zero_gradients': plasticity.zero_ratio(
        jax.grad(loss_of_features)(features)
      ),
      'zero_parameter_gradients': plasticity.zero_ratio(
        jax.grad(loss_of_params)(params)
      ),
      'zero_activations': plasticity.zero_ratio(features),
      **dormant,
      'feature_rank': plasticity.feature_rank(features),
      'effective_rank': plasticity.effective_rank(features),
    }

  return measure


def _mean_norm(params: PyTree) -> jax.Array:
  """Returns the sum over arrays of norm divided by number of entries."""
  norms = [jnp.linalg.norm(w.ravel()) / w.size for w in jax.tree.leaves(params)]
  return sum(norms, start=jnp.float32(0))
