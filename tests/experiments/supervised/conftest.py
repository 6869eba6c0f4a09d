"""Results filled by hand: their numbers mean nothing."""

import dataclasses

import numpy as np
import pytest

from experiments.supervised.report.selection import method
from experiments.supervised.results import Result
from experiments.supervised.settings import Setting

METRICS = (
  'weight_magnitude',
  'weight_distance',
  'zero_gradients',
  'zero_activations',
  'feature_rank',
)
STEPS = 2000  # Of a phase.
# What some methods are, at a value that the paper tried.
FIELDS = {
  'L2': {'weight_decay': 0.1},
  'Aug': {'augment': True},
  'Spectral': {'spectral_decoupling': 0.01},
  'Regen': {'regenerate': 0.01},
  'ReDo': {'redo': 0.1},
  'CReLU': {'crelu': True},
  'HR': {'head_reset': True},
  'S&P': {'shrink': 0.8},
  'H&T': {'reset_epochs': 10},
}


def make_result(
  rng,
  name,
  accuracy,
  *,
  ratios=(0.1, 1.0),
  noises=(0.5, 0.0),
  seeds=3,
  reported='hare',
  ended=None,
  spread=0.01,
  **setting,
):
  """A result that ends near an accuracy.

  Args:
    rng: where its numbers come from.
    name: of the setting.
    accuracy: of the reported network, about.
    ratios: of its phases.
    noises: of its phases.
    seeds: how many.
    reported: network.
    ended: how many phases are at their end; None for all.
    spread: between seeds.
    **setting: further fields.
  """
  rows = []

  def row(phase, epoch, moment, mean):
    drawn = {
      'phase': phase,
      'epoch': epoch,
      'step': phase * STEPS + epoch * STEPS // 10,
      'moment': moment,
      'train_accuracy': 0.99 + 0.003 * rng.standard_normal(seeds),
    }
    for network in ('hare', 'tortoise'):
      lower = 0.0 if network == reported else 0.03
      test = mean - lower + spread * rng.standard_normal(seeds)
      drawn[f'{network}_test_accuracy'] = test
      drawn[f'{network}_test_loss'] = -np.log(np.clip(test, 0.01, 1))
      drawn[f'{network}_test_top5'] = np.clip(test + 0.2, 0, 1)
    if moment == 'end':
      scales = (1e-3, 1e-2, 1.0, 0.5, 300)
      for metric, scale in zip(METRICS, scales, strict=True):
        drawn[metric] = scale * (mean + rng.uniform(0.1, 0.2, seeds))
    figures = drawn.keys() - {'phase', 'epoch', 'step', 'moment'}
    return {**drawn, **{k: [float(x) for x in drawn[k]] for k in figures}}

  for phase in range(len(ratios)):
    top = accuracy * (phase + 1) / len(ratios)
    rows.append(row(phase, 0, 'start', 0.7 * top))
    for epoch in range(1, 11):
      rows.append(row(phase, epoch, 'epoch', top * (0.7 + 0.03 * epoch)))
    if ended is not None and phase == ended:
      break
    rows.append(row(phase, 10, 'end', top))
    if phase + 1 < len(ratios):
      rows.append(row(phase, 10, 'reset', 0.4 * top))
  epochs = [int(100 / ratio) for ratio in ratios]
  fields = {
    'dataset': 'cifar10',
    'model': 'resnet18',
    'ratios': ratios,
    'noises': noises,
    'epochs': [*epochs[:-1], 100],
    'weight_decay': 1e-3,
    'reported': reported,
    **FIELDS.get(method(name), {}),
    **setting,
  }
  known = {field.name for field in dataclasses.fields(Setting)}
  real = {name: x for name, x in fields.items() if name in known}
  own = {name: x for name, x in fields.items() if name not in known}
  return Result(
    name=name,
    setting=Setting(**real).to_json() | own,
    seeds=tuple(range(seeds)),
    reported=reported,
    rows=rows,
  )


@pytest.fixture(scope='session')
def make():
  return make_result


def make_cells(count, **setting):
  """The first cells of the paper's grid."""
  rng = np.random.default_rng(1)
  levels = [
    (ratio, noise)
    for ratio in (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
    for noise in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
  ]
  return [
    make_result(
      rng,
      f'ratio {ratio}, noise {noise}',
      0.73 + 0.08 * ratio - 0.1 * noise,
      ratios=(ratio, 1.0),
      noises=(noise, 0.0),
      **setting,
    )
    for ratio, noise in levels[:count]
  ]


@pytest.fixture(scope='session')
def cells():
  """All 36 cells of a grid of CIFAR-10."""
  return make_cells(36)


@pytest.fixture(scope='session')
def some_cells():
  """12 of 36 cells, of data that the paper has not."""
  return make_cells(12, dataset='fashion_mnist', model='mlp')


GROUPS = {
  'L2': 'Generalizability',
  'Aug': 'Generalizability',
  'Spectral': 'Trainability',
  'Regen': 'Trainability',
  'ReDo': 'Trainability',
  'CReLU': 'Trainability',
  'HR': 'Re-initialization',
  'S&P': 'Re-initialization',
  'EMA': 'Averaging',
  'SD': 'Averaging',
  'H&T': 'Averaging',
}


@pytest.fixture(scope='session')
def groups():
  return GROUPS


@pytest.fixture(scope='session')
def methods():
  """The methods of Figs. 4 and 5, with what they are compared to."""
  rng = np.random.default_rng(2)
  averaging = ('EMA', 'SD', 'H&T')
  return [
    make_result(rng, 'WS', 0.704),
    make_result(rng, 'fresh', 0.835, ratios=(1.0,), noises=(0.0,)),
    *(
      make_result(
        rng,
        name,
        0.68 + 0.014 * i,
        reported='tortoise' if name in averaging else 'hare',
      )
      for i, name in enumerate(GROUPS)
    ),
  ]
