"""Checks of arguments: a ValueError names the argument and what it may be."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike
import numpy as np

_FRACTIONS = (
  'a number in [0, 1], or a tree of such numbers whose structure is that of '
  'the parameters or a prefix of it, or a function from the parameters to such '
  'a tree'
)


def check_number(
  name: str, value: Any, wanted: str, accepts: Callable[[Any], Any]
) -> None:
  """Raises ValueError unless ``value`` is a real scalar that is accepted."""
  _check_scalar(name, value, wanted, (jnp.floating, jnp.integer), accepts)


def check_positive_integer(name: str, value: Any, wanted: str) -> None:
  """Raises ValueError unless ``value`` is an integer scalar of at least 1."""
  _check_scalar(name, value, wanted, (jnp.integer,), lambda x: x >= 1)


def check_bool(name: str, value: Any) -> None:
  """Raises ValueError unless ``value`` is a bool."""
  if not isinstance(value, (bool, np.bool_)):
    raise ValueError(f'{name} must be True or False; got {value!r}.')


def as_count(name: str, count: ArrayLike) -> jax.Array:
  """Returns an integer scalar as an array; ValueError if it is none."""
  array = jnp.asarray(count)
  if array.ndim or not jnp.issubdtype(array.dtype, jnp.integer):
    raise ValueError(f'{name} must be an integer scalar; got {count!r}.')
  return array


def is_due(
  name: str, every: ArrayLike | Callable[..., Any], count: jax.Array
) -> jax.Array:
  """Returns whether update number ``count`` is one of ``every``.

  Args:
    name: what the user calls ``every``.
    every: an interval, or a function that says whether an update is due.
    count: the number of updates done, this one included.

  Returns:
    bool scalar.

  Raises:
    ValueError: if ``every`` is a function and its result is no bool scalar.
  """
  if not callable(every):
    return jnp.asarray(count % every == 0)
  due = every(count)
  is_array = isinstance(due, jax.Array | np.ndarray | np.bool_)
  if not (
    isinstance(due, bool)
    or (is_array and due.ndim == 0 and due.dtype == jnp.bool_)
  ):
    raise ValueError(
      f'{name}, a function of the number of updates, must return a bool '
      f'scalar, as `lambda t: t % 4000 == 0` does; it returned {due!r}.'
    )
  return jnp.asarray(due)


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
  return _broadcast(wanted, mask, tree)


def check_fractions(name: str, fractions: Any) -> None:
  """Raises ValueError unless all leaves are numbers in [0, 1]."""
  for leaf in jax.tree.leaves(fractions):
    check_number(name, leaf, _FRACTIONS, lambda fraction: 0 <= fraction <= 1)


def broadcast_fractions(name: str, fractions: Any, tree: Any) -> Any:
  """Returns numbers like ``tree``, from a prefix of it or a function of it."""
  fractions = fractions(tree) if callable(fractions) else fractions
  check_fractions(name, fractions)
  return _broadcast(f'{name} must be {_FRACTIONS}', fractions, tree)


def check_like(name: str, tree: Any, like: Any, wanted: str) -> None:
  """Raises ValueError unless structure and shapes are those of ``like``."""
  expected: Any = jax.tree.structure(like)
  given: Any = jax.tree.structure(tree)
  if given != expected:
    raise ValueError(
      f'{name} must have the structure of {wanted}, {expected}; got {given}.'
    )

  def check(path: Any, a: Any, b: Any) -> None:
    if jnp.shape(a) != jnp.shape(b):
      raise ValueError(
        f'{name}{jax.tree_util.keystr(path)} must have the shape of {wanted}, '
        f'{jnp.shape(b)}; got {jnp.shape(a)}.'
      )

  jax.tree_util.tree_map_with_path(check, tree, like)


def check_transformation(name: str, value: Any) -> None:
  """Raises ValueError unless ``value`` is an optax transformation."""
  if not callable(getattr(value, 'update', None)):
    raise ValueError(
      f'{name} must be an optax.GradientTransformation; got {value!r}.'
    )


def _broadcast(wanted: str, prefix: Any, tree: Any) -> Any:
  try:
    return jax.tree.broadcast(prefix, tree)
  except ValueError as error:
    raise ValueError(f'{wanted}; got {prefix!r}: {error}') from error


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
