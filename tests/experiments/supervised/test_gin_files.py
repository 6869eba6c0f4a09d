"""Compares the gin files of the supervised experiments with the paper."""

import dataclasses
import math
import pathlib

import gin
import numpy as np
import pytest

from experiments import config
from experiments.supervised import data, paper, prepare
from experiments.supervised import experiment as experiment_lib
from experiments.supervised.report import selection, tables

pytest.importorskip('mlxtend')

CONFIGS = pathlib.Path(__file__).parents[3] / 'gin_configs' / 'supervised'
# Appendix A.2 of the paper; where the released code has another weight decay,
# it is the code's. Then the number of seeds.
DATASETS = {
  'mnist': ('mnist5k', 'mlp', 1e-3, 1e-4, 5),
  'fashion_mnist': ('fashion_mnist', 'mlp', 1e-3, 1e-4, 5),
  'cifar10': ('cifar10', 'resnet18', 1e-3, 1e-3, 5),
  'cifar100': ('cifar100', 'vit_tiny', 3e-3, 0.05, 5),
  'tiny_imagenet': ('tiny_imagenet', 'vgg16', 1e-3, 1e-3, 3),
  'cifar10_vgg16': ('cifar10', 'vgg16', 1e-3, 1e-3, 2),
  'tiny_imagenet_resnet18': ('tiny_imagenet', 'resnet18', 1e-3, 1e-3, 2),
}
SIDES = {'cifar10': 32, 'cifar100': 32, 'tiny_imagenet': 64}
# With their data set.
WHOLE = ('warm_start_mnist', 'cifar10_small', 'class_incremental_cifar100')
LAST = ('l2',)  # Beside both.
EXPERIMENTS = sorted(
  {path.stem for path in CONFIGS.glob('*.gin')} - {*DATASETS, *WHOLE, *LAST}
)


@pytest.fixture
def _any_data(monkeypatch):
  """In place of every data set one of the same shape, without content."""

  def load(name, folder=None, *, train_size=None, validation_size=None):
    side, channels = SIDES.get(name, 28), 3 if name in SIDES else 1
    images = np.zeros((100, side, side, channels), np.uint8)
    labels = np.arange(100, dtype=np.int32) % 10
    constants = (0.5,) * channels
    return data.Dataset(
      name, *(images, labels) * 2, 10, mean=constants, std=constants
    )

  monkeypatch.setattr(data, 'load', load)
  prepare._load.cache_clear()
  yield
  prepare._load.cache_clear()


def load_experiment(*names):
  """The experiment of some gin files, all of whose settings are made."""
  config.load_config([str(CONFIGS / f'{name}.gin') for name in names], [])
  experiment = experiment_lib.make_experiment()
  config.check_effects()
  return experiment


@pytest.mark.parametrize('name', WHOLE)
def test_a_file_that_is_an_experiment_by_itself(name):
  experiment_lib.check_shown(load_experiment(name))


@pytest.mark.usefixtures('_any_data')
@pytest.mark.parametrize('dataset', DATASETS)
def test_every_file_with_every_data_set(dataset):
  *fields, seeds = DATASETS[dataset]
  for name in EXPERIMENTS:
    experiment = load_experiment(name, dataset)
    assert experiment.seeds == tuple(range(1, seeds + 1))
    if dataset == 'mnist':  # Of all data it looks the same.
      experiment_lib.check_shown(experiment)
    # The others differ in what the file says of them.
    plain = next(iter(experiment.settings.values()))
    assert [
      plain.dataset,
      plain.model,
      plain.learning_rate,
      plain.weight_decay,
    ] == fields
    # Tables 3 and A.2 and section 5.
    assert (plain.batch_size, plain.warmup, plain.max_grad_norm) == (
      256,
      0.1,
      0.5,
    )
    assert (plain.b1, plain.b2, plain.eps) == (0.9, 0.999, 1e-8)
    assert plain.momentum == 0.999
    if name == 'random_labels':
      assert (set(plain.ratios), set(plain.noises)) == ({1.0}, {1.0})
    elif name in ('permuted', 'class_incremental'):
      assert plain.tasks == {'p': 'permuted', 'c': 'classes'}[name[0]]
    elif name not in ('warm_start', 'metrics') and 'continual' not in name:
      assert (plain.ratios, plain.noises) == ((0.1, 1.0), (0.5, 0.0))
      assert plain.epochs == (1000, 100)
    augmented = name in (
      *('hare_tortoise', 'continual', 'continual_limited'),
      'class_incremental',
    )
    # The paper never augments digits.
    assert plain.augment == (augmented and plain.dataset in SIDES)
  prepare.check_setting(plain)  # Of the network: it can read the images.


def test_the_grid_of_warm_starts():
  for name, whole in (
    ('warm_start', load_experiment('warm_start', 'mnist')),
    ('metrics', load_experiment('metrics', 'mnist')),
    ('whole', load_experiment('warm_start_mnist')),
  ):
    cells = {
      (s.ratios[0], s.noises[0]): s.epochs for s in whole.settings.values()
    }
    epochs = {0.1: 1000, 0.2: 500, 0.4: 250, 0.6: 166, 0.8: 125, 1.0: 100}
    noises = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
    assert len(whole.settings) == len(cells) == 36, name
    assert cells == {
      (ratio, noise): (first, 100)
      for ratio, first in epochs.items()
      for noise in noises
    }
    for setting in whole.settings.values():
      assert (setting.ratios[1:], setting.noises[1:]) == ((1.0,), (0.0,))


def test_the_phases_of_continual_learning():
  for name, buffer_size in (('continual', None), ('continual_limited', 5000)):
    for setting in load_experiment(name, 'cifar10').settings.values():
      np.testing.assert_allclose(setting.ratios, np.arange(1, 11) / 10)
      assert setting.noises == (0.5, 0.4, 0.4, 0.3, 0.3, 0.2, 0.2, 0.1, 0.1, 0)
      assert setting.epochs == (100,) * 10
      assert setting.buffer_size == buffer_size


# Appendix A.4, and section 5.1 for self-distillation.
GRIDS = {
  'S&P': ('shrink', {0.2, 0.4, 0.6, 0.8, 1.0}),  # 0 is the plain warm start.
  'L2': ('weight_decay', {1.0, 0.1, 0.01, 0.001, 0.0001}),
  'Regen': ('regenerate', {1.0, 0.1, 0.01, 0.001, 0.0001}),
  'ReDo': ('redo', {0.01, 0.02, 0.05, 0.1, 0.2, 0.5}),
  'Spectral': (
    'spectral_decoupling',
    {1.0, 0.1, 0.01, 0.001, 0.0001, 0.00001},
  ),
  'SD': ('self_distillation', {1.0, 5.0, 10.0}),
  'eps': ('eps', {1e-6, 1e-4, 1e-3, 1e-2}),
  'b1': ('b1', {0.0, 0.5, 0.99}),
  'b2': ('b2', {0.9, 0.99, 0.9999}),
}


@pytest.mark.parametrize('name', ['hare_tortoise', 'continual_limited'])
def test_l2_comes_last(name):
  with_l2 = load_experiment(name, 'cifar10', 'l2').settings
  without = load_experiment(name, 'cifar10').settings
  assert {setting.weight_decay for setting in without.values()} == {1e-3}
  assert with_l2 == {
    method: dataclasses.replace(setting, weight_decay=0.1)
    for method, setting in without.items()
  }
  assert all(setting.augment for setting in with_l2.values())


def test_the_names_of_the_settings_say_what_they_are():
  methods = load_experiment('methods', 'cifar10').settings
  optimizer = load_experiment('optimizer', 'cifar10').settings
  for method, (field, values) in GRIDS.items():
    settings = methods | optimizer
    grid = {
      name: getattr(setting, field)
      for name, setting in settings.items()
      if selection.method(name) == method
    }
    assert set(grid.values()) == values
    for name, value in grid.items():
      assert float(name.split()[-1]) == value
      rest = dataclasses.replace(
        settings[name], **{field: getattr(settings['WS'], field)}
      )
      assert rest == settings['WS'], name


def test_one_picture_has_all_of_figure_4():
  augmented = load_experiment('methods_augmented', 'cifar10').settings
  plain = load_experiment('methods', 'cifar10').settings
  assert {**plain, **augmented} == augmented
  methods = {selection.method(name) for name in augmented}
  assert set(paper.METHODS_TEST_ACCURACY['cifar10']) <= methods


@pytest.mark.parametrize('dataset', ['cifar10', 'cifar100', 'tiny_imagenet'])
def test_the_papers_numbers_are_beside_its_settings_alone(dataset, make):
  rng = np.random.default_rng(0)
  published = paper.METHODS_TEST_ACCURACY[dataset]

  def beside(*files, **changed):
    settings = load_experiment(*files, dataset).settings
    table = tables.method_table(
      [
        make(rng, name, 0.7, **dataclasses.asdict(setting) | changed)
        for name, setting in settings.items()
      ]
    )
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    return {
      selection.method(row['setting']): row['paper']
      for row in rows
      if not math.isnan(row['paper'])
    }

  assert beside('methods_augmented') == published
  # Figure 5 augments all, which Table 7 does not.
  assert beside('hare_tortoise') == {}
  assert beside('methods', batch_size=128) == {}
  # The paper has none of these methods, so no number of it applies.
  assert beside('methods', snr=0.02) == {}
  assert beside('methods', continual_backprop=0.001) == {}
  assert beside('methods', tasks='classes') == {}


def test_the_bars_are_of_settings_that_there_are():
  there = set()
  for file in ('methods', 'hare_tortoise', 'methods_augmented', 'controls'):
    names = load_experiment(file, 'cifar10').settings
    groups = gin.query_parameter('figures.bars.groups')
    shown = {
      name if name in groups else selection.method(name) for name in names
    }
    assert shown - set(groups) <= {'WS', 'fresh', 'fresh + Aug'}, file
    there |= shown
    if file == 'controls':
      assert set(groups) <= shown
    else:
      of_methods = set(groups)
  assert of_methods <= there
