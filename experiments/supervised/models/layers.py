"""Layers and heads that the networks share.

Initialisation and batch normalisation are those of PyTorch, in which the
paper's experiments were run, not Flax's defaults.
"""

from collections.abc import Callable, Sequence
import math
from typing import NamedTuple

from flax import linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

import ht_rl
from ht_rl import dtypes


class Outputs(NamedTuple):
  """Outputs of a network for a batch.

  Attributes:
    logits: float32 [batch, classes].
    features: outputs of the backbone, [batch, units].
    activations: outputs of the layers of `hidden_layers`, in their order, each
      [batch, ..., units], or [batch, ..., 2 units] with CReLU.
  """

  logits: jax.Array
  features: jax.Array
  activations: tuple[jax.Array, ...]


class HiddenLayer(NamedTuple):
  """The place of a hidden layer's units in the parameters.

  Column i of the producer's kernel, and entry i of its bias and of the norm, is
  unit i. Its outgoing weights are the rows j of the consumer's kernel, along
  its axis of inputs, with j mod units == i: CReLU has two such rows, a map
  that is flattened one a position.

  Attributes:
    producer: path of the module whose kernel and bias feed the units.
    norm: path of the normalisation between it and the units; None for none.
    consumer: path of the only module that reads the units.
  """

  producer: tuple[str, ...]
  norm: tuple[str, ...] | None
  consumer: tuple[str, ...]

  @property
  def name(self) -> str:
    """The path of the producer, joined by slashes."""
    return '/'.join(self.producer)

  @property
  def units(self) -> ht_rl.Units:
    """The place of the units as the transforms of `ht_rl` take it."""
    incoming = [path for path in (self.producer, self.norm) if path]
    return ht_rl.Units(
      incoming=tuple(map('/'.join, incoming)), outgoing='/'.join(self.consumer)
    )


def units_of(layers: Sequence[HiddenLayer]) -> dict[str, ht_rl.Units]:
  """Returns the places of the units by the names of the layers."""
  return {layer.name: layer.units for layer in layers}


class Classifier(nn.Module):
  """A backbone and a head, which are the two groups of its parameters.

  ``apply(variables, features, method='head')`` are the logits of features.

  Attributes:
    backbone: module from images [batch, height, width, channels] and whether to
      train to features [batch, units] and the activations of its hidden layers.
    head: module from features to logits; `layers` also has the activations.
    hidden_layers: all layers whose units are read by one module alone.
  """

  backbone: nn.Module
  head: nn.Module
  hidden_layers: tuple[HiddenLayer, ...]

  def __call__(self, images: jax.Array, train: bool = False) -> Outputs:
    """Classifies a batch.

    Args:
      images: normalized images, floats [batch, height, width, channels].
      train: whether batch normalisation takes the statistics of the batch, and
        updates its running ones (the collection `batch_stats`, which must be
        mutable), and dropout (which needs the key `dropout`) is on.

    Returns:
      Logits, features and activations.
    """
    features, activations = self.backbone(images, train)
    logits, more = self.head.layers(features)
    return Outputs(logits, features, activations + more)


class Head(nn.Module):
  """Linear layers with an activation between them.

  Attributes:
    num_classes: number of outputs.
    widths: widths of the hidden layers, as the next layer sees them.
    crelu: whether the activation is CReLU, with half as many units, not ReLU.
    dtype: dtype of the computation; parameters and logits are float32.
  """

  num_classes: int
  widths: Sequence[int] = ()
  crelu: bool = False
  dtype: DTypeLike = jnp.float32

  def __call__(self, features: jax.Array) -> jax.Array:
    """Maps features [batch, units] to logits, float32 [batch, classes]."""
    return self.layers(features)[0]

  @nn.compact
  def layers(
    self, features: jax.Array
  ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """Returns the logits and the activations of the hidden layers."""
    x, activations = features, []
    for i, width in enumerate(self.widths):
      units = width // 2 if self.crelu else width
      x = linear(x, units, name=f'hidden_{i}', dtype=self.dtype)
      x = crelu(x) if self.crelu else nn.relu(x)
      activations.append(x)
    x = linear(x, self.num_classes, name='output', dtype=self.dtype)
    return x.astype(dtypes.at_least_float32(x)), tuple(activations)


class BatchNorm(nn.Module):
  r"""Normalises each channel over the batch and its positions.

  .. math::
    y = \frac{x - \mathbb{E}[x]}{\sqrt{\mathrm{Var}[x] + 10^{-5}}} \gamma
      + \beta

  A tenth of the difference to a batch's mean and variance is added to the
  running ones. The variance that normalises a batch is divided by its size n,
  the running one by n - 1 as in PyTorch (but not in `flax.linen.BatchNorm`).

  Statistics are float32 whatever the dtype of the input, and of the output.
  """

  @nn.compact
  def __call__(self, x: jax.Array, train: bool) -> jax.Array:
    """Maps [batch, ..., channels] to the same shape and dtype.

    Args:
      x: inputs.
      train: whether to normalise by the batch and update the running
        statistics, or to normalise by these.
    """
    shape = x.shape[-1:]
    scale = self.param('scale', nn.initializers.ones, shape)
    bias = self.param('bias', nn.initializers.zeros, shape)
    running_mean = self.variable('batch_stats', 'mean', jnp.zeros, shape)
    running_var = self.variable('batch_stats', 'var', jnp.ones, shape)
    wide = x.astype(dtypes.at_least_float32(x))
    if train:
      axes = tuple(range(x.ndim - 1))
      mean = jnp.mean(wide, axes)
      var = jnp.mean(jnp.square(wide - mean), axes)
      if not self.is_initializing():
        n = math.prod(x.shape[:-1])
        unbiased = var * (n / max(n - 1, 1))
        running_mean.value += 0.1 * (mean - running_mean.value)
        running_var.value += 0.1 * (unbiased - running_var.value)
    else:
      mean, var = running_mean.value, running_var.value
    y = (wide - mean) * (jax.lax.rsqrt(var + 1e-5) * scale) + bias
    return y.astype(x.dtype)


def linear(
  x: jax.Array,
  features: int,
  *,
  name: str,
  use_bias: bool = True,
  dtype: DTypeLike = jnp.float32,
) -> jax.Array:
  """Applies a linear layer of the calling module; PyTorch's initialisation."""
  init = uniform(x.shape[-1])
  return nn.Dense(
    features,
    use_bias=use_bias,
    kernel_init=init,
    bias_init=init,
    dtype=dtype,
    name=name,
  )(x)


def conv(
  x: jax.Array,
  features: int,
  *,
  name: str,
  side: int = 3,
  stride: int = 1,
  use_bias: bool = False,
  dtype: DTypeLike = jnp.float32,
) -> jax.Array:
  """Applies a convolution of the calling module, like `linear`.

  Its kernel is side x side. Images are padded by side // 2 on all sides.
  """
  init = uniform(x.shape[-1] * side**2)
  return nn.Conv(
    features,
    (side, side),
    stride,
    padding=side // 2,
    use_bias=use_bias,
    kernel_init=init,
    bias_init=init,
    dtype=dtype,
    name=name,
  )(x)


def uniform(fan_in: int) -> Callable[..., jax.Array]:
  r"""Returns PyTorch's initialisation of kernels and biases.

  It is uniform on :math:`\pm 1 / \sqrt{\texttt{fan\_in}}`.

  Args:
    fan_in: number of inputs of an output: of a convolution, channels times
      pixels of its kernel.

  Returns:
    A function of a random key, a shape and a dtype.
  """
  bound = fan_in**-0.5

  def init(
    key: jax.Array, shape: Sequence[int], dtype: DTypeLike = jnp.float32
  ) -> jax.Array:
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  return init


def chain(
  names: Sequence[tuple[str, ...]],
  norms: Sequence[tuple[str, ...] | None],
) -> tuple[HiddenLayer, ...]:
  """Returns hidden layers that feed each other, and the last one the output.

  Args:
    names: paths of the hidden layers' modules, and of the output's.
    norms: what normalises each hidden layer, one less than `names`.
  """
  return tuple(
    HiddenLayer(producer, norm, consumer)
    for producer, norm, consumer in zip(
      names[:-1], norms, names[1:], strict=True
    )
  )


def crelu(x: jax.Array) -> jax.Array:
  """Concatenates the positive parts of x and of -x along the last axis.

  >>> crelu(jnp.array([1.0, -2.0]))
  Array([1., 0., 0., 2.], dtype=float32)

  References:
    Shang et al., "Understanding and Improving Convolutional Neural Networks via
    Concatenated Rectified Linear Units", 2016.
  """
  return jnp.concatenate([nn.relu(x), nn.relu(-x)], axis=-1)


def scaled(units: int, width: float) -> int:
  """Returns the even number, at least 2, nearest to units times width."""
  return max(2, 2 * round(units * width / 2))
