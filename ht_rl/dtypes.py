"""Dtypes to compute in."""

import jax.numpy as jnp
from jax.typing import ArrayLike


def at_least_float32(x: ArrayLike) -> jnp.dtype:
  """Returns the dtype of `x` if it has the precision of float32, else float32.

  Unlike `jnp.promote_types` it works under strict promotion, too.
  """
  dtype = jnp.result_type(x)
  wide = jnp.issubdtype(dtype, jnp.inexact) and jnp.finfo(dtype).bits >= 32
  return dtype if wide else jnp.dtype(jnp.float32)
