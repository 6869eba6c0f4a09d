"""The multilayer perceptron for MNIST."""

from collections.abc import Sequence

from flax import linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from experiments.supervised.models import layers


class MLPBackbone(nn.Module):
  """Linear layers, each with batch normalisation and an activation.

  Attributes:
    widths: widths of the layers, as the next layer sees them.
    crelu: whether the activation is CReLU, with half as many units, not ReLU.
    dtype: dtype of the computation; the parameters stay float32.
  """

  widths: Sequence[int]
  crelu: bool
  dtype: DTypeLike

  @nn.compact
  def __call__(
    self, images: jax.Array, train: bool
  ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """Maps images to the last activations, and to all of them."""
    x = images.reshape((images.shape[0], -1))
    activations = []
    for i, width in enumerate(self.widths):
      units = width // 2 if self.crelu else width
      x = layers.linear(x, units, name=f'hidden_{i}', dtype=self.dtype)
      x = layers.BatchNorm(name=f'norm_{i}')(x, train)
      x = layers.crelu(x) if self.crelu else nn.relu(x)
      activations.append(x)
    return x, tuple(activations)


def mlp(
  num_classes: int,
  *,
  widths: Sequence[int],
  width: float = 1.0,
  crelu: bool = False,
  dtype: DTypeLike = jnp.float32,
) -> layers.Classifier:
  """Hidden layers with batch normalisation, and a linear head.

  Args:
    num_classes: number of outputs.
    widths: widths of the hidden layers.
    width: factor of these.
    crelu: whether all activations are CReLU, with half as many units.
    dtype: dtype of the computation.

  References:
    Lee et al., 2024, appendix A.
  """
  widths = tuple(layers.scaled(units, width) for units in widths)
  indices = range(len(widths))
  hidden_layers = layers.chain(
    [*(('backbone', f'hidden_{i}') for i in indices), ('head', 'output')],
    [('backbone', f'norm_{i}') for i in indices],
  )
  return layers.Classifier(
    MLPBackbone(widths, crelu, dtype),
    layers.Head(num_classes, dtype=dtype),
    hidden_layers,
  )
