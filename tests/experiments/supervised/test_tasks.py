"""Permuted images, and classes that come one after the other."""

import collections
import re

import jax
import numpy as np
import pytest

from experiments.supervised import models, phases, prepare, run
from experiments.supervised.data import Dataset
from experiments.supervised.settings import Setting
from experiments.supervised.training import Trainer
from experiments.supervised.training.inputs import Inputs
import ht_rl

SEEDS = (3, 8)
THIRDS = (1 / 3, 2 / 3, 1.0)


def make_dataset():
  """Three classes, of 4, 3 and 5 images with 2x3 pixels of two channels."""
  rng = np.random.default_rng(0)
  labels = np.repeat(np.arange(3), (4, 3, 5)).astype(np.int32)
  tested = np.array([2, 0, 1, 1, 2, 0, 0], np.int32)
  images, test_images = (
    rng.integers(0, 256, (n, 2, 3, 2), np.uint8) for n in (12, 7)
  )
  constants = ((0.4, 0.5), (0.3, 0.2))
  return Dataset('tiny', images, labels, test_images, tested, 3, *constants)


DATASET = make_dataset()


@pytest.mark.parametrize('seed', SEEDS)
def test_classes_come_one_after_the_other(seed):
  labels = DATASET.train_labels
  made = phases.make_phases(labels, 3, THIRDS, (0, 0, 0), seed, tasks='classes')
  classes = phases.class_order(3, seed)
  assert sorted(classes) == [0, 1, 2]
  seen = set()
  for k, phase in enumerate(made):
    # Of each class as many as the smallest has.
    counts = collections.Counter(labels[phase.indices].tolist())
    assert counts == {int(c): 3 for c in classes[: k + 1]}
    np.testing.assert_array_equal(phase.labels, labels[phase.indices])
    assert len(set(phase.indices.tolist())) == 3 * (k + 1)
    assert seen < set(phase.indices.tolist())
    seen = set(phase.indices.tolist())


def test_each_seed_has_its_own_orders():
  classes = {tuple(phases.class_order(10, seed)) for seed in range(5)}
  assert len(classes) == 5
  pixels = [
    tuple(phases.pixel_order(9, seed, phase))
    for seed in range(3)
    for phase in range(3)
  ]
  assert len(set(pixels)) == 9
  assert {tuple(sorted(order)) for order in pixels} == {tuple(range(9))}


def test_a_buffer_keeps_samples_of_old_classes():
  made = phases.make_phases(
    DATASET.train_labels,
    *(3, THIRDS, (0, 0, 0), 3),
    buffer_size=2,
    tasks='classes',
  )
  assert [len(phase.indices) for phase in made] == [3, 5, 5]
  newest = phases.class_order(3, 3)[2]
  counts = np.bincount(DATASET.train_labels[made[2].indices], minlength=3)
  assert counts[newest] == 3


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    (
      {'tasks': 'pixels'},
      "tasks must be 'same' or 'permuted' or 'classes', not 'pixels'",
    ),
    (
      {'tasks': 'permuted', 'augment': True},
      "augment must be False with tasks = 'permuted'",
    ),
  ],
)
def test_wrong_tasks(fields, message):
  with pytest.raises(ValueError, match=re.escape(message)) as error:
    Setting(**fields)
  assert '\n' not in str(error.value)


def test_a_part_of_a_class_is_refused():
  setting = Setting(ratios=(0.25, 1.0), tasks='classes', train_size=100)
  with pytest.raises(ValueError, match=r'multiples of 1/10, not 0.25$'):
    prepare.check_setting(setting)


def test_images_of_seeds_and_phases():
  setting = Setting(
    ratios=THIRDS, noises=(0,) * 3, epochs=(1,) * 3, tasks='permuted'
  )
  inputs = Inputs(setting, SEEDS, DATASET)
  for images, permuted in (
    (DATASET.train_images, inputs.train_images(1)),
    (DATASET.test_images, inputs.test_set(1)[0]),
  ):
    assert permuted.shape == (2, *images.shape)
    for i, seed in enumerate(SEEDS):
      order = phases.pixel_order(6, seed, 1)
      for n, image in enumerate(images):
        for place, source in enumerate(order):
          np.testing.assert_array_equal(
            permuted[i, n, place // 3, place % 3],
            image[source // 3, source % 3],
          )


def make_trainer(dataset=DATASET, seeds=(8,), **fields):
  fields = {
    'ratios': (1.0, 1.0),
    'epochs': (2, 2),
    'batch_size': 5,
    'width': 0.1,
    'eps': 1e-3,
    **fields,
  }
  return Trainer(Setting(**fields), seeds, dataset)


@pytest.mark.usefixtures('compile_fast')
def test_permuted_images_are_those_of_another_data_set():
  order = phases.pixel_order(6, 8, 1)
  permuted = {
    name: getattr(DATASET, name)
    .reshape(-1, 6, 2)[:, order]
    .reshape(-1, 2, 3, 2)
    for name in ('train_images', 'test_images')
  }
  fields = {'redo': 0.5, 'redo_every': 1}
  found = []
  for trainer in (
    make_trainer(tasks='permuted', **fields),
    make_trainer(DATASET._replace(**permuted), **fields),
  ):
    # The second phase: ReDo looks at its images before its first epoch.
    state = trainer.begin_phase(1, trainer.begin_phase(0))
    state, seen = trainer.epoch(1, 0, state)
    figures = trainer.evaluate(1, state) | trainer.measure(1, state)
    found.append(jax.tree.map(np.asarray, (state, seen, figures)))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), *found
  )


@pytest.mark.usefixtures('compile_fast')
def test_a_phase_is_tested_on_the_classes_that_it_has_seen():
  trainer = make_trainer(
    seeds=SEEDS,
    ratios=THIRDS,
    noises=(0, 0, 0),
    epochs=(1, 1, 1),
    tasks='classes',
  )
  assert [trainer.schedule(k).num_samples for k in range(3)] == [3, 6, 9]
  assert trainer.schedule(0).num_train == 9
  state = trainer.begin_phase(0)
  params = ht_rl.tortoise_params(state.opt_state)
  model = models.make_model('mlp', 3, width=0.1)
  images = (DATASET.test_images / 255 - (0.4, 0.5)) / (0.3, 0.2)
  for phase in range(3):
    figures = trainer.evaluate(phase, state)
    for i, seed in enumerate(SEEDS):
      own = jax.tree.map(
        lambda x: x[i],  # noqa: B023
        {'params': params, 'batch_stats': state.tortoise_stats},
      )
      logits = np.asarray(model.apply(own, images).logits, float)
      seen = phases.class_order(3, seed)[: phase + 1].tolist()
      losses, hits = [], []
      for row, label in zip(logits, DATASET.test_labels, strict=True):
        if label in seen:
          losses.append(np.log(np.sum(np.exp(row))) - row[label])
          hits.append(np.argmax(row) == label)  # Among all three.
      assert figures['tortoise_test_accuracy'][i] == np.mean(hits)
      np.testing.assert_allclose(
        figures['tortoise_test_loss'][i], np.mean(losses), rtol=1e-4
      )


def test_epochs_of_classes_count_what_the_phases_share_out():
  setting = Setting(
    ratios=(0.5, 1.0), tasks='classes', train_size=100, batch_size=10
  )
  labels = prepare.load_dataset(setting).train_labels
  smallest = int(np.bincount(labels, minlength=10).min())
  assert 1 < smallest < 10
  for phase, classes in enumerate((5, 10)):
    schedule = prepare.make_schedule(setting, phase)
    assert schedule.num_train == 10 * smallest
    assert schedule.num_samples == classes * smallest
    assert schedule.steps_per_epoch == -(-classes * smallest // 10)


@pytest.mark.usefixtures('compile_fast')
def test_an_experiment_with_tasks(tmp_path):
  setting = Setting(
    ratios=(1.0, 1.0),
    noises=(0.0, 0.0),
    epochs=(1, 1),
    tasks='permuted',
    train_size=100,
    width=0.1,
    batch_size=50,
  )
  (result,) = run.run_experiment({'permuted': setting}, (3,), tmp_path)
  assert [(x['phase'], x['step'], x['moment']) for x in result.rows] == [
    (0, 0, 'start'),
    (0, 2, 'end'),
    (1, 2, 'start'),
    (1, 4, 'end'),
  ]
  assert result.setting['tasks'] == 'permuted'
  # The same network, on images in another order.
  before, after = (row['hare_test_loss'] for row in result.rows[1:3])
  assert before != after
