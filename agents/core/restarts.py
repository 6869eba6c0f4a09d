"""Measures what the restarts of Hare & Tortoise change.

A restart moves the hare back to the tortoise. Whether that changes anything
depends on how far the two are apart: a tortoise that has caught up is where the
hare is. The measure compares this distance with the way that the hare has gone
since its last restart (its start, if there was none)::

    restart_gap = |hare - tortoise| / |hare - hare at the last restart|

1 means that a restart takes everything back, 0 that it changes nothing. The
weights are those before the environment step whose gradient steps have the
restart.
"""

from typing import Any

import chex
import jax.numpy as jnp
import optax


def restart_gap(hare: Any, tortoise: Any, anchor: Any) -> chex.Array:
  """Returns how much of the hare's way a restart would take back.

  Args:
    hare: the online parameters.
    tortoise: the target parameters, in the structure of `hare`.
    anchor: the hare at its last restart, likewise.

  Returns:
    The ratio of two global norms, float32; 0 if the hare has not moved.
  """
  gap = optax.tree.norm(optax.tree.sub(hare, tortoise))
  way = optax.tree.norm(optax.tree.sub(hare, anchor))
  return jnp.where(way > 0, gap / jnp.where(way > 0, way, 1.0), 0.0)


def restarts_within(interval: int | None, before: int, num_updates: int) -> int:
  """Returns how many restarts the next gradient steps have.

  Args:
    interval: gradient steps between two restarts; None for no restarts.
    before: gradient steps since the last reset, which starts the count anew.
    num_updates: number of gradient steps that follow.
  """
  if interval is None:
    return 0
  return (before + num_updates) // interval - before // interval
