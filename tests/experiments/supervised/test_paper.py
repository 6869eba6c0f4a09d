import math

import pytest

from experiments.supervised import data, paper

LEVELS = [(ratio, noise) for ratio in paper.RATIOS for noise in paper.NOISES]
METHODS = (
  *('WS', 'fresh', 'fresh + Aug', 'L2', 'Aug', 'Spectral', 'Regen'),
  *('ReDo', 'CReLU', 'HR', 'S&P', 'S&P + L2 + Aug'),
)

TRAIN, TEST = paper.final_train_accuracy, paper.final_test_accuracy


def test_every_dataset_has_every_cell():
  assert len(LEVELS) == 36
  assert list(paper.TRAINING) == [
    'mnist',
    'cifar10',
    'cifar100',
    'tiny_imagenet',
  ]
  for dataset in paper.TRAINING:
    for level in LEVELS:
      for find in (TRAIN, TEST):
        mean, std = find(dataset, *level)
        assert 0 < mean <= 1
        assert 0 < std < 0.04


# Sums over the columns as they are printed, of means and of deviations.
@pytest.mark.parametrize(
  ('find', 'dataset', 'means', 'stds'),
  [
    (TRAIN, 'mnist', 36.00, 0.0083),
    (TRAIN, 'cifar10', 36.00, 0.0215),
    (TRAIN, 'cifar100', 32.94, 0.0560),
    (TRAIN, 'tiny_imagenet', 35.41, 0.0175),
    (TEST, 'mnist', 34.98, 0.0464),
    (TEST, 'cifar10', 26.46, 0.1880),
    (TEST, 'cifar100', 16.29, 0.1983),
    (TEST, 'tiny_imagenet', 10.32, 0.1089),
  ],
)
def test_sums_of_the_grid(find, dataset, means, stds):
  numbers = [find(dataset, *level) for level in LEVELS]
  assert math.fsum(mean for mean, _ in numbers) == pytest.approx(means)
  assert math.fsum(std for _, std in numbers) == pytest.approx(stds)


# Sums over the six noises of a ratio.
@pytest.mark.parametrize(
  ('find', 'dataset', 'sums'),
  [
    (TRAIN, 'cifar100', (5.46, 5.46, 5.49, 5.5, 5.51, 5.52)),
    (TRAIN, 'tiny_imagenet', (5.85, 5.88, 5.9, 5.92, 5.93, 5.93)),
    (TEST, 'mnist', (5.83,) * 6),
    (TEST, 'cifar10', (4.25, 4.21, 4.32, 4.44, 4.58, 4.66)),
    (TEST, 'cifar100', (2.66, 2.65, 2.68, 2.72, 2.78, 2.8)),
    (TEST, 'tiny_imagenet', (0.88, 1.15, 1.83, 2.04, 2.17, 2.25)),
  ],
)
def test_sums_of_the_ratios(find, dataset, sums):
  found = [
    math.fsum(find(dataset, ratio, noise).mean for noise in paper.NOISES)
    for ratio in paper.RATIOS
  ]
  assert found == pytest.approx(list(sums))


def test_corners_of_the_grid():
  corners = {
    (0.1, 0.0): (0.98, 0.74, 0.45, 0.18),
    (0.1, 0.5): (0.97, 0.69, 0.44, 0.12),
    (0.4, 0.0): (0.98, 0.77, 0.47, 0.36),
    (0.4, 0.5): (0.97, 0.67, 0.43, 0.25),
    (1.0, 0.0): (0.98, 0.81, 0.51, 0.43),
    (1.0, 0.5): (0.97, 0.75, 0.40, 0.30),
  }
  for level, means in corners.items():
    found = [paper.final_test_accuracy(d, *level).mean for d in paper.TRAINING]
    assert found == list(means), level
  assert paper.final_test_accuracy('cifar100', 1.0, 0.5) == (0.40, 0.0376)
  assert paper.final_test_accuracy('cifar10', 0.1, 0.2) == (0.71, 0.0123)
  assert paper.final_train_accuracy('cifar100', 0.8, 0.5) == (0.91, 0.0051)
  assert paper.final_train_accuracy('tiny_imagenet', 0.1, 0.3) == (0.97, 0.0001)


def test_no_number_is_none():
  assert paper.final_test_accuracy('fashion_mnist', 0.1, 0.5) is None
  assert paper.final_test_accuracy('mnist', 0.3, 0.5) is None
  assert paper.final_train_accuracy('cifar10', 0.1, 0.6) is None


@pytest.mark.parametrize(
  ('table', 'sums'),
  [
    (paper.METHODS_TRAIN_ACCURACY, (11.949, 10.718, 11.660)),
    (paper.METHODS_TEST_ACCURACY, (9.178, 5.689, 2.728)),
  ],
)
def test_sums_of_the_methods(table, sums):
  assert list(table) == ['cifar10', 'cifar100', 'tiny_imagenet']
  for column, expected in zip(table.values(), sums, strict=True):
    assert tuple(column) == METHODS
    assert math.fsum(column.values()) == pytest.approx(expected)


def test_some_methods():
  test, train = paper.METHODS_TEST_ACCURACY, paper.METHODS_TRAIN_ACCURACY
  assert [column['WS'] for column in test.values()] == [0.704, 0.442, 0.115]
  assert [column['S&P'] for column in test.values()] == [0.771, 0.467, 0.229]
  assert [column['CReLU'] for column in train.values()] == [0.997, 0.89, 0.964]
  assert train['cifar100']['fresh + Aug'] == 0.852
  assert test['tiny_imagenet']['S&P + L2 + Aug'] == 0.376


def test_the_same_warm_start_differs_between_tables():
  """How far apart two experiments with one setting are."""
  differences = {
    dataset: methods['WS'] - paper.final_test_accuracy(dataset, 0.1, 0.5).mean
    for dataset, methods in paper.METHODS_TEST_ACCURACY.items()
  }
  assert differences['cifar10'] == pytest.approx(0.014)
  assert all(abs(x) < 0.015 for x in differences.values())


def test_datasets_are_called_as_those_that_can_be_loaded():
  for dataset in paper.TRAINING:
    # Only the name is right: the folder is not there.
    with pytest.raises(ValueError, match='no-such-folder'):
      data.load(dataset, 'no-such-folder')
