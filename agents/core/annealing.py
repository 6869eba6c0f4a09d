"""BBF's schedules: n of the n-step return, the discount, and the resets.

n and the discount depend on the gradient steps since the last reset (the
cycle), and are computed inside jit. The steps of the resets are known in
advance and computed on the host.
"""

import chex
import jax.numpy as jnp


def exponential(
  step: chex.Numeric, initial: float, final: float, period: int
) -> chex.Array:
  """Interpolates exponentially from one value to another.

  ``initial * (final / initial) ** clip(step / period, 0, 1)``

  Args:
    step: current step, integer, may be traced.
    initial: value at step 0, positive.
    final: value from step `period` on, positive.
    period: number of steps, at least 1.

  Returns:
    float32 of the shape of `step`.

  >>> exponential(jnp.array([0, 50, 100, 200]), 8.0, 2.0, period=100).round(3)
  Array([8., 4., 2., 2.], dtype=float32)
  """
  fraction = jnp.clip(jnp.asarray(step, jnp.float32) / period, 0.0, 1.0)
  return initial * (final / initial) ** fraction


def horizon(
  step: chex.Numeric, initial: int = 10, final: int = 3, period: int = 10_000
) -> chex.Array:
  """Returns n of the n-step return, annealed exponentially.

  Args:
    step: gradient steps since the last reset, integer, may be traced.
    initial: n at step 0.
    final: n from step `period` on.
    period: number of gradient steps, at least 1.

  Returns:
    int32, rounded to the nearest integer.

  References:
    Schwarzer et al., "Bigger, Better, Faster", 2023.
  """
  return jnp.round(exponential(step, initial, final, period)).astype(jnp.int32)


def discount(
  step: chex.Numeric,
  initial: float = 0.97,
  final: float = 0.997,
  period: int = 10_000,
) -> chex.Array:
  """Returns the discount; ``1 - discount`` is annealed exponentially.

  Args:
    step: gradient steps since the last reset, integer, may be traced.
    initial: gamma at step 0, below 1.
    final: gamma from step `period` on, below 1.
    period: number of gradient steps, at least 1.

  Returns:
    float32.

  References:
    Schwarzer et al., "Bigger, Better, Faster", 2023.
  """
  return 1.0 - exponential(step, 1.0 - initial, 1.0 - final, period)


def reset_steps(
  reset_every: int,
  no_resets_after: int,
  released_counting: bool = False,
) -> tuple[int, ...]:
  """Returns the environment steps of a run after which a reset is due.

  A reset at s is due once s environment steps and their gradient steps are
  done. Steps count from the start of the run and include those that only fill
  the replay. As documented (Schwarzer et al., 2023), resets are due at the
  multiples of `reset_every` below `no_resets_after`. There is none at
  `no_resets_after` itself, where Atari-100k training ends: the evaluation would
  score freshly initialised layers.

  BBF's release departs from the paper in two ways. It resets when `reset_every`
  has been exceeded, counted from step 1, and counts on from there: the first
  reset is two steps late, and each later one is another step late. And it omits
  a reset if the next one would be due after `no_resets_after`, so the last
  reset is missing.

  Args:
    reset_every: environment steps between two resets.
    no_resets_after: environment step from which on no reset is due.
    released_counting: whether to count as the release does.

  Returns:
    Steps in increasing order.

  Raises:
    ValueError: if `reset_every` is not positive.

  >>> reset_steps(20_000, no_resets_after=100_000)
  (20000, 40000, 60000, 80000)
  >>> reset_steps(20_000, 100_000, released_counting=True)
  (20002, 40003, 60004)
  """
  if reset_every < 1:
    raise ValueError(f'reset_every must be at least 1, not {reset_every}')
  if released_counting:
    interval = reset_every + 1
    return tuple(
      range(interval + 1, no_resets_after - reset_every + 2, interval)
    )
  return tuple(range(reset_every, no_resets_after, reset_every))
