"""Repeats a function in one program, as a loop or unrolled."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def repeat(
  step: Callable[[Any, Any], tuple[Any, Any]], carry: Any, inputs: Any
) -> tuple[Any, Any]:
  """Does what `jax.lax.scan` does, unrolled where a loop would be slow.

  XLA's CPU backend computes a convolution inside a loop or a branch several
  times slower than outside, and a scan that unrolls is still a loop. So on a
  CPU the steps are compiled one after another; elsewhere they are a scan.

  Args:
    step: maps (carry, input) to (carry, output).
    carry: the first carry.
    inputs: a tree of arrays with the inputs along the leading axis, at least 1.

  Returns:
    The last carry, and the outputs along a new leading axis.
  """
  if jax.default_backend() != 'cpu':
    return jax.lax.scan(step, carry, inputs)
  outputs = []
  for index in range(jax.tree.leaves(inputs)[0].shape[0]):
    carry, output = step(carry, jax.tree.map(lambda x: x[index], inputs))  # noqa: B023
    outputs.append(output)
  return carry, jax.tree.map(lambda *x: jnp.stack(x), *outputs)
