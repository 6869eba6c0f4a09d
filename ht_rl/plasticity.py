"""Measures of plasticity: weight norms, zeros, dormant units and ranks.

Pure functions of weights, gradients or activations; all of them work inside
``jit`` and ``vmap``. Dtypes narrower than float32 are measured in float32.

Lee et al., 2024, "Slow and Steady Wins the Race: Maintaining Plasticity with
Hare and Tortoise Networks", appendix C, compares these measures with
generalisation.
"""

from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ht_rl import arguments, dtypes
from ht_rl.transforms import checks

PyTree: TypeAlias = Any

_COUNTABLE = 2**30


def weight_magnitude(params: PyTree) -> jax.Array:
  r"""The mean square of the weights of each layer, summed over the layers.

  .. math:: \sum_l \frac{1}{n_l} \sum_{w \in l} |w|^2

  >>> params = {'kernel': jnp.array([[1.0, 3.0]]), 'bias': jnp.array([2.0])}
  >>> weight_magnitude(params)
  Array(9., dtype=float32)

  Args:
    params: the weights, a tree; each of its arrays is a layer :math:`l` of
      :math:`n_l` weights. (To leave biases out, pass the kernels alone.)

  Returns:
    float32 scalar; float64 for float64 weights.

  References:
    Lee et al., 2024, appendix C.
  """
  means = [jnp.mean(jnp.square(jnp.abs(_wide(w)))) for w in _layers(params)]
  dtype = dtypes.at_least_float32(*means)
  return sum((mean.astype(dtype) for mean in means), jnp.zeros((), dtype))


def weight_distance(params: PyTree, initial: PyTree) -> jax.Array:
  r"""The mean square distance from the initial weights, summed over the layers.

  .. math:: \sum_l \frac{1}{n_l} \sum_{w \in l} |w - w_0|^2

  >>> weight_distance({'kernel': jnp.array([4.0, 1])}, {'kernel': jnp.ones(2)})
  Array(4.5, dtype=float32)

  Args:
    params: the weights, as in `weight_magnitude`.
    initial: the weights at the start, of the same structure and shapes.

  Returns:
    float32 scalar; float64 for float64 weights.

  Raises:
    ValueError: the structure or a shape differs.

  References:
    Lee et al., 2024, appendix C.
  """
  checks.check_like('initial', initial, params, 'params')

  def difference(w: Any, w_0: Any) -> jax.Array:
    wide = dtypes.at_least_float32(w, w_0)
    return jnp.asarray(w, wide) - jnp.asarray(w_0, wide)

  pairs = zip(jax.tree.leaves(params), jax.tree.leaves(initial), strict=True)
  return weight_magnitude(
    [difference(w, w_0) for w, w_0 in pairs if dtypes.is_inexact(w)]
  )


def zero_ratio(tree: PyTree) -> jax.Array:
  """The share of entries that are exactly zero.

  For the output of a ReLU layer it is the share of inactive units; for the
  gradient of a loss, with respect to features or parameters, it is the share of
  entries that do not learn.

  >>> zero_ratio({'kernel': jnp.array([[0.0, 1.0]]), 'bias': jnp.zeros(2)})
  Array(0.75, dtype=float32)

  Args:
    tree: features or gradients: an array of floats, or a tree of them, of any
      shapes.

  Returns:
    float32 scalar in [0, 1].

  Raises:
    ValueError: the tree has no entry.

  References:
    Lee et al., 2024, appendix C (gradients and features of the backbone's
    output); Abbas et al., 2023, "Loss of Plasticity in Continual Deep
    Reinforcement Learning".
  """
  return _share('tree', [_wide(x) == 0 for x in _layers(tree)])


def dormant_units(activations: ArrayLike, threshold: ArrayLike) -> jax.Array:
  r"""Which units of a layer are dormant: hardly active beside the others.

  Unit :math:`i` is dormant if its mean activation is at most a given fraction
  of the layer's mean:

  .. math::

    \mathbb{E}_x |h_i(x)| \le
    \texttt{threshold} \cdot \frac{1}{n} \sum_{k=1}^{n} \mathbb{E}_x |h_k(x)|

  In a layer that is all zero, all units are dormant.

  >>> dormant_units(jnp.array([[0.0, 1.0, 0.1], [0.0, 9.0, 0.1]]), 0.1)
  Array([ True, False,  True], dtype=bool)

  Args:
    activations: the output of the layer, [batch, ..., units]; for a convolution
      [batch, height, width, channels].
    threshold: the largest fraction of the mean at which a unit is dormant, at
      least 0; with 0 only units that are zero on the whole batch are.

  Returns:
    bool [units].

  Raises:
    ValueError: the threshold is below 0.

  References:
    Sokar et al., 2023, "The Dormant Neuron Phenomenon in Deep Reinforcement
    Learning", definition 3.1.
  """
  arguments.check_scalar(
    'threshold', threshold, 'a number of at least 0', lambda t: t >= 0
  )
  magnitude = jnp.abs(_wide(activations))
  activity = jnp.mean(magnitude, axis=tuple(range(magnitude.ndim - 1)))
  return activity <= jnp.asarray(threshold, activity.dtype) * jnp.mean(activity)


def dormant_ratio(activations: PyTree, threshold: ArrayLike) -> jax.Array:
  """The share of dormant units among the units of all layers.

  >>> layers = {'conv': jnp.zeros((2, 3, 3, 1)), 'dense': jnp.ones((2, 3))}
  >>> dormant_ratio(layers, threshold=0.1)
  Array(0.25, dtype=float32)

  Args:
    activations: a tree of the outputs of the layers, each [batch, ..., units].
    threshold: as in `dormant_units`.

  Returns:
    float32 scalar in [0, 1].

  Raises:
    ValueError: the tree has no unit, or the threshold is below 0.

  References:
    Sokar et al., 2023, section 3.
  """
  dormant = [dormant_units(layer, threshold) for layer in _layers(activations)]
  return _share('activations', dormant)


def feature_rank(features: ArrayLike, threshold: ArrayLike = 0.99) -> jax.Array:
  r"""The number of singular values that hold a share of their sum (*srank*).

  With the singular values :math:`\sigma_1 \ge \sigma_2 \ge \dots` of the
  features it is

  .. math::

    \min \Bigl\{ k : \sum_{i=1}^k \sigma_i \ge
      \texttt{threshold} \cdot \sum_i \sigma_i \Bigr\}.

  >>> features = jnp.diag(jnp.array([5.0, 4.0, 0.5, 0.5]))
  >>> feature_rank(features, threshold=0.85)
  Array(2, dtype=int32)

  Args:
    features: the output of the backbone, [batch, units].
    threshold: the share, a number in (0, 1].

  Returns:
    int32 scalar, from 1 to the smaller side of `features`; 0 if all are zero or
    one is NaN or infinite.

  Raises:
    ValueError: the threshold is outside its range, or the features are not a
      matrix with an entry.

  References:
    Kumar et al., 2021, "Implicit Under-Parameterization Inhibits Data-Efficient
    Deep Reinforcement Learning", section 3 (the threshold is its 1 - delta).
  """
  arguments.check_scalar(
    'threshold', threshold, 'a number in (0, 1]', lambda t: 0 < t <= 1
  )
  sums = jnp.cumsum(_singular_values(features))
  bound = jnp.asarray(threshold, sums.dtype) * sums[-1]
  rank = 1 + jnp.sum(sums < bound, dtype=jnp.int32)
  return jnp.where(sums[-1] > 0, rank, 0)  # NaN > 0 is False, too.


def effective_rank(features: ArrayLike) -> jax.Array:
  r"""The exponential of the entropy of the normalised singular values.

  .. math::

    \exp \Bigl( - \sum_i p_i \log p_i \Bigr), \qquad
    p_i = \sigma_i \Big/ \sum_j \sigma_j

  Unlike `feature_rank` it has no threshold and changes smoothly.

  >>> effective_rank(jnp.diag(jnp.array([3.0, 3.0, 0.0])))
  Array(2., dtype=float32)

  Args:
    features: the output of the backbone, [batch, units].

  Returns:
    float32 scalar, from 1 to the smaller side of `features`; 0 if all are zero;
    float64 for float64 features.

  Raises:
    ValueError: the features are not a matrix with an entry.

  References:
    Roy & Vetterli, 2007, "The Effective Rank: A Measure of Effective
    Dimensionality".
  """
  values = _singular_values(features)
  total = jnp.sum(values)
  # jax_debug_nans stops at a NaN even if it is not selected later: no 0 / 0
  # and no 0 * log(0).
  p = values / jnp.where(total == 0, 1, total)
  p = jnp.where(p == 0, 1, p)
  rank = jnp.exp(-jnp.sum(p * jnp.log(p)))
  return jnp.where(total == 0, 0, rank)


def _layers(tree: PyTree) -> list[Any]:
  """Returns the arrays of floats that have an entry."""
  leaves = jax.tree.leaves(tree)
  return [x for x in leaves if dtypes.is_inexact(x) and jnp.size(x)]


def _wide(x: ArrayLike) -> jax.Array:
  return jnp.asarray(x, dtypes.at_least_float32(x))


def _share(name: str, masks: list[jax.Array]) -> jax.Array:
  """Returns the share of True among all entries."""
  total = sum(mask.size for mask in masks)
  if not total:
    raise ValueError(f'{name} must have an array of floats that is not empty')

  counts = [
    jnp.sum(part, dtype=jnp.int32).astype(jnp.float32)
    for mask in masks
    for part in _parts(mask)
  ]
  return jnp.sum(jnp.stack(counts) / jnp.float32(total))


def _parts(mask: jax.Array) -> list[jax.Array]:
  """Returns a mask in parts whose entries an int32 can count."""
  if mask.size <= _COUNTABLE:
    return [mask]
  flat = jnp.ravel(mask)
  starts = range(0, mask.size, _COUNTABLE)
  return [flat[start : start + _COUNTABLE] for start in starts]


def _singular_values(features: ArrayLike) -> jax.Array:
  if jnp.ndim(features) != 2 or not jnp.size(features):
    raise ValueError(
      'features must have the shape [batch, units], neither of them 0, '
      f'not {jnp.shape(features)}'
    )
  return jnp.linalg.svd(_wide(features), compute_uv=False)
