"""Reads a data set from a user's folder or from the Hugging Face hub."""

import pathlib

from experiments.supervised.data import hugging_face, idx
from experiments.supervised.data.source import Source, Split


def read(source: Source, folder: pathlib.Path | None) -> tuple[Split, Split]:
  """Returns the training and the test split.

  Args:
    source: the data set.
    folder: a folder with idx files (28x28 images only), parquet files or
      images; None for the hub.

  Raises:
    ValueError: the data can't be read.
    ImportError: a package is missing.
  """
  is_gray = source.shape == (28, 28, 1)
  if folder and is_gray and any(folder.glob('*-idx?-ubyte*')):
    return idx.read_splits(folder)
  return hugging_face.read_splits(source, folder)
