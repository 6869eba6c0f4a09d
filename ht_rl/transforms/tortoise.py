"""The state of Hare & Tortoise, and the tortoise in it."""

from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax

from ht_rl.transforms import checks

PyTree: TypeAlias = Any


class HareTortoiseState(NamedTuple):
  """State of :func:`hare_tortoise`.

  Attributes:
    count: int32 scalar, the number of updates done.
    tortoise: the slow weights, a tree like the parameters.
    inner_state: the state of the inner transformation.
  """

  count: jax.Array  # type: ignore[assignment]
  tortoise: optax.Params
  inner_state: optax.OptState


def tortoise_params(state: optax.OptState) -> optax.Params:
  """Returns the slow weights that the state of an optimizer holds.

  Args:
    state: the state of :func:`hare_tortoise`, or of anything around it
      (``optax.chain``, ``optax.MultiSteps``, ``optax.masked``, a dict, ...).

  Returns:
    The tortoise, a tree like the parameters. Inside ``optax.masked`` or
    ``optax.partition`` it holds the parameters that `hare_tortoise` was given,
    and an ``optax.MaskedNode`` in place of each other one.

  Raises:
    ValueError: if ``state`` does not hold exactly one
      :class:`HareTortoiseState`.
  """
  states = _states(state)
  if not states:
    checks.check_structure(state, HareTortoiseState)
  if len(states) != 1:
    raise ValueError(
      'state must hold exactly one HareTortoiseState, made by the init of '
      f'hare_tortoise, not {len(states)}; with several optimizers, pass the '
      'state of one of them'
    )
  return states[0].tortoise


def replace_tortoise(
  state: optax.OptState, tortoise: optax.Params
) -> optax.OptState:
  """Returns the state of an optimizer with other slow weights in it.

  Args:
    state: as for :func:`tortoise_params`.
    tortoise: the new slow weights, with the structure and shapes of the present
      ones. They are copied and cast to the dtypes of the present ones; outside
      of jit they also go to their devices.

  Returns:
    A state that differs from ``state`` in the tortoise alone.

  Raises:
    ValueError: if ``state`` does not hold exactly one
      :class:`HareTortoiseState`, or if the structure or a shape differs.
  """
  present = tortoise_params(state)
  checks.check_like('tortoise', tortoise, present, 'the present tortoise')
  copied = jax.tree.map(_copy_like, present, tortoise)
  return jax.tree.map(
    lambda node: node._replace(tortoise=copied) if _is_state(node) else node,
    state,
    is_leaf=_is_state,
  )


def _copy_like(old: Any, new: Any) -> jax.Array:
  """Returns a copy of an array, in the dtype and on the devices of another."""
  copy = jnp.array(new, dtype=old.dtype)
  is_concrete = not isinstance(copy, jax.core.Tracer)
  # An uncommitted array may go to any device, and a copy of it should.
  if is_concrete and isinstance(old, jax.Array) and old.committed:
    copy = jax.device_put(copy, old.sharding)
  return copy


def _is_state(node: Any) -> bool:
  return isinstance(node, HareTortoiseState)


def _states(tree: PyTree) -> list[HareTortoiseState]:
  """Returns all HareTortoiseStates in a tree, also nested ones."""
  nodes = jax.tree.leaves(tree, is_leaf=_is_state)
  found = [node for node in nodes if _is_state(node)]
  return found + [s for node in found for s in _states(node.inner_state)]
