"""Dtypes to compute in."""

import jax.numpy as jnp
from jax.typing import ArrayLike
import numpy as np


def at_least_float32(*arrays: ArrayLike) -> np.dtype:
  """Returns the dtype that holds all arrays with the precision of float32.

  Unlike `jnp.promote_types` it works under strict promotion, too.
  """

  def widen(x: ArrayLike) -> np.dtype:
    dtype = jnp.result_type(x)
    wide = jnp.issubdtype(dtype, jnp.inexact) and jnp.finfo(dtype).bits >= 32
    return dtype if wide else np.dtype(np.float32)

  return np.result_type(np.float32, *map(widen, arrays))
