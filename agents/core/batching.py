"""Chooses how `vmap` over runs batches the costly parts of a program.

Where `vmap` batches a convolution over both images and weights, XLA gets one
grouped convolution. Its backends compute that slowly: a CPU takes a hundred
times as long as for one convolution for each run. The networks and learners
call the functions of this module, which a program can change while it is
traced. Without that they add nothing: operation for operation the program is
what it would be without them.
"""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import contextvars
import math
from typing import Any

import chex
import jax
import jax.numpy as jnp

_WAY: contextvars.ContextVar[str | None] = contextvars.ContextVar(
  'way', default=None
)


@contextlib.contextmanager
def tracing(way: str) -> Iterator[None]:
  """Sets what the functions do while a program is traced in the block.

  Args:
    way: 'slices', for convolutions of slices and a matrix product, which `vmap`
      makes one batched matrix product; 'map', for networks that are computed
      one after another; 'grouped' changes nothing.
  """
  token = _WAY.set(way)
  try:
    yield
  finally:
    _WAY.reset(token)


def one_by_one(function: Callable[..., Any]) -> Callable[..., Any]:
  """Returns the function; under `tracing('map')`, `vmap` maps it in a loop.

  Args:
    function: of positional arguments, which are pytrees of arrays.
  """
  if _WAY.get() == 'map':
    return jax.custom_batching.sequential_vmap(function)
  return function


def convolve(
  inputs: chex.Array,
  kernel: chex.Array,
  strides: Sequence[int],
  padding: str,
  **settings: Any,
) -> chex.Array:
  """Computes a convolution, as `flax.linen.Conv.conv_general_dilated`.

  Args:
    inputs: [B, height, width, C].
    kernel: [rows, columns, C, F].
    strides: of rows and columns, in pixels.
    padding: 'SAME' or 'VALID'.
    **settings: for `jax.lax.conv_general_dilated`: those that Flax passes for a
      convolution without dilation and groups.

  Returns:
    [B, h, w, F].
  """
  if _WAY.get() == 'slices':
    return by_slices(inputs, kernel, strides, padding)
  return jax.lax.conv_general_dilated(
    inputs, kernel, strides, padding, **settings
  )


def by_slices(
  inputs: chex.Array,
  kernel: chex.Array,
  strides: Sequence[int],
  padding: str,
) -> chex.Array:
  """Computes a convolution as slices and one matrix product.

  The image is cut into blocks of the size of a stride, and the kernel, filled
  up with zeros, likewise. The patch of an output pixel is then a few
  neighbouring blocks: one slice for each block of the kernel gathers all
  patches, and the patches times the kernel are the outputs.

  Args:
    inputs: [B, height, width, C].
    kernel: [rows, columns, C, F].
    strides: of rows and columns, in pixels.
    padding: 'SAME' or 'VALID'.

  Returns:
    [B, h, w, F].
  """
  batch, *sides, _ = inputs.shape
  *lengths, _, features = kernel.shape
  pads = jax.lax.padtype_to_pads(sides, lengths, strides, padding)
  axes = list(zip(sides, lengths, strides, pads, strict=True))
  h, w = ((side + sum(pad) - k) // s + 1 for side, k, s, pad in axes)
  rows, columns = (math.ceil(k / s) for _, k, s, _ in axes)
  # Negative where the convolution does not read the last pixels.
  after = [
    (out - 1 + blocks) * s - side - pad[0]
    for out, blocks, (side, _, s, pad) in zip(
      (h, w), (rows, columns), axes, strict=True
    )
  ]
  zero = jnp.zeros((), inputs.dtype)
  edges = [(pad[0], end, 0) for (*_, pad), end in zip(axes, after, strict=True)]
  x = jax.lax.pad(inputs, zero, ((0, 0, 0), *edges, (0, 0, 0)))
  x = x.reshape((batch, h - 1 + rows, strides[0], w - 1 + columns, -1))
  x = jnp.swapaxes(x, 2, 3).reshape((batch, h - 1 + rows, w - 1 + columns, -1))
  slices = [
    x[:, i : i + h, j : j + w] for i in range(rows) for j in range(columns)
  ]
  kernel = jnp.pad(
    kernel,
    (
      (0, rows * strides[0] - lengths[0]),
      (0, columns * strides[1] - lengths[1]),
      (0, 0),
      (0, 0),
    ),
  )
  kernel = kernel.reshape((rows, strides[0], columns, -1, features))
  weights = jnp.swapaxes(kernel, 1, 2).reshape((-1, features))
  return jnp.concatenate(slices, axis=-1) @ weights
