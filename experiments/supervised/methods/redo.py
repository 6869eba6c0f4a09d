"""ReDo: the recycling of dormant units."""

from collections.abc import Sequence
import dataclasses
from typing import Any, NamedTuple, TypeAlias

from flax import traverse_util
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import optax

from experiments.supervised.methods.base import Method, Weights
from experiments.supervised.models import HiddenLayer, Outputs
from ht_rl import plasticity
from ht_rl.transforms import units

PyTree: TypeAlias = Any


@dataclasses.dataclass(frozen=True)
class ReDo(Method):
  """Recycles dormant units; see `recycle_dormant`.

  Attributes:
    threshold: score up to which a unit is dormant.
    every: epochs between two recyclings.
    by_phase: whether these are epochs of the phase, not of the whole training
      set.
  """

  threshold: float
  every: int = 5
  by_phase: bool = False

  @property
  def renew_every(self) -> int:
    """Returns the interval."""
    return self.every

  @property
  def renews_by_phase(self) -> bool:
    """Returns whether the interval is in epochs of the phase."""
    return self.by_phase

  def renew(
    self,
    weights: Weights,
    fresh: PyTree,
    outputs: Outputs,
    layers: Sequence[HiddenLayer],
  ) -> Weights:
    """Returns the weights without dormant units."""
    recycled = recycle_dormant(
      *weights, fresh, outputs.activations, layers, self.threshold
    )
    return Weights(recycled.params, recycled.batch_stats, recycled.opt_state)


def unit_activations(
  activations: jax.Array, layer: HiddenLayer, params: PyTree
) -> jax.Array:
  """Returns the absolute activations of a layer, one column for each unit.

  Args:
    activations: [batch, ..., m units]; with CReLU m is 2, the halves of a unit.
    layer: the layer.
    params: the weights of the network.

  Returns:
    [batch, ..., m, units].
  """
  count = _at(params, layer.producer)['kernel'].shape[-1]
  shape = (*activations.shape[:-1], -1, count)
  return jnp.abs(activations).reshape(shape)


class Recycled(NamedTuple):
  """The weights and states after `recycle_dormant`.

  Attributes:
    params: the weights.
    batch_stats: the running statistics of batch normalisation.
    opt_state: the state of the optimizer.
    num_dormant: how many units were dormant, int32 scalar.
  """

  params: PyTree
  batch_stats: PyTree
  opt_state: optax.OptState
  num_dormant: jax.Array


def recycle_dormant(
  params: PyTree,
  batch_stats: PyTree,
  opt_state: optax.OptState,
  fresh: PyTree,
  activations: Sequence[jax.Array],
  layers: Sequence[HiddenLayer],
  threshold: ArrayLike,
) -> Recycled:
  """Gives dormant units new inputs and takes away their outputs (ReDo).

  The incoming weights of a dormant unit, its bias and its normalisation are
  new. Its outgoing weights are zero, so that the network's function is
  unchanged if the unit's output was zero. Adam's moments of all of these are
  zero.

  Args:
    params: the weights.
    batch_stats: the running statistics of batch normalisation.
    opt_state: the state of the optimizer, in which Adam's are `mu` and `nu`.
    fresh: newly drawn weights, a tree like the weights.
    activations: of each layer on some samples, [batch, ..., m units].
    layers: where their units are in the weights.
    threshold: a unit is dormant up to this score, at least 0.

  Returns:
    The weights and states after it.

  References:
    Sokar et al., 2023, "The Dormant Neuron Phenomenon in Deep Reinforcement
    Learning", algorithm 1.
  """
  stats = traverse_util.flatten_dict(batch_stats)
  dormant = {}
  for layer, activation in zip(layers, activations, strict=True):
    dormant[layer.name] = plasticity.dormant_units(
      unit_activations(activation, layer, params), threshold
    )
    if layer.norm is not None:
      for name, start in (('mean', 0), ('var', 1)):
        path = (*layer.norm, name)
        stats[path] = jnp.where(dormant[layer.name], start, stats[path])
  places = {layer.name: layer.units for layer in layers}
  incoming, outgoing = units.marks(places, dormant, params)

  def renew(into: Any, out_of: Any, w: Any, w_new: Any) -> jax.Array:
    return jnp.where(out_of, 0, jnp.where(into, w_new, w))

  def without(into: Any, out_of: Any, m: Any) -> jax.Array:
    return jnp.where(into | out_of, 0, m)

  moments = {
    name: jax.tree.map(
      without, incoming, outgoing, optax.tree.get(opt_state, name)
    )
    for name in ('mu', 'nu')
  }
  return Recycled(
    jax.tree.map(renew, incoming, outgoing, params, fresh),
    traverse_util.unflatten_dict(stats),
    optax.tree.set(opt_state, **moments),
    sum(map(jnp.sum, dormant.values()), jnp.int32(0)),
  )


def _at(tree: PyTree, path: Sequence[str]) -> PyTree:
  for name in path:
    tree = tree[name]
  return tree
