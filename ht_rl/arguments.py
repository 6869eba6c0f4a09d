"""Checks of arguments: an error says what an argument must be."""

from collections.abc import Callable, Sequence
import math
import numbers
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

# Characters of a value in a message.
_LONG = 300


def check_int(name: str, value: Any, minimum: int) -> None:
  """Raises ValueError unless `value` is an integer of at least `minimum`."""
  is_int = isinstance(value, numbers.Integral) and not isinstance(value, bool)
  if not is_int or value < minimum:
    refuse(name, f'an integer of at least {minimum}', value)


def check_seed(name: str, value: Any) -> None:
  """Raises ValueError unless `value` is an integer from 0 to 2**32 - 1.

  JAX's keys take the low 32 bits of a larger seed, so that two seeds would draw
  the same numbers.
  """
  is_int = isinstance(value, numbers.Integral) and not isinstance(value, bool)
  if not is_int or not 0 <= value < 2**32:
    refuse(name, 'an integer from 0 to 4294967295 (2**32 - 1)', value)


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
    refuse(name, f'a number {wanted}', value)


def check_bool(name: str, value: Any) -> None:
  """Raises ValueError unless `value` is True or False."""
  if not isinstance(value, bool | np.bool_):
    refuse(name, 'True or False', value)


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> None:
  """Raises ValueError unless `value` is one of `choices`."""
  if value not in choices:
    refuse(name, ' or '.join(repr(choice) for choice in choices), value)


def check_scalar(
  name: str,
  value: Any,
  wanted: str,
  accepts: Callable[[Any], Any],
  integer: bool = False,
) -> None:
  """Raises ValueError unless `value` is a real scalar that is accepted.

  Unlike `check_int` and `check_float` it takes arrays without axes, too. Of a
  tracer (`optax.inject_hyperparams` makes them) only the type is known.

  Args:
    name: of the argument.
    value: a number, or an array.
    wanted: what the argument must be, for the message.
    accepts: whether a number is in range; not asked about a tracer.
    integer: whether the dtype must be an integer one.
  """
  traced = isinstance(value, jax.core.Tracer)
  array = value if traced else np.asarray(value)
  kinds = (jnp.integer,) if integer else (jnp.integer, jnp.floating)
  if (
    array.ndim != 0
    or not any(jnp.issubdtype(array.dtype, kind) for kind in kinds)
    or not (traced or accepts(array))
  ):
    refuse(name, wanted, value)


def refuse(name: str, wanted: str, value: Any) -> NoReturn:
  """Raises the ValueError of an argument that is not what it must be."""
  raise ValueError(f'{name} must be {wanted}, not {shown(value)}')


def shown(value: Any) -> str:
  """Returns a value for a message; only its type if it is long, as weights are.

  >>> shown({'a': 1}), shown([1.0] * 1000)
  ("{'a': 1}", 'a list')
  """
  text = repr(value)
  return text if len(text) <= _LONG else f'a {type(value).__name__}'
