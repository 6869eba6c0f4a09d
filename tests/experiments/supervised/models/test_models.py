import math

import jax
import jax.numpy as jnp
import pytest

from experiments.supervised.models import make_model

CLASSES = 7


@pytest.mark.parametrize(
  ('name', 'classes', 'shape', 'backbone', 'head'),
  [
    ('mlp', 10, (28, 28, 1), 89_000, 1_010),
    ('mlp_released', 10, (28, 28, 1), 534_784, 2_570),
    ('resnet18', 10, (32, 32, 3), 11_168_832, 267_786),
    ('resnet18', 200, (64, 64, 3), 11_168_832, 365_256),
    ('vit_tiny', 100, (32, 32, 3), 5_354_400, 19_300),
    ('vgg16', 200, (64, 64, 3), 14_723_136, 3_352_776),
    ('vgg16', 10, (32, 32, 3), 14_723_136, 1_585_162),
  ],
)
def test_number_of_parameters(name, classes, shape, backbone, head):
  # As of the networks that the paper's experiments were run with.
  model = make_model(name, classes, dtype=jnp.bfloat16)
  images = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
  outputs, variables = jax.eval_shape(
    model.init_with_output, jax.random.key(0), images
  )
  assert outputs.logits.dtype == jnp.float32
  assert {x.dtype for x in outputs.activations} == {jnp.dtype('bfloat16')}
  params = variables['params']
  assert set(params) == {'backbone', 'head'}
  assert set(variables.get('batch_stats', {})) <= {'backbone'}
  counts = {
    part: sum(x.size for x in jax.tree.leaves(params[part])) for part in params
  }
  assert counts == {'backbone': backbone, 'head': head}
  assert {x.dtype for x in jax.tree.leaves(variables)} == {jnp.dtype('float32')}


@pytest.mark.parametrize(
  ('name', 'features'),
  [('mlp', 100), ('resnet18', 512), ('vit_tiny', 192), ('vgg16', 2048)],
)
@pytest.mark.parametrize('crelu', [False, True])
def test_shapes(name, features, crelu):
  # CReLU halves the units, so that what follows is as wide.
  model = make_model(name, CLASSES, crelu=crelu)
  images = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
  outputs, variables = jax.eval_shape(
    model.init_with_output, jax.random.key(0), images
  )
  assert outputs.logits.shape == (2, CLASSES)
  assert outputs.features.shape == (2, features)
  assert len(outputs.activations) == len(model.hidden_layers)
  halved = {
    'mlp': [True] * 2,
    'resnet18': [False] * 8 + [True],
    'vit_tiny': [False] * 12,
    'vgg16': [False] * 13 + [True] * 2,
  }[name]
  for activations, layer, half in zip(
    outputs.activations, model.hidden_layers, halved, strict=True
  ):
    units = activations.shape[-1] // (2 if crelu and half else 1)
    producer = get(variables['params'], layer.producer)
    assert producer['kernel'].shape[-1] == units
    if 'bias' in producer:
      assert producer['bias'].shape == (units,)
    rows = get(variables['params'], layer.consumer)['kernel'].shape[-2]
    assert rows % activations.shape[-1] == 0


@pytest.mark.parametrize(
  ('name', 'count'),
  [('mlp', 2), ('resnet18', 8 + 1), ('vit_tiny', 12), ('vgg16', 13 + 2)],
)
def test_hidden_layers_are_all_that_have_one_consumer(name, count):
  layers = make_model(name, CLASSES).hidden_layers
  assert len({layer.producer for layer in layers}) == len(layers) == count


def get(tree, path):
  for name in path:
    tree = tree[name]
  return tree


@pytest.mark.parametrize(
  ('name', 'advice'),
  [
    ('resnet', 'did you mean resnet18?'),
    ('transformer', 'there are mlp, mlp_released, resnet18, vit_tiny, vgg16'),
  ],
)
def test_unknown_names_are_refused(name, advice):
  with pytest.raises(ValueError, match=f'unknown model {name!r}') as error:
    make_model(name, 10)
  assert advice in str(error.value)


@pytest.mark.parametrize('width', [0.0, -1.0, math.nan])
def test_widths_are_positive(width):
  with pytest.raises(ValueError, match='width must be a number above 0'):
    make_model('mlp', 10, width=width)
