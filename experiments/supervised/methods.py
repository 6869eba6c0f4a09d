"""What the methods add to the loss, and what they do to the weights.

Hare & Tortoise, the averages, weight decay and regenerative regularisation are
in the optimizer (`schedule.Schedule.optimizer`); CReLU is in the networks.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from flax import traverse_util
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import optax

from experiments.supervised.models import HiddenLayer
from ht_rl import plasticity

PyTree: TypeAlias = Any


def spectral_decoupling(logits: jax.Array) -> jax.Array:
  r"""The mean square of the logits, over the batch and the classes.

  >>> spectral_decoupling(jnp.array([[1.0, 3.0]]))
  Array(5., dtype=float32)

  Args:
    logits: float [batch, classes].

  Returns:
    float scalar.

  References:
    Pezeshki et al., 2021, "Gradient Starvation: A Learning Proclivity in Neural
    Networks", equation 14 (there a sum over classes, and half of it).
  """
  return jnp.mean(jnp.square(logits))


def self_distillation(student: jax.Array, teacher: jax.Array) -> jax.Array:
  r"""The divergence of the student's predictions from the teacher's.

  .. math::

    \frac{1}{B\,C} \sum_{b, c} p_{bc} \,(\log p_{bc} - \log q_{bc})

  with :math:`p` the teacher's probabilities and :math:`q` the student's.

  >>> logits = jnp.array([[0.0, 1.0]])
  >>> self_distillation(logits, logits)
  Array(0., dtype=float32)

  Args:
    student: logits, float [batch, classes].
    teacher: logits, float [batch, classes]; no gradient goes through them.

  Returns:
    float scalar.

  References:
    Lee et al., 2024, section 5.1. The mean over classes too is what the
    released code computes.
  """
  log_p = jax.nn.log_softmax(jax.lax.stop_gradient(teacher))
  log_q = jax.nn.log_softmax(student)
  return jnp.mean(jnp.exp(log_p) * (log_p - log_q))


def shrink(
  params: PyTree,
  initial: PyTree,
  fraction: ArrayLike,
  noise: ArrayLike | None = None,
  key: jax.Array | None = None,
) -> PyTree:
  r"""Takes all weights a part of the way back: shrink and perturb.

  .. math::

    \theta \leftarrow (1 - f)\, \theta + f\, \theta_0
    \qquad \text{or, with noise,} \qquad
    \theta \leftarrow (1 - f)\, \theta + \epsilon, \
    \epsilon \sim \mathcal{N}(0, \sigma^2)

  >>> shrink({'w': jnp.ones(1)}, {'w': jnp.zeros(1)}, 0.75)
  {'w': Array([0.25], dtype=float32)}

  Args:
    params: the weights.
    initial: the weights at the start of the run.
    fraction: :math:`f` in [0, 1]; with 0 the weights are left as they are,
      with 1 they are the initial ones, to the last bit.
    noise: :math:`\sigma`, at least 0; None for the first form.
    key: random key, where there is noise.

  Returns:
    A tree like the weights.

  References:
    Lee et al., 2024, appendix A.4, for the first; Ash & Adams, 2020, "On
    Warm-Starting Neural Network Training", section 4, for the second, whose
    :math:`\lambda` is :math:`1 - f`.
  """
  if noise is None:
    return jax.tree.map(
      lambda w, w_0: (1 - fraction) * w + fraction * w_0, params, initial
    )
  assert key is not None
  noises = optax.tree.random_like(key, params)
  return jax.tree.map(
    lambda w, e: (1 - fraction) * w + noise * e, params, noises
  )


def reset_head(params: PyTree, initial: PyTree) -> PyTree:
  """Gives the head its initial weights again.

  >>> reset_head({'backbone': 1, 'head': 2}, {'backbone': 3, 'head': 4})
  {'backbone': 1, 'head': 4}

  Args:
    params: the weights, `backbone` and `head`.
    initial: the weights at the start of the run.

  Returns:
    A tree like the weights.

  References:
    Nikishin et al., 2022, "The Primacy Bias in Deep Reinforcement Learning";
    the initial weights and no new draw: Lee et al., 2024, section 3.4.
  """
  return params | {'head': initial['head']}


def unit_activations(
  activations: jax.Array, layer: HiddenLayer, params: PyTree
) -> jax.Array:
  """The absolute activations of a layer, with one column a unit.

  Args:
    activations: [batch, ..., m units]; with CReLU m is 2, the halves of a unit.
    layer: the layer.
    params: the weights of the network.

  Returns:
    [batch, ..., m, units].
  """
  units = _at(params, layer.producer)['kernel'].shape[-1]
  shape = (*activations.shape[:-1], -1, units)
  return jnp.abs(activations).reshape(shape)


class Recycled(NamedTuple):
  """What `recycle_dormant` leaves.

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

  The incoming weights of a dormant unit, its bias and what normalises it are
  new; its outgoing weights are zero, so that the network computes what it did
  before if the unit put out zeros; Adam's moments of all of these are zero.

  Args:
    params: the weights.
    batch_stats: the running statistics of batch normalisation.
    opt_state: the state of the optimizer, in which Adam's are `mu` and `nu`.
    fresh: newly drawn weights, a tree like the weights.
    activations: of each layer on some samples, [batch, ..., m units].
    layers: where their units are in the weights.
    threshold: the score up to which a unit is dormant, at least 0.

  Returns:
    The weights and states after it.

  References:
    Sokar et al., 2023, "The Dormant Neuron Phenomenon in Deep Reinforcement
    Learning", algorithm 1.
  """
  weights = traverse_util.flatten_dict(params)
  renewed = traverse_util.flatten_dict(fresh)
  stats = traverse_util.flatten_dict(batch_stats)
  incoming = {path: jnp.zeros(w.shape, bool) for path, w in weights.items()}
  outgoing = dict(incoming)
  num_dormant = jnp.int32(0)
  for layer, activation in zip(layers, activations, strict=True):
    dormant = plasticity.dormant_units(
      unit_activations(activation, layer, params), threshold
    )
    num_dormant += jnp.sum(dormant)
    for path in weights:  # Units are the last axis of all that feeds them.
      if path[:-1] in (layer.producer, layer.norm):
        incoming[path] |= dormant
    kernel = (*layer.consumer, 'kernel')
    inputs = weights[kernel].shape[-2]
    outgoing[kernel] |= jnp.tile(dormant, inputs // dormant.size)[:, None]
    if layer.norm is not None:
      for name, start in (('mean', 0), ('var', 1)):
        path = (*layer.norm, name)
        stats[path] = jnp.where(dormant, start, stats[path])
  for path, w in weights.items():
    w = jnp.where(incoming[path], renewed[path], w)
    weights[path] = jnp.where(outgoing[path], 0, w)

  def without(moments: PyTree) -> PyTree:
    flat = traverse_util.flatten_dict(moments)
    for path, m in flat.items():
      flat[path] = jnp.where(incoming[path] | outgoing[path], 0, m)
    return traverse_util.unflatten_dict(flat)

  moments = {
    name: without(optax.tree.get(opt_state, name)) for name in ('mu', 'nu')
  }
  return Recycled(
    traverse_util.unflatten_dict(weights),
    traverse_util.unflatten_dict(stats),
    optax.tree.set(opt_state, **moments),
    num_dormant,
  )


def _at(tree: PyTree, path: Sequence[str]) -> PyTree:
  for name in path:
    tree = tree[name]
  return tree
