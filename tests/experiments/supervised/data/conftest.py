"""Writes small data sets in the layouts in which people have them."""

import io
import pathlib

import numpy as np
import pytest

from experiments.supervised import data

pyarrow = pytest.importorskip('pyarrow')
parquet = pytest.importorskip('pyarrow.parquet')
Image = pytest.importorskip('PIL.Image')


@pytest.fixture
def folder(tmp_path):
  path = tmp_path / 'data'
  path.mkdir()
  return path


@pytest.fixture
def sample():
  """Returns random images of every class, not in order."""

  def draw(shape, num_classes, each=2, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(num_classes, dtype=np.int32), each)
    rng.shuffle(labels)
    images = rng.integers(256, size=(len(labels), *shape), dtype=np.uint8)
    return images, labels

  return draw


@pytest.fixture
def png():
  """Returns the bytes of an image file."""

  def encode(image):
    file = io.BytesIO()
    Image.fromarray(image.squeeze()).save(file, 'png')
    return file.getvalue()

  return encode


@pytest.fixture
def write_parquet(png):
  """Writes images (arrays, bytes of files, None) with labels."""

  def write(path, images, labels):
    files = [png(x) if isinstance(x, np.ndarray) else x for x in images]
    path.parent.mkdir(parents=True, exist_ok=True)
    column = [None if x is None else {'bytes': x, 'path': None} for x in files]
    kind = pyarrow.struct(
      [('bytes', pyarrow.binary()), ('path', pyarrow.string())]
    )
    table = {'image': pyarrow.array(column, kind), 'label': labels}
    parquet.write_table(pyarrow.table(table), path)

  return write


@pytest.fixture
def write_images(png):
  """Writes a folder of images for each class."""

  def write(folder, images, labels):
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
      path = pathlib.Path(folder) / f'class{label:03}' / f'{i:03}.png'
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(png(image))

  return write


@pytest.fixture
def assert_holds():
  """Compares a data set with what was written; training images by class."""

  def check(dataset, train, test):
    order = np.argsort(train[1], kind='stable')
    expected = (train[0][order], train[1][order], *test)
    for got, wanted in zip(dataset[1:5], expected, strict=True):
      np.testing.assert_array_equal(got, wanted)
      assert got.dtype == wanted.dtype

  return check


@pytest.fixture
def message_of():
  """Returns the one line with which a data set is refused."""

  def load(name, folder=None):
    with pytest.raises(ValueError) as error:  # noqa: PT011 -- compared later
      data.load(name, None if folder is None else str(folder))
    assert '\n' not in str(error.value)
    return str(error.value)

  return load
