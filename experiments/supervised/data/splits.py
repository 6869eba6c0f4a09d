"""The names of training and test sets, of files, folders and on the hub."""

from collections.abc import Mapping
import re
from typing import TypeVar

from experiments.supervised.data.source import Source

_T = TypeVar('_T')

_WORDS = {
  'train': 'train',
  'training': 'train',
  'valid': 'valid',
  'validation': 'valid',
  'val': 'valid',
  'dev': 'valid',
  'test': 'test',
  'testing': 'test',
  'eval': 'test',
  'evaluation': 'test',
}


def split_of(name: str) -> str | None:
  """Returns the split that the name of a file or a folder speaks of.

  >>> split_of('train-00000-of-00001.parquet'), split_of('val'), split_of('all')
  ('train', 'valid', None)
  """
  words = re.split(r'[-._ 0-9]+', name.lower())
  return next((_WORDS[word] for word in words if word in _WORDS), None)


def choose(
  source: Source, where: str, splits: Mapping[str, _T]
) -> tuple[_T, _T]:
  """Returns what is there of the training set and of the test set.

  Args:
    source: the data set, which says which split is the test set.
    where: the place of the splits in messages.
    splits: what is there of each split.

  Raises:
    ValueError: one is missing.
  """
  test = next((x for x in source.test_splits if x in splits), None)
  if 'train' not in splits or test is None:
    raise ValueError(
      f'{where} has the splits {", ".join(splits)}: there must be train and '
      f'{" or ".join(source.test_splits)}'
    )
  return splits['train'], splits[test]
