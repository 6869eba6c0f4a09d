"""Methods that change the weights between two phases."""

import dataclasses
from typing import Any, TypeAlias

import jax
import optax

from experiments.supervised.methods.base import Method, is_kernel
from ht_rl.transforms import fire, reinitialize

PyTree: TypeAlias = Any


@dataclasses.dataclass(frozen=True)
class ShrinkAndPerturb(Method):
  r"""Mixes other weights into those of the hare between two phases.

  .. math::

    \theta \leftarrow (1 - f)\, \theta + f\, \theta_0
    \qquad \text{or, with noise,} \qquad
    \theta \leftarrow (1 - f)\, \theta + \epsilon, \
    \epsilon \sim \mathcal{N}(0, \sigma^2)

  >>> import jax.numpy as jnp
  >>> method = ShrinkAndPerturb(0.75)
  >>> weights, initial = {'w': jnp.ones(1)}, {'w': jnp.zeros(1)}
  >>> method.begin_phase(weights, initial, jax.random.key(0))
  {'w': Array([0.25], dtype=float32)}

  Attributes:
    fraction: :math:`f` in [0, 1]; with 1 the weights are the initial ones, to
      the last bit.
    noise: :math:`\sigma`, at least 0; None for the first form.

  References:
    Lee et al., 2024, appendix A.4, for the first; Ash & Adams, 2020, "On
    Warm-Starting Neural Network Training", section 4, for the second, whose
    :math:`\lambda` is :math:`1 - f`.
  """

  fraction: float
  noise: float | None = None

  def begin_phase(
    self, params: PyTree, initial: PyTree, key: jax.Array
  ) -> PyTree:
    """Returns the mixed weights."""
    keep = 1 - self.fraction
    if self.noise is None:
      return reinitialize.mix(keep, params, initial)
    noises = optax.tree.random_like(key, params)
    return jax.tree.map(lambda w, e: keep * w + self.noise * e, params, noises)


@dataclasses.dataclass(frozen=True)
class HeadReset(Method):
  """Gives the head its initial weights between two phases.

  >>> weights, initial = {'backbone': 1, 'head': 2}, {'backbone': 3, 'head': 4}
  >>> HeadReset().begin_phase(weights, initial, jax.random.key(0))
  {'backbone': 1, 'head': 4}

  References:
    Nikishin et al., 2022, "The Primacy Bias in Deep Reinforcement Learning".
    Lee et al., 2024, section 3.4, take the initial weights, not new ones.
  """

  def begin_phase(
    self, params: PyTree, initial: PyTree, key: jax.Array
  ) -> PyTree:
    """Returns the weights with the initial head."""
    del key
    return params | {'head': initial['head']}


@dataclasses.dataclass(frozen=True)
class FIRE(Method):
  """Makes all kernels orthogonal between two phases.

  The position embedding of a ViT is none. (Of a ViT, the authors' code projects
  the kernels of queries and keys alone.)

  >>> import jax.numpy as jnp
  >>> weights = {'kernel': 2 * jnp.eye(2), 'bias': jnp.ones(2)}
  >>> FIRE().begin_phase(weights, weights, jax.random.key(0))['kernel']
  Array([[1., 0.],
         [0., 1.]], dtype=float32)

  Attributes:
    iterations: steps of the iteration that approximates the projection.

  References:
    See `ht_rl.transforms.fire.project`.
  """

  iterations: int = 10

  def begin_phase(
    self, params: PyTree, initial: PyTree, key: jax.Array
  ) -> PyTree:
    """Returns the projected weights."""
    del initial, key

    def project(path: Any, w: jax.Array) -> jax.Array:
      return fire.project(w, self.iterations) if is_kernel(path) else w

    return jax.tree_util.tree_map_with_path(project, params)
