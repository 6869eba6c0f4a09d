"""The vision transformer for CIFAR-100."""

from flax import linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from experiments.supervised.models import layers
from ht_rl import dtypes

_DEPTH = 12
_HEADS = 3
_PATCH = 4


class TransformerLayer(nn.Module):
  """Self-attention and a hidden layer of GELUs, each added to its input.

  Both normalise their input first.

  Attributes:
    dropout: rate of the dropout.
    dtype: dtype of the computation; the parameters stay float32.
  """

  dropout: float
  dtype: DTypeLike

  @nn.compact
  def __call__(self, x: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
    """Returns new tokens [batch, tokens, size], and the hidden activations."""
    size = x.shape[-1]

    def linear(x: jax.Array, features: int, name: str) -> jax.Array:
      return layers.linear(x, features, name=name, dtype=self.dtype)

    def drop(x: jax.Array) -> jax.Array:
      return nn.Dropout(self.dropout, deterministic=not train)(x)

    y = _layer_norm(x, 'attention_norm', self.dtype)
    qkv = layers.linear(
      y, 3 * size, name='qkv', use_bias=False, dtype=self.dtype
    )
    # The kernel's columns are in this order: q, k, v; heads; dimensions.
    qkv = qkv.reshape((*x.shape[:-1], 3, _HEADS, size // _HEADS))
    q, k, v = jnp.moveaxis(qkv, 2, 0)
    scores = jnp.einsum('bihd,bjhd->bhij', q, k) * (size / _HEADS) ** -0.5
    scores = scores.astype(dtypes.at_least_float32(scores))
    weights = nn.softmax(scores).astype(v.dtype)
    y = jnp.einsum('bhij,bjhd->bihd', drop(weights), v).reshape(x.shape)
    x += drop(linear(y, size, 'attention_output'))

    y = _layer_norm(x, 'mlp_norm', self.dtype)
    hidden = nn.gelu(linear(y, 4 * size, 'mlp_hidden'), approximate=False)
    return x + drop(linear(drop(hidden), size, 'mlp_output')), hidden


class ViTBackbone(nn.Module):
  """ViT encoder: patch embedding and 12 layers; the class token is the feature.

  Attributes:
    size: size of a token.
    dropout: rate of the dropout.
    dtype: dtype of the computation; the parameters stay float32.
  """

  size: int
  dropout: float
  dtype: DTypeLike

  @nn.compact
  def __call__(
    self, images: jax.Array, train: bool
  ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """Maps images to features and the activations of the hidden layers."""
    x = _layer_norm(_patches(images), 'patch_norm', self.dtype)
    x = layers.linear(x, self.size, name='patch_embedding', dtype=self.dtype)
    x = _layer_norm(x, 'embedding_norm', self.dtype)
    batch, tokens, size = x.shape
    normal = nn.initializers.normal(1.0)
    token = self.param('class_token', normal, (size,))
    positions = self.param('positions', normal, (tokens + 1, size))
    token = jnp.broadcast_to(token.astype(x.dtype), (batch, 1, size))
    x = jnp.concatenate([token, x], axis=1) + positions.astype(x.dtype)
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    activations = []
    for i in range(_DEPTH):
      x, hidden = TransformerLayer(self.dropout, self.dtype, name=f'layer_{i}')(
        x, train
      )
      activations.append(hidden)
    x = _layer_norm(x[:, 0], 'output_norm', self.dtype)
    return x, tuple(activations)


def _patches(images: jax.Array) -> jax.Array:
  """Cuts images into patches [batch, patches, pixels and their channels]."""
  batch, height, width, channels = images.shape
  if height % _PATCH or width % _PATCH:
    raise ValueError(
      f'ViT cuts images into patches of {_PATCH}x{_PATCH} pixels: their sides '
      f'must be multiples of {_PATCH}, but they are {images.shape[1:3]}.'
    )
  x = images.reshape(
    (batch, height // _PATCH, _PATCH, width // _PATCH, _PATCH, channels)
  )
  return x.swapaxes(2, 3).reshape((batch, -1, _PATCH**2 * channels))


def _layer_norm(x: jax.Array, name: str, dtype: DTypeLike) -> jax.Array:
  return nn.LayerNorm(epsilon=1e-5, dtype=dtype, name=name)(x)


def vit_tiny(
  num_classes: int,
  *,
  width: float = 1.0,
  crelu: bool = False,
  dtype: DTypeLike = jnp.float32,
) -> layers.Classifier:
  """ViT-Tiny on patches of 4x4 pixels, and a linear head.

  Args:
    num_classes: number of outputs.
    width: factor of all widths. There are 3 heads whatever it is; their size is
      rounded to an even number.
    crelu: changes nothing: there is no ReLU in it, nor a hidden layer in the
      head.
    dtype: dtype of the computation.

  References:
    Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021; Lee et al., 2024,
    appendix A.
  """
  del crelu
  size = _HEADS * layers.scaled(64, width)
  names = [('backbone', f'layer_{i}') for i in range(_DEPTH)]
  hidden_layers = tuple(
    layers.HiddenLayer((*name, 'mlp_hidden'), None, (*name, 'mlp_output'))
    for name in names
  )
  return layers.Classifier(
    ViTBackbone(size, 0.1, dtype),
    layers.Head(num_classes, dtype=dtype),
    hidden_layers,
  )
