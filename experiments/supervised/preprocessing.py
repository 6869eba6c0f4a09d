"""Normalisation and augmentation of images."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike


def normalize(
  images: ArrayLike,
  mean: Sequence[float],
  std: Sequence[float],
  dtype: DTypeLike = jnp.float32,
) -> jax.Array:
  r"""Scales pixels to [0, 1], then each channel by its mean and deviation.

  :math:`(x / 255 - \mu_c) / \sigma_c`

  >>> normalize(jnp.array([[[0], [255]]], jnp.uint8), [0.5], [0.25])
  Array([[[-2.], [ 2.]]], dtype=float32)

  Args:
    images: uint8 [..., height, width, channels].
    mean: of each channel, of pixels in [0, 1].
    std: the standard deviation, likewise.
    dtype: of the result; it is computed in float32.

  Returns:
    Floats of the same shape.
  """
  center = jnp.asarray(mean, jnp.float32)
  spread = jnp.asarray(std, jnp.float32)
  pixels = jnp.asarray(images).astype(jnp.float32) / 255
  return ((pixels - center) / spread).astype(dtype)


def augment(key: jax.Array, images: ArrayLike, padding: int = 4) -> jax.Array:
  """Crops each image at random from its zero-padded self, and flips half.

  Every image has its own offset, uniform over all ``2 padding + 1`` on each
  axis, and is then mirrored left to right with probability 1/2. The border is
  of the value zero before normalisation.

  >>> images = jnp.ones([2, 32, 32, 3], jnp.uint8)
  >>> jax.jit(augment)(jax.random.key(0), images).shape
  (2, 32, 32, 3)

  Args:
    key: random key.
    images: uint8 [n, height, width, channels], or any dtype.
    padding: pixels on each side.

  Returns:
    Images of the same shape and dtype.

  References:
    Lee et al., 2024, appendix A.4.
  """
  images = jnp.asarray(images)
  n, height, width, _ = images.shape
  crop_key, flip_key = jax.random.split(key)
  offsets = jax.random.randint(crop_key, (2, n, 1), 0, 2 * padding + 1)
  flipped = jax.random.bernoulli(flip_key, shape=(n, 1))
  sides = (padding, padding)
  padded = jnp.pad(images, ((0, 0), sides, sides, (0, 0)))
  x = jnp.arange(width)
  rows = offsets[0] + jnp.arange(height)
  columns = offsets[1] + jnp.where(flipped, x[::-1], x)
  sample = jnp.arange(n)[:, None, None]
  return padded[sample, rows[:, :, None], columns[:, None, :]]
