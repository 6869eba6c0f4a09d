"""New weights, inside the branch of a cond that resets."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax

from ht_rl import dtypes
from ht_rl.transforms import checks

PyTree: TypeAlias = Any


def draw(
  init: Callable[[jax.Array], PyTree], key: jax.Array, params: PyTree
) -> PyTree:
  """Returns ``init(key)``, checked to be like the parameters."""

  def cut(p: Any, f: Any) -> Any:
    return p if is_masked(p) else f

  fresh = init(key)
  if any(map(is_masked, jax.tree.leaves(params, is_leaf=is_masked))):
    fresh = jax.tree.map(cut, params, fresh, is_leaf=is_masked)
  checks.check_like('init(key)', fresh, params, 'the parameters')
  return fresh


def lead_to(goal: jax.Array, p: Any, u: Any) -> jax.Array:
  """Returns the update that leads a leaf to the goal, in the dtype of `u`."""
  wide = dtypes.at_least_float32(p)
  difference = jnp.asarray(goal, wide) - jnp.asarray(p, wide)
  return difference.astype(jnp.result_type(u))


def is_masked(node: Any) -> bool:
  """Returns whether a part of a tree is left out by `optax.masked`."""
  return isinstance(node, optax.MaskedNode)


def as_varying_as(like: Any, x: Any) -> Any:
  """Returns x, typed as varying over the mesh axes over which `like` varies."""
  # Inside shard_map, both branches of a cond must have the same type. XLA
  # removes the selection.
  return jnp.where(False, jnp.asarray(like, jnp.result_type(x)), x)
