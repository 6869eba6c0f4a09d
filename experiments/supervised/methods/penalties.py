"""Methods that add to the loss."""

import dataclasses
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.tree_util import DictKey
from jax.typing import ArrayLike
import optax

from experiments.supervised.methods.base import Batch, Method, is_kernel
import ht_rl

PyTree: TypeAlias = Any


@dataclasses.dataclass(frozen=True)
class SpectralDecoupling(Method):
  """A penalty on large logits; see `spectral_decoupling`.

  Attributes:
    weight: of the penalty.
  """

  weight: float

  def penalty(self, batch: Batch) -> ArrayLike:
    """Returns the weighted mean square of the logits."""
    return self.weight * spectral_decoupling(batch.outputs.logits)


@dataclasses.dataclass(frozen=True)
class SelfDistillation(Method):
  """The hare learns from the tortoise; see `self_distillation`.

  Attributes:
    weight: of the divergence.
  """

  weight: float

  def penalty(self, batch: Batch) -> ArrayLike:
    """Returns the weighted divergence from the tortoise's predictions."""
    return self.weight * self_distillation(
      batch.outputs.logits, batch.teacher().logits
    )


@dataclasses.dataclass(frozen=True)
class Regenerate(Method):
  """Pulls the weights to their initial values; see `ht_rl.regenerate`.

  Attributes:
    weight: of the squared distance.
  """

  weight: float

  def wrap_optimizer(
    self, inner: optax.GradientTransformation
  ) -> optax.GradientTransformation:
    """Adds the gradient of the penalty before AdamW."""
    return optax.chain(ht_rl.regenerate(self.weight), inner)


@dataclasses.dataclass(frozen=True)
class Parseval(Method):
  """Pulls the kernels to orthogonal ones; see `ht_rl.parseval`.

  The kernel of the last layer is left out.

  Attributes:
    weight: of the penalty.
    scale: squared norm of each unit's incoming weights.
  """

  weight: float
  scale: float = 1.0

  def wrap_optimizer(
    self, inner: optax.GradientTransformation
  ) -> optax.GradientTransformation:
    """Adds the gradient of the penalty before AdamW."""
    parseval = ht_rl.parseval(
      self.weight, scale=self.scale, mask=_hidden_kernels
    )
    return optax.chain(parseval, inner)


def _hidden_kernels(params: PyTree) -> PyTree:
  def is_hidden(path: Any, _: Any) -> bool:
    is_output = path[:2] == (DictKey('head'), DictKey('output'))
    return is_kernel(path) and not is_output

  return jax.tree_util.tree_map_with_path(is_hidden, params)


def spectral_decoupling(logits: jax.Array) -> jax.Array:
  r"""Returns the mean square of the logits over batch and classes.

  >>> spectral_decoupling(jnp.array([[1.0, 3.0]]))
  Array(5., dtype=float32)

  Args:
    logits: float [batch, classes].

  Returns:
    float scalar.

  References:
    Pezeshki et al., 2021, "Gradient Starvation: A Learning Proclivity in Neural
    Networks", equation 14. There it is half of the sum over classes: a weight
    of 1 there is half the number of classes here. The code of Lee et al. (2024)
    has this mean.
  """
  return jnp.mean(jnp.square(logits))


def self_distillation(student: jax.Array, teacher: jax.Array) -> jax.Array:
  r"""Returns the divergence of the student's predictions from the teacher's.

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
    Lee et al., 2024, section 5.1; the released code takes the mean over classes
    too.
  """
  log_p = jax.nn.log_softmax(jax.lax.stop_gradient(teacher))
  log_q = jax.nn.log_softmax(student)
  return jnp.mean(jnp.exp(log_p) * (log_p - log_q))
