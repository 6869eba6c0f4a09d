"""The convolutional network for Tiny ImageNet."""

from collections.abc import Sequence

from flax import linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from experiments.supervised.models import layers


class VGGBackbone(nn.Module):
  """Stages of convolutions, each stage with a max-pooling at its end.

  Attributes:
    stages: number of channels of each convolution of each stage.
    dtype: dtype of the computation; the parameters stay float32.
  """

  stages: Sequence[Sequence[int]]
  dtype: DTypeLike

  @nn.compact
  def __call__(
    self, images: jax.Array, train: bool
  ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """Maps images to flat features and all activations."""
    factor = 2 ** len(self.stages)
    if any(side % factor for side in images.shape[1:3]):
      raise ValueError(
        f'VGG halves images {len(self.stages)} times: their sides must be '
        f'multiples of {factor}, but they are {images.shape[1:3]}.'
      )
    x = images
    activations: list[jax.Array] = []
    for stage in self.stages:
      for channels in stage:
        i = len(activations)
        x = layers.conv(
          x, channels, name=f'conv_{i}', use_bias=True, dtype=self.dtype
        )
        x = nn.relu(layers.BatchNorm(name=f'norm_{i}')(x, train))
        activations.append(x)
      x = _max_pool(x)
    return x.reshape((x.shape[0], -1)), tuple(activations)


def _max_pool(x: jax.Array) -> jax.Array:
  """Returns the maxima of 2x2 pixels.

  Its gradient is several times faster than that of `nn.max_pool` on XLA's CPU
  backend. Equal pixels share the gradient; after a ReLU these are zeros, whose
  gradient is zero.
  """
  batch, height, width, channels = x.shape
  x = x.reshape((batch, height // 2, 2, width // 2, 2, channels))
  return jnp.max(x, axis=(2, 4))


def vgg16(
  num_classes: int,
  *,
  width: float = 1.0,
  crelu: bool = False,
  dtype: DTypeLike = jnp.float32,
) -> layers.Classifier:
  """VGG-16 with batch normalisation, and a head with two hidden layers.

  Args:
    num_classes: number of outputs.
    width: factor of all widths.
    crelu: whether the head's activations are CReLU, with half as many units.
    dtype: dtype of the computation.

  References:
    Simonyan & Zisserman, "Very Deep Convolutional Networks for Large-Scale
    Image Recognition", 2015 (configuration D); Lee et al., 2024, appendix A.
  """
  stages = tuple(
    (layers.scaled(channels, width),) * count
    for channels, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
  )
  head = layers.Head(
    num_classes, (layers.scaled(1024, width),) * 2, crelu, dtype
  )
  indices = range(sum(map(len, stages)))
  hidden_layers = layers.chain(
    [
      *(('backbone', f'conv_{i}') for i in indices),
      *(('head', f'hidden_{i}') for i in range(len(head.widths))),
      ('head', 'output'),
    ],
    [*(('backbone', f'norm_{i}') for i in indices), None, None],
  )
  return layers.Classifier(VGGBackbone(stages, dtype), head, hidden_layers)
