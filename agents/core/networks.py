"""Q-networks (Flax modules).

Every network keeps its parameters in two groups, `encoder` and `head`. Partial
re-initialisation refers to these names.
"""

from collections.abc import Sequence

import chex
from flax import linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from agents.core.batching import convolve


class NatureEncoder(nn.Module):
  """The convolutions of Mnih et al. (2015).

  Attributes:
    channels: output channels of each convolution.
    kernels: side of each (square) kernel, in pixels.
    strides: stride of each convolution, in pixels.
    dtype: dtype of the computation; the parameters stay float32.
    flatten: whether the features of an image are flattened to a vector.
  """

  channels: Sequence[int] = (32, 64, 64)
  kernels: Sequence[int] = (8, 4, 3)
  strides: Sequence[int] = (4, 2, 1)
  dtype: DTypeLike = jnp.float32
  flatten: bool = True

  @nn.compact
  def __call__(self, x: chex.Array) -> chex.Array:
    """Maps [B, height, width, stack] to features [B, F] or [B, h, w, C]."""
    layers = zip(self.channels, self.kernels, self.strides, strict=True)
    for features, kernel, stride in layers:
      x = nn.Conv(
        features,
        (kernel, kernel),
        (stride, stride),
        kernel_init=nn.initializers.xavier_uniform(),
        dtype=self.dtype,
        conv_general_dilated=convolve,
      )(x)
      x = nn.relu(x)
    return x.reshape((x.shape[0], -1)) if self.flatten else x


class DuelingHead(nn.Module):
  """Dueling head with one hidden layer (Wang et al., 2016).

  ``q(s, a) = v(s) + adv(s, a) - mean_b adv(s, b)``

  Attributes:
    num_actions: number of actions A.
    hidden: width of the hidden layer.
    dtype: dtype of the computation; the parameters stay float32.
  """

  num_actions: int
  hidden: int = 512
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: chex.Array) -> chex.Array:
    """Maps features [B, F] to Q-values, float32 [B, A]."""

    def dense(features: int, name: str) -> nn.Dense:
      return nn.Dense(
        features,
        kernel_init=nn.initializers.xavier_uniform(),
        dtype=self.dtype,
        name=name,
      )

    x = nn.relu(dense(self.hidden, 'hidden')(x))
    advantage = dense(self.num_actions, 'advantage')(x).astype(jnp.float32)
    value = dense(1, 'value')(x).astype(jnp.float32)
    return value + advantage - jnp.mean(advantage, axis=-1, keepdims=True)


class DuelingQNetwork(nn.Module):
  """DrQ's network: Nature convolutions and a dueling head.

  The layers and initialisers are those of Dopamine's `FullRainbowNetwork` with
  `dueling` and neither `noisy` nor `distributional`: "SAME" padding, Glorot
  uniform kernels, zero biases.

  Attributes:
    num_actions: number of actions A.
    channels: output channels of each convolution.
    kernels: side of each kernel, in pixels.
    strides: stride of each convolution, in pixels.
    hidden: width of the head's hidden layer.
    dtype: dtype of the computation, float32 or bfloat16; parameters and
      Q-values are float32 in both.
  """

  num_actions: int
  channels: Sequence[int] = (32, 64, 64)
  kernels: Sequence[int] = (8, 4, 3)
  strides: Sequence[int] = (4, 2, 1)
  hidden: int = 512
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, observations: chex.Array) -> chex.Array:
    """Returns the Q-values.

    Args:
      observations: floats [B, height, width, stack], in [0, 1] for images.

    Returns:
      Q-values, float32 [B, A].
    """
    x = NatureEncoder(
      self.channels, self.kernels, self.strides, self.dtype, name='encoder'
    )(observations)
    return DuelingHead(self.num_actions, self.hidden, self.dtype, name='head')(
      x
    )
