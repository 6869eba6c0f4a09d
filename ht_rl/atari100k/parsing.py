"""Parsers of the values in score files.

Each returns the value, or raises a ValueError that says what is wrong. The
caller adds the place in the file.
"""

import functools
import gzip
import json
import pathlib
import re
import reprlib
import sys
from typing import Any
import zlib

from ht_rl.atari100k.games import (
  GAMES,
  OTHER_GAMES,
  UnknownGameError,
  canonical_game,
)

# Characters that a line of text or an SVG can't hold.
_UNPRINTABLE = re.compile(
  r'[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]'
)


# First bytes of the formats of compressed files that can't be read.
_COMPRESSED = {
  b'PK\x03\x04': 'zip',
  b'BZh': 'bzip2',
  b'\xfd7zXZ\0': 'xz',
  b'\x28\xb5\x2f\xfd': 'zstd',
}


def text_of(path: pathlib.Path) -> str:
  """Returns the text of a file, which may be gzipped."""
  if not path.is_file():
    raise ValueError('this is not a regular file')
  data = path.read_bytes()
  if data.startswith(b'\x1f\x8b'):
    try:
      data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
      raise ValueError('the gzipped file is damaged') from error
  if data.startswith(b'\x93NUMPY') or path.suffix == '.npz':
    raise ValueError(
      'this holds arrays of NumPy; pass them to `ht_rl.atari100k.summarize` in '
      'Python, or write a CSV file'
    )
  for start, kind in _COMPRESSED.items():
    if data.startswith(start):
      raise ValueError(f'the file is compressed ({kind}); decompress it first')
  try:
    text = data.decode('utf-8-sig')
  except UnicodeDecodeError:
    text = '\0'
  if '\0' in text:
    raise ValueError('this is not text in UTF-8, so it is neither CSV nor JSON')
  if not text.strip():
    raise ValueError('the file is empty')
  return text


def json_of(text: str) -> Any:
  """Parses JSON; refuses an object that has a key twice."""
  try:
    return json.loads(text, object_pairs_hook=_object)
  except json.JSONDecodeError as error:
    end = text.rstrip()
    problem = f'line {error.lineno} is not JSON ({error.msg})'
    is_cut = error.pos >= len(end) or end[-1] not in '}]'
    if is_cut and text.lstrip()[0] in '{[':
      problem = f'the JSON is cut off at line {error.lineno}'
    raise ValueError(problem) from error
  except RecursionError as error:
    raise ValueError('the JSON is nested too deeply') from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  """Makes a dictionary; raises ValueError for a key that comes twice."""
  made: dict[str, Any] = {}
  for name, value in pairs:
    if name in made:
      raise ValueError(f'the key {name!r} is twice in one JSON object')
    made[name] = value
  return made


def method_of(value: Any) -> str:
  """Returns the name of a method."""
  if not isinstance(value, str) or not value.strip():
    raise ValueError(f'the method must have a name, not {reprlib.repr(value)}')
  if _UNPRINTABLE.search(value.strip()):
    raise ValueError(
      "the method's name must have printable characters only, not "
      f'{reprlib.repr(value)}'
    )
  return value.strip()


def game_of(value: Any) -> str:
  """Returns the canonical name of one of the 57 games."""
  if not isinstance(value, str):
    raise ValueError(f'the game must be a name, not {reprlib.repr(value)}')
  game = _known_game(value)
  if isinstance(game, ValueError):
    raise game
  return game


@functools.lru_cache(maxsize=4096)
def _known_game(name: str) -> str | UnknownGameError:
  """Returns the canonical name of a game, or the error that there is none."""
  try:
    return canonical_game(name, (*GAMES, *OTHER_GAMES))
  except UnknownGameError as error:
    return error


def seed_of(value: Any) -> int:
  """Returns a whole number, which may be written as 1.0."""
  if type(value) is float and value.is_integer():
    return int(value)
  # The type, not isinstance: a bool is an int.
  if type(value) is not int:
    raise ValueError(
      f'the seed must be a whole number, not {reprlib.repr(value)}'
    )
  return value


def score_of(value: Any) -> float:
  """Returns a score."""
  if type(value) not in (int, float) or not abs(value) <= sys.float_info.max:
    raise ValueError(
      f'the score must be a finite number, not {reprlib.repr(value)}'
    )
  return float(value)


def number_in(text: str) -> int | float | str:
  """Returns the number in a cell of a CSV file, or the cell itself."""
  number = r'[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)(e[+-]?[0-9]+)?'
  if not re.fullmatch(number, text, re.IGNORECASE):
    return text
  # Python refuses to parse longer integers than 4300 digits.
  is_whole = re.fullmatch(r'[+-]?[0-9]{1,400}', text)
  return int(text) if is_whole else float(text)


def protocol_of(value: Any) -> dict[str, Any]:
  """Returns the protocol of a run."""
  steps = value.get('training_steps') if isinstance(value, dict) else None
  if type(steps) is not int:
    raise ValueError('the protocol must be an object with training_steps')
  return value
