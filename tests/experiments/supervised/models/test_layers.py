from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.supervised.models import layers

pytestmark = pytest.mark.usefixtures('compile_fast')


class Called(nn.Module):
  """A function of the module's own, as a module."""

  function: object

  @nn.compact
  def __call__(self, x):
    return self.function(x)


def draw(*shape):
  return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def norm(x, variables, train=True):
  return layers.BatchNorm().apply(
    variables, x, train, mutable=['batch_stats'] if train else False
  )


@pytest.mark.parametrize('shape', [(6, 3), (2, 4, 5, 3)])
def test_batch_norm_is_its_formula(shape):
  batches = [3 * draw(4, *shape)[i] + i for i in range(4)]
  axes = tuple(range(len(shape) - 1))
  n = np.prod(shape[:-1])
  variables = layers.BatchNorm().init(jax.random.key(0), batches[0], True)
  assert set(variables['params']) == {'scale', 'bias'}
  scale, bias = np.array([1.0, -2.0, 0.5]), np.array([0.0, 3.0, -1.0])
  stats = variables['batch_stats']
  mean, var = np.zeros(3), np.ones(3)
  for x in batches:
    variables = {
      'params': {'scale': scale, 'bias': bias},
      'batch_stats': stats,
    }
    y, updated = norm(x, variables)
    wide = x.astype(np.float64)
    m, v = wide.mean(axes), wide.var(axes)
    expected = (wide - m) / np.sqrt(v + 1e-5) * scale + bias
    np.testing.assert_allclose(y, expected, atol=1e-5)
    mean = 0.9 * mean + 0.1 * m
    var = 0.9 * var + 0.1 * wide.var(axes, ddof=1)
    stats = updated['batch_stats']
    np.testing.assert_allclose(stats['mean'], mean, rtol=1e-5)
    np.testing.assert_allclose(stats['var'], var, rtol=1e-5)
  assert abs(wide.var(axes, ddof=1) / v - n / (n - 1)).max() < 1e-9

  variables['batch_stats'] = stats
  y = norm(batches[0], variables, train=False)
  expected = (batches[0] - mean) / np.sqrt(var + 1e-5) * scale + bias
  np.testing.assert_allclose(y, expected, atol=1e-5)


def test_batch_norm_starts_from_zeros_and_ones():
  for train in (True, False):
    variables = layers.BatchNorm().init(
      jax.random.key(0), jnp.full((4, 2), 7.0), train
    )
    np.testing.assert_array_equal(variables['batch_stats']['mean'], 0)
    np.testing.assert_array_equal(variables['batch_stats']['var'], 1)
    np.testing.assert_array_equal(variables['params']['scale'], 1)
    np.testing.assert_array_equal(variables['params']['bias'], 0)


def test_batch_norm_of_one_sample_is_finite():
  x = draw(1, 3)
  variables = layers.BatchNorm().init(jax.random.key(0), x, True)
  y, updated = norm(x, variables)
  np.testing.assert_array_equal(y, 0)
  np.testing.assert_allclose(updated['batch_stats']['var'], 0.9, rtol=1e-6)


def test_batch_norm_of_bfloat16_has_float32_statistics():
  x = jnp.asarray(100 + draw(512, 3), jnp.bfloat16)
  variables = layers.BatchNorm().init(jax.random.key(0), x, True)
  y, updated = norm(x, variables)
  assert y.dtype == jnp.bfloat16
  stats = updated['batch_stats']
  assert stats['mean'].dtype == stats['var'].dtype == jnp.float32
  wide = np.asarray(x, np.float64)
  np.testing.assert_allclose(stats['mean'], 0.1 * wide.mean(0), rtol=1e-5)
  np.testing.assert_allclose(
    stats['var'], 0.9 + 0.1 * wide.var(0, ddof=1), rtol=1e-5
  )


@pytest.mark.parametrize('side', [1, 3])
@pytest.mark.parametrize('stride', [1, 2])
def test_conv_is_its_formula(side, stride):
  x = draw(2, 6, 4, 3)
  module = Called(
    lambda x: layers.conv(
      x, 5, name='conv', side=side, stride=stride, use_bias=True
    )
  )
  y, variables = module.init_with_output(jax.random.key(0), x)
  kernel = np.float64(variables['params']['conv']['kernel'])
  pad = side // 2
  padded = np.pad(x, [(0, 0), (pad, pad), (pad, pad), (0, 0)])
  assert y.shape == (2, 6 // stride, 4 // stride, 5)
  for i, j in np.ndindex(y.shape[1:3]):
    rows = slice(i * stride, i * stride + side)
    columns = slice(j * stride, j * stride + side)
    expected = np.tensordot(padded[:, rows, columns], kernel, 3)
    expected += variables['params']['conv']['bias']
    np.testing.assert_allclose(y[:, i, j], expected, atol=1e-5)


def test_layers_start_as_in_pytorch():
  # Uniform on +-1/sqrt(fan-in), and the bias has the kernel's fan-in.
  linear = Called(lambda x: layers.linear(x, 300, name='layer'))
  conv = Called(lambda x: layers.conv(x, 300, name='layer', use_bias=True))
  for module, x, fan_in in (
    (linear, draw(1, 50), 50),
    (conv, draw(1, 4, 4, 8), 72),
  ):
    params = module.init(jax.random.key(0), x)['params']['layer']
    for weights in (params['kernel'], params['bias']):
      assert weights.dtype == jnp.float32
      scaled = np.sort(np.ravel(weights)) * np.sqrt(fan_in)
      assert -1 <= scaled[0] < -0.97
      assert 0.97 < scaled[-1] < 1
      evenly = np.linspace(-1, 1, len(scaled))
      # About 1.6 times the Kolmogorov-Smirnov bound of 1 %.
      assert abs(scaled - evenly).max() < 5 / np.sqrt(len(scaled))


def test_layers_without_bias_have_none():
  conv = Called(lambda x: layers.conv(x, 3, name='layer'))
  params = conv.init(jax.random.key(0), draw(1, 4, 4, 8))['params']
  assert set(params['layer']) == {'kernel'}


def test_crelu_has_both_signs():
  x = draw(4, 3)
  y = layers.crelu(x)
  np.testing.assert_array_equal(y[:, :3], np.maximum(x, 0))
  np.testing.assert_array_equal(y[:, 3:], np.maximum(-x, 0))


@pytest.mark.parametrize(
  ('units', 'width', 'expected'),
  [
    (64, 1.0, 64),
    (100, 0.25, 24),  # 25 is as near to 24 as to 26.
    (100, 0.27, 28),
    (64, 1e-6, 2),
    (64, 2.0, 128),
  ],
)
def test_widths_become_even(units, width, expected):
  assert layers.scaled(units, width) == expected
