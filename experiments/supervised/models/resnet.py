"""The residual network for CIFAR-10."""

from collections.abc import Sequence

from flax import linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from experiments.supervised.models import layers


class ResidualBlock(nn.Module):
  """Two convolutions whose result is added to the input.

  Where the shapes differ, a 1x1 convolution adapts the input.

  Attributes:
    channels: number of output channels.
    stride: stride of the first convolution.
    dtype: dtype of the computation; the parameters stay float32.
  """

  channels: int
  stride: int
  dtype: DTypeLike

  @nn.compact
  def __call__(self, x: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
    """Returns the sum, and the activations between the convolutions."""

    def convolve(
      x: jax.Array, name: str, side: int = 3, stride: int = 1
    ) -> jax.Array:
      x = layers.conv(
        x, self.channels, name=name, side=side, stride=stride, dtype=self.dtype
      )
      return layers.BatchNorm(name=f'{name}_norm')(x, train)

    hidden = nn.relu(convolve(x, 'conv_0', stride=self.stride))
    y = convolve(hidden, 'conv_1')
    if x.shape != y.shape:
      x = convolve(x, 'shortcut', side=1, stride=self.stride)
    return nn.relu(x + y), hidden


class ResNetBackbone(nn.Module):
  """A convolution, stages of two residual blocks, and the mean over positions.

  Each stage but the first halves the sides of its maps.

  Attributes:
    channels: number of channels of each stage.
    dtype: dtype of the computation; the parameters stay float32.
  """

  channels: Sequence[int]
  dtype: DTypeLike

  @nn.compact
  def __call__(
    self, images: jax.Array, train: bool
  ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """Maps images to features and the blocks' inner activations."""
    x = layers.conv(images, self.channels[0], name='stem', dtype=self.dtype)
    x = nn.relu(layers.BatchNorm(name='stem_norm')(x, train))
    activations = []
    for i in range(2 * len(self.channels)):
      x, hidden = ResidualBlock(
        self.channels[i // 2],
        stride=2 if i and i % 2 == 0 else 1,
        dtype=self.dtype,
        name=f'block_{i}',
      )(x, train)
      activations.append(hidden)
    return jnp.mean(x, axis=(1, 2)), tuple(activations)


def resnet18(
  num_classes: int,
  *,
  width: float = 1.0,
  crelu: bool = False,
  dtype: DTypeLike = jnp.float32,
) -> layers.Classifier:
  """ResNet-18 for small images, and a head with a hidden layer.

  Its first convolution is 3x3 with stride 1, and no pooling follows.

  Args:
    num_classes: number of outputs.
    width: factor of all widths.
    crelu: whether the head's activation is CReLU, with half as many units.
    dtype: dtype of the computation.

  References:
    He et al., "Deep Residual Learning for Image Recognition", 2016; Lee et al.,
    2024, appendix A.
  """
  channels = tuple(layers.scaled(c, width) for c in (64, 128, 256, 512))
  blocks = [('backbone', f'block_{i}') for i in range(2 * len(channels))]
  hidden_layers = (
    *(
      layers.HiddenLayer(
        (*block, 'conv_0'), (*block, 'conv_0_norm'), (*block, 'conv_1')
      )
      for block in blocks
    ),
    layers.HiddenLayer(('head', 'hidden_0'), None, ('head', 'output')),
  )
  return layers.Classifier(
    ResNetBackbone(channels, dtype),
    layers.Head(num_classes, channels[-1:], crelu, dtype),
    hidden_layers,
  )
