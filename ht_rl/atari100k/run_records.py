"""The `run.json` and `result.json` of a run: their keys and their version."""

from collections.abc import Callable, Mapping
import json
import pathlib
from typing import Any

import numpy as np

from ht_rl.atari100k.parsing import (
  json_of,
  method_of,
  protocol_of,
  score_of,
  seed_of,
  text_of,
)
from ht_rl.atari100k.run_metrics import RunFolderError

# Of the format of both files; older files have no version.
VERSION = 1

# Keys that every `result.json` has.
RESULT_KEYS = ('config', 'game', 'seed', 'score', 'protocol')

_RUN_KEYS = ('config', 'game', 'seed', 'protocol')


def check_result(data: Any) -> dict[str, Any]:
  """Checks the content of a `result.json`.

  It is an object with

  - `config`: name of the configuration, or of the method;
  - `game`: name of the game;
  - `seed`: a whole number that tells runs apart;
  - `score`: mean return of the evaluation, in game points;
  - `protocol`: an object with at least `training_steps`;
  - `returns` (not in all files): return of each evaluation episode;
  - `human_normalized_score` (not in all files): None for games that are not
    among the 26;
  - `version`: of this format; older files have none.

  >>> check_result({'config': 'drq', 'game': 'Pong'})
  Traceback (most recent call last):
    ...
  ValueError: the result has no seed and no score and no protocol

  Args:
    data: parsed JSON.

  Returns:
    The same object.

  Raises:
    ValueError: it is something else, or of a newer version.
  """
  given = _with_keys(data, RESULT_KEYS, 'result')
  score_of(given['score'])
  returns = given.get('returns', [])
  if not isinstance(returns, list):
    raise ValueError('the returns must be a list')
  for value in returns:
    score_of(value)
  return given


def check_run(data: Any) -> dict[str, Any]:
  """Checks the content of a `run.json`: a result's keys but the score.

  Raises:
    ValueError: it is something else, or of a newer version.
  """
  return _with_keys(data, _RUN_KEYS, 'run')


def read(
  path: pathlib.Path, check: Callable[[Any], dict[str, Any]]
) -> dict[str, Any] | None:
  """Reads a record; None where there is no file.

  Args:
    path: of the file.
    check: returns the content, or raises ValueError.

  Raises:
    RunFolderError: the file is damaged or of a newer version.
  """
  if not path.exists():
    return None
  try:
    return check(json_of(text_of(path)))
  except _NewerVersionError as error:
    raise RunFolderError(f'{path}: {error}') from error
  except ValueError as error:
    raise RunFolderError(
      f'{path}: {error}; if experiments.train wrote this file, remove it, and '
      'the same command writes it again'
    ) from error


def encode(
  record: Mapping[str, Any], check: Callable[[Any], dict[str, Any]]
) -> bytes:
  """Returns the content of a file, which `read` takes.

  Args:
    record: JSON values or NumPy numbers and arrays.
    check: as in `read`.

  Raises:
    ValueError: the record is wrong.
  """
  others = {key: value for key, value in record.items() if key != 'version'}
  text = json.dumps({'version': VERSION, **others}, indent=2, default=_plain)
  check(json_of(text))
  return f'{text}\n'.encode()


def _plain(value: Any) -> Any:
  """Returns a NumPy number or array as a JSON value."""
  if isinstance(value, (np.generic, np.ndarray)):
    return value.tolist()
  raise ValueError(f'{value!r} cannot be written as JSON')


class _NewerVersionError(ValueError):
  """A file was written by a newer release."""


def _with_keys(data: Any, keys: tuple[str, ...], name: str) -> dict[str, Any]:
  given = data if isinstance(data, dict) else {}
  version = given.get('version', 0)
  if type(version) is not int:
    raise ValueError(f'the version must be a whole number, not {version!r}')
  if version > VERSION:
    raise _NewerVersionError(
      f'the file is of version {version} and this release of ht_rl reads '
      f'versions up to {VERSION}; update ht_rl'
    )
  if missing := [key for key in keys if key not in given]:
    raise ValueError(f'the {name} has no {" and no ".join(missing)}')
  method_of(given['config'])
  if not isinstance(given['game'], str):
    raise ValueError(f'the game must be a name, not {given["game"]!r}')
  seed_of(given['seed'])
  protocol_of(given['protocol'])
  return given
