"""The hooks of a method."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
from jax.tree_util import DictKey
from jax.typing import ArrayLike
import optax

from experiments.supervised.models import HiddenLayer, Outputs
import ht_rl

PyTree: TypeAlias = Any


def is_kernel(path: Any) -> bool:
  """Returns whether a path of `jax.tree_util` leads to a kernel of Flax."""
  return bool(path) and path[-1] == DictKey('kernel')


class Batch(NamedTuple):
  """The arguments of a penalty.

  Attributes:
    params: the weights of the hare.
    inputs: normalised images, float32 [batch, height, width, channels].
    labels: their classes, int32 [batch].
    outputs: outputs of the hare, in training mode.
    teacher: returns the outputs of the tortoise, in test mode.
  """

  params: PyTree
  inputs: jax.Array
  labels: jax.Array
  outputs: Outputs
  teacher: Callable[[], Outputs]


class Weights(NamedTuple):
  """Weights and states that a renewal can change.

  Attributes:
    params: the weights of the hare.
    batch_stats: its running statistics of batch normalisation.
    opt_state: the state of the optimizer, in which Adam's moments are `mu` and
      `nu`.
  """

  params: PyTree
  batch_stats: PyTree
  opt_state: optax.OptState


class Method:
  """A method; each of these hooks does nothing unless it is overridden.

  Everything is of one seed: the trainer maps it over all seeds. Hooks are
  called inside `jax.jit`.

  >>> import dataclasses
  >>> import jax.numpy as jnp
  >>> @dataclasses.dataclass(frozen=True)
  ... class L1(Method):
  ...   weight: float = 1e-4
  ...
  ...   def penalty(self, batch):
  ...     leaves = jax.tree.leaves(batch.params)
  ...     return self.weight * sum(jnp.sum(jnp.abs(w)) for w in leaves)
  >>> L1().has('penalty'), L1().has('begin_phase')
  (True, False)
  """

  def penalty(self, batch: Batch) -> ArrayLike:
    """Returns what is added to the cross-entropy of a batch, a float scalar."""
    raise NotImplementedError

  def begin_phase(
    self, params: PyTree, initial: PyTree, key: jax.Array
  ) -> PyTree:
    """Returns the weights that a later phase begins with.

    Args:
      params: the weights of the hare at the end of the phase before.
      initial: its weights at the start of the run.
      key: random key of the phase.
    """
    raise NotImplementedError

  def wrap_optimizer(
    self, inner: optax.GradientTransformation
  ) -> optax.GradientTransformation:
    """Returns the optimizer inside Hare & Tortoise.

    Args:
      inner: AdamW with clipping and warm-up. It is initialised with the initial
        weights of the run in every phase.
    """
    raise NotImplementedError

  def wrap_units(
    self,
    inner: optax.GradientTransformation,
    init: Callable[[jax.Array], PyTree],
    layers: Mapping[str, ht_rl.Units],
  ) -> optax.GradientTransformation:
    """Returns the optimizer inside Hare & Tortoise, which renews units.

    Each of its updates is given `activations`, what the layers put out for the
    batch in training mode.

    Args:
      inner: AdamW, with what `wrap_optimizer` adds.
      init: a function from a random key to newly drawn weights.
      layers: where the units of each layer are in the weights.
    """
    raise NotImplementedError

  def renew(
    self,
    weights: Weights,
    fresh: PyTree,
    outputs: Outputs,
    layers: Sequence[HiddenLayer],
  ) -> Weights:
    """Returns the weights that an epoch begins with; see `renew_every`.

    Args:
      weights: of the hare.
      fresh: newly drawn weights.
      outputs: outputs of the hare for 512 training samples.
      layers: where the units of `outputs.activations` are in the weights.
    """
    raise NotImplementedError

  @property
  def renew_every(self) -> int:
    """The epochs between two renewals; see `renews_by_phase`."""
    return 5

  @property
  def renews_by_phase(self) -> bool:
    """Whether the epochs between two renewals are those of the phase.

    Else they are epochs of the whole training set: a phase that has a part of
    it counts in proportion.
    """
    return False

  def has(self, hook: str) -> bool:
    """Returns whether the method overrides a hook."""
    return getattr(type(self), hook) is not getattr(Method, hook)

  @property
  def renews_units(self) -> bool:
    """Returns whether the method needs a network that names hidden layers."""
    return self.has('wrap_units')

  @property
  def acts_within_phases(self) -> bool:
    """Whether the method changes training within a phase."""
    hooks = ('penalty', 'wrap_optimizer', 'wrap_units', 'renew')
    return any(map(self.has, hooks))
