"""What is wrong in a data set is named: the file, the row or the folder."""

import errno

import numpy as np
import pytest

from experiments.supervised import data

datasets = pytest.importorskip('datasets')
huggingface_hub = pytest.importorskip('huggingface_hub')


@pytest.fixture
def good(sample):
  return sample((32, 32, 3), 10)


@pytest.fixture
def write(folder, write_parquet, good):
  """Writes a good test set and the training set that is given."""

  def both(images, labels):
    write_parquet(folder / 'test.parquet', *good)
    path = folder / 'train.parquet'
    write_parquet(path, images, labels)
    return path

  return both


@pytest.mark.parametrize('null', [None, float('nan')])
def test_a_label_is_null(folder, write, good, message_of, null):
  # pandas makes a column with a missing integer one of floats.
  labels = good[1].tolist() if null is None else good[1].astype(float).tolist()
  labels[7] = null
  path = write(good[0], labels)
  assert (
    message_of('cifar10', folder) == f'row 7 (from 0) of {path} has no label'
  )


@pytest.mark.parametrize('null', [None, b''])
def test_an_image_is_null(folder, write, good, message_of, null):
  path = write([*good[0][:7], null, *good[0][8:]], good[1])
  assert (
    message_of('cifar10', folder) == f'row 7 (from 0) of {path} has no image'
  )


def test_an_image_has_another_size(folder, write, good, png, message_of):
  odd = png(np.zeros((64, 48, 3), np.uint8))
  path = write([*good[0][:7], odd, *good[0][8:]], good[1])
  assert message_of('cifar10', folder) == (
    f'row 7 (from 0) of {path} is an image of 64x48 pixels: those of cifar10 '
    'are 32x32'
  )


@pytest.mark.parametrize(
  ('content', 'complaint'),
  [
    (b'', "can't be read as an image ("),
    (b'GIF89a', "can't be read as an image ("),
    (None, 'is an image of 8x9 pixels: those of cifar10 are 32x32'),
  ],
)
def test_the_file_of_an_image_is_named(
  folder, good, write_images, png, message_of, content, complaint
):
  write_images(folder / 'train', *good)
  write_images(folder / 'test', *good)
  path = sorted(folder.glob('test/*/*.png'))[5]
  if content is None:
    content = png(np.zeros((8, 9), np.uint8))
  path.write_bytes(content)
  assert message_of('cifar10', folder).startswith(f'{path} {complaint}')


def test_a_class_too_many_or_too_few(folder, good, write_images, message_of):
  write_images(folder / 'train', *good)
  write_images(folder / 'test', *good)
  extra = folder / 'test/other/0.png'
  extra.parent.mkdir()
  extra.write_bytes(next(folder.glob('train/*/*.png')).read_bytes())
  assert message_of('cifar10', folder) == (
    f'{extra} is of the class other, of which there is no training image'
  )
  extra.parent.rename(folder / 'train/other')
  assert message_of('cifar10', folder) == (
    f'{folder}/train has images of 11 classes: cifar10 has 10'
  )


@pytest.mark.parametrize(
  'name', ['a[1]', 'a*', 'a?', '{a}', 'a::b', '[', '::a']
)
def test_names_of_folders_are_no_patterns(
  tmp_path, sample, write_images, write_parquet, assert_holds, name
):
  order = np.repeat(np.arange(10, dtype=np.int32), 2)
  train, other = ((sample((32, 32, 3), 10, seed=s)[0], order) for s in (0, 1))
  # A pattern would find these, too.
  for place, images in ((tmp_path / name, train), (tmp_path / 'a1', other)):
    write_images(place / 'images/train', *images)
    write_images(place / 'images/test', *images)
    write_parquet(place / 'rows/train.parquet', *images)
    write_parquet(place / 'rows/test.parquet', *images)
  for layout in ('images', 'rows'):
    got = data.load('cifar10', str(tmp_path / name / layout))
    assert_holds(got, train, train)


def test_a_folder_in_place_of_a_file(folder, message_of):
  for name in ('train-labels-idx1-ubyte', 't10k-images-idx3-ubyte'):
    (folder / name).mkdir()
  (folder / 't10k-labels-idx1-ubyte').write_bytes(b'')
  assert message_of('mnist', folder) == (
    f'{folder} has no train-images-idx3-ubyte.gz and no train-images-idx3-ubyte'
  )


def test_reading_a_folder_writes_nothing(
  folder, write, good, monkeypatch, assert_holds
):
  write(*good)
  before = sorted(folder.parent.rglob('*'))
  cache = folder.parent / 'cache'
  monkeypatch.setattr(datasets.config, 'HF_DATASETS_CACHE', cache)
  assert_holds(data.load('cifar10', str(folder)), good, good)
  assert sorted(folder.parent.rglob('*')) == before


@pytest.fixture
def hub(monkeypatch):
  monkeypatch.setattr(
    huggingface_hub.HfApi, 'dataset_info', lambda *_, **__: None
  )


def test_the_cache_of_the_hub_is_no_folder(
  folder, write, good, hub, monkeypatch, message_of
):
  write(*good)
  cache = folder / 'taken'
  cache.write_bytes(b'')
  load = datasets.load_dataset
  # `datasets` itself, with the data of a folder.
  monkeypatch.setattr(
    datasets,
    'load_dataset',
    lambda name: load(str(folder), cache_dir=str(cache / 'cache')),
  )
  message = message_of('cifar10')
  assert message.startswith(
    "the local copy of uoft-cs/cifar10 can't be written ("
  )
  assert str(cache) in message
  assert message.endswith(
    '): set HF_HOME to a folder that can be written and has space'
  )


@pytest.mark.parametrize(
  ('error', 'is_of_disk'),
  [
    (PermissionError(errno.EACCES, 'denied', '/cache'), True),
    (OSError(errno.EROFS, 'read-only', '/cache'), True),
    (OSError(errno.ENOSPC, 'no space left on device'), True),
    (PermissionError(errno.EACCES, 'the firewall says no'), False),
    (ConnectionError('no route to host'), False),
    (FileNotFoundError(errno.ENOENT, 'no copy', '/cache/refs/main'), False),
  ],
)
def test_an_error_of_the_disk_is_told_from_one_of_the_network(
  hub, monkeypatch, message_of, error, is_of_disk
):
  def fail(name):
    try:
      raise error
    except OSError as cause:
      raise RuntimeError(f'no {name}') from cause

  monkeypatch.setattr(datasets, 'load_dataset', fail)
  assert ("can't be written" in message_of('cifar10')) == is_of_disk


def test_a_row_of_the_hub_is_named(hub, good, monkeypatch, message_of):
  images, labels = good
  columns = {'img': [*images[:7], None, *images[8:]], 'label': labels}
  features = datasets.Features(
    {'img': datasets.Image(), 'label': datasets.Value('int64')}
  )
  split = datasets.Dataset.from_dict(columns, features)
  there = datasets.DatasetDict(train=split, test=split)
  monkeypatch.setattr(datasets, 'load_dataset', lambda name: there)
  assert message_of('cifar10') == (
    'row 7 (from 0) of the split train of uoft-cs/cifar10 has no image'
  )
