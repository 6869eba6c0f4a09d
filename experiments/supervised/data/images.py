"""Decodes image files into one array, and says which file is at fault."""

from collections.abc import Iterable
import io
from typing import TypeAlias

import numpy as np

from experiments.supervised.data.source import Source, import_extra

# The place of an image, for messages, and its file: its bytes or its path.
Located: TypeAlias = tuple[str, bytes | str | None]

# Pillow's modes of 8 bits or less in which files come. Pillow clips the others
# to 0 to 255 (I, I;16, F), or can't convert them (LAB).
_MODES = frozenset(
  ('1', 'L', 'LA', 'P', 'PA', 'RGB', 'RGBA', 'RGBX', 'CMYK', 'YCbCr')
)


def decode(source: Source, files: Iterable[Located], count: int) -> np.ndarray:
  """Returns images as an array of bytes.

  Args:
    source: the data set, which says what shape the images have.
    files: the image files.
    count: how many there are.

  Returns:
    uint8 [count, height, width, channels].

  Raises:
    ValueError: a file holds no image, or one of another size or depth; the
      message says where it lies.
    ImportError: Pillow is missing.
  """
  pillow = import_extra('PIL.Image')
  images = np.empty((count, *source.shape), np.uint8)
  for i, (where, file) in enumerate(files):
    if not file:
      raise ValueError(f'{where} has no image')
    try:
      image = pillow.open(io.BytesIO(file) if isinstance(file, bytes) else file)
    except Exception as error:  # Each image format raises its own kind.
      raise _unreadable(where, error) from error
    with image:
      _check(source, where, image.mode, image.size)
      try:
        image = image.convert('L' if source.shape[-1] == 1 else 'RGB')
      except Exception as error:
        raise _unreadable(where, error) from error
    images[i] = np.asarray(image).reshape(source.shape)
  return images


def _check(
  source: Source, where: str, mode: str, size: tuple[int, int]
) -> None:
  """Raises ValueError for an image of another depth or size."""
  if mode not in _MODES:
    raise ValueError(
      f'{where} is an image of the mode {mode}: only images with 8 bits for '
      'each channel are read, so scale it to 0 to 255 and save it again'
    )
  width, height = size
  if (height, width) != source.shape[:2]:
    raise ValueError(
      f'{where} is an image of {height}x{width} pixels: those of {source.name} '
      f'are {source.shape[0]}x{source.shape[1]}'
    )


def _unreadable(where: str, error: Exception) -> ValueError:
  reason = ' '.join(str(error).split())
  return ValueError(f"{where} can't be read as an image ({reason})")
