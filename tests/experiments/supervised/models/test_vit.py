import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.supervised.models import vit

pytestmark = pytest.mark.usefixtures('compile_fast', 'shallow_vit')

SIZE, HEADS = 12, 3


def by_hand(params, tokens):
  """One sample through a layer, float64, by loops over heads and tokens."""

  def linear(x, name):
    layer = params[name]
    return x @ np.float64(layer['kernel']) + layer.get('bias', 0.0)

  def norm(x, name):
    x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)
    return x * params[name]['scale'] + params[name]['bias']

  x = np.float64(tokens)
  qkv = linear(norm(x, 'attention_norm'), 'qkv')
  q, k, v = np.split(qkv, 3, axis=-1)
  mixed = np.zeros_like(x)
  for head in np.split(np.arange(SIZE), HEADS):
    for i in range(len(x)):
      scores = np.array([q[i, head] @ k[j, head] for j in range(len(x))])
      weights = np.exp(scores / np.sqrt(SIZE / HEADS))
      mixed[i, head] = weights @ v[:, head] / weights.sum()
  x = x + linear(mixed, 'attention_output')
  hidden = linear(norm(x, 'mlp_norm'), 'mlp_hidden')
  hidden = hidden * 0.5 * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
  return x + linear(hidden, 'mlp_output'), hidden


def test_layer_is_its_formula(draw_variables):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, 5, SIZE)).astype(np.float32)
  module = vit.TransformerLayer(0.1, jnp.float32)
  params = draw_variables(module, x, False)['params']
  assert 'bias' not in params['qkv']
  y, hidden = jax.jit(lambda p: module.apply({'params': p}, x, False))(params)
  for i in range(2):
    expected, activations = by_hand(params, x[i])
    np.testing.assert_allclose(y[i], expected, atol=2e-5)
    np.testing.assert_allclose(hidden[i], activations, atol=2e-5)


def test_patches_are_in_rows():
  images = np.arange(2 * 8 * 12 * 3).reshape(2, 8, 12, 3)
  patches = vit._patches(images)
  assert patches.shape == (2, 6, 48)
  for row, column in np.ndindex(2, 3):
    patch = images[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
    np.testing.assert_array_equal(
      patches[:, 3 * row + column], patch.reshape(2, 48)
    )


def test_token_and_positions_are_normal():
  images = jnp.zeros((1, 32, 32, 3))
  module = vit.ViTBackbone(192, 0.1, jnp.float32)

  @jax.jit
  def init(key):
    params = module.init(key, images, False)['params']
    return params['class_token'], params['positions']

  token, positions = init(jax.random.key(0))
  assert token.shape == (192,)
  assert positions.shape == (65, 192)
  for weights in (token, positions):
    standard_error = weights.size**-0.5
    assert abs(weights.mean()) < 4 * standard_error
    assert abs(weights.std() - 1) < 4 * standard_error


def test_dropout_is_random_and_off_in_evaluation(draw_variables):
  model = vit.vit_tiny(7, width=0.1)
  images = np.random.default_rng(0).normal(size=(2, 8, 8, 3))
  variables = draw_variables(model, images)
  assert set(variables) == {'params'}

  @jax.jit
  def train(seed):
    rngs = {'dropout': jax.random.key(seed)}
    return model.apply(variables, images, train=True, rngs=rngs).logits

  np.testing.assert_array_equal(train(0), train(0))
  assert not np.allclose(train(0), train(1), atol=1e-3)
  evaluated = jax.jit(lambda: model.apply(variables, images).logits)()
  assert not np.allclose(train(0), evaluated, atol=1e-3)


def test_dropout_is_a_tenth_of_what_is_added(draw_variables):
  # With kernels of zero, what a layer adds is the bias of an output: of one, it
  # is dropped or larger by 1 / 0.9.
  x = jnp.zeros((64, 20, SIZE))
  module = vit.TransformerLayer(0.1, jnp.float32)

  @jax.jit
  def train(params):
    rngs = {'dropout': jax.random.key(1)}
    return module.apply({'params': params}, x, True, rngs=rngs)[0]

  params = jax.tree.map(np.zeros_like, draw_variables(module, x, False))
  params = params['params']
  for name in ('attention_output', 'mlp_output'):
    params[name]['bias'] = np.ones(SIZE, np.float32)
    y = train(params)
    params[name]['bias'] = np.zeros(SIZE, np.float32)
    np.testing.assert_allclose(np.unique(y), [0, 1 / 0.9], rtol=1e-6)
    assert abs((y == 0).mean() - 0.1) < 0.01


def test_there_are_three_heads_at_any_width():
  for width, size in ((1.0, 192), (0.5, 96), (0.1, 18), (1e-3, 6)):
    assert vit.vit_tiny(10, width=width).backbone.size == size


def test_images_of_other_sides_are_refused():
  model = vit.vit_tiny(10, width=0.1)
  with pytest.raises(ValueError, match='multiples of 4, but they are'):
    model.init(jax.random.key(0), jnp.zeros((1, 30, 32, 3)))
