"""Reads the logs of Dopamine's runners.

A run is a folder `METHOD/GAME/SEED` with Dopamine's `logs/log_N` in it. Its
score is the average return of the evaluation in the last iteration.

Dopamine pickles its logs, and a pickle can execute code. The reader here takes
dictionaries, lists and numbers, and refuses everything else unread.
"""

from collections.abc import Callable
import os
import pathlib
import pickle
from typing import Any

import numpy as np

from ht_rl.atari100k.parsing import method_of, number_in, score_of, seed_of
from ht_rl.atari100k.readers.content import Content
from ht_rl.atari100k.readers.rows import add_row, is_game
from ht_rl.atari100k.run_folder import holds_run
from ht_rl.files import walk

_SCORE = 'eval_average_return'
_LAYOUT = 'METHOD/GAME/SEED/logs'

# What NumPy numbers are pickled as.
_HARMLESS = {
  ('numpy', 'dtype'),
  ('numpy.core.multiarray', 'scalar'),
  ('numpy._core.multiarray', 'scalar'),
}


def read_dopamine(content: Content) -> None:
  """Reads the runs in and below the folder `content.path`."""

  def failed(error: OSError) -> None:
    content.problems.append(f'{error.filename}: {error.strerror}')

  newest = _newest_logs(content.path, failed)
  for file in newest:
    try:
      row = _of_path(file.parent.parent)
      row['score'] = _score(file)
    except ValueError as error:
      content.problems.append(f'{file}: {error}')
    else:
      add_row(content, str(file), row)
  if newest:
    content.remarks.append(
      f"each score is the {_SCORE} of the last iteration of Dopamine's log."
    )
  # Dopamine doesn't mark a run as finished.
  last = {file: _iteration(file.name) for file in newest}
  shortest = min(newest, key=lambda file: last[file], default=None)
  if shortest is not None and last[shortest] < max(last.values()):
    content.remarks.append(
      f'the runs end at different iterations: {shortest} at '
      f'{last[shortest]}, others at up to {max(last.values())}; a run may be '
      'unfinished.'
    )


def has_logs(path: pathlib.Path) -> bool:
  """Returns whether a folder has logs in or below it, beside our own runs."""
  return bool(_newest_logs(path, lambda error: None))


def _newest_logs(
  path: pathlib.Path, on_error: Callable[[OSError], None]
) -> list[pathlib.Path]:
  """Returns the log of the last iteration of each run, in order of paths."""
  newest = []
  for folder, subfolders, names in walk(path, on_error):
    if holds_run(names):  # Its logs are no other run.
      subfolders.clear()
    logs = [name for name in names if name.startswith('log_')]
    if logs and os.path.basename(os.path.abspath(folder)) == 'logs':
      newest.append(pathlib.Path(folder, max(logs, key=_iteration)))
  return newest


class _ForeignError(pickle.UnpicklingError):
  """A log holds something else than numbers."""


class _Numbers(pickle.Unpickler):
  """Loads dictionaries, lists and numbers; executes nothing."""

  def find_class(self, module: str, name: str) -> Any:
    if (module, name) not in _HARMLESS:
      raise _ForeignError(f'{module}.{name} is not a number')
    return super().find_class(module, name)


def _score(file: pathlib.Path) -> float:
  """Returns the score in a log.

  Raises:
    ValueError: the file is damaged, or holds something else than numbers.
  """
  with file.open('rb') as opened:
    try:
      log = _Numbers(opened).load()
    except _ForeignError as error:
      raise ValueError(f'this is not a log of numbers ({error})') from error
    except Exception as error:  # A damaged pickle raises anything.
      raise ValueError('this is a damaged log') from error
  iterations = log if isinstance(log, dict) else {}
  numbered = {
    _iteration(name): of for name, of in iterations.items() if '_' in str(name)
  }
  last = numbered[max(numbered)] if numbered else None
  scores = last.get(_SCORE) if isinstance(last, dict) else None
  if not isinstance(scores, list) or not scores:
    raise ValueError(f'the last iteration has no {_SCORE}')
  return float(np.mean([score_of(_plain(score)) for score in scores]))


def _of_path(folder: pathlib.Path) -> dict[str, Any]:
  """Returns method, game and seed of a run.

  Raises:
    ValueError: they are not in the path.
  """
  parts = pathlib.Path(os.path.abspath(folder)).parts
  places = [i for i, part in enumerate(parts) if is_game(part)]
  seeds = [number_in(part.split('_')[-1]) for part in parts]
  place = places[-1] if places else 0
  if not place or place + 1 >= len(parts):
    raise ValueError(f'the game and the seed must be in the path, as {_LAYOUT}')
  try:
    return {
      'config': method_of(parts[place - 1]),
      'game': parts[place],
      'seed': seed_of(seeds[place + 1]),
    }
  except ValueError as error:
    raise ValueError(f'{error}; the path must be {_LAYOUT}') from error


def _iteration(name: str) -> int:
  number = number_in(str(name).rpartition('_')[2])
  return number if isinstance(number, int) else -1


def _plain(value: Any) -> Any:
  return value.item() if isinstance(value, np.generic) else value
