"""DrQ's image augmentation (Kostrikov et al., 2020): shift and intensity."""

import chex
import jax
import jax.numpy as jnp


def shift(
  images: chex.Array, offset_y: chex.Array, offset_x: chex.Array, pad: int = 4
) -> chex.Array:
  """Moves each stack of images, repeating the pixels at the edge.

  Args:
    images: [B, height, width, stack], any dtype.
    offset_y: rows to look further down, integers [B] in ``-pad .. pad``.
    offset_x: columns to look further right, likewise.
    pad: the largest offset, in pixels.

  Returns:
    Images of the same shape and dtype with
    ``out[b, y, x] = images[b, clip(y + offset_y[b]), clip(x + offset_x[b])]``.
  """
  chex.assert_rank([images, offset_y, offset_x], [4, 1, 1])
  shape = images.shape[1:]
  padded = jnp.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)), 'edge')

  def crop(image: chex.Array, y: chex.Array, x: chex.Array) -> chex.Array:
    return jax.lax.dynamic_slice(image, (y + pad, x + pad, 0), shape)

  return jax.vmap(crop)(padded, offset_y, offset_x)


def random_shift(
  key: chex.PRNGKey, images: chex.Array, pad: int = 4, inclusive: bool = True
) -> chex.Array:
  """Shifts each stack by its own offsets, uniform in ``-pad .. pad``.

  Args:
    key: random key.
    images: [B, height, width, stack], any dtype. A stack moves as one.
    pad: largest shift, in pixels.
    inclusive: whether `pad` itself is drawn as well as -`pad`: for 4 pixels,
      nine offsets on each axis. Dopamine's labs and BBF's release leave it out.

  Returns:
    Images of the same shape and dtype.
  """
  offsets = jax.random.randint(
    key, (2, images.shape[0]), -pad, pad + 1 if inclusive else pad
  )
  return shift(images, offsets[0], offsets[1], pad)


def random_intensity(
  key: chex.PRNGKey, images: chex.Array, scale: float = 0.05
) -> chex.Array:
  """Multiplies each stack by ``1 + scale * clip(normal, -2, 2)``.

  Args:
    key: random key.
    images: floats [B, ...].
    scale: standard deviation of the factor before clipping.

  Returns:
    Images of the same shape and dtype.
  """
  noise = jax.random.normal(key, (images.shape[0],) + (1,) * (images.ndim - 1))
  factor = 1.0 + scale * jnp.clip(noise, -2.0, 2.0)
  return images * factor.astype(images.dtype)


def scale(images: chex.Array) -> chex.Array:
  """Converts to float32, uint8 to [0, 1]."""
  x = images.astype(jnp.float32)
  return x / 255.0 if images.dtype == jnp.uint8 else x
