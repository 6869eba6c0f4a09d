"""What all networks compute, by narrow ones."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.supervised.models import make_model

pytestmark = pytest.mark.usefixtures('compile_fast', 'shallow_vit')

# Narrow ones, and images: of the sides that the experiments have, or smaller.
SHAPES = {
  'mlp': (8, 8, 1),
  'resnet18': (8, 8, 3),
  'vit_tiny': (8, 8, 3),
  'vgg16': (64, 64, 3),
}
WIDTHS = {
  'mlp': 0.2,
  'resnet18': 0.1,
  'vit_tiny': 0.1,
  'vgg16': 0.04,
}
NAMES = tuple(SHAPES)
CLASSES = 7


class Narrow:
  """A network with its images and variables."""

  def __init__(self, name, crelu, draw_variables):
    self.model = make_model(name, CLASSES, width=WIDTHS[name], crelu=crelu)
    rng = np.random.default_rng(0)
    self.images = rng.normal(size=(4, *SHAPES[name])).astype(np.float32)
    self._variables = draw_variables(self.model, self.images)
    self.evaluate = jax.jit(self.model.apply)

  @property
  def variables(self):
    return jax.tree.map(np.copy, self._variables)


@pytest.fixture(scope='module')
def narrow(shallow_vit, draw_variables):
  return functools.cache(
    lambda name, crelu=False: Narrow(name, crelu, draw_variables)
  )


def get(tree, path):
  for name in path:
    tree = tree[name]
  return tree


@pytest.mark.parametrize(
  ('name', 'crelu'),
  [*((name, False) for name in NAMES), ('mlp', True), ('vgg16', True)],
)
def test_hidden_layers_can_be_permuted(narrow, name, crelu):
  # In another order units compute the same, if all that belongs to them moves:
  # what `hidden_layers` names is all of it.
  network = narrow(name, crelu)
  variables = network.variables
  before = network.evaluate(variables, network.images)
  params = variables['params']
  rng = np.random.default_rng(2)
  orders = []
  for layer in network.model.hidden_layers:
    producer = get(params, layer.producer)
    units = producer['kernel'].shape[-1]
    order = np.roll(rng.permutation(units), 1)
    orders.append(order)
    for key in producer:
      producer[key] = producer[key][..., order]
    if layer.norm is not None:
      for group in variables.values():
        norm = get(group, layer.norm)
        for key in norm:
          norm[key] = norm[key][order]
    consumer = get(params, layer.consumer)
    rows = np.arange(consumer['kernel'].shape[-2]).reshape(-1, units)
    kernel = consumer['kernel'][..., rows[:, order].reshape(-1), :]
    consumer['kernel'] = kernel
  after = network.evaluate(variables, network.images)
  close = functools.partial(np.testing.assert_allclose, atol=2e-5, rtol=2e-4)
  close(after.logits, before.logits)
  moved = False
  for x, y, order in zip(
    before.activations, after.activations, orders, strict=True
  ):
    assert np.ptp(x) > 1e-3
    columns = np.arange(x.shape[-1]).reshape(-1, len(order))
    close(y, x[..., columns[:, order].reshape(-1)])
    moved |= not np.allclose(x, y, atol=1e-3)
  assert moved


@pytest.mark.parametrize('name', NAMES)
def test_head_maps_features_to_logits(narrow, name):
  network = narrow(name)
  outputs = network.evaluate(network.variables, network.images)
  logits = network.model.apply(
    network.variables, outputs.features, method='head'
  )
  np.testing.assert_allclose(logits, outputs.logits, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('name', NAMES)
def test_samples_do_not_mix_in_evaluation(narrow, name):
  network = narrow(name)
  flipped = network.images[::-1].copy()
  logits = network.evaluate(network.variables, network.images).logits
  again = network.evaluate(network.variables, flipped).logits[::-1]
  np.testing.assert_allclose(again, logits, rtol=1e-4, atol=1e-5)
  assert np.ptp(logits, axis=0).min() > 1e-3


@pytest.mark.parametrize('name', NAMES)
def test_training(narrow, name):
  network = narrow(name)
  labels = np.arange(4)

  def loss(params, stats):
    outputs, updated = network.model.apply(
      {'params': params, 'batch_stats': stats},
      network.images,
      train=True,
      mutable=['batch_stats'],
      rngs={'dropout': jax.random.key(0)},
    )
    scores = jax.nn.log_softmax(outputs.logits)
    return -jnp.mean(scores[labels, labels]), (outputs.logits, updated)

  gradient = jax.jit(jax.grad(loss, has_aux=True))
  variables = network.variables
  params, before = variables['params'], variables.get('batch_stats', {})
  grads, (logits, updated) = gradient(params, before)

  # The running statistics of all layers move, and do nothing.
  after = updated.get('batch_stats', {})
  assert jax.tree.structure(before) == jax.tree.structure(after)
  for x, y in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
    assert (x != y).all()
  others = jax.tree.map(lambda x: 3 * x, before)
  np.testing.assert_array_equal(gradient(params, others)[1][0], logits)
  evaluated = network.evaluate(variables, network.images).logits
  assert not np.allclose(evaluated, logits, atol=1e-3)

  # All parameters learn.
  for path, g in jax.tree.leaves_with_path(grads):
    assert np.isfinite(g).all(), path
    assert np.any(g != 0), path


@pytest.mark.parametrize('name', ['mlp', 'resnet18', 'vit_tiny'])
def test_bfloat16_is_near_float32(narrow, name):
  network = narrow(name)
  model = make_model(name, CLASSES, width=WIDTHS[name], dtype=jnp.bfloat16)
  outputs = jax.jit(model.apply)(network.variables, network.images)
  assert outputs.logits.dtype == jnp.float32
  assert outputs.activations[0].dtype == jnp.bfloat16
  expected = network.evaluate(network.variables, network.images).logits
  error = np.linalg.norm(outputs.logits - expected) / np.linalg.norm(expected)
  assert 0 < error < 0.05
