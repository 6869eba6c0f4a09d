"""Convolutions as slices against their definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents.core import batching


def by_hand(x, kernel, strides, padding):
  """Returns a convolution by its definition, in float64."""
  sizes, before = [], []
  for side, length, stride in zip(
    x.shape[1:3], kernel.shape[:2], strides, strict=True
  ):
    if padding == 'VALID':
      sizes.append((side - length) // stride + 1)
      before.append(0)
    else:
      sizes.append(-(-side // stride))
      missing = (sizes[-1] - 1) * stride + length - side
      before.append(max(missing, 0) // 2)
  y = np.zeros((len(x), *sizes, kernel.shape[-1]))
  for h, w, i, j in np.ndindex(*sizes, *kernel.shape[:2]):
    row = h * strides[0] + i - before[0]
    column = w * strides[1] + j - before[1]
    if 0 <= row < x.shape[1] and 0 <= column < x.shape[2]:
      y[:, h, w] += x[:, row, column].astype(float) @ kernel[i, j]
  return y


@pytest.mark.parametrize('padding', ['SAME', 'VALID'])
@pytest.mark.parametrize(
  ('shape', 'kernel', 'strides'),
  [
    ((12, 12), (4, 4), (2, 2)),
    ((11, 7), (3, 3), (1, 1)),
    ((9, 10), (8, 3), (4, 2)),
    ((5, 6), (2, 3), (3, 4)),
  ],
)
def test_slices_compute_the_convolution(shape, kernel, strides, padding):
  random = np.random.default_rng(0)
  x = random.normal(size=(2, *shape, 3)).astype(np.float32)
  weights = random.normal(size=(*kernel, 3, 5)).astype(np.float32)
  expected = by_hand(x, weights, strides, padding)
  with batching.tracing('slices'):
    ours = batching.convolve(x, weights, strides, padding)
  np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)
  # A linear map's gradient is its transpose: <y, A x> = <A^T y, x>.
  y = random.normal(size=expected.shape).astype(np.float32)
  _, transpose = jax.vjp(
    lambda x, w: batching.by_slices(x, w, strides, padding), x, weights
  )
  expected = np.sum(y * expected)
  for gradient, argument in zip(transpose(y), (x, weights), strict=True):
    np.testing.assert_allclose(
      np.sum(np.asarray(gradient, float) * argument), expected, rtol=1e-4
    )


def test_a_single_run_has_the_convolutions_of_flax():
  x, kernel = jnp.ones((1, 5, 5, 2)), jnp.ones((3, 3, 2, 4))
  settings = {'dimension_numbers': ('NHWC', 'HWIO', 'NHWC')}

  def text(convolution):
    function = jax.jit(
      lambda x, kernel: convolution(x, kernel, (2, 2), 'SAME', **settings)
    )
    return function.lower(x, kernel).as_text()

  assert text(batching.convolve) == text(jax.lax.conv_general_dilated)
  with batching.tracing('slices'):
    assert text(batching.convolve) != text(jax.lax.conv_general_dilated)
