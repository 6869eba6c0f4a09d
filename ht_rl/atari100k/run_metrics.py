"""The `metrics.jsonl` of a run: a JSON object a line, each with its `step`."""

from collections.abc import Mapping
import json
import os
import pathlib
from typing import Any, NamedTuple

import numpy as np

from ht_rl import files
from ht_rl.atari100k.parsing import score_of, seed_of

# Bytes at the end of the file in which the last step is looked for first.
_TAIL = 1 << 16


class RunFolderError(ValueError):
  """A file of a run is damaged; the message is one line with what to do."""


class RunCurve(NamedTuple):
  """A figure of one run over its training.

  Attributes:
    steps: agent steps so far, increasing, int64 [points].
    returns: the figure at these steps, float64 [points].
  """

  steps: np.ndarray
  returns: np.ndarray


class MetricsFile:
  """A file with a JSON object a line, each with its `step`."""

  def __init__(
    self, path: pathlib.Path, keep_until: int, is_evaluated: bool = True
  ):
    """Opens the file; drops what a killed run wrote after its checkpoint.

    Args:
      path: the file, which need not exist.
      keep_until: rows of later steps are dropped.
      is_evaluated: whether the checkpoint knows of an evaluation of its own
        step. Otherwise that evaluation is played again, and its row is dropped.

    Raises:
      RunFolderError: it is a folder.
    """
    self._path = path
    if path.is_dir():
      raise _folder_in_place_of(path)
    if path.exists():
      lines = path.read_bytes().decode(errors='replace').splitlines()
      kept = [line for line in lines if _step_of(line) <= keep_until]
      if not is_evaluated:
        kept = [
          line
          for line in kept
          if _step_of(line) < keep_until or 'evaluation_return' not in line
        ]
      files.write_text(path, ''.join(f'{line}\n' for line in kept))

  def write(self, row: Mapping[str, Any]) -> None:
    """Appends a row."""
    with self._path.open('a', encoding='utf-8') as file:
      file.write(json.dumps(row) + '\n')


def read_curve(path: pathlib.Path, key: str, is_whole: bool = True) -> RunCurve:
  """Reads one figure over training.

  Args:
    path: of a `metrics.jsonl`, which need not exist.
    key: the figure, such as 'loss'. Lines without it are skipped.
    is_whole: nothing is being written to the file. Otherwise a last line that
      has no end yet is left out.

  Returns:
    Its values; no points where there are none.

  Raises:
    RunFolderError: a line is damaged, or the file is a folder.
  """
  try:
    text = path.read_bytes().decode(errors='replace')
  except FileNotFoundError:
    text = ''
  except IsADirectoryError as error:
    raise _folder_in_place_of(path) from error
  steps: list[int] = []
  values: list[float] = []
  decode = json.JSONDecoder().raw_decode
  end = 0
  # Parse only the lines with the key: most lines have other figures.
  while (found := text.find(f'"{key}"', end)) >= 0:
    try:
      row, end = decode(text, text.rfind('\n', 0, found) + 1)
      if end <= found:
        raise ValueError('the key is not in the object')
      step, value = seed_of(row['step']), score_of(row[key])
      if step <= (steps[-1] if steps else 0):
        raise ValueError('the steps go back')
      steps.append(step)
      values.append(value)
    except (ValueError, KeyError, TypeError) as error:
      if not is_whole and '\n' not in text[found:]:
        break
      raise RunFolderError(
        f'{path}, line {text.count(chr(10), 0, found) + 1}: this must be '
        f'JSON with a step, later than those before, and its {key}'
      ) from error
  return RunCurve(np.array(steps, np.int64), np.array(values, np.float64))


def last_step(path: pathlib.Path) -> int | None:
  """Returns the step of the last whole row, read from the end of the file."""
  if path.is_dir():
    raise _folder_in_place_of(path)
  if not path.exists():
    return None
  with path.open('rb') as file:
    size = file.seek(0, os.SEEK_END)
    length = _TAIL
    while True:
      start = max(0, size - length)
      file.seek(start)
      lines = file.read(size - start).splitlines()
      # The first line may have been cut.
      for line in reversed(lines if start == 0 else lines[1:]):
        step = _step_of(line.decode(errors='replace'))
        if type(step) is int:
          return step
      if start == 0:
        return None
      length *= 16


def _step_of(line: str) -> float:
  """Returns the step of a row; infinity for a line that lost its end."""
  try:
    step = json.loads(line)['step']
  except (ValueError, KeyError, TypeError):
    return float('inf')
  return step if isinstance(step, (int, float)) else float('inf')


def _folder_in_place_of(path: pathlib.Path) -> RunFolderError:
  return RunFolderError(f'{path} must be a file and is a folder; remove it')
