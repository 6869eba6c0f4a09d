"""ReDo: the recycling of dormant units."""

from collections.abc import Sequence
import dataclasses
from typing import Any, TypeAlias

from flax import traverse_util
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import optax

from experiments.supervised.methods.base import Method, Weights
from experiments.supervised.models import HiddenLayer, Outputs, units_of
from ht_rl import plasticity
from ht_rl.transforms import units

PyTree: TypeAlias = Any


@dataclasses.dataclass(frozen=True)
class ReDo(Method):
  """Recycles dormant units; see `recycle_dormant`.

  Attributes:
    threshold: score up to which a unit is dormant.
    renew_every: epochs between two recyclings.
    renews_by_phase: whether these are epochs of the phase, not of the whole
      training set.
  """

  threshold: float
  renew_every: int = 5
  renews_by_phase: bool = False

  @property
  def renews_units(self) -> bool:
    """Always."""
    return True

  def renew(
    self,
    weights: Weights,
    fresh: PyTree,
    outputs: Outputs,
    layers: Sequence[HiddenLayer],
  ) -> Weights:
    """Returns the weights without dormant units."""
    return recycle_dormant(
      weights, fresh, outputs.activations, layers, self.threshold
    )


def unit_activations(
  activations: Sequence[jax.Array],
  layers: Sequence[HiddenLayer],
  params: PyTree,
) -> dict[str, jax.Array]:
  """Returns the activations of each layer by its name, [batch, ..., m, units].

  Args:
    activations: of each layer, [batch, ..., m units]; with CReLU m is 2, the
      halves of a unit.
    layers: where their units are in the weights.
    params: the weights of the network.
  """
  places = units_of(layers)
  found = dict(zip(places, activations, strict=True))
  return units.by_unit(places, found, params)


def recycle_dormant(
  weights: Weights,
  fresh: PyTree,
  activations: Sequence[jax.Array],
  layers: Sequence[HiddenLayer],
  threshold: ArrayLike,
) -> Weights:
  """Gives dormant units new inputs and takes away their outputs (ReDo).

  The incoming weights of a dormant unit, its bias and its normalisation are
  new. Its outgoing weights are zero, so that the network's function is
  unchanged if the unit's output was zero. Adam's moments of all of these are
  zero.

  Args:
    weights: the weights and states.
    fresh: newly drawn weights.
    activations: of each layer on some samples, [batch, ..., m units].
    layers: where their units are in the weights.
    threshold: a unit is dormant up to this score, at least 0.

  Returns:
    The weights and states after it.

  References:
    Sokar et al., 2023, "The Dormant Neuron Phenomenon in Deep Reinforcement
    Learning", algorithm 1.
  """
  params, batch_stats, opt_state = weights
  dormant = {
    name: plasticity.dormant_units(of_units, threshold)
    for name, of_units in unit_activations(activations, layers, params).items()
  }
  stats = traverse_util.flatten_dict(batch_stats)
  for layer in layers:
    for name, start in (('mean', 0), ('var', 1)):
      path = (*(layer.norm or ()), name)
      if path in stats:
        stats[path] = jnp.where(dormant[layer.name], start, stats[path])
  incoming, outgoing = units.marks(units_of(layers), dormant, params)

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
  return Weights(
    jax.tree.map(renew, incoming, outgoing, params, fresh),
    traverse_util.unflatten_dict(stats),
    optax.tree.set(opt_state, **moments),
  )
