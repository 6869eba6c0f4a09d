"""CIFAR as its authors publish it: binary files are read, pickles refused."""

import pathlib

import numpy as np

from experiments.supervised.data.source import Source, Split

_PIXELS = 3 * 32 * 32
_TEN = ([f'data_batch_{i}' for i in range(1, 6)], ['test_batch'])
_HUNDRED = (['train'], ['test'])
_STEMS = [name for names in (*_TEN, *_HUNDRED) for name in names]


def is_in(folder: pathlib.Path) -> bool:
  """Returns whether a folder has files of CIFAR, of either kind."""
  return any(
    (folder / f'{stem}{suffix}').is_file()
    for stem in _STEMS
    for suffix in ('', '.bin')
  )


def read_splits(source: Source, folder: pathlib.Path) -> tuple[Split, Split]:
  """Reads the binary version of CIFAR-10 or CIFAR-100.

  A row has one byte for the label (CIFAR-100: for the coarse label, then one
  for the fine label, which is read), then the red, green and blue pixels.

  Raises:
    ValueError: the files are Python pickles, or damaged.

  References:
    https://www.cs.toronto.edu/~kriz/cifar.html
  """
  del source  # The files say the shape.
  is_hundred = any((folder / f'{x}.bin').exists() for x in ('train', 'test'))
  for stem in _STEMS:
    path = folder / stem
    if path.is_file() and not path.with_name(f'{stem}.bin').exists():
      which = '100' if stem in ('train', 'test') else '10'
      raise ValueError(
        f'{path} looks like a Python pickle, which can execute any code when '
        f'it is read: unpack cifar-{which}-binary.tar.gz and name that folder, '
        'or name none for the Hugging Face hub'
      )
  train, test = _HUNDRED if is_hundred else _TEN
  label_bytes = 2 if is_hundred else 1

  def read(stems: list[str]) -> Split:
    rows = np.concatenate(
      [_read_file(folder / f'{stem}.bin', label_bytes) for stem in stems]
    )
    pixels = rows[:, label_bytes:].reshape(-1, 3, 32, 32)
    labels = rows[:, label_bytes - 1].astype(np.int32)
    return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)), labels

  return read(train), read(test)


def _read_file(path: pathlib.Path, label_bytes: int) -> np.ndarray:
  """Returns uint8 [rows, label_bytes + 3072]."""
  if not path.exists():
    raise ValueError(f'{path.parent} has no {path.name}')
  raw = np.frombuffer(path.read_bytes(), np.uint8)
  size = label_bytes + _PIXELS
  if not len(raw) or len(raw) % size:
    raise ValueError(
      f'{path} has {len(raw)} bytes, not a multiple of {size}: fetch it again'
    )
  return raw.reshape(-1, size)
