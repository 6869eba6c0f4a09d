"""The networks that are measured in PyTorch have the sizes of ours."""

import math

import jax
import jax.numpy as jnp
import pytest

from experiments.supervised.models import make_model


def vit_tiny(size):
  """Parameters by hand: 4x4 patches of 3 channels, 64 of them and a token."""
  norm = 2 * size
  layer = (
    norm
    + size * 3 * size  # Queries, keys and values, without biases.
    + size * size
    + size
    + norm
    + size * 4 * size
    + 4 * size
    + 4 * size * size
    + size
  )
  embedding = 2 * 48 + 48 * size + size + norm
  return embedding + size + 65 * size + 12 * layer + norm + size * 10 + 10


def resnet18(c):
  """Parameters by hand; each normalisation has two for a channel."""

  def conv(inputs, outputs, side=3):
    return side**2 * inputs * outputs + 2 * outputs

  total = conv(3, c) + 4 * conv(c, c)
  for _ in range(3):
    total += conv(c, 2 * c) + conv(c, 2 * c, 1) + 3 * conv(2 * c, 2 * c)
    c *= 2
  return total + c * c + c + c * 10 + 10


SIZES = [
  ('vit_tiny', 1.0, vit_tiny(192)),
  ('vit_tiny', 0.0625, vit_tiny(12)),
  ('resnet18', 1.0, resnet18(64)),
  ('resnet18', 0.0625, resnet18(4)),
]


@pytest.mark.parametrize(('model', 'width', 'size'), SIZES)
def test_ours_have_as_many_parameters_as_by_hand(model, width, size):
  network = make_model(model, 10, width=width)
  images = jnp.zeros((2, 32, 32, 3))
  shapes = jax.eval_shape(network.init, jax.random.key(0), images)['params']
  assert sum(math.prod(x.shape) for x in jax.tree.leaves(shapes)) == size


@pytest.mark.parametrize(('model', 'width', 'size'), SIZES)
def test_theirs_have_as_many_and_one_output_a_class(model, width, size):
  torch = pytest.importorskip('torch')
  from benchmarks import torch_networks

  network = torch_networks.make(model, width)
  assert sum(x.numel() for x in network.parameters()) == size
  assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
