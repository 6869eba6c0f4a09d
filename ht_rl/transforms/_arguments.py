"""Checks of arguments: a ValueError names the argument and what it may be."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
import numpy as np


def check_number(
  name: str, value: Any, wanted: str, accepts: Callable[[Any], Any]
) -> None:
  """Raises ValueError unless ``value`` is a real scalar that is accepted."""
  _check_scalar(name, value, wanted, (jnp.floating, jnp.integer), accepts)


def check_positive_integer(name: str, value: Any, wanted: str) -> None:
  """Raises ValueError unless ``value`` is an integer scalar of at least 1."""
  _check_scalar(name, value, wanted, (jnp.integer,), lambda x: x >= 1)


def check_floating_dtype(name: str, dtype: DTypeLike) -> jnp.dtype:
  """Returns ``dtype`` as a jnp.dtype; ValueError unless it is a real float."""
  try:
    checked = jnp.dtype(dtype)
  except TypeError:
    checked = None
  if checked is None or not jnp.issubdtype(checked, jnp.floating):
    raise ValueError(f'{name} must be a real floating dtype; got {dtype!r}.')
  return checked


def broadcast_mask(name: str, mask: Any, tree: Any) -> Any:
  """Returns bools like ``tree``, from a prefix of it or a function of it."""
  wanted = (
    f'{name} must be a tree of bools whose structure is that of the parameters '
    'or a prefix of it, or a function from the parameters to such a tree'
  )
  mask = mask(tree) if callable(mask) else mask
  for leaf in jax.tree.leaves(mask):
    if not isinstance(leaf, bool | np.bool_):
      raise ValueError(f'{wanted}; got the leaf {leaf!r}.')
  try:
    return jax.tree.broadcast(mask, tree)
  except ValueError as error:
    raise ValueError(f'{wanted}; got {mask!r}: {error}') from error


def _check_scalar(
  name: str,
  value: Any,
  wanted: str,
  kinds: tuple[Any, ...],
  accepts: Callable[[Any], Any],
) -> None:
  # Of a tracer (optax.inject_hyperparams makes them) only the type is known.
  traced = isinstance(value, jax.core.Tracer)
  array = value if traced else np.asarray(value)
  if (
    array.ndim != 0
    or not any(jnp.issubdtype(array.dtype, kind) for kind in kinds)
    or not (traced or accepts(array))
  ):
    raise ValueError(f'{name} must be {wanted}; got {value!r}.')
