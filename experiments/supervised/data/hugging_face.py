"""Parquet files and folders of images, read by Hugging Face's `datasets`."""

import io
import pathlib
from typing import Any

import numpy as np

from experiments.supervised.data.source import Source, Split, import_extra


def read_splits(
  source: Source, folder: pathlib.Path | None
) -> tuple[Split, Split]:
  """Reads a data set from a folder, or from the hub where folder is None."""
  if folder is None:
    where, splits = source.hub, _from_hub(source.name, source.hub)
  else:
    where, splits = str(folder), _from_folder(folder)
  test_split = next((s for s in source.test_splits if s in splits), None)
  if 'train' not in splits or test_split is None:
    raise ValueError(
      f'{where} has the splits {", ".join(splits)}: there must be train and '
      f'{" or ".join(source.test_splits)}'
    )
  return (
    _decode('training', source, splits['train']),
    _decode('test', source, splits[test_split]),
  )


def _from_hub(name: str, hub: str) -> Any:
  """Returns the splits of a data set in the hub, or of its local copy."""
  datasets = import_extra('datasets')
  hub_client = import_extra('huggingface_hub')
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
  datasets = import_extra('datasets')
  shown = not datasets.are_progress_bars_disabled()
  datasets.disable_progress_bars()
  try:
    # `datasets` would take the relative path `parquet` for a kind of file.
    return datasets.load_dataset(str(folder.resolve()))
  except Exception as error:  # `datasets` raises many kinds, most say little.
    raise ValueError(
      f"{folder} can't be read as parquet files or folders of images "
      f'({_reason(error)})'
    ) from error
  finally:
    if shown:
      datasets.enable_progress_bars()


def _reason(error: Exception) -> str:
  """Returns the first cause of an error in one line."""
  return ' '.join(str(error.__cause__ or error).split())


def _decode(part: str, source: Source, split: Any) -> Split:
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
    # As bytes or paths: decoding them here is several times as fast.
    files = split.select_columns(image_column).cast_column(
      image_column, import_extra('datasets').Image(decode=False)
    )
  except (NotImplementedError, TypeError, ValueError) as error:
    raise ValueError(
      f'the column {image_column} of the {part} set holds no images ({error})'
    ) from error
  pillow = import_extra('PIL.Image')
  images = np.empty((len(split), *source.shape), np.uint8)
  rows = (file for batch in files.iter(1000) for file in batch[image_column])
  for i, file in enumerate(rows):
    try:
      content = file['bytes']
      image = pillow.open(io.BytesIO(content) if content else file['path'])
      image = image.convert('L' if source.shape[-1] == 1 else 'RGB')
    except Exception as error:  # Each image format raises its own kind.
      raise ValueError(
        f"image {i} of the {part} set can't be read ({error})"
      ) from error
    source.check_size(part, image.size[::-1])
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
