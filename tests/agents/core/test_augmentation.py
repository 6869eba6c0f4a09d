import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from agents.core import augmentation


@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_a_crop_of_a_padded_stack_is_a_shift_with_repeated_edges(dtype):
  offsets = np.array(list(itertools.product(range(-4, 5), repeat=2)))
  rng = np.random.default_rng(0)
  stacks = rng.integers(256, size=(len(offsets), 2, 12, 10)).astype(dtype)
  padded = augmentation.pad(stacks)
  assert padded.shape == (81, 2, 20, 18)
  shifted = augmentation.crop(padded, offsets[:, 0], offsets[:, 1])
  assert shifted.dtype == dtype
  for i, (y, x) in enumerate(offsets):
    rows = np.clip(np.arange(12) + y, 0, 11)
    columns = np.clip(np.arange(10) + x, 0, 9)
    expected = stacks[i][:, rows[:, None], columns]
    np.testing.assert_array_equal(shifted[i], expected)


def shifts(inclusive):
  """Returns the counts of each pair of offsets, [9, 9]."""
  # The middle pixel of 9x9 shows its original position.
  frame = jnp.arange(81, dtype=jnp.uint8).reshape(1, 1, 9, 9)
  stacks = jnp.repeat(augmentation.pad(frame), 8100, axis=0)
  shifted = augmentation.random_crop(
    jax.random.key(0), stacks, inclusive=inclusive
  )
  counts = np.bincount(np.asarray(shifted[:, 0, 4, 4]), minlength=81)
  return counts.reshape(9, 9)


def test_random_crop_draws_all_offsets_equally():
  counts = shifts(inclusive=True)
  for observed in (counts, counts.sum(0), counts.sum(1)):
    assert observed.min() > 0
    assert stats.chisquare(observed.ravel()).pvalue > 1e-3


def test_random_crop_can_leave_out_its_last_offset():
  counts = shifts(inclusive=False)
  # Rows and columns -4 .. 3 equally often, 4 never.
  assert not counts[8].any()
  assert not counts[:, 8].any()
  drawn = counts[:8, :8]
  for observed in (drawn, drawn.sum(0), drawn.sum(1)):
    assert stats.chisquare(observed.ravel()).pvalue > 1e-3


def test_random_crop_moves_a_stack_as_one():
  frame = jax.random.uniform(jax.random.key(0), (1, 20, 20))
  stacks = jnp.broadcast_to(frame, (64, 3, 20, 20))
  shifted = augmentation.random_crop(jax.random.key(1), stacks)
  np.testing.assert_array_equal(shifted[:, :1].repeat(3, axis=1), shifted)
  assert len(np.unique(shifted[:, 0], axis=0)) > 32
  other = augmentation.random_crop(jax.random.key(2), stacks)
  assert (other != shifted).any()


def test_random_intensity_is_a_clipped_normal_factor_a_stack():
  images = jnp.full((20_000, 2, 3), 0.5)
  out = augmentation.random_intensity(jax.random.key(0), images, scale=0.1)
  assert out.dtype == images.dtype
  np.testing.assert_array_equal(out, np.broadcast_to(out[:, :1, :1], out.shape))
  noise = (np.asarray(out[:, 0, 0], np.float64) / 0.5 - 1) / 0.1
  assert np.abs(noise).max() <= 2 + 1e-5
  for tail in (noise < -2 + 1e-5, noise > 2 - 1e-5):
    test = stats.binomtest(int(tail.sum()), len(noise), stats.norm.sf(2))
    assert test.pvalue > 1e-3
  inside = noise[np.abs(noise) < 2 - 1e-5]
  assert stats.kstest(inside, stats.truncnorm(-2, 2).cdf).pvalue > 1e-3


def test_random_intensity_stays_within_a_tenth_by_default():
  images = jnp.ones((4096, 1), jnp.bfloat16)
  out = augmentation.random_intensity(jax.random.key(0), images)
  assert out.dtype == jnp.bfloat16
  assert 0.9 <= out.min() < 0.905
  assert 1.095 < out.max() <= 1.105


def test_scale_maps_images_to_the_unit_interval_and_nothing_else():
  images = np.arange(256, dtype=np.uint8).reshape(2, 4, 4, 8)
  out = augmentation.scale(jnp.asarray(images))
  assert out.dtype == jnp.float32
  np.testing.assert_allclose(out, images / 255, rtol=2e-7)
  vectors = jnp.array([[1.0, -2.0, 300.0]])
  np.testing.assert_array_equal(augmentation.scale(vectors), vectors)
