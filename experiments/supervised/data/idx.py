"""The idx files that MNIST and Fashion-MNIST are published in."""

import gzip
import math
import pathlib
import zlib

import numpy as np

from experiments.supervised.data.source import Source, Split

_PARTS = ('train', 't10k')
_IMAGES, _LABELS = 'images-idx3-ubyte', 'labels-idx1-ubyte'
_DIMENSIONS = {_IMAGES: 3, _LABELS: 1}


def is_in(folder: pathlib.Path) -> bool:
  """Returns whether a folder has one of the four files."""
  return any(
    _find(folder, f'{part}-{kind}') is not None
    for part in _PARTS
    for kind in _DIMENSIONS
  )


def read_splits(source: Source, folder: pathlib.Path) -> tuple[Split, Split]:
  """Reads the four files of MNIST, or of a data set of its format."""
  del source  # The files say the shape.

  def read(part: str, kind: str) -> np.ndarray:
    stem = f'{part}-{kind}'
    path = _find(folder, stem)
    if path is None:
      raise ValueError(f'{folder} has no {stem}.gz and no {stem}')
    return _read_file(path, _DIMENSIONS[kind])

  def split(part: str) -> Split:
    images = read(part, _IMAGES)
    labels = read(part, _LABELS)
    return images[..., None], labels.astype(np.int32)

  return split('train'), split('t10k')


def _find(folder: pathlib.Path, stem: str) -> pathlib.Path | None:
  """Returns the file of a stem, compressed or not, or None.

  Some archives spell it with a dot, as in `train-images.idx3-ubyte`. Kaggle
  puts each file into a folder of the same name.
  """
  stems = (stem, stem.replace('-idx', '.idx'))
  names = [f'{x}{suffix}' for x in stems for suffix in ('', '.gz')]
  paths = [folder / name for name in names]
  paths += [folder / outer / name for outer in names for name in names]
  return next((path for path in paths if path.is_file()), None)


def _read_file(path: pathlib.Path, dimensions: int) -> np.ndarray:
  """Reads an idx file of bytes, compressed or not.

  The file begins with two zeros, 8 (the type: unsigned bytes) and the number of
  dimensions. The sizes follow, 32 bits each, most significant byte first, then
  the bytes.
  """
  raw = path.read_bytes()
  if raw[:2] == b'\x1f\x8b':
    try:
      raw = gzip.decompress(raw)
    except (EOFError, OSError, zlib.error) as error:
      raise ValueError(
        f'{path} is damaged ({error}): fetch it again'
      ) from error
  if raw[:4] != bytes((0, 0, 8, dimensions)):
    raise ValueError(
      f'{path} is not an idx file of bytes in {dimensions} dimensions: it '
      f'begins with {raw[:4].hex() or "nothing"}, not 000008{dimensions:02x}'
    )
  start = 4 + 4 * dimensions
  if len(raw) < start:
    raise ValueError(f'{path} ends after {len(raw)} bytes: fetch it again')
  shape = tuple(np.frombuffer(raw, '>u4', dimensions, 4).tolist())
  wanted = math.prod(shape)
  if len(raw) - start != wanted:
    raise ValueError(
      f'{path} has {len(raw) - start} bytes of data: by its header it '
      f'should have {" x ".join(map(str, shape))} = {wanted}'
    )
  return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)
