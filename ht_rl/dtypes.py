"""Dtypes to compute in."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import numpy as np


def is_inexact(x: Any) -> bool:
  """Returns whether the dtype is one of floats, real or complex."""
  return jnp.issubdtype(jnp.result_type(x), jnp.inexact)


def at_least_float32(*arrays: ArrayLike) -> np.dtype:
  """Returns the dtype that holds all arrays with the precision of float32.

  Unlike `jnp.promote_types` it works under strict promotion, too.
  """

  def widen(x: ArrayLike) -> np.dtype:
    dtype = jnp.result_type(x)
    wide = is_inexact(x) and jnp.finfo(dtype).bits >= 32
    return dtype if wide else np.dtype(np.float32)

  return np.result_type(np.float32, *map(widen, arrays))


def matmul(a: jax.Array, b: jax.Array) -> jax.Array:
  """Returns the product of matrices, computed in their dtype.

  By default an accelerator rounds the factors first, to TF32 or bfloat16.
  """
  return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
