"""The idx files that MNIST and Fashion-MNIST are published in."""

import gzip
import math
import pathlib
import zlib

import numpy as np

from experiments.supervised.data.source import Split


def read_splits(folder: pathlib.Path) -> tuple[Split, Split]:
  """Reads the four files of MNIST, or of a data set of its format."""

  def read(stem: str, dimensions: int) -> np.ndarray:
    for path in (folder / stem, folder / f'{stem}.gz'):
      if path.exists():
        return _read_file(path, dimensions)
    raise ValueError(f'{folder} has no {stem}.gz and no {stem}')

  def split(part: str) -> Split:
    images = read(f'{part}-images-idx3-ubyte', 3)
    labels = read(f'{part}-labels-idx1-ubyte', 1)
    return images[..., None], labels.astype(np.int32)

  return split('train'), split('t10k')


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
