"""The transforms that, every so many updates, set weights to new values."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import optax

from ht_rl import arguments
from ht_rl.transforms import checks
from ht_rl.transforms.checks import Predicate
from ht_rl.transforms.fresh import as_varying_as
from ht_rl.transforms.line_search import forget_values

# Maps the number of updates, parameters and updates to updates that lead to the
# new values.
Lead: TypeAlias = Callable[
  [jax.Array, optax.Params, optax.Updates], optax.Updates
]


class ReinitializeState(NamedTuple):
  """State of the transforms that re-initialise every so many updates.

  These are :func:`shrink_and_perturb`, :func:`reset_subtree`, :func:`redo` and
  :func:`fire`.

  Attributes:
    count: int32 scalar, the number of updates done.
    inner_state: the state of the inner transformation.
  """

  count: jax.Array  # type: ignore[assignment]
  inner_state: optax.OptState


def check_reset_every(reset_every: Any) -> None:
  """Raises ValueError unless it is an interval or a function."""
  if not callable(reset_every):
    checks.check_interval(
      'reset_every',
      reset_every,
      'a positive integer or a function of the number of updates',
    )


def jump(
  inner: optax.GradientTransformation,
  lead: Lead,
  *,
  reset_every: ArrayLike | Predicate,
  reset_inner_state: bool,
) -> optax.GradientTransformationExtraArgs:
  """Trains with ``inner``; sets weights to new values when due.

  Args:
    inner: the optimizer.
    lead: gives the updates that lead to the new values. It is called where they
      are due only.
    reset_every: the number of updates from one jump to the next; or a function
      of the number of updates done, this one included.
    reset_inner_state: whether ``inner`` starts anew at the new values.

  Returns:
    A transformation whose state is a :class:`ReinitializeState`.

  Raises:
    ValueError: if an argument is outside its range.
  """
  checks.check_transformation('inner', inner)
  inner = optax.with_extra_args_support(inner)
  check_reset_every(reset_every)
  arguments.check_bool('reset_inner_state', reset_inner_state)

  # Outside jit, lax.cond compiles both branches at each call.
  @jax.jit
  def jump_if(
    due: ArrayLike,
    count: jax.Array,
    params: optax.Params,
    updates: optax.Updates,
    inner_state: optax.OptState,
  ) -> tuple[optax.Updates, optax.OptState]:
    updates = jax.tree.map(as_varying_as, params, updates)

    def land() -> tuple[optax.Updates, optax.OptState]:
      # Without the barriers, XLA might use other roundings of the updates and
      # the parameters here than the caller gets.
      new = jax.lax.optimization_barrier(lead(count, params, updates))
      if not reset_inner_state:
        return new, forget_values(inner_state, True)
      landed = optax.apply_updates(params, new)
      started = inner.init(jax.lax.optimization_barrier(landed))
      # An update may have widened the dtypes that init chose.
      return new, jax.tree.map(
        lambda old, n: as_varying_as(old, jnp.asarray(n, old.dtype)),
        inner_state,
        started,
      )

    return jax.lax.cond(due, land, lambda: (updates, inner_state))

  def init_fn(params: optax.Params) -> ReinitializeState:
    checks.check_arrays('params', params)
    return ReinitializeState(jnp.zeros([], jnp.int32), inner.init(params))

  def update_fn(
    updates: optax.Updates,
    state: ReinitializeState,
    params: optax.Params | None = None,
    **extra_args: Any,
  ) -> tuple[optax.Updates, ReinitializeState]:
    checks.check_update(state, ReinitializeState, params)
    updates, inner_state = inner.update(
      updates, state.inner_state, params, **extra_args
    )
    count = optax.safe_increment(state.count)
    due = checks.is_due('reset_every', reset_every, count)
    updates, inner_state = jump_if(due, count, params, updates, inner_state)
    return updates, ReinitializeState(count, inner_state)

  return optax.GradientTransformationExtraArgs(init_fn, update_fn)
