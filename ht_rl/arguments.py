"""Checks of settings: a wrong one is named, with what would be right."""

from collections.abc import Sequence
import math
import numbers
from typing import Any


def check_int(name: str, value: Any, minimum: int) -> None:
  """Raises ValueError unless `value` is an integer of at least `minimum`."""
  is_int = isinstance(value, numbers.Integral) and not isinstance(value, bool)
  if not is_int or value < minimum:
    raise ValueError(
      f'{name} must be an integer of at least {minimum}, not {value!r}'
    )


def check_float(
  name: str,
  value: Any,
  minimum: float,
  maximum: float,
  below: bool = False,
  above: bool = False,
) -> None:
  """Raises ValueError unless `value` is a number in [minimum, maximum].

  With `below`, `maximum` itself is out of range; with `above`, `minimum` is.
  """
  is_real = isinstance(value, numbers.Real) and not isinstance(value, bool)
  if (
    not is_real
    or not minimum <= value <= maximum
    or math.isinf(value)
    or (below and value == maximum)
    or (above and value == minimum)
  ):
    if math.isinf(maximum):
      wanted = f'{"above" if above else "of at least"} {minimum}'
    else:
      start = 'from above' if above else 'from'
      end = 'to below' if below else 'to'
      wanted = f'{start} {minimum} {end} {maximum}'
    raise ValueError(f'{name} must be a number {wanted}, not {value!r}')


def check_bool(name: str, value: Any) -> None:
  """Raises ValueError unless `value` is True or False."""
  if not isinstance(value, bool):
    raise ValueError(f'{name} must be True or False, not {value!r}')


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> None:
  """Raises ValueError unless `value` is one of `choices`."""
  if value not in choices:
    shown = ' or '.join(repr(choice) for choice in choices)
    raise ValueError(f'{name} must be {shown}, not {value!r}')
