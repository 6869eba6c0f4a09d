"""Image files of every mode that Pillow writes."""

import io

import numpy as np
import pytest

from experiments.supervised import data

Image = pytest.importorskip('PIL.Image')

GRAY = (np.arange(32 * 32).reshape(32, 32) // 4).astype(np.uint8)
COLOR = np.stack([GRAY, 255 - GRAY, GRAY // 2], -1)
ALPHA = np.full_like(GRAY, 200)
GRAYS = np.stack([GRAY] * 3, -1)
PALETTE = np.random.default_rng(0).integers(256, size=(256, 3), dtype=np.uint8)


def of_arrays(mode, *arrays):
  return Image.frombytes(mode, (32, 32), np.stack(arrays, -1).tobytes())


def of_palette(mode, *arrays):
  image = of_arrays(mode, *arrays)
  image.putpalette(PALETTE.tobytes())
  return image


def file_of(image, kind='tiff'):
  file = io.BytesIO()
  image.save(file, kind)
  with Image.open(file) as read:
    assert read.mode == image.mode or kind == 'ppm'
  return file.getvalue()


@pytest.fixture
def load_one(folder, write_parquet, sample):
  """Loads a data set whose third test image is a file."""

  def load(file):
    images, labels = sample((32, 32, 3), 10, each=1)
    write_parquet(folder / 'train.parquet', images, labels)
    files = [*images[:2], file, *images[3:]]
    write_parquet(folder / 'test.parquet', files, labels)
    return data.load('cifar10', str(folder)).test_images[2]

  return load


@pytest.mark.parametrize(
  ('image', 'expected'),
  [
    (Image.fromarray(GRAY > 99), np.where(GRAYS > 99, 255, 0)),
    (of_arrays('L', GRAY), GRAYS),
    (of_arrays('LA', GRAY, ALPHA), GRAYS),
    (of_palette('P', GRAY), PALETTE[GRAY]),
    (of_palette('PA', GRAY, ALPHA), PALETTE[GRAY]),
    (of_arrays('RGB', *COLOR.T.swapaxes(1, 2)), COLOR),
    (of_arrays('RGBA', *COLOR.T.swapaxes(1, 2), ALPHA), COLOR),
    (of_arrays('CMYK', *255 - COLOR.T.swapaxes(1, 2), 0 * GRAY), COLOR),
    # Gray has no color difference, which 128 stands for.
    (of_arrays('YCbCr', GRAY, 0 * GRAY + 128, 0 * GRAY + 128), GRAYS),
  ],
  ids=lambda x: getattr(x, 'mode', ''),
)
def test_eight_bits_are_read(load_one, image, expected):
  np.testing.assert_array_equal(load_one(file_of(image)), expected)


@pytest.mark.parametrize(
  ('image', 'kind'),
  [
    (Image.fromarray(GRAY.astype(np.uint16) * 257), 'tiff'),
    (Image.fromarray(GRAY.astype(np.uint16) * 257), 'png'),
    (Image.fromarray(GRAY.astype(np.uint16) * 257), 'ppm'),
    (of_arrays('I;16B', GRAY.astype('>u2') * 257), 'tiff'),
    (Image.fromarray(GRAY.astype(np.int32) * 257), 'tiff'),
    (Image.fromarray(GRAY.astype(np.float32) / 255), 'tiff'),
    (of_arrays('LAB', *COLOR.T.swapaxes(1, 2)), 'tiff'),
  ],
  ids=lambda x: getattr(x, 'mode', x),
)
def test_more_bits_are_refused(load_one, folder, image, kind):
  mode = 'I' if kind == 'ppm' else image.mode
  with pytest.raises(ValueError, match='8 bits') as error:
    load_one(file_of(image, kind))
  assert str(error.value) == (
    f'row 2 (from 0) of {folder}/test.parquet is an image of the mode {mode}: '
    'only images with 8 bits for each channel are read, so scale it to 0 to '
    '255 and save it again'
  )
