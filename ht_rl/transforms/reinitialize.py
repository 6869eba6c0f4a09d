"""Re-initialisation: fresh weights replace trained ones, or a part of them."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import numpy as np
import optax

from ht_rl import dtypes
from ht_rl.transforms import checks
from ht_rl.transforms.checks import Predicate
from ht_rl.transforms.fresh import draw, lead_to
from ht_rl.transforms.jump import jump

PyTree: TypeAlias = Any


def shrink_and_perturb(
  inner: optax.GradientTransformation,
  init: Callable[[jax.Array], PyTree],
  *,
  keep: PyTree | Callable[[PyTree], PyTree],
  reset_every: ArrayLike | Predicate,
  key: ArrayLike = 0,
  reset_inner_state: bool = True,
) -> optax.GradientTransformationExtraArgs:
  r"""Trains with ``inner``; periodically mixes in fresh weights.

  Update number :math:`t = 1, 2, \dots` of the parameters :math:`\theta` is

  .. math::

    \begin{align*}
      \theta &\leftarrow \theta + u_t
        && \text{with the updates } u_t \text{ of } \texttt{inner}, \\
      \theta &\leftarrow \lambda\, \theta
        + (1 - \lambda)\, \texttt{init}(\texttt{key}_t)
        && \text{if } t \bmod n = 0,
    \end{align*}

  where :math:`n` is ``reset_every``, :math:`\lambda` is ``keep`` and
  :math:`\texttt{key}_t` is ``key`` with :math:`t` folded in: every reset draws
  other weights. With :math:`\lambda = 0` all weights are fresh; with
  :math:`\lambda = 1` they stay as they are.

  ``init`` decides what is mixed in:

  - fresh weights, the ``init`` of the network:
    ``lambda key: network.init(key, x)``;
  - the network's own initial weights, as Lee et al. (2024) do:
    ``lambda key: first_params`` (a copy, where the parameters are donated);
  - noise of standard deviation :math:`\sigma`, which with the shrinking is what
    Ash & Adams (2020) write:
    ``lambda key: optax.tree.scale(sigma / (1 - keep), optax.tree.random_like(
    key, params))``.

  By default a reset also initializes the whole state of ``inner`` again: Adam's
  moments, the count that corrects their bias, and with the counts every
  schedule of a learning rate. ``reset_inner_state=False`` keeps all of it, but
  marks the value and the gradient that a line search keeps as unknown. Then

  - ``shrink_and_perturb(hare_tortoise(...), ...)`` makes the tortoise a copy of
    the re-initialised hare and starts the interval to the next restart; with
    ``reset_inner_state=False`` the tortoise stays and goes on averaging;
  - ``hare_tortoise(shrink_and_perturb(...), ...)`` re-initialises the hare
    alone. The tortoise stays, so that the next restart undoes the
    re-initialisation except for what was averaged since. (If that
    ``hare_tortoise`` has ``reset_inner_state=True``, its restarts also reset
    the count of this transformation, which then draws the same weights again.)

  Fresh weights are drawn inside ``jax.lax.cond``, so that they cost other
  updates nothing. (Under ``vmap`` over states with different counts the cond
  becomes a selection and every update draws. If ``init`` and ``scan`` are
  inside the ``vmap``, all runs share the count and the cond remains.)

  .. warning::
    Only updates lead to the new weights. If another transformation changes
    these updates later (the next element of a chain, say), they lead elsewhere;
    and parameters that are NaN or infinite stay so.

  .. warning::
    ``optax.inject_hyperparams`` calls every callable argument as a schedule, so
    name ``init`` and other functions in its ``static_args``. It makes the
    transformation anew in each update, which outside ``jit`` is then compiled
    in each update.

  Args:
    inner: the transformation that trains: an optimizer, including its learning
      rate.
    init: a function from a random key to parameters, a tree with the structure
      and shapes of the parameters. (Where the parameters hold an
      ``optax.MaskedNode``, inside ``optax.partition`` say, anything may stand.)
    keep: :math:`\lambda`, the fraction that remains of the trained weights. A
      number in [0, 1]; or a tree of such numbers whose structure is that of the
      parameters or a prefix of it, ``{'encoder': 0.5, 'head': 0.0}`` say; or a
      function from the parameters to such a tree.
    reset_every: the number of updates from one reset to the next, a positive
      integer; or a function of :math:`t`, the number of updates done including
      this one (int32 scalar), that says whether to reset now (bool scalar).
    key: a random key, or an integer as its seed. Runs with the same key draw
      the same weights.
    reset_inner_state: whether a reset also initializes the whole state of
      ``inner`` again.

  Returns:
    A transformation whose ``update`` needs the parameters and whose state is a
    :class:`ReinitializeState`. Parameters that are not inexact (integers, say)
    are not reset.

  Raises:
    ValueError: if an argument is outside its range; from ``update``, if the
      result of ``init`` is not like the parameters.

  Examples:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import optax
    >>> import ht_rl
    >>> optimizer = ht_rl.shrink_and_perturb(
    ...   optax.sgd(0.25), lambda key: jnp.array(8.0), keep=0.5, reset_every=3
    ... )
    >>> weight = jnp.array(8.0)
    >>> state = optimizer.init(weight)
    >>> for _ in range(4):
    ...   gradient = jax.grad(jnp.square)(weight)
    ...   updates, state = optimizer.update(gradient, state, weight)
    ...   weight = optax.apply_updates(weight, updates)
    ...   print(f'{weight:.2f}')
    4.00
    2.00
    4.50
    2.25

  References:
    Ash & Adams, `On Warm-Starting Neural Network Training
    <https://arxiv.org/abs/1910.08475>`_, NeurIPS 2020, section 4; D'Oro et al.,
    Sample-Efficient Reinforcement Learning by Breaking the Replay Ratio
    Barrier, ICLR 2023 (the encoder shrunk and perturbed, the head reset); Lee
    et al., `Slow and Steady Wins the Race: Maintaining Plasticity with Hare and
    Tortoise Networks <https://arxiv.org/abs/2406.02596>`_, ICML 2024,
    appendix A.4 (whose shrinkage is :math:`1 - \lambda`).
  """
  checks.check_init('init', init)
  if not checks.is_function(keep):
    checks.check_fractions('keep', keep)
  key = checks.as_key('key', key)

  def lead(
    count: jax.Array, params: optax.Params, updates: optax.Updates
  ) -> optax.Updates:
    fractions = checks.broadcast_fractions('keep', keep, params)
    fresh = draw(init, jax.random.fold_in(key, count), params)
    return jax.tree.map(_lead_to_mixed, fractions, params, updates, fresh)

  return jump(
    inner,
    lead,
    reset_every=reset_every,
    reset_inner_state=reset_inner_state,
  )


def reset_subtree(
  inner: optax.GradientTransformation,
  init: Callable[[jax.Array], PyTree],
  *,
  reset_mask: PyTree | Callable[[PyTree], PyTree],
  reset_every: ArrayLike | Predicate,
  key: ArrayLike = 0,
  reset_inner_state: bool = True,
) -> optax.GradientTransformationExtraArgs:
  r"""Trains with ``inner``; periodically draws a part of the weights anew.

  This is :func:`shrink_and_perturb` with :math:`\lambda = 0` where
  ``reset_mask`` is True and :math:`\lambda = 1` elsewhere. It resets the head
  of a network, say. Update number :math:`t = 1, 2, \dots` is

  .. math::

    \theta \leftarrow \theta + u_t, \qquad
    \theta_{\text{mask}} \leftarrow \texttt{init}(\texttt{key}_t)_{\text{mask}}
    \ \text{ if } t \bmod n = 0

  with :math:`n` for ``reset_every``.

  By default a reset initializes the whole state of ``inner`` again, also for
  the weights that stay: Adam has one count for all weights, and zero moments
  with an old count make its next steps several times too long. To keep the
  state of the other weights, give each part its own optimizer::

    optax.partition(
      {
        'body': optax.adam(1e-4),
        'head': ht_rl.reset_subtree(
          optax.adam(1e-4), init, reset_mask=True, reset_every=20_000
        ),
      },
      {'body': 'body', 'head': 'head'},
    )

  Args:
    inner: as in :func:`shrink_and_perturb`.
    init: as in :func:`shrink_and_perturb`; it draws all parameters, but only
      those that the mask names are used.
    reset_mask: which parameters are reset. A tree of bools whose structure is
      that of the parameters or a prefix of it, or a function from the
      parameters to such a tree.
    reset_every: as in :func:`shrink_and_perturb`.
    key: as in :func:`shrink_and_perturb`.
    reset_inner_state: as in :func:`shrink_and_perturb`.

  Returns:
    As :func:`shrink_and_perturb`.

  Raises:
    ValueError: as :func:`shrink_and_perturb`; from ``update``, if
      ``reset_mask`` does not fit the parameters.

  Examples:
    >>> import jax.numpy as jnp
    >>> import optax
    >>> import ht_rl
    >>> params = {'body': jnp.array(1.0), 'head': jnp.array(1.0)}
    >>> optimizer = ht_rl.reset_subtree(
    ...   optax.sgd(0.5),
    ...   lambda key: {'body': jnp.array(7.0), 'head': jnp.array(7.0)},
    ...   reset_mask={'body': False, 'head': True},
    ...   reset_every=1,
    ... )
    >>> updates, _ = optimizer.update(params, optimizer.init(params), params)
    >>> optax.apply_updates(params, updates)
    {'body': Array(0.5, dtype=float32), 'head': Array(7., dtype=float32)}

  References:
    Nikishin et al., `The Primacy Bias in Deep Reinforcement Learning
    <https://arxiv.org/abs/2205.07802>`_, ICML 2022, section 4.
  """

  def keep(params: PyTree) -> PyTree:
    mask = checks.broadcast_mask('reset_mask', reset_mask, params)
    return jax.tree.map(lambda m: 0.0 if m else 1.0, mask)

  return shrink_and_perturb(
    inner,
    init,
    keep=keep,
    reset_every=reset_every,
    key=key,
    reset_inner_state=reset_inner_state,
  )


def mix(keep: PyTree, old: PyTree, fresh: PyTree) -> PyTree:
  r"""Mixes fresh weights into old ones: one shrink and perturb.

  .. math::

    \lambda\, \theta + (1 - \lambda)\, \theta_{\text{fresh}}

  Args:
    keep: :math:`\lambda`, the fraction that remains of the old weights, a
      number in [0, 1]; or a tree of such numbers whose structure is that of
      ``old`` or a prefix of it.
    old: :math:`\theta`, a tree of arrays.
    fresh: :math:`\theta_{\text{fresh}}`, a tree with the structure and the
      shapes of ``old``.

  Returns:
    A tree like ``old``, in its dtypes; computed in float32 at least. Where
    ``keep`` is 0, old weights that are NaN or infinite are gone. Leaves that
    are not inexact (integers, say) are those of ``old``.

  Raises:
    ValueError: if ``keep`` is outside its range, or a tree does not fit.

  Examples:
    >>> import jax.numpy as jnp
    >>> from ht_rl.transforms import reinitialize
    >>> old = {'encoder': jnp.array(8.0), 'head': jnp.array(8.0)}
    >>> fresh = {'encoder': jnp.array(4.0), 'head': jnp.array(4.0)}
    >>> reinitialize.mix({'encoder': 0.75, 'head': 0.0}, old, fresh)
    {'encoder': Array(7., dtype=float32), 'head': Array(4., dtype=float32)}

  References:
    Ash & Adams, `On Warm-Starting Neural Network Training
    <https://arxiv.org/abs/1910.08475>`_, NeurIPS 2020, section 4.
  """
  checks.check_like('fresh', fresh, old, 'the old weights')
  fractions = checks.broadcast_fractions('keep', keep, old)
  return jax.tree.map(_mix_leaf, fractions, old, fresh)


def _lead_to_mixed(keep: Any, p: Any, u: Any, fresh: Any) -> Any:
  """Returns the update of a leaf that leads to the mixed weights."""
  known = not isinstance(keep, jax.core.Tracer)
  left_alone = known and np.asarray(keep) == 1
  if left_alone or not dtypes.is_inexact(p):
    return u
  wide = dtypes.at_least_float32(p)
  mixed = _mix_leaf(keep, jnp.asarray(p + u, wide), fresh)
  return lead_to(mixed, p, u)


def _mix_leaf(keep: Any, old: Any, fresh: Any) -> Any:
  dtype = jnp.result_type(old)
  if not dtypes.is_inexact(old):
    return old
  wide = dtypes.at_least_float32(old)
  # 1 - keep is taken before keep is rounded to a dtype.
  keep, rest = (jnp.asarray(x, wide) for x in (keep, 1 - keep))
  # 0 * NaN is NaN, so select instead of multiplying.
  kept = jnp.where(keep == 0, 0, keep * jnp.asarray(old, wide))
  return (kept + rest * jnp.asarray(fresh, wide)).astype(dtype)
