"""Folders as archives are unpacked: read, or refused in one line."""

import gzip
import os
import pathlib
import pickle
import struct

import numpy as np
import pytest

from experiments.supervised import data

STEMS = (
  'train-images{}idx3-ubyte',
  'train-labels{}idx1-ubyte',
  't10k-images{}idx3-ubyte',
  't10k-labels{}idx1-ubyte',
)


def idx(array):
  header = struct.pack('>BBBB', 0, 0, 8, array.ndim)
  sizes = struct.pack(f'>{array.ndim}I', *array.shape)
  return header + sizes + array.astype(np.uint8).tobytes()


@pytest.fixture
def digits(sample):
  return sample((28, 28, 1), 10), sample((28, 28, 1), 10, each=1, seed=1)


@pytest.mark.parametrize('nested', ['', 'archive', 'archive/MNIST/raw'])
@pytest.mark.parametrize('dot', ['-', '.'])
@pytest.mark.parametrize('suffix', ['', '.gz'])
@pytest.mark.parametrize('in_folders', [False, True])
def test_idx_files(
  folder, digits, assert_holds, nested, dot, suffix, in_folders
):
  place = folder / nested
  place.mkdir(parents=True, exist_ok=True)
  (folder / '.DS_Store').write_bytes(b'')
  (folder / '__MACOSX').mkdir()
  for stem, array in zip(STEMS, (*digits[0], *digits[1]), strict=True):
    # Kaggle unpacks each file into a folder of its name.
    path = place / stem.format('-') if in_folders else place
    path.mkdir(exist_ok=True)
    raw = idx(array.squeeze())
    packed = gzip.compress(raw) if suffix else raw
    (path / f'{stem.format(dot)}{suffix}').write_bytes(packed)
  assert_holds(data.load('mnist', str(folder)), *digits)


@pytest.fixture
def tiny(folder, sample, png):
  """Writes Tiny ImageNet as its archive has it, losslessly; returns it."""
  root = folder / 'tiny-imagenet-200'
  names = [f'n{label:08}' for label in range(200)]
  train = sample((64, 64, 3), 200, each=1)
  valid = sample((64, 64, 3), 200, each=1, seed=1)
  for image, label in zip(*train, strict=True):
    path = root / 'train' / names[label] / 'images'
    path.mkdir(parents=True)
    (path / f'{names[label]}_0.JPEG').write_bytes(png(image))
    (path.parent / f'{names[label]}_boxes.txt').write_text('0 0 9 9')
  for part in ('val', 'test'):
    (root / part / 'images').mkdir(parents=True)
  lines = []
  for i, (image, label) in enumerate(zip(*valid, strict=True)):
    name = f'val_{i:04}.JPEG'
    (root / 'val/images' / name).write_bytes(png(image))
    (root / 'test/images' / name.replace('val', 'test')).write_bytes(b'')
    lines.append(f'{name}\t{names[label]}\t0\t0\t63\t63\n')
  (root / 'val/val_annotations.txt').write_text(''.join(lines[::-1]))
  (root / 'wnids.txt').write_text('\n'.join(names[::-1]))
  return root, train, valid


def test_tiny_imagenet(folder, tiny, assert_holds):
  _, train, valid = tiny
  assert_holds(data.load('tiny_imagenet', str(folder)), train, valid)


def test_tiny_imagenet_with_sorted_validation_images(folder, tiny):
  root, _, (images, labels) = tiny
  for i, label in enumerate(labels):
    path = root / 'val' / f'n{label:08}' / f'val_{i:04}.JPEG'
    path.parent.mkdir()
    (root / 'val/images' / path.name).rename(path)
  dataset = data.load('tiny_imagenet', str(folder))
  order = np.argsort(labels)
  np.testing.assert_array_equal(dataset.test_labels, labels[order])
  np.testing.assert_array_equal(dataset.test_images, images[order])


def test_a_validation_image_has_no_class(folder, tiny, message_of):
  place = tiny[0] / 'val'
  list_of_classes = place / 'val_annotations.txt'
  lines = list_of_classes.read_text().splitlines(keepends=True)
  missing = place / 'images' / lines.pop(7).split('\t')[0]
  list_of_classes.write_text(''.join(lines))
  assert message_of('tiny_imagenet', folder) == (
    f'{missing} has no class: it must lie in {place}/<class>, or '
    f'{list_of_classes} must name its class'
  )
  list_of_classes.write_text(''.join(lines) + f'{missing.name}\tn1')
  assert message_of('tiny_imagenet', folder) == (
    f'{missing} is of the class n1, of which there is no training image'
  )


def write_cifar(folder, name, train, test, num_files):
  """Writes the binary version; returns the names of its files."""
  folder.mkdir()
  stems = ['train'] if num_files == 1 else [f'data_batch_{i}' for i in range(6)]
  stems = stems if num_files == 1 else stems[1:]
  parts = [
    (stem, images, labels)
    for stem, images, labels in zip(
      stems,
      np.array_split(train[0], num_files),
      np.array_split(train[1], num_files),
      strict=True,
    )
  ]
  parts.append(('test' if num_files == 1 else 'test_batch', *test))
  for stem, images, labels in parts:
    rows = [
      # CIFAR-100 has a coarse label before the other.
      bytes([label // 5, label] if name == 'cifar100' else [label])
      + b''.join(image[..., c].tobytes() for c in range(3))
      for image, label in zip(images, labels, strict=True)
    ]
    (folder / f'{stem}.bin').write_bytes(b''.join(rows))


@pytest.mark.parametrize(
  ('name', 'num_classes', 'num_files'),
  [('cifar10', 10, 5), ('cifar100', 100, 1)],
)
def test_binary_cifar(
  folder, sample, assert_holds, message_of, name, num_classes, num_files
):
  train = sample((32, 32, 3), num_classes)
  test = sample((32, 32, 3), num_classes, each=1, seed=1)
  place = folder / f'{name}-batches-bin'
  write_cifar(place, name, train, test, num_files)
  assert_holds(data.load(name, str(folder)), train, test)
  path = max(place.glob('t*.bin'))
  raw = path.read_bytes()
  path.write_bytes(raw[:-1])
  assert message_of(name, folder) == (
    f'{path} has {len(raw) - 1} bytes, not a multiple of '
    f'{len(raw) // len(train[1] if path.stem == "train" else test[1])}: fetch '
    'it again'
  )
  path.unlink()
  assert message_of(name, folder) == f'{path.parent} has no {path.name}'


class Trap:
  """Makes a folder when it is unpickled."""

  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(
  ('name', 'first', 'archive'),
  [
    ('cifar10', 'data_batch_1', 'cifar-10-binary.tar.gz'),
    ('cifar10', 'test_batch', 'cifar-10-binary.tar.gz'),
    ('cifar100', 'train', 'cifar-100-binary.tar.gz'),
  ],
)
def test_pickles_are_refused(
  folder, tmp_path, message_of, name, first, archive
):
  trap = tmp_path / 'sprung'
  path = folder / 'cifar-batches-py' / first
  path.parent.mkdir()
  path.write_bytes(pickle.dumps(Trap(trap)))
  assert message_of(name, folder) == (
    f'{path} looks like a Python pickle, which can execute any code when it is '
    f'read: unpack {archive} and name that folder, or name none for the '
    'Hugging Face hub'
  )
  assert not trap.exists()


def test_other_names_of_splits(
  folder, sample, write_images, write_parquet, assert_holds
):
  train = sample((28, 28, 1), 10)
  test = tuple(x[np.argsort(train[1])] for x in train)
  write_images(folder / 'mnist_png/training', *train)
  write_images(folder / 'mnist_png/testing', *test)
  (folder / 'mnist_png/training/.ipynb_checkpoints').mkdir()
  (folder / 'mnist_png/training/.ipynb_checkpoints/0.png').write_bytes(b'')
  assert_holds(data.load('mnist', str(folder / 'mnist_png')), train, test)
  write_parquet(folder / 'rows/train/0.parquet', *train)
  write_parquet(folder / 'rows/test/0.parquet', *test)
  assert_holds(data.load('mnist', str(folder / 'rows')), train, test)


def test_folders_of_classes_can_be_links(
  folder, tmp_path, sample, write_images, assert_holds
):
  images, labels = sample((28, 28, 1), 10)
  order = np.argsort(labels, kind='stable')
  write_images(tmp_path / 'all', images, labels)
  for split in ('train', 'test'):
    (folder / split).mkdir()
    for path in (tmp_path / 'all').iterdir():
      (folder / split / path.name).symlink_to(path)
  assert_holds(
    data.load('mnist', str(folder)),
    (images[order], labels[order]),
    (images[order], labels[order]),
  )


def test_what_is_meant_is_not_guessed(
  folder, sample, write_images, write_parquet, message_of
):
  train = sample((28, 28, 1), 10)
  for split in ('train', 'train_small', 'test'):
    write_images(folder / split, *train)
  assert message_of('mnist', folder) == (
    f'{folder} has train and train_small, which are of one split: leave one of '
    'them there'
  )
  place = pathlib.Path(folder, 'rows')
  for name in ('a/train', 'b/train', 'a/test'):
    write_parquet(place / f'{name}.parquet', *train)
  assert message_of('mnist', place) == (
    f'the parquet files of one split lie in {place}/a and in {place}/b: name '
    'the folder that is meant'
  )
