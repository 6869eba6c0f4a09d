"""Fresh weights, drawn inside the branch of a cond that resets."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax

from ht_rl.transforms import checks

PyTree: TypeAlias = Any


def draw(
  init: Callable[[jax.Array], PyTree], key: jax.Array, params: PyTree
) -> PyTree:
  """Returns ``init(key)``, checked to be like the parameters."""

  def is_masked(node: Any) -> bool:
    return isinstance(node, optax.MaskedNode)

  def cut(p: Any, f: Any) -> Any:
    return p if is_masked(p) else f

  fresh = init(key)
  if any(map(is_masked, jax.tree.leaves(params, is_leaf=is_masked))):
    fresh = jax.tree.map(cut, params, fresh, is_leaf=is_masked)
  checks.check_like('init(key)', fresh, params, 'the parameters')
  return fresh


def as_varying_as(like: Any, x: Any) -> Any:
  """Returns x, typed as varying over the mesh axes over which `like` varies."""
  # Inside shard_map, both branches of a cond must have the same type. XLA
  # removes the selection.
  return jnp.where(False, jnp.asarray(like, jnp.result_type(x)), x)
