"""The renewal of weights before an epoch, of one seed."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax

from experiments.supervised.methods import Method, Weights
from experiments.supervised.training.network import Network
from experiments.supervised.training.state import TrainState

PyTree: TypeAlias = Any


def make_renewal(network: Network, method: Method) -> Callable[..., TrainState]:
  """Returns the function in which a method renews the weights of a state.

  Args:
    network: the network.
    method: overrides `renew`.
  """

  def renew(
    key: jax.Array,
    state: TrainState,
    fresh: PyTree,
    images: jax.Array,
    indices: jax.Array,
    labels: jax.Array,
  ) -> TrainState:
    inputs, _ = network.sample(key, images, indices, labels)
    weights = method.renew(
      Weights(state.params, state.batch_stats, state.opt_state),
      fresh,
      network.apply(state.params, state.batch_stats, inputs),
      network.model.hidden_layers,
    )
    return state._replace(**weights._asdict())

  return renew
