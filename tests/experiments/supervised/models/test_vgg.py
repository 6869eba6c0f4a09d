from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.supervised.models import vgg


def test_max_pool_is_the_maximum_of_each_four_pixels():
  x = np.random.default_rng(0).normal(size=(3, 6, 4, 2)).astype(np.float32)
  y = vgg._max_pool(x)
  for i, j in np.ndindex(3, 2):
    four = x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
    np.testing.assert_array_equal(y[:, i, j], four.max((1, 2)))


def test_gradient_after_relu_is_that_of_flax():
  # Which gives it to one of equal pixels, as PyTorch does.
  x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
  weights = np.random.default_rng(1).normal(size=(2, 4, 4, 3))

  def gradient(pool):
    return jax.grad(lambda x: jnp.sum(weights * pool(nn.relu(x))))(x)

  theirs = gradient(lambda x: nn.max_pool(x, (2, 2), (2, 2)))
  np.testing.assert_array_equal(gradient(vgg._max_pool), theirs)


def test_images_of_other_sides_are_refused():
  model = vgg.vgg16(10, width=0.1)
  with pytest.raises(ValueError, match='multiples of 32, but they are'):
    model.init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
