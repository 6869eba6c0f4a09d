"""Self-Normalized Resets: units that are silent for too long start over."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import optax

from ht_rl import arguments
from ht_rl.transforms import checks, units

PyTree: TypeAlias = Any


class SelfNormalizedResetsState(NamedTuple):
  """State of :func:`self_normalized_resets`.

  Each dict has an array for each layer.

  Attributes:
    count: int32 scalar, the number of updates done.
    silence: int32 [units], for how many updates each unit has been silent.
    limit: int32 [units], the silence at which a unit starts over.
    histogram: int32 [units, max_interval + 1], how often a silence of each
      length has ended since the limits were set.
    inner_state: the state of the inner transformation.
  """

  count: jax.Array  # type: ignore[assignment]
  silence: dict[str, jax.Array]
  limit: dict[str, jax.Array]
  histogram: dict[str, jax.Array]
  inner_state: optax.OptState


def self_normalized_resets(
  inner: optax.GradientTransformation,
  init: Callable[[jax.Array], PyTree],
  *,
  layers: units.Layers,
  rejection: ArrayLike,
  max_interval: int,
  refresh_every: ArrayLike,
  key: ArrayLike = 0,
) -> optax.GradientTransformationExtraArgs:
  r"""Trains with ``inner``; resets units that are silent for unusually long.

  A unit fires in an update if its activation is positive for any sample and
  position of the batch. Let :math:`a_i` be the number of updates for which unit
  :math:`i` has been silent, and :math:`A_i` the length of such a silence. The
  unit starts over as soon as so long a silence is improbable:

  .. math::

    \mathbb{P}(A_i > a_i) \le \eta

  with :math:`\eta` for ``rejection``: each unit is measured by its own rate.
  This is written as a limit, :math:`a_i \ge l_i`, where :math:`l_i` is the
  smallest length that a share of at least :math:`1 - \eta` of the recorded
  silences does not exceed. A silence is recorded when it ends, be it by firing
  or by a reset. Every ``refresh_every`` updates the limits are set anew and the
  records are cleared. All limits start at ``max_interval``. A lower limit from
  the records replaces the old one; otherwise the old one is doubled, up to
  ``max_interval``, since no recorded silence can be longer than the old limit.
  The limit of a unit without a record stays.

  The new incoming weights of a unit are those of ``init(key_t)``, where
  :math:`\texttt{key}_t` is ``key`` with the number of updates folded in; its
  outgoing weights are zero. The incoming weights include the bias, which the
  released code sets to 0. ``update`` needs the activations that belong to
  ``params``, as that of :func:`redo` does. A reset also re-initialises what
  ``inner`` stores for these weights, as with :func:`redo`, and as in the
  released code; Adam's count stays.

  The paper leaves open how the distribution of :math:`A_i` is estimated. These
  limits are those of the released code, with two differences: it counts samples
  where this function counts updates, and it sets the limit of a unit without a
  record to one batch.

  Args:
    inner: the transformation that trains: an optimizer, including its learning
      rate.
    init: a function from a random key to parameters, as in
      :func:`shrink_and_perturb`.
    layers: from the name of each layer to the place of its units in the
      parameters, :class:`Units`. Their activations are those of a ReLU, or of
      another function that is positive where a unit counts as active.
    rejection: :math:`\eta`, a number in (0, 1); small, 0.02 say.
    max_interval: the largest limit, in updates, a positive integer. Memory
      grows with it: an int32 for each unit and length. Name it in the
      ``static_args`` of ``optax.inject_hyperparams``, and ``init``, too.
    refresh_every: the number of updates from one setting of the limits to the
      next, a positive integer; several times ``max_interval``.
    key: a random key, or an integer as its seed.

  Returns:
    A transformation whose ``update`` needs the parameters and ``activations``,
    as that of :func:`redo` does, and whose state is a
    :class:`SelfNormalizedResetsState`.

  Raises:
    ValueError: if an argument is outside its range; from ``init`` or
      ``update``, if ``layers`` does not fit the parameters; from ``update``, if
      activations are missing or do not fit.

  Examples:
    >>> import jax.numpy as jnp
    >>> import optax
    >>> import ht_rl
    >>> optimizer = ht_rl.self_normalized_resets(
    ...   optax.sgd(0.5),
    ...   lambda key: jnp.full((1, 2), 7.0),
    ...   layers={'hidden': ht_rl.Units(incoming='')},  # All of the parameters.
    ...   rejection=0.1,
    ...   max_interval=2,
    ...   refresh_every=100,
    ... )
    >>> params = jnp.array([[2.0, -2.0]])
    >>> state = optimizer.init(params)
    >>> for _ in range(2):  # The second unit is silent twice.
    ...   updates, state = optimizer.update(
    ...     jnp.zeros((1, 2)),
    ...     state,
    ...     params,
    ...     activations={'hidden': jnp.array([[2.0, 0.0]])},
    ...   )
    ...   params = optax.apply_updates(params, updates)
    ...   print(params)
    [[ 2. -2.]]
    [[2. 7.]]

  References:
    Farias & Jozefiak, `Self-Normalized Resets for Plasticity in Continual
    Learning <https://arxiv.org/abs/2410.20098>`_, ICLR 2025, algorithm 1.
  """
  checks.check_transformation('inner', inner)
  inner = optax.with_extra_args_support(inner)
  checks.check_init('init', init)
  units.check_layers(layers)
  arguments.check_scalar(
    'rejection', rejection, 'a number in (0, 1)', lambda x: 0 < x < 1
  )
  arguments.check_int('max_interval', max_interval, 1)
  checks.check_interval('refresh_every', refresh_every, 'a positive integer')
  key = checks.as_key('key', key)
  renew_if = units.renewal(inner, init, layers, key, lambda silent: silent)

  def init_fn(params: optax.Params) -> SelfNormalizedResetsState:
    checks.check_arrays('params', params)
    sizes = units.num_units(layers, params)

    def filled(value: int, *shape: int) -> dict[str, jax.Array]:
      return {
        layer: jnp.full((size, *shape), value, jnp.int32)
        for layer, size in sizes.items()
      }

    return SelfNormalizedResetsState(
      count=jnp.zeros([], jnp.int32),
      silence=filled(0),
      limit=filled(max_interval),
      histogram=filled(0, max_interval + 1),
      inner_state=inner.init(params),
    )

  def update_fn(
    updates: optax.Updates,
    state: SelfNormalizedResetsState,
    params: optax.Params | None = None,
    *,
    activations: units.Activations | None = None,
    **extra_args: Any,
  ) -> tuple[optax.Updates, SelfNormalizedResetsState]:
    checks.check_update(state, SelfNormalizedResetsState, params)
    hidden = units.by_unit(layers, activations, params)
    updates, inner_state = inner.update(
      updates, state.inner_state, params, activations=activations, **extra_args
    )
    count = optax.safe_increment(state.count)
    refresh = count % jnp.asarray(refresh_every, count.dtype) == 0
    silence, limit, histogram, selected = {}, {}, {}, {}
    for layer, h in hidden.items():
      fires = jnp.any(h > 0, axis=tuple(range(h.ndim - 1)))
      old = state.silence[layer]
      now = jnp.where(fires, 0, old + 1)
      selected[layer] = now >= state.limit[layer]
      # A silence that ends in this update, by firing or by a reset.
      ended = jnp.where(selected[layer], now, jnp.where(fires, old, 0))
      records = _record(state.histogram[layer], ended)
      silence[layer] = jnp.where(selected[layer], 0, now)
      limit[layer] = jnp.where(
        refresh,
        _new_limit(records, state.limit[layer], rejection),
        state.limit[layer],
      )
      histogram[layer] = jnp.where(refresh, 0, records)
    some = jnp.any(jnp.concatenate(list(selected.values())))
    updates, inner_state = renew_if(
      some, count, selected, params, updates, inner_state
    )
    return updates, SelfNormalizedResetsState(
      count, silence, limit, histogram, inner_state
    )

  return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _record(histogram: jax.Array, lengths: jax.Array) -> jax.Array:
  """Counts the length of each unit, if it is not 0."""
  units_ = jnp.arange(len(lengths))
  return histogram.at[units_, lengths].add((lengths > 0).astype(jnp.int32))


def _new_limit(
  histogram: jax.Array, limit: jax.Array, rejection: ArrayLike
) -> jax.Array:
  """Returns the limits that the recorded silences give."""
  up_to = jnp.cumsum(histogram, axis=1, dtype=jnp.int32)
  total = up_to[:, -1:]
  # A product with a rounded share may exceed a whole number by some roundings.
  share = jnp.asarray(1 - rejection, jnp.float32) * (1 - 2**-21)
  enough = share * total.astype(jnp.float32)
  quantile = jnp.argmax(up_to.astype(jnp.float32) >= enough, axis=1).astype(
    jnp.int32
  )
  longest = histogram.shape[1] - 1
  # Not 2 * limit, which could overflow.
  doubled = limit + jnp.minimum(limit, longest - limit)
  new = jnp.where(quantile < limit, quantile, doubled)
  return jnp.where(total[:, 0] > 0, new, limit)
