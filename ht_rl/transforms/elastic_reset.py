"""Elastic Reset: restarts from an average that itself starts over."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import optax

from ht_rl import arguments
from ht_rl.transforms import checks, reinitialize
from ht_rl.transforms.checks import Predicate
from ht_rl.transforms.hare_tortoise import Schedule, hare_tortoise
from ht_rl.transforms.jump import check_reset_every


class ElasticResetState(NamedTuple):
  """State of :func:`elastic_reset`.

  Attributes:
    initial: the initial weights, a tree like the tortoise.
    inner_state: the state of :func:`hare_tortoise`, with the tortoise.
  """

  initial: optax.Params
  inner_state: optax.OptState


def elastic_reset(
  inner: optax.GradientTransformation,
  *,
  momentum: ArrayLike | Schedule,
  reset_every: ArrayLike | Predicate,
  return_strength: ArrayLike = 1.0,
  reset_inner_state: bool = False,
) -> optax.GradientTransformationExtraArgs:
  r"""Trains with Hare & Tortoise whose tortoise returns to its first weights.

  After each restart of :func:`hare_tortoise` the tortoise :math:`s` moves a
  part of the way to the weights :math:`\theta_0` that ``init`` was given:

  .. math::

    h \leftarrow s, \qquad s \leftarrow (1 - \beta)\, s + \beta\, \theta_0

  with :math:`\beta` for ``return_strength``. This keeps the fast weights near
  the initial ones, those of a pretrained model, say. A re-initialisation around
  this transform, which initialises its state anew, makes the weights of that
  moment the initial ones.

  Args:
    inner: as in :func:`hare_tortoise`.
    momentum: as in :func:`hare_tortoise`.
    reset_every: as in :func:`hare_tortoise`, but not None.
    return_strength: :math:`\beta`, a number in [0, 1]. With 0 this is
      :func:`hare_tortoise`, with 1 the method of the paper.
    reset_inner_state: as in :func:`hare_tortoise`.

  Returns:
    A transformation whose ``update`` needs the parameters and whose state is an
    :class:`ElasticResetState`; :func:`tortoise_params` reads it.

  Raises:
    ValueError: if an argument is outside its range.

  Examples:
    >>> import jax.numpy as jnp
    >>> import optax
    >>> import ht_rl
    >>> optimizer = ht_rl.elastic_reset(
    ...   optax.sgd(0.5), momentum=0.5, reset_every=1
    ... )
    >>> hare = jnp.array(8.0)
    >>> updates, state = optimizer.update(hare, optimizer.init(hare), hare)
    >>> print(hare + updates, ht_rl.tortoise_params(state))
    6.0 8.0

  References:
    Noukhovitch et al., `Language Model Alignment with Elastic Reset
    <https://arxiv.org/abs/2312.07551>`_, NeurIPS 2023, section 3.
  """
  check_reset_every(reset_every)
  arguments.check_scalar(
    'return_strength',
    return_strength,
    'a number in [0, 1]',
    lambda strength: 0 <= strength <= 1,
  )
  restarting = hare_tortoise(
    inner,
    momentum=momentum,
    reset_every=reset_every,
    reset_inner_state=reset_inner_state,
  )

  def init_fn(params: optax.Params) -> ElasticResetState:
    state = restarting.init(params)
    # Copies, so that all of the state can be donated.
    return ElasticResetState(jax.tree.map(jnp.array, state.tortoise), state)

  def update_fn(
    updates: optax.Updates,
    state: ElasticResetState,
    params: optax.Params | None = None,
    **extra_args: Any,
  ) -> tuple[optax.Updates, ElasticResetState]:
    checks.check_update(state, ElasticResetState, params)
    updates, inner_state = restarting.update(
      updates, state.inner_state, params, **extra_args
    )
    due = checks.is_due('reset_every', reset_every, inner_state.count)
    returned = reinitialize.mix(
      1 - return_strength, inner_state.tortoise, state.initial
    )
    tortoise = jax.tree.map(
      lambda new, old: jnp.where(due, new, old), returned, inner_state.tortoise
    )
    inner_state = inner_state._replace(tortoise=tortoise)
    return updates, ElasticResetState(state.initial, inner_state)

  return optax.GradientTransformationExtraArgs(init_fn, update_fn)
