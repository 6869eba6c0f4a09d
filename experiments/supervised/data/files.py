"""Reads a data set from a user's folder or from the Hugging Face hub."""

import pathlib

from experiments.supervised.data import cifar, folders, hub, idx, parquet
from experiments.supervised.data.source import Source, Split

# The first that a folder has is read.
_LAYOUTS = (idx, cifar, parquet, folders)


def read(source: Source, folder: pathlib.Path | None) -> tuple[Split, Split]:
  """Returns the training and the test split.

  Args:
    source: the data set.
    folder: a folder with one of the layouts that `data.load` names, or with no
      folder but one that has it, as archives are unpacked; None for the hub.

  Raises:
    ValueError: the data can't be read.
    ImportError: a package is missing.
  """
  if folder is None:
    return hub.read_splits(source)
  try:
    return _read_folder(source, folder)
  except OSError as error:
    raise ValueError(f"{folder} can't be read ({error})") from error


def _read_folder(source: Source, folder: pathlib.Path) -> tuple[Split, Split]:
  place = folder
  while True:
    for layout in _LAYOUTS:
      if layout.is_in(place):
        return layout.read_splits(source, place)
    inside = [path for path in place.iterdir() if _is_folder(path)]
    if len(inside) != 1:
      break
    place = inside[0]
  raise ValueError(
    f'{place} has no data that can be read: it must have the four idx files of '
    "MNIST (train-images-idx3-ubyte, ...), CIFAR's binary files "
    '(data_batch_1.bin or train.bin, ...), parquet files (train-*.parquet, '
    'test-*.parquet) or images (train/<class>/*.png, test/<class>/*.png)'
  )


def _is_folder(path: pathlib.Path) -> bool:
  """Returns whether a path is a folder that a person has made."""
  is_left_over = path.name.startswith('.') or path.name == '__MACOSX'
  return path.is_dir() and not is_left_over
