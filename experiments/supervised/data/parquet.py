"""Parquet files in a user's folder."""

import pathlib

import numpy as np

from experiments.supervised.data import tables
from experiments.supervised.data.source import Source, Split, import_extra
from experiments.supervised.data.splits import choose, split_of


def is_in(folder: pathlib.Path) -> bool:
  """Returns whether a folder has parquet files of a split."""
  return bool(_files(folder))


def read_splits(source: Source, folder: pathlib.Path) -> tuple[Split, Split]:
  """Reads ``train-*.parquet`` and ``test-*.parquet``, in the order of names.

  The files can lie in folders, too, such as ``train/0.parquet``.
  """
  train, test = choose(source, str(folder), _files(folder))
  return _read(source, train), _read(source, test)


def _files(folder: pathlib.Path) -> dict[str, list[pathlib.Path]]:
  """Returns the parquet files of each split."""
  found: dict[str, list[pathlib.Path]] = {}
  for pattern in ('*.parquet', '*/*.parquet'):
    for path in sorted(folder.glob(pattern)):
      parts = reversed(path.relative_to(folder).parts)
      split = next(filter(None, map(split_of, parts)), None)
      if split and path.is_file() and not path.name.startswith('.'):
        found.setdefault(split, []).append(path)
  return found


def _read(source: Source, paths: list[pathlib.Path]) -> Split:
  """Returns the images and labels of the files of one split."""
  folders = sorted({str(path.parent) for path in paths})
  if len(folders) > 1:
    raise ValueError(
      f'the parquet files of one split lie in {" and in ".join(folders)}: name '
      'the folder that is meant'
    )
  parts = [_read_file(source, path) for path in paths]
  if len(parts) == 1:  # Most are: the images are not copied.
    return parts[0]
  images, labels = zip(*parts, strict=True)
  return np.concatenate(images), np.concatenate(labels)


def _read_file(source: Source, path: pathlib.Path) -> Split:
  parquet = import_extra('pyarrow.parquet')
  try:
    with path.open('rb') as file:
      table = parquet.ParquetFile(file).read()
  except Exception as error:  # `pyarrow` has a class for each fault.
    reason = ' '.join(str(error).split())
    raise ValueError(
      f"{path} can't be read as a parquet file ({reason})"
    ) from error
  return tables.decode(source, str(path), table)
