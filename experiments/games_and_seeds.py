"""Reads the flags that name several games and several seeds."""

import collections
from collections.abc import Hashable, Sequence
import re
from typing import TypeVar

from experiments.command import SettingsError
from ht_rl import atari100k
from ht_rl.arguments import check_seed

_MOST_SEEDS = 10_000

T = TypeVar('T', bound=Hashable)


def games(text: str | None, known: Sequence[str], flag: str) -> list[str]:
  """Returns the games that a flag names.

  Args:
    text: value of the flag: 'all' for the 26, or names in any usual spelling.
    known: names of all games.
    flag: its name, such as '--games'.

  Raises:
    SettingsError: no game is given, or one is unknown or given twice.
  """
  if not text:
    raise SettingsError(f'{flag} is missing: for example {flag}=Pong,Breakout')
  names = [word.strip() for word in words(text)]
  if names == ['all']:
    return list(atari100k.GAMES)
  if 'all' in names:
    raise SettingsError(f'{flag}=all names the 26 games: name no other beside')
  try:
    found = [atari100k.canonical_game(name, known) for name in names]
  except ValueError as error:
    raise SettingsError(f'{flag}: {error}') from error
  if not found:
    raise SettingsError(f'{flag} must name a game, not {text!r}')
  return _different(found, flag)


def seeds(text: str | None, flag: str) -> list[int]:
  """Returns the seeds that a flag names.

  >>> seeds('0-2,7', '--seeds')
  [0, 1, 2, 7]

  Args:
    text: value of the flag.
    flag: its name, such as '--seeds'.

  Raises:
    SettingsError: no seeds are given, they can't be read, or one is given
      twice.
  """
  if not text:
    raise SettingsError(f'{flag} is missing: for example {flag}=0-4')
  found: list[int] = []
  for word in text.split(','):
    ends = re.fullmatch(r'\s*(-?\d+)(?:-(\d+))?\s*', word)
    first, last = (ends[1], ends[2] or ends[1]) if ends else (1, 0)
    if int(last) < int(first):
      raise SettingsError(f'{flag} must look like 0-4 or 0,2,7, not {text!r}')
    try:
      check_seed(flag, int(first))
      check_seed(flag, int(last))
    except ValueError as error:
      raise SettingsError(str(error)) from error
    if int(last) - int(first) >= _MOST_SEEDS:
      raise SettingsError(
        f'{flag} must name at most {_MOST_SEEDS:,} seeds, not {text!r}'
      )
    found += range(int(first), int(last) + 1)
  return _different(found, flag)


def words(text: str) -> list[str]:
  """Returns the words between commas, without empty ones."""
  return [word for word in text.split(',') if word.strip()]


def _different(found: list[T], flag: str) -> list[T]:
  """Returns the list, unless something is in it twice."""
  value, times = collections.Counter(found).most_common(1)[0]
  if times > 1:
    raise SettingsError(f'{flag} names {value} twice')
  return found
