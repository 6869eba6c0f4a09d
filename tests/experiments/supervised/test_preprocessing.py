import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from experiments.supervised import preprocessing

augment = jax.jit(preprocessing.augment, static_argnums=2)
RNG = np.random.default_rng(0)


def crops(image, padding):
  """All that an image can become, by (down, right, flipped)."""
  height, width, channels = image.shape
  canvas = np.zeros(
    (height + 2 * padding, width + 2 * padding, channels), image.dtype
  )
  for y in range(height):
    for x in range(width):
      canvas[y + padding, x + padding] = image[y, x]
  for down in range(2 * padding + 1):
    for right in range(2 * padding + 1):
      crop = canvas[down : down + height, right : right + width]
      yield (down, right, 0), crop
      yield (down, right, 1), np.fliplr(crop)


def choices(images, augmented, padding):
  """Which crop each image became; there must be exactly one."""
  return np.array(
    [
      [which for which, crop in crops(image, padding) if (crop == got).all()]
      for image, got in zip(images, augmented, strict=True)
    ]
  )[:, 0]


def test_augment_draws_every_crop_equally_often():
  images = RNG.integers(1, 256, (3000, 5, 7, 2), dtype=np.uint8)
  augmented = augment(jax.random.key(0), images, 1)
  assert augmented.dtype == jnp.uint8
  chosen = choices(images, np.asarray(augmented), 1)
  assert chosen.shape == (3000, 3)
  _, counts = np.unique(chosen, axis=0, return_counts=True)
  assert len(counts) == 18
  assert stats.chisquare(counts).pvalue > 0.001


def test_augment_of_four_pixels():
  images = RNG.integers(1, 256, (40, 32, 32, 3), dtype=np.uint8)
  augmented = augment(jax.random.key(1), images)
  chosen = choices(images, np.asarray(augmented), 4)
  assert chosen[:, :2].min() == 0
  assert chosen[:, :2].max() == 8


def test_augment_differs_with_the_key_and_maps_over_it():
  images = RNG.integers(256, size=(6, 8, 8, 3), dtype=np.uint8)
  keys = jax.random.split(jax.random.key(2), 3)
  together = jax.vmap(augment, (0, None))(keys, images)
  alone = [augment(key, images) for key in keys]
  np.testing.assert_array_equal(together, alone)
  assert not np.array_equal(alone[0], alone[1])


def test_augment_without_padding_only_flips():
  images = RNG.integers(256, size=(20, 4, 4, 1), dtype=np.uint8)
  augmented = augment(jax.random.key(0), images, 0)
  same = (np.asarray(augmented) == images).all((1, 2, 3))
  mirrored = (np.asarray(augmented) == images[:, :, ::-1]).all((1, 2, 3))
  assert (same ^ mirrored).all()
  assert 0 < same.sum() < 20


@pytest.mark.parametrize('leading', [(), (4,), (2, 3)])
def test_normalize_is_the_formula(leading):
  images = RNG.integers(256, size=(*leading, 5, 6, 3), dtype=np.uint8)
  mean, std = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
  expected = np.empty(images.shape)
  for place in np.ndindex(images.shape):
    channel = place[-1]
    expected[place] = (images[place] / 255 - mean[channel]) / std[channel]
  result = preprocessing.normalize(images, mean, std)
  assert result.dtype == jnp.float32
  np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_normalize_in_half_precision_rounds_once():
  images = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
  exact = (images / 255 - 0.1307) / 0.3081
  result = preprocessing.normalize(images, (0.1307,), (0.3081,), jnp.bfloat16)
  assert result.dtype == jnp.bfloat16
  # bfloat16 has 8 bits: half a unit of the last one.
  np.testing.assert_allclose(
    np.asarray(result, np.float64), exact, rtol=2**-8, atol=1e-6
  )
