"""The methods of others that `methods.gin` has beside those of the paper."""

import dataclasses
import pathlib

import gin
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.supervised import experiment, methods
from experiments.supervised.data import Dataset
from experiments.supervised.settings import Setting
from experiments.supervised.training import Trainer
import ht_rl
from ht_rl.transforms import fire

pytestmark = pytest.mark.usefixtures('compile_fast')

ROOT = pathlib.Path(__file__).parents[3]
FILE = ROOT / 'gin_configs' / 'supervised' / 'methods.gin'
TINY = {
  'epochs': (3, 2),
  'batch_size': 8,
  'width': 0.1,
  'noises': (0.0, 0.0),
  'ratios': (0.5, 1.0),
  # With Adam's usual eps rounding would become steps.
  'eps': 1e-3,
}


def make_dataset():
  rng = np.random.default_rng(0)
  labels = (np.arange(40) % 6).astype(np.int32)
  images = rng.integers(0, 256, (40, 4, 4, 1), np.uint8)
  return Dataset(
    name='noise',
    train_images=images,
    train_labels=labels,
    test_images=images,
    test_labels=labels,
    num_classes=6,
    mean=(0.4,),
    std=(0.3,),
  )


@pytest.fixture(scope='module')
def settings():
  with gin.unlock_config():
    gin.clear_config()
    gin.parse_config_file(str(FILE))
    found = experiment.make_experiment().settings
    gin.clear_config()
  return found


def run(setting, phases=2, change=lambda state: state):
  """Returns the states at the start and at the end of each phase."""
  trainer = Trainer(
    dataclasses.replace(setting, **TINY), (3, 8), make_dataset()
  )
  state, ends = None, []
  for phase in range(phases):
    state = change(trainer.begin_phase(phase, state))
    ends.append(jax.tree.map(np.array, state))
    for epoch in range(trainer.schedule(phase).epochs):
      state, _ = trainer.epoch(phase, epoch, state)
    ends.append(jax.tree.map(np.array, state))
  return ends


def test_each_has_a_setting_of_its_own(settings):
  kinds = (
    methods.Parseval,
    methods.FIRE,
    methods.SelfNormalizedResets,
    methods.ContinualBackprop,
  )
  found = {
    name: setting.all_methods[0]
    for name, setting in settings.items()
    if setting.all_methods and isinstance(setting.all_methods[0], kinds)
  }
  assert found == {
    'Parseval 0.001': methods.Parseval(0.001),
    'FIRE': methods.FIRE(),
    'SNR 0.02': methods.SelfNormalizedResets(0.02),
    'Parseval 0.01': methods.Parseval(0.01),
    'Parseval 0.0001': methods.Parseval(0.0001),
    'SNR 0.01': methods.SelfNormalizedResets(0.01),
    'SNR 0.05': methods.SelfNormalizedResets(0.05),
    'CBP 0.0001': methods.ContinualBackprop(1e-4),
    'CBP 0.001': methods.ContinualBackprop(1e-3),
    'CBP 0.00001': methods.ContinualBackprop(1e-5),
  }


def test_only_where_they_are_on_they_are_written(settings):
  fields = {'parseval', 'fire', 'snr', 'continual_backprop'}
  assert not fields & set(settings['WS'].to_json())
  for name, field, value in (
    ('FIRE', 'fire', True),
    ('Parseval 0.01', 'parseval', 0.01),
    ('SNR 0.01', 'snr', 0.01),
    ('CBP 0.001', 'continual_backprop', 1e-3),
  ):
    assert settings[name].to_json()[field] == value


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'parseval': -1.0}, 'parseval must be a number of at least 0'),
    ({'fire': 1}, 'fire must be True or False'),
    ({'snr': 0.0}, 'snr must be a number from above 0 to below 1'),
    ({'continual_backprop': 1.1}, 'continual_backprop must be a number'),
    ({'snr': 1.0}, 'snr must be a number from above 0 to below 1'),
  ],
)
def test_values_out_of_range(fields, message):
  with pytest.raises(ValueError, match=message):
    Setting(**fields)


@pytest.mark.parametrize('name', ['Parseval 0.001', 'FIRE', 'SNR 0.02'])
def test_each_trains(settings, name):
  def kernels(setting):
    states = run(setting)
    for state in states:
      assert all(np.isfinite(x).all() for x in jax.tree.leaves(state.params))
    return [state.params['backbone']['hidden_0']['kernel'] for state in states]

  by_method, plain = kernels(settings[name]), kernels(settings['WS'])
  assert np.any(by_method[3] != by_method[2])
  # FIRE acts between the phases, Parseval in all steps; no unit is silent for
  # 200 of these few steps, so that only rounding differs for SNR.
  first_that_differs = {'Parseval 0.001': 1, 'FIRE': 2, 'SNR 0.02': 4}[name]
  for i, (a, b) in enumerate(zip(by_method, plain, strict=True)):
    if i < first_that_differs:
      np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
    else:
      assert np.abs(a - b).max() > 1e-4


def test_fire_projects_all_kernels(settings):
  states = run(settings['FIRE'])
  expected = jax.vmap(fire.project)(states[1].params)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-6),
    states[2].params,
    expected,
  )


def test_the_position_embedding_of_a_vit_is_no_kernel():
  params = {
    'backbone': {
      'positions': 3 * jnp.ones((2, 2)),
      'query': {'kernel': 3 * jnp.eye(2)},
    },
  }
  projected = methods.FIRE().begin_phase(params, params, jax.random.key(0))
  assert (projected['backbone']['positions'] == 3).all()
  # Projected on a kernel of two inputs and two units.
  np.testing.assert_allclose(
    projected['backbone']['query']['kernel'], np.eye(2), atol=1e-5
  )
  optimizer = methods.Parseval(1.0).wrap_optimizer(optax.identity())
  zeros = jax.tree.map(jnp.zeros_like, params)
  updates, _ = optimizer.update(zeros, optimizer.init(params), params)
  assert not updates['backbone']['positions'].any()
  assert updates['backbone']['query']['kernel'].any()


def test_parseval_leaves_the_output_layer_out():
  params = {
    'backbone': {'hidden': {'kernel': jnp.ones((2, 2)), 'bias': jnp.ones(2)}},
    'head': {
      'hidden_0': {'kernel': jnp.ones((2, 2))},
      'output': {'kernel': jnp.ones((2, 2))},
    },
  }
  optimizer = methods.Parseval(1.0).wrap_optimizer(optax.identity())
  zeros = jax.tree.map(jnp.zeros_like, params)
  updates, _ = optimizer.update(zeros, optimizer.init(params), params)
  assert updates['backbone']['hidden']['kernel'].all()
  assert updates['head']['hidden_0']['kernel'].all()
  assert not updates['head']['output']['kernel'].any()
  assert not updates['backbone']['hidden']['bias'].any()


SEEN = []


def test_continual_backprop_replaces_units_of_each_layer(settings):
  # Units are old from the second step on. Each step owes more units than the
  # one that it may replace.
  method = methods.ContinualBackprop(1.0, maturity=1)
  setting = dataclasses.replace(settings['WS'], methods=(method,))
  _, last = run(setting, phases=1)
  inner = last.opt_state.inner_state
  assert isinstance(inner, ht_rl.ContinualBackpropState)
  assert inner.count.tolist() == [9, 9]
  for ages in inner.age.values():
    # One unit starts over in each step from the second one on, the last one in
    # the last step.
    assert (ages == 0).sum(axis=1).tolist() == [1, 1]
    assert ages.max() <= 9


@dataclasses.dataclass(frozen=True)
class Spy(methods.Method):
  """SNR that notes what it is given."""

  def wrap_units(self, inner, init, layers):
    method = methods.SelfNormalizedResets(
      0.02, max_interval=1, refresh_every=1000
    )
    optimizer = method.wrap_units(inner, init, layers)

    def update(updates, state, params=None, *, activations):
      SEEN.append((layers, jax.tree.map(jnp.shape, activations)))
      return optimizer.update(updates, state, params, activations=activations)

    return optax.GradientTransformationExtraArgs(optimizer.init, update)


def test_snr_resets_what_is_silent_in_training(settings):
  SEEN.clear()
  setting = dataclasses.replace(settings['WS'], methods=(Spy(),))

  def silence(state):
    params = jax.tree.map(jnp.array, state.params)
    norm = params['backbone']['norm_1']
    norm['bias'] = norm['bias'].at[:, 4].set(-100.0)
    return state._replace(params=params)

  first, last = run(setting, phases=1, change=silence)
  layers, shapes = SEEN[0]
  width = first.params['head']['output']['kernel'].shape[1]
  assert layers == {
    'backbone/hidden_0': ht_rl.Units(
      ('backbone/hidden_0', 'backbone/norm_0'), 'backbone/hidden_1'
    ),
    'backbone/hidden_1': ht_rl.Units(
      ('backbone/hidden_1', 'backbone/norm_1'), 'head/output'
    ),
  }
  assert set(shapes) == set(layers)
  assert shapes['backbone/hidden_1'][1] == width
  inner = last.opt_state.inner_state
  assert isinstance(inner, ht_rl.SelfNormalizedResetsState)
  assert inner.count.tolist() == [9, 9]
  # In its first step the unit starts over, and is not silent again.
  for layer, unit in (('backbone/hidden_1', 4), ('backbone/hidden_1', 3)):
    lengths = inner.histogram[layer][:, unit]
    assert lengths.tolist() == [[0, int(unit == 4)]] * 2
  bias = last.params['backbone']['norm_1']['bias']
  assert np.all(first.params['backbone']['norm_1']['bias'][:, 4] == -100)
  assert np.all(np.abs(bias) < 1)
