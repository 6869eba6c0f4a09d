"""Regenerative regularisation: L2 towards the initial weights."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import numpy as np
import optax

from ht_rl import arguments, dtypes
from ht_rl.transforms import checks


class RegenerateState(NamedTuple):
  """State of :func:`regenerate`.

  Attributes:
    initial: the initial weights, a tree like the parameters.
  """

  initial: optax.Params


def regenerate(strength: ArrayLike) -> optax.GradientTransformation:
  r"""Adds the gradient of a penalty on the distance from the initial weights.

  The penalty is :math:`\texttt{strength} \cdot \lVert \theta - \theta_0
  \rVert_2^2`, so that each gradient :math:`g` becomes

  .. math::

    g \leftarrow g + 2 \cdot \texttt{strength} \cdot (\theta - \theta_0)

  with :math:`\theta_0` the parameters that ``init`` was given. Put it before
  the optimizer: ``optax.chain(ht_rl.regenerate(1e-3), optax.adam(1e-3))``.
  (After ``optax.scale_by_adam`` it is decoupled, as AdamW's weight decay is.)

  If a wrapper initializes its inner state again, as
  ``hare_tortoise(..., reset_inner_state=True)`` does, :math:`\theta_0` becomes
  the parameters at that update.

  Args:
    strength: the weight of the penalty, a finite number of at least 0.

  Returns:
    A transformation whose ``update`` needs the parameters and whose state is a
    :class:`RegenerateState`. The gradients keep their dtypes. Those of
    parameters that are not inexact (integers, say) pass unchanged; those of
    complex parameters are expected conjugated, as everywhere in optax.

  Raises:
    ValueError: if ``strength`` is outside its range.

  Examples:
    >>> import jax.numpy as jnp
    >>> import ht_rl
    >>> regenerate = ht_rl.regenerate(0.5)
    >>> state = regenerate.init(jnp.array([1.0, 2.0]))
    >>> gradients, params = jnp.array([10.0, 10.0]), jnp.array([1.0, 5.0])
    >>> regenerate.update(gradients, state, params)[0]
    Array([10., 13.], dtype=float32)

  References:
    Kumar et al., `Maintaining Plasticity in Continual Learning via Regenerative
    Regularization <https://arxiv.org/abs/2308.11958>`_, 2023, section 4.
  """
  arguments.check_scalar(
    'strength',
    strength,
    'a finite number of at least 0',
    lambda s: 0 <= s < np.inf,
  )

  def init_fn(params: optax.Params) -> RegenerateState:
    checks.check_arrays('params', params)
    # Copies, so that parameters and state can both be donated.
    return RegenerateState(jax.tree.map(jnp.array, params))

  def update_fn(
    updates: optax.Updates,
    state: RegenerateState,
    params: optax.Params | None = None,
  ) -> tuple[optax.Updates, RegenerateState]:
    checks.check_update(state, RegenerateState, params)
    checks.check_like('params', params, state.initial, 'the initial weights')

    def add(u: Any, p: Any, first: Any) -> Any:
      if not dtypes.is_inexact(p):
        return u
      dtype = jnp.result_type(u)
      wide = dtypes.at_least_float32(u, p)
      factor = jnp.asarray(2 * strength, wide)
      u, p, first = (jnp.asarray(x, wide) for x in (u, p, first))
      return (u + factor * (p - first)).astype(dtype)

    return jax.tree.map(add, updates, params, state.initial), state

  return optax.GradientTransformation(init_fn, update_fn)
