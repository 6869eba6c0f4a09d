"""Hare & Tortoise: parameters that restart from their own average."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class HareTortoiseState(NamedTuple):
  """State of the `GradientTransformation` returned by `hare_tortoise`.

  Attributes:
    count: Number of updates done.
    slow_params: Exponential moving average of the parameters.
    base_optimizer_state: State of the base optimizer.
  """

  count: jax.typing.ArrayLike  # shape=(), dtype=jnp.int32.
  slow_params: optax.Params
  base_optimizer_state: optax.OptState


def hare_tortoise(
    base_optimizer: optax.GradientTransformation,
    decay: jax.typing.ArrayLike | optax.Schedule,
    sync_period: jax.typing.ArrayLike | None = None,  # int
    reset_state: bool = False,
    accumulator_dtype: jax.typing.DTypeLike | None = None,
) -> optax.GradientTransformationExtraArgs:
  r"""Restart the parameters from their exponential moving average.

  The base optimizer trains the parameters, the *hare* :math:`h`. The state
  holds their average, the *tortoise* :math:`s`, which starts as a copy of them.
  Every :math:`n` updates the hare restarts from the tortoise, which keeps a
  network plastic when its data change. Update :math:`t = 1, 2, \dots` is

  .. math::

    \begin{align*}
      h & \leftarrow h + u_t, \\
      s & \leftarrow \mu s + (1 - \mu) h, \\
      h & \leftarrow s \quad \text{if } t \bmod n = 0,
    \end{align*}

  with the updates :math:`u_t` of the base optimizer. Evaluate with the slow
  parameters, ``optax.tree.get(state, 'slow_params')``.

  Args:
    base_optimizer: Optimizer of the fast parameters.
    decay: Decay rate :math:`\mu` of the average, in [0, 1), or a schedule.
    sync_period: Number :math:`n` of updates from one restart to the next. Must
      be >= 1. If `None`, the parameters are averaged and never restart.
    reset_state: Whether a restart also initializes the state of the base
      optimizer. Needed if it holds a copy of the parameters or a value of the
      loss, as :func:`optax.lbfgs` does.
    accumulator_dtype: Optional `dtype` to be used for the average of real
      parameters; if `None` then it is the `dtype` of the parameters, but at
      least float32: in bfloat16 an average stops before it reaches them.

  Returns:
    A :class:`optax.GradientTransformationExtraArgs`. Its updates should not be
    modified before they are applied.

  Examples:
    >>> import optax
    >>> import jax.numpy as jnp
    >>> opt = hare_tortoise(optax.sgd(0.25), decay=0.5, sync_period=3)
    >>> params = jnp.array(8.0)
    >>> state = opt.init(params)
    >>> for _ in range(3):
    ...   updates, state = opt.update(2 * params, state, params)
    ...   params = optax.apply_updates(params, updates)
    ...   print(params, state.slow_params)
    4.0 6.0
    2.0 4.0
    2.5 2.5

  References:
    Lee et al, `Slow and Steady Wins the Race: Maintaining Plasticity with Hare
    and Tortoise Networks <https://arxiv.org/abs/2406.02596>`_, 2024
  """
  if isinstance(sync_period, int) and sync_period < 1:
    raise ValueError('Synchronization period must be >= 1.')
  base_optimizer = optax.with_extra_args_support(base_optimizer)

  def init_fn(params: optax.Params) -> HareTortoiseState:
    def copy(p):
      is_real = jnp.issubdtype(jnp.result_type(p), jnp.floating)
      given = is_real and accumulator_dtype is not None
      return jnp.array(p, accumulator_dtype if given else _wide_dtype(p))

    count, slow_params = jnp.zeros([], jnp.int32), jax.tree.map(copy, params)
    return HareTortoiseState(count, slow_params, base_optimizer.init(params))

  def update_fn(
      updates: optax.Updates,
      state: HareTortoiseState,
      params: optax.Params | None = None,
      **extra_args: Any,
  ) -> tuple[optax.Updates, HareTortoiseState]:
    if params is None:
      raise ValueError('`hare_tortoise` needs `params` in `update`.')
    updates, base_state = base_optimizer.update(
        updates, state.base_optimizer_state, params, **extra_args
    )
    count = optax.safe_increment(state.count)
    mu = decay(state.count) if callable(decay) else decay
    sync = sync_period is not None and count % sync_period == 0

    def average(p, s):
      if not jnp.issubdtype(s.dtype, jnp.inexact):
        return p
      p, slow = p.astype(_wide_dtype(s)), s.astype(_wide_dtype(s))
      return (p + jnp.asarray(mu, p.dtype) * (slow - p)).astype(s.dtype)

    def train(p, u, s):
      if not _is_narrower(p, s):
        return optax.apply_updates(p, u)
      barrier = jax.lax.optimization_barrier  # As in _cast.
      return barrier(optax.apply_updates(p, barrier(u)))

    def restart(p, u, fast, s):
      if not jnp.issubdtype(s.dtype, jnp.inexact):
        return u
      back = _cast(average(fast, s), fast.dtype) - p
      u = jnp.where(sync, back.astype(u.dtype), u)
      return jax.lax.optimization_barrier(u)  # The caller gets what we use.

    def follow(fast, p, s):
      if _is_narrower(p, s):  # p can't hold the average, which stays.
        return average(fast, s)
      # p + (s - p) may differ from s by a rounding.
      return jnp.where(sync, _cast(p, s.dtype), average(p, s))

    slow = state.slow_params
    fast = jax.tree.map(train, params, updates, slow)
    if sync_period is not None:
      updates = jax.tree.map(restart, params, updates, fast, slow)
    params = optax.apply_updates(params, updates)
    slow_params = jax.tree.map(follow, fast, params, slow)
    if reset_state:
      new_state = base_optimizer.init(params)
      base_state = optax.tree.where(sync, new_state, base_state)
    return updates, HareTortoiseState(count, slow_params, base_state)

  return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _wide_dtype(x):
  dtype = jnp.result_type(x)
  is_narrow = jnp.issubdtype(dtype, jnp.inexact) and jnp.finfo(dtype).bits < 32
  return jnp.float32 if is_narrow else dtype


def _is_narrower(p, s):
  return jnp.result_type(p).itemsize < s.dtype.itemsize


def _cast(x, dtype):
  # XLA may leave out a rounding, but not at a barrier.
  barrier = jax.lax.optimization_barrier
  return x if x.dtype == dtype else barrier(barrier(x).astype(dtype))
