"""Checks of the arguments that are trees, schedules or transformations."""

from collections.abc import Callable
import numbers
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike
import numpy as np

from ht_rl import arguments, dtypes

# Updates are counted in int32.
_BELOW_THE_GREATEST = 'below 2147483648 (2**31)'

# Says of the number of updates whether something is due.
Predicate: TypeAlias = Callable[[jax.Array], ArrayLike]

_BOOLS = (
  'a tree of bools whose structure is that of the parameters or a prefix of '
  'it, or a function from the parameters to such a tree'
)
_FRACTIONS = (
  'a number in [0, 1], or a tree of such numbers whose structure is that of '
  'the parameters or a prefix of it, or a function from the parameters to such '
  'a tree'
)


def check_interval(name: str, value: Any, wanted: str) -> None:
  """Raises ValueError unless `value` is an int32 scalar of at least 1."""
  arguments.check_scalar(name, value, wanted, lambda n: n >= 1, integer=True)
  if not isinstance(value, jax.core.Tracer) and int(value) >= 2**31:
    arguments.refuse(name, _BELOW_THE_GREATEST, value)


def check_transformation(name: str, value: Any) -> None:
  """Raises ValueError unless `value` is an optax transformation."""
  if not callable(getattr(value, 'update', None)):
    arguments.refuse(name, 'an optax.GradientTransformation', value)


def check_init(name: str, value: Any) -> None:
  """Raises ValueError unless `value` is a function, as one that draws is."""
  if not callable(value):
    wanted = 'a function from a random key to parameters'
    arguments.refuse(name, wanted, value)


def as_floating_dtype(name: str, dtype: DTypeLike) -> jnp.dtype:
  """Returns `dtype` as a jnp.dtype; ValueError unless it is a real float."""
  try:
    checked = jnp.dtype(dtype)
  except TypeError:
    checked = None
  if checked is None or not jnp.issubdtype(checked, jnp.floating):
    arguments.refuse(name, 'a real floating dtype', dtype)
  return checked


def as_key(name: str, key: Any) -> jax.Array:
  """Returns a random key, or the one that an integer seeds."""
  if isinstance(key, numbers.Integral) and not isinstance(key, bool):
    arguments.check_seed(name, key)
    return jax.random.key(int(key))
  dtype = getattr(key, 'dtype', None)
  if dtype is not None and key.ndim == 0:
    if jnp.issubdtype(dtype, jax.dtypes.prng_key):
      return key
    if jnp.issubdtype(dtype, jnp.integer):
      return jax.random.key(key)
  if dtype == jnp.uint32 and key.ndim == 1:
    try:
      return jax.random.wrap_key_data(key)
    except (ValueError, TypeError):  # The shape is not that of one key.
      pass
  arguments.refuse(
    name, 'a random key, from jax.random.key, or an integer', key
  )


def as_count(name: str, count: ArrayLike) -> jax.Array:
  """Returns an integer scalar as int32; ValueError if it is none."""
  dtype = getattr(count, 'dtype', None) or np.asarray(count).dtype
  if np.ndim(count) or not jnp.issubdtype(dtype, jnp.integer):
    arguments.refuse(name, 'an integer scalar', count)
  if not isinstance(count, jax.core.Tracer) and np.asarray(count) >= 2**31:
    arguments.refuse(name, _BELOW_THE_GREATEST, count)
  return jnp.asarray(count, jnp.int32)


def scheduled(
  name: str, schedule: Callable[[ArrayLike], ArrayLike], count: jax.Array
) -> ArrayLike:
  """Returns a schedule's number; ValueError if it is no real scalar."""
  value = schedule(count)
  dtype = getattr(value, 'dtype', None) or np.asarray(value).dtype
  is_real = jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(
    dtype, jnp.integer
  )
  if np.ndim(value) or not is_real:
    raise ValueError(
      f'{name}, a function of the number of updates, must return a number, as '
      f'`optax.linear_schedule(0.9, 0.999, 1000)` does, not {value!r}'
    )
  return value


def is_due(
  name: str, every: ArrayLike | Callable[..., Any], count: jax.Array
) -> jax.Array:
  """Returns whether `every` names the update with number `count`.

  Args:
    name: of the argument `every`.
    every: an interval, or a function that says whether an update is due.
    count: the number of updates done, this one included.

  Returns:
    bool scalar.

  Raises:
    ValueError: if `every` is a function and its result is no bool scalar.
  """
  if not callable(every):
    return count % jnp.asarray(every, count.dtype) == 0
  due = every(count)
  is_array = isinstance(due, jax.Array | np.ndarray | np.bool_)
  if not (
    isinstance(due, bool)
    or (is_array and due.ndim == 0 and due.dtype == jnp.bool_)
  ):
    raise ValueError(
      f'{name}, a function of the number of updates, must return a bool '
      f'scalar, as `lambda t: t % 4000 == 0` does, not {due!r}'
    )
  return jnp.asarray(due)


def broadcast_mask(name: str, mask: Any, tree: Any) -> Any:
  """Returns bools like `tree`, from a prefix of it or a function of it."""
  mask = mask(tree) if is_function(mask) else mask
  for leaf in jax.tree.leaves(mask):
    if not isinstance(leaf, bool | np.bool_):
      raise ValueError(
        f'{name} must be {_BOOLS}; it has the leaf {arguments.shown(leaf)}'
      )
  return _broadcast(name, _BOOLS, mask, tree)


def broadcast_fractions(name: str, fractions: Any, tree: Any) -> Any:
  """Returns numbers like `tree`, from a prefix of it or a function of it."""
  fractions = fractions(tree) if is_function(fractions) else fractions
  check_fractions(name, fractions)
  return _broadcast(name, _FRACTIONS, fractions, tree)


def check_fractions(name: str, fractions: Any) -> None:
  """Raises ValueError unless all leaves are numbers in [0, 1]."""
  for leaf in jax.tree.leaves(fractions):
    arguments.check_scalar(name, leaf, _FRACTIONS, lambda f: 0 <= f <= 1)


def is_function(value: Any) -> bool:
  """Returns whether a tree-or-function argument is a function.

  A tree can be callable as well: an Equinox module of bools is one.
  """
  is_tree = jax.tree.leaves(value) and not jax.tree_util.all_leaves([value])
  bound = isinstance(value, jax.tree_util.Partial)
  return callable(value) and (bound or not is_tree)


def check_like(name: str, tree: Any, like: Any, wanted: str) -> None:
  """Raises ValueError unless structure and shapes are those of `like`."""
  expected: Any = jax.tree.structure(like)
  if jax.tree.structure(tree) != expected:
    why = _difference(tree, like)
    raise ValueError(f'{name} must have the structure of {wanted}: {why}')

  def check(path: Any, a: Any, b: Any) -> None:
    if jnp.shape(a) != jnp.shape(b):
      raise ValueError(
        f'{name}{jax.tree_util.keystr(path)} must have the shape of {wanted}, '
        f'{jnp.shape(b)}, not {jnp.shape(a)}'
      )

  jax.tree_util.tree_map_with_path(check, tree, like)


def _difference(tree: Any, like: Any) -> str:
  """Returns the first difference of two structures, in words."""
  given, expected = (
    [
      jax.tree_util.keystr(path) or 'an array alone'
      for path, _ in jax.tree_util.tree_leaves_with_path(x)
    ]
    for x in (tree, like)
  )
  if missing := [path for path in expected if path not in given]:
    return f'it lacks {missing[0]}'
  if more := [path for path in given if path not in expected]:
    return f'it has {more[0]} besides'
  kinds = (arguments.shown(jax.tree.structure(x)) for x in (tree, like))
  return 'it is {}, not {}'.format(*kinds)


def check_arrays(name: str, tree: Any) -> None:
  """Raises ValueError if a leaf of `tree` is neither an array nor a number."""
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    if not (hasattr(leaf, 'dtype') or isinstance(leaf, int | float | complex)):
      raise ValueError(
        f'{name} must be a tree of arrays, but '
        f'{name}{jax.tree_util.keystr(path)} is {arguments.shown(leaf)}; '
        'filter them, as `equinox.filter(model, equinox.is_inexact_array)` does'
      )


def is_kernel(path: Any, leaf: Any) -> bool:
  """Returns whether a leaf of the parameters is read as a kernel.

  Raises:
    ValueError: it would be, but by its name it is a bias or a scale.
  """
  if not dtypes.is_inexact(leaf) or jnp.ndim(leaf) < 2 or not jnp.size(leaf):
    return False
  names = [
    jax.tree_util.keystr((key,), simple=True)
    for key in path
    # The array in a box, as `nnx.Param` and `nn.Partitioned` are.
    if key != jax.tree_util.GetAttrKey('value')
  ]
  if names and names[-1] in ('bias', 'scale'):
    raise ValueError(
      f'params{jax.tree_util.keystr(path)} has the shape {jnp.shape(leaf)}, '
      'and arrays with two axes or more are read as kernels: map over stacked '
      'parameters, as `jax.vmap(fire.project)` does, or mask this array'
    )
  return True


def check_update(state: Any, kind: type, params: Any) -> None:
  """Raises ValueError unless `update` is given its state and parameters."""
  if params is None:
    raise ValueError(
      '`update` needs the parameters: `update(updates, state, params)`'
    )
  if not isinstance(state, kind):
    check_structure(state, kind)
    is_around = isinstance(state, tuple) and any(
      isinstance(part, kind) for part in state
    )
    if is_around:
      raise ValueError(
        f'state must be the {kind.__name__} that `init` made, not a tuple that '
        'holds one; pass that element'
      )
    wanted = f'the {kind.__name__} that `init` made'
    arguments.refuse('state', wanted, state)
  check_arrays('params', params)


def check_structure(state: Any, kind: Any) -> None:
  """Raises ValueError if there is a dict where `state` had a NamedTuple.

  Orbax without a template and `flax.serialization.to_state_dict` make dicts.
  """

  def is_lost(node: Any) -> bool:
    return isinstance(node, dict) and node.keys() == set(kind._fields)

  if any(map(is_lost, jax.tree.leaves(state, is_leaf=is_lost))):
    raise ValueError(
      f'state has a dict in place of its {kind.__name__}: its checkpoint was '
      'restored without the structure; restore it into the template '
      '`optimizer.init(params)`'
    )


def _broadcast(name: str, wanted: str, prefix: Any, tree: Any) -> Any:
  try:
    return jax.tree.broadcast(prefix, tree)
  except ValueError as error:
    raise ValueError(
      f'{name} must be {wanted}, not {arguments.shown(prefix)}: {error}'
    ) from error
