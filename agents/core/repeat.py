"""Runs a function several times in one program, as a scan or unrolled."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def repeat(
  step: Callable[[Any, Any], tuple[Any, Any]], carry: Any, inputs: Any
) -> tuple[Any, Any]:
  """Computes `jax.lax.scan(step, carry, inputs)`, unrolled on a CPU.

  XLA's CPU backend computes a convolution several times slower inside a loop or
  a branch than outside, and `scan(unroll=...)` still makes a loop. So on a CPU
  the steps are compiled one after another; elsewhere they are a scan.

  Args:
    step: maps (carry, input) to (carry, output).
    carry: the initial carry.
    inputs: a pytree of arrays with at least one input along the leading axis.

  Returns:
    The final carry, and the outputs stacked along a new leading axis.
  """
  if jax.default_backend() != 'cpu':
    return jax.lax.scan(step, carry, inputs)
  outputs = []
  for index in range(jax.tree.leaves(inputs)[0].shape[0]):
    carry, output = step(carry, jax.tree.map(lambda x: x[index], inputs))  # noqa: B023
    outputs.append(output)
  return carry, jax.tree.map(lambda *x: jnp.stack(x), *outputs)
