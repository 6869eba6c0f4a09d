"""Hare & Tortoise: slow weights average fast weights, which restart there."""

from collections.abc import Callable
import functools
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike
import numpy as np
import optax

from ht_rl import arguments, dtypes
from ht_rl.transforms import checks
from ht_rl.transforms.checks import Predicate
from ht_rl.transforms.fresh import lead_to
from ht_rl.transforms.line_search import forget_values
from ht_rl.transforms.tortoise import HareTortoiseState

PyTree: TypeAlias = Any
Schedule: TypeAlias = Callable[[ArrayLike], ArrayLike]


def hare_tortoise(
  inner: optax.GradientTransformation,
  *,
  momentum: ArrayLike | Schedule,
  reset_every: ArrayLike | Predicate | None = None,
  update_every: ArrayLike = 1,
  reset_mask: PyTree | Callable[[PyTree], PyTree] | None = None,
  reset_strength: ArrayLike = 1.0,
  reset_inner_state: bool = False,
  tortoise_dtype: DTypeLike | None = None,
) -> optax.GradientTransformationExtraArgs:
  r"""Trains with ``inner``, averages the weights, restarts from the average.

  The parameters are the fast weights, the *hare* :math:`h`. The state holds the
  slow weights, the *tortoise* :math:`s`, which start as a copy of the hare.
  Update number :math:`t = 1, 2, \dots` is

  .. math::

    \begin{align*}
      h &\leftarrow h + u_t
        && \text{with the updates } u_t \text{ of } \texttt{inner}, \\
      s &\leftarrow \mu\, s + (1 - \mu)\, h
        && \text{if } t \bmod m = 0, \\
      h &\leftarrow s
        && \text{if } t \bmod n = 0,
    \end{align*}

  where :math:`m` is ``update_every`` and :math:`n` is ``reset_every``.

  The tortoise is the network to predict with and, in value-based reinforcement
  learning, the target network; :func:`tortoise_params` reads it. Without
  ``reset_every`` it is an exponential moving average of the parameters; with
  ``momentum=0`` and ``update_every=n`` it is a copy of them taken every ``n``
  updates (inside jit up to the last bit, where XLA fuses sums and products).

  A restart leaves the hare and the tortoise bitwise equal where they have one
  dtype. A tortoise with a wider one stays as it is: if it were rounded, it
  would lose all progress below the hare's precision at each restart. With
  ``reset_strength`` :math:`\alpha < 1` a restart is soft,
  :math:`h \leftarrow h + \alpha\, (s - h)`, and leaves the tortoise.

  The updates have the dtype that ``inner`` gives them. So the hare lands on the
  new weights up to a rounding, in that dtype, of their difference from the old.
  In bfloat16 this is up to 1/512 of the difference, which may be more than a
  small weight. Updates in float32 beside bfloat16 weights, as
  ``optax.adam(..., mu_dtype=jnp.float32)`` gives them, land on the tortoise
  rounded to bfloat16.

  Updates are added, so a restart does not heal weights that are not finite:
  the tortoise becomes what the hare is. ``optax.apply_if_finite`` around this
  skips updates that are not finite.

  ``inner`` keeps its state through a restart unless ``reset_inner_state`` is
  True. An optimizer that has its own copy of the weights, such as
  ``optax.contrib.schedule_free``, needs True. The value and the gradient that a
  line search keeps (``optax.lbfgs`` does) are always marked as unknown, so that
  ``optax.value_and_grad_from_state`` computes them at the new weights.

  .. warning::
    This must be the outermost wrapper. It averages the parameters that its own
    updates lead to. If another transformation changes these updates later (the
    next element of a chain, say), hare and tortoise drift apart. A wrapper that
    either applies an update as it is or skips it together with the new state,
    like ``optax.MultiSteps``, goes around this one: then only updates that
    change the weights are counted.

  .. warning::
    ``optax.inject_hyperparams`` calls every callable argument as a schedule, so
    name a predicate or a mask in its ``static_args``. It rounds numbers to the
    parameters' dtype: a momentum of 0.999 is 1 in bfloat16, so pass
    ``hyperparam_dtype=jnp.float32``.

  Args:
    inner: the transformation that trains the hare: an optimizer, including its
      learning rate.
    momentum: :math:`\mu`, a number in [0, 1), often written
      :math:`1 - \tau`; or a schedule, a function of the
      number of updates done before this one (as in all of optax). It is
      rounded to float32 for weights in float32: beyond 0.9999,
      :math:`1 - \mu` may be off by more than 0.03%.
    reset_every: the number of updates from one restart to the next, a positive
      integer; or a function of :math:`t`, the number of updates done including
      this one (int32 scalar), that says whether to restart now (bool scalar);
      or None for no restarts.
    update_every: the number of updates from one average to the next, a positive
      integer.
    reset_mask: which parameters restart; the others only average. A tree of
      bools whose structure is that of the parameters or a prefix of it, or a
      function from the parameters to such a tree. None: all restart.
    reset_strength: the fraction of the distance to the tortoise that the hare
      moves at a restart, a number in (0, 1]. Below 1 the tortoise stays where
      it is.
    reset_inner_state: whether a restart also initializes the whole state of
      ``inner`` again: moments, counts, and with the counts the schedules of
      learning rates.
    tortoise_dtype: dtype of the slow weights of real floating parameters. None:
      float32 for narrower parameters (an average in bfloat16 stops moving long
      before it reaches the weights), else the dtype of the parameters.

  Returns:
    A transformation whose ``update`` needs the parameters and whose state is a
    :class:`HareTortoiseState`. Parameters that are not inexact (integers, say)
    never restart, and the tortoise copies them. ``init`` and ``update`` raise
    ValueError for parameters that are not arrays, and ``update`` without
    parameters or with a state that is not its own.

  Raises:
    ValueError: if an argument is outside its range.

  Examples:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import optax
    >>> import ht_rl
    >>> optimizer = ht_rl.hare_tortoise(
    ...   optax.sgd(0.25), momentum=0.5, reset_every=3
    ... )
    >>> hare = jnp.array(8.0)
    >>> state = optimizer.init(hare)
    >>> for _ in range(4):
    ...   gradient = jax.grad(jnp.square)(hare)
    ...   updates, state = optimizer.update(gradient, state, hare)
    ...   hare = optax.apply_updates(hare, updates)
    ...   print(f'hare {hare:.3f}, tortoise {ht_rl.tortoise_params(state):.3f}')
    hare 4.000, tortoise 6.000
    hare 2.000, tortoise 4.000
    hare 2.500, tortoise 2.500
    hare 1.250, tortoise 1.875

  References:
    Lee et al., `Slow and Steady Wins the Race: Maintaining Plasticity with Hare
    and Tortoise Networks <https://arxiv.org/abs/2406.02596>`_, ICML 2024,
    section 4. (The momentum line of its Algorithm 1 swaps the two networks;
    this function follows the equations of section 4.2.)
  """
  checks.check_transformation('inner', inner)
  inner = optax.with_extra_args_support(inner)
  _check_rule(momentum, reset_every, update_every, reset_strength)
  arguments.check_bool('reset_inner_state', reset_inner_state)
  if tortoise_dtype is not None:
    tortoise_dtype = checks.as_floating_dtype('tortoise_dtype', tortoise_dtype)

  def init_fn(params: optax.Params) -> HareTortoiseState:
    checks.check_arrays('params', params)

    def copy(p: ArrayLike) -> jax.Array:
      # A copy, so that parameters and state can both be donated.
      return jnp.array(p, dtype=_slow_dtype(p, tortoise_dtype))

    return HareTortoiseState(
      count=jnp.zeros([], jnp.int32),
      tortoise=jax.tree.map(copy, params),
      inner_state=inner.init(params),
    )

  def update_fn(
    updates: optax.Updates,
    state: HareTortoiseState,
    params: optax.Params | None = None,
    **extra_args: Any,
  ) -> tuple[optax.Updates, HareTortoiseState]:
    checks.check_update(state, HareTortoiseState, params)
    checks.check_like('params', params, state.tortoise, 'the tortoise')
    updates, inner_state = inner.update(
      updates, state.inner_state, params, **extra_args
    )
    count = optax.safe_increment(state.count)
    average = _averaging(count, momentum, update_every)
    due, restarts = _restarts(params, count, reset_every, reset_mask)
    lands = _lands(due, reset_strength)
    soft = _is_soft(reset_strength)
    trained = jax.tree.map(_trained, params, updates, state.tortoise)

    def emit(restarts: bool, p: Any, u: Any, h: Any, s: Any) -> Any:
      if not restarts:
        return u
      goal = _toward(reset_strength, h, average(h, s))
      u = jnp.where(due, lead_to(goal, p, u), u)
      # XLA may compute u twice or keep it unrounded, so that its use here and
      # the number that the caller gets would differ.
      return jax.lax.optimization_barrier(u)

    updates = jax.tree.map(
      emit, restarts, params, updates, trained, state.tortoise
    )
    hare = optax.apply_updates(params, updates)

    def follow(restarts: bool, fast: Any, h: Any, s: Any) -> Any:
      if soft or _is_narrower(h, s):
        return lands(restarts, average(fast, s), h)
      # p + (s - p) may differ from s by a rounding, so that both networks
      # restart from where the emitted updates lead. Without a restart it is the
      # average of the same weights, and XLA can free the first ones early.
      return lands(restarts, average(h, s), h)

    tortoise = jax.tree.map(follow, restarts, trained, hare, state.tortoise)
    inner_state = forget_values(inner_state, due)
    if reset_inner_state:
      inner_state = jax.tree.map(
        lambda new, old: jnp.where(due, new, old), inner.init(hare), inner_state
      )
    return updates, HareTortoiseState(count, tortoise, inner_state)

  return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def hare_tortoise_step(
  hare: PyTree,
  tortoise: PyTree,
  count: ArrayLike,
  *,
  momentum: ArrayLike | Schedule,
  reset_every: ArrayLike | Predicate | None = None,
  update_every: ArrayLike = 1,
  reset_mask: PyTree | Callable[[PyTree], PyTree] | None = None,
  reset_strength: ArrayLike = 1.0,
) -> tuple[PyTree, PyTree]:
  r"""Averages the hare into the tortoise; restarts the hare when due.

  :func:`hare_tortoise` does this after the update of ``inner``. Use it for
  arrays that no optimizer trains, such as the statistics of batch
  normalization:

  .. math::

    s \leftarrow h + \mu\, (s - h) \ \text{ if } t \bmod m = 0, \qquad
    h \leftarrow s \ \text{ if } t \bmod n = 0

  with :math:`m` for ``update_every`` and :math:`n` for ``reset_every``.

  Args:
    hare: the fast values, a tree of arrays.
    tortoise: the slow values, a tree of arrays with the structure and shapes of
      ``hare``; the dtypes may differ (float32 beside bfloat16, say).
    count: :math:`t`, the number of updates done including this one, an integer
      scalar of at least 1; beside :func:`hare_tortoise` the ``count`` of its
      new state.
    momentum: as in :func:`hare_tortoise`.
    reset_every: as in :func:`hare_tortoise`.
    update_every: as in :func:`hare_tortoise`.
    reset_mask: as in :func:`hare_tortoise`, over ``hare``.
    reset_strength: as in :func:`hare_tortoise`.

  Returns:
    The new hare and the new tortoise, in the dtypes that they had.

  Raises:
    ValueError: if an argument is outside its range.

  Examples:
    >>> import jax.numpy as jnp
    >>> import ht_rl
    >>> hare, tortoise = {'mean': jnp.array(4.0)}, {'mean': jnp.array(0.0)}
    >>> ht_rl.hare_tortoise_step(
    ...   hare, tortoise, count=6, momentum=0.75, reset_every=3
    ... )
    ({'mean': Array(1., dtype=float32)}, {'mean': Array(1., dtype=float32)})

  References:
    As for :func:`hare_tortoise`, section 4.2.
  """
  _check_rule(momentum, reset_every, update_every, reset_strength)
  checks.check_like('tortoise', tortoise, hare, 'the hare')
  checks.check_arrays('hare', hare)
  count = checks.as_count('count', count)
  if not isinstance(count, jax.core.Tracer) and count < 1:
    arguments.refuse('count', 'at least 1: it includes this update', int(count))
  average = _averaging(count, momentum, update_every)
  due, restarts = _restarts(hare, count, reset_every, reset_mask)
  restart = functools.partial(_restart, due)
  hare, tortoise = jax.tree.map(jnp.asarray, (hare, tortoise))
  tortoise = jax.tree.map(average, hare, tortoise)
  if _is_soft(reset_strength):
    toward = functools.partial(_toward, reset_strength)
    goals = jax.tree.map(
      lambda r, h, s: toward(h, s) if r else h, restarts, hare, tortoise
    )
    hare = jax.tree.map(restart, restarts, hare, goals)
  else:
    hare = jax.tree.map(restart, restarts, hare, tortoise)
  lands = _lands(due, reset_strength)
  return hare, jax.tree.map(lands, restarts, tortoise, hare)


def _averaging(
  count: jax.Array, momentum: ArrayLike | Schedule, update_every: ArrayLike
) -> Callable[[jax.Array, jax.Array], jax.Array]:
  """Returns the function of a leaf of hare and tortoise that averages them."""
  mu = momentum
  if callable(momentum):
    mu = checks.scheduled('momentum', momentum, count - 1)
  due = count % jnp.asarray(update_every, count.dtype) == 0
  is_copy = not isinstance(mu, jax.core.Tracer) and np.asarray(mu) == 0

  def average(h: jax.Array, s: jax.Array) -> jax.Array:
    mean = h if h.dtype == s.dtype else h.astype(s.dtype)
    # 0 * NaN is NaN, so copy instead of multiplying.
    if not is_copy and dtypes.is_inexact(s):
      wide = dtypes.at_least_float32(s)
      h, slow = h.astype(wide), s.astype(wide)
      # Written this way, equal weights stay exactly equal.
      rate = jnp.asarray(mu, wide)
      mean = (h + rate * (slow - h)).astype(s.dtype)
    return jnp.where(due, mean, s)

  return average


def _restart(
  due: jax.Array, restarts: bool, x: jax.Array, source: jax.Array
) -> jax.Array:
  """Returns a leaf, or if it restarts now, the source in the leaf's dtype."""
  return jnp.where(due, _cast(source, x.dtype), x) if restarts else x


def _trained(p: ArrayLike, u: jax.Array, s: jax.Array) -> jax.Array:
  """Returns the weights to average: where the updates of `inner` lead.

  Inside jit, XLA may keep a bfloat16 in float32 (see `_cast`); the tortoise
  would then average other weights than the caller has.
  """
  if not _is_narrower(p, s):
    return optax.apply_updates(p, u)
  barrier = jax.lax.optimization_barrier
  return barrier(optax.apply_updates(p, barrier(u)))


def _lands(
  due: jax.Array, strength: ArrayLike
) -> Callable[[bool, jax.Array, jax.Array], jax.Array]:
  """Returns the function of a leaf that sets the tortoise at a restart.

  It takes whether the leaf restarts, the average and the hare. A restart of
  full strength sets the tortoise to where the hare landed. Beside a hare with a
  narrower dtype the tortoise stays the average.
  """
  if not _is_soft(strength):
    is_full = due
  elif isinstance(strength, jax.core.Tracer):  # It may be 1.
    is_full = due & (strength == 1)
  else:
    return lambda restarts, s, h: s

  def lands(restarts: bool, s: jax.Array, h: jax.Array) -> jax.Array:
    return s if _is_narrower(h, s) else _restart(is_full, restarts, s, h)

  return lands


def _is_narrower(h: ArrayLike, s: jax.Array) -> bool:
  """Returns whether the hare's floats have fewer bits than the tortoise's."""
  if not (dtypes.is_inexact(h) and dtypes.is_inexact(s)):
    return False
  return jnp.finfo(jnp.result_type(h)).bits < jnp.finfo(s.dtype).bits


def _is_soft(strength: ArrayLike) -> bool:
  # Of a tracer (optax.inject_hyperparams makes them) the value is not known.
  return isinstance(strength, jax.core.Tracer) or bool(
    np.asarray(strength) != 1
  )


def _toward(strength: ArrayLike, h: jax.Array, s: jax.Array) -> jax.Array:
  """Returns where a restart of a strength takes a leaf of the hare."""
  if not _is_soft(strength):
    return _cast(s, h.dtype)
  wide = dtypes.at_least_float32(h, s)
  fast, slow = h.astype(wide), s.astype(wide)
  part = _cast(fast + jnp.asarray(strength, wide) * (slow - fast), h.dtype)
  # h + 1 * (s - h) may differ from s by a rounding.
  return jnp.where(strength == 1, _cast(s, h.dtype), part)


def _restarts(
  params: PyTree,
  count: jax.Array,
  reset_every: ArrayLike | Predicate | None,
  reset_mask: PyTree | Callable[[PyTree], PyTree] | None,
) -> tuple[jax.Array, PyTree]:
  """Returns whether a restart is due, and a tree: which leaves restart.

  The bools of the tree are known when tracing, so that a leaf that never
  restarts costs nothing.
  """
  mask = True if reset_mask is None else reset_mask
  mask = checks.broadcast_mask('reset_mask', mask, params)
  if reset_every is None:
    return jnp.asarray(False), jax.tree.map(lambda _: False, mask)
  restarts = jax.tree.map(
    lambda m, p: bool(m) and dtypes.is_inexact(p),
    mask,
    params,
  )
  return checks.is_due('reset_every', reset_every, count), restarts


def _cast(x: jax.Array, dtype: Any) -> jax.Array:
  """Casts x, and makes XLA round both x and the result to their dtypes.

  Inside jit, XLA may compute with a float32 where the program has a bfloat16
  (``xla_allow_excess_precision``); the tortoise would then differ from the hare
  that the caller gets. ``jax.lax.reduce_precision`` does not help: it flushes
  the subnormal numbers of float16.
  """
  if x.dtype == dtype:
    return x
  barrier = jax.lax.optimization_barrier
  return barrier(barrier(x).astype(dtype))


def _slow_dtype(p: ArrayLike, tortoise_dtype: Any) -> Any:
  """Returns the dtype of the slow weights of a leaf of the parameters."""
  dtype = jnp.result_type(p)
  if not dtypes.is_inexact(p):
    return dtype
  is_real = jnp.issubdtype(dtype, jnp.floating)
  if tortoise_dtype is not None and is_real:
    return tortoise_dtype
  return dtypes.at_least_float32(p)


def _check_rule(
  momentum: Any, reset_every: Any, update_every: Any, reset_strength: Any
) -> None:
  if not callable(momentum):
    arguments.check_scalar(
      'momentum',
      momentum,
      'a number in [0, 1) or a schedule',
      # In the precision that JAX has: 1 - 1e-8 is 1 in float32.
      lambda mu: mu >= 0 and mu.astype(jnp.result_type(float)) < 1,
    )
  if reset_every is not None and not callable(reset_every):
    checks.check_interval(
      'reset_every',
      reset_every,
      'a positive integer, a function of the number of updates, or None',
    )
  checks.check_interval('update_every', update_every, 'a positive integer')
  arguments.check_scalar(
    'reset_strength', reset_strength, 'a number in (0, 1]', lambda x: 0 < x <= 1
  )
