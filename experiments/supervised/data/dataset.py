"""The images of a data set as arrays, the check of them, and subsets."""

from typing import NamedTuple

import numpy as np

from experiments.supervised.data.source import Split

# Draws the subsets. Never change it: all runs with a subset of one size share
# its samples.
_SUBSET_SEED = 240602596


class Dataset(NamedTuple):
  """Images with their classes, and the constants that normalise them.

  Attributes:
    name: of the data set.
    train_images: uint8 [train, height, width, channels].
    train_labels: int32 [train].
    test_images: uint8 [test, height, width, channels].
    test_labels: int32 [test].
    num_classes: number of classes.
    mean: of each channel, of pixels in [0, 1].
    std: what each channel is divided by, likewise: as a rule, its standard
      deviation.
  """

  name: str
  train_images: np.ndarray
  train_labels: np.ndarray
  test_images: np.ndarray
  test_labels: np.ndarray
  num_classes: int
  mean: tuple[float, ...]
  std: tuple[float, ...]


def check(dataset: Dataset) -> None:
  """Raises ValueError unless images, labels and constants fit together."""
  shape = np.shape(dataset.train_images)[1:]
  channels = shape[-1:]
  for name in ('mean', 'std'):
    constants = getattr(dataset, name)
    if np.shape(constants) != channels:
      raise ValueError(
        f'{name} of {dataset.name} must have a number for each channel of the '
        f'images, which are {list(shape)}; got {constants!r}'
      )
  _check_split(
    dataset, 'training', dataset.train_images, dataset.train_labels, shape
  )
  _check_split(dataset, 'test', dataset.test_images, dataset.test_labels, shape)
  found = len(np.unique(dataset.train_labels))
  if found < dataset.num_classes:
    raise ValueError(
      f'the training set has images of {found} classes: {dataset.name} has '
      f'{dataset.num_classes}'
    )


def subset(
  dataset: Dataset, train_size: int | None, validation_size: int | None
) -> Dataset:
  """Sorts the training images by class, and takes the parts that are asked for.

  Args:
    dataset: all images.
    train_size: number of training images, see `data.load`.
    validation_size: number of images in place of the test set, likewise.

  Returns:
    A data set whose training and validation images are in the order of their
    classes.

  Raises:
    ValueError: there are not so many training images.
  """
  by_class = np.argsort(dataset.train_labels, kind='stable')
  train, test = _subsets(
    (dataset.train_images[by_class], dataset.train_labels[by_class]),
    (dataset.test_images, dataset.test_labels),
    train_size,
    validation_size,
  )
  return dataset._replace(
    train_images=train[0],
    train_labels=train[1],
    test_images=test[0],
    test_labels=test[1],
  )


def _check_split(
  dataset: Dataset,
  part: str,
  images: np.ndarray,
  labels: np.ndarray,
  shape: tuple[int, ...],
) -> None:
  """Raises ValueError where a split is not of the data set."""
  if len(images) != len(labels):
    raise ValueError(
      f'the {part} set has {len(images)} images and {len(labels)} labels: '
      'there must be a label for each image'
    )
  if not len(images):
    raise ValueError(f'the {part} set has no images')
  if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != shape:
    raise ValueError(
      f'the images of the {part} set must be uint8 of shape [n, height, width, '
      f'channels], the same in both sets, not {images.dtype} '
      f'{list(images.shape)}'
    )
  if not np.issubdtype(labels.dtype, np.integer) or labels.ndim != 1:
    raise ValueError(
      f'the labels of the {part} set must be integers of shape [n], not '
      f'{labels.dtype} {list(labels.shape)}'
    )
  low, high = labels.min(), labels.max()
  if low < 0 or high >= dataset.num_classes:
    raise ValueError(
      f'the labels of the {part} set go from {low} to {high}: those of '
      f'{dataset.name} are 0 to {dataset.num_classes - 1}'
    )


def _subsets(
  train: Split,
  test: Split,
  train_size: int | None,
  validation_size: int | None,
) -> tuple[Split, Split]:
  """Returns the part of each split that was asked for."""
  total = len(train[0])
  held_out = validation_size or 0
  if validation_size is not None and not 0 < validation_size < total:
    raise ValueError(
      f'validation_size must be 1 to {total - 1}, since there are {total} '
      f'training images, not {validation_size}'
    )
  kept = total - held_out if train_size is None else train_size
  if not 0 < kept <= total - held_out:
    raise ValueError(
      f'train_size must be 1 to {total - held_out}, since there are {total} '
      f'training images with {held_out} of them for validation, not {kept}'
    )
  # Both ends of one order: neither subset depends on the size of the other.
  order = np.random.default_rng(_SUBSET_SEED).permutation(total)
  if validation_size is not None:
    test = _part(train, order[total - held_out :])
  if kept < total:
    train = _part(train, order[:kept])
  return train, test


def _part(split: Split, chosen: np.ndarray) -> Split:
  """Returns the chosen samples in the order that they have in the split."""
  chosen = np.sort(chosen)
  return split[0][chosen], split[1][chosen]
