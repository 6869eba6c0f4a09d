"""A folder of images for each class, and Tiny ImageNet as it is published."""

from collections.abc import Iterator, Mapping
import os
import pathlib

import numpy as np

from experiments.supervised.data import images
from experiments.supervised.data.source import Source, Split, import_extra
from experiments.supervised.data.splits import choose, split_of

# Tiny ImageNet has its images in folders of this name: train/<class>/images.
_IMAGES = 'images'
_ANNOTATIONS = 'val_annotations.txt'


def is_in(folder: pathlib.Path) -> bool:
  """Returns whether a folder has a folder of a split."""
  return bool(_folders(folder))


def read_splits(source: Source, folder: pathlib.Path) -> tuple[Split, Split]:
  """Reads ``train/<class>/*`` and ``test/<class>/*``.

  The number of a class is its place in the order of names. Where a folder of
  all images comes with ``val_annotations.txt``, this names their classes.
  """
  places = choose(source, str(folder), _folders(folder))
  train, test = (_classes(_only(folder, place)) for place in places)
  names = sorted(set(train.values()))
  if len(names) != source.num_classes:
    raise ValueError(
      f'{places[0][0]} has images of {len(names)} classes: {source.name} has '
      f'{source.num_classes}'
    )
  numbers = {name: i for i, name in enumerate(names)}
  return _read(source, train, numbers), _read(source, test, numbers)


def _folders(folder: pathlib.Path) -> dict[str, list[pathlib.Path]]:
  """Returns the folders of each split."""
  found: dict[str, list[pathlib.Path]] = {}
  for path in sorted(folder.iterdir()):
    split = split_of(path.name)
    if split and path.is_dir():
      found.setdefault(split, []).append(path)
  return found


def _only(folder: pathlib.Path, places: list[pathlib.Path]) -> pathlib.Path:
  if len(places) > 1:
    names = ' and '.join(place.name for place in places)
    raise ValueError(
      f'{folder} has {names}, which are of one split: leave one of them there'
    )
  return places[0]


def _classes(folder: pathlib.Path) -> dict[pathlib.Path, str]:
  """Returns the class of each image in the folder of a split."""
  annotated = _annotations(folder / _ANNOTATIONS)
  classes = {}
  for path in map(pathlib.Path, sorted(_image_files(folder))):
    inside = path.parent
    if inside.name == _IMAGES and inside != folder:
      inside = inside.parent
    if inside != folder:
      classes[path] = inside.name
    elif path.name in annotated:
      classes[path] = annotated[path.name]
    else:
      raise ValueError(
        f'{path} has no class: it must lie in {folder}/<class>, or '
        f'{folder / _ANNOTATIONS} must name its class'
      )
  if not classes:
    raise ValueError(f'{folder} has no images')
  return classes


def _image_files(folder: pathlib.Path) -> Iterator[str]:
  """Yields the images in a folder, but none that a program has hidden."""
  pillow = import_extra('PIL.Image')
  pillow.init()
  suffixes = pillow.registered_extensions()

  def fail(error: OSError) -> None:
    raise error  # `os.walk` would leave an unreadable folder out.

  for place, inside, names in os.walk(folder, onerror=fail, followlinks=True):
    inside[:] = [x for x in inside if not x.startswith(('.', '__'))]
    for name in names:
      is_image = os.path.splitext(name)[1].lower() in suffixes
      if is_image and not name.startswith('.'):
        yield os.path.join(place, name)


def _annotations(path: pathlib.Path) -> dict[str, str]:
  """Returns the class of each image by Tiny ImageNet's list of them."""
  if not path.exists():
    return {}
  rows = [
    line.split('\t') for line in path.read_text('utf-8', 'replace').splitlines()
  ]
  return {row[0]: row[1] for row in rows if len(row) > 1}


def _read(
  source: Source,
  classes: Mapping[pathlib.Path, str],
  numbers: Mapping[str, int],
) -> Split:
  """Returns the images and labels of one split."""
  for path, name in classes.items():
    if name not in numbers:
      raise ValueError(
        f'{path} is of the class {name}, of which there is no training image'
      )
  located = [(str(path), str(path)) for path in classes]
  labels = [numbers[name] for name in classes.values()]
  return (
    images.decode(source, located, len(located)),
    np.asarray(labels, np.int32),
  )
