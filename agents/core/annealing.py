"""What BBF changes as it learns: n, the discount, and when it resets.

n and the discount follow the gradient steps of the cycle, those since the last
reset, and are computed inside jit. The steps of the resets are known beforehand
and computed on the host.
"""

import chex
import jax.numpy as jnp


def exponential(
  step: chex.Numeric, initial: float, final: float, period: int
) -> chex.Array:
  """Moves from one value to another by equal ratios.

  ``initial * (final / initial) ** clip(step / period, 0, 1)``

  Args:
    step: how far it is, integer, may be traced.
    initial: value at step 0, positive.
    final: value at `period` and ever after, positive.
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
  """The n of n-step returns, moving by equal ratios (Schwarzer et al., 2023).

  Args:
    step: gradient steps since the last reset, integer, may be traced.
    initial: n at step 0.
    final: n at `period` and ever after.
    period: number of gradient steps, at least 1.

  Returns:
    int32, rounded to the nearest.
  """
  return jnp.round(exponential(step, initial, final, period)).astype(jnp.int32)


def discount(
  step: chex.Numeric,
  initial: float = 0.97,
  final: float = 0.997,
  period: int = 10_000,
) -> chex.Array:
  """The discount, its distance to 1 moving by equal ratios (ibid.).

  Args:
    step: gradient steps since the last reset, integer, may be traced.
    initial: gamma at step 0, below 1.
    final: gamma at `period` and ever after, below 1.
    period: number of gradient steps, at least 1.

  Returns:
    float32.
  """
  return 1.0 - exponential(step, 1.0 - initial, 1.0 - final, period)


def reset_steps(
  reset_every: int,
  no_resets_after: int,
  offset: int = 0,
  released_counting: bool = False,
) -> tuple[int, ...]:
  """The environment steps of a run after which the agent is reset.

  A reset at s comes when s environment steps have been done and their gradient
  steps too. The steps are those of the run, with
  the ones in which the replay fills. As documented (Schwarzer et al., 2023),
  they are the multiples of `reset_every` below `no_resets_after`: at that step
  itself, where the training of Atari-100k ends, a reset would only spoil what
  is evaluated.

  BBF's release departs from that twice. It resets one step late, when
  `reset_every` has been exceeded, and counts on from there, so that each reset
  comes a step later than the one before. And it leaves out a reset if the next
  one would be due after `no_resets_after`, so that the last is missing.

  Args:
    reset_every: environment steps between two resets.
    no_resets_after: environment step from which on there are no resets.
    offset: added to all of these steps (the release has 1).
    released_counting: whether to count as the release does.

  Returns:
    Steps, in order.

  Raises:
    ValueError: if `reset_every` is not positive.

  >>> reset_steps(20_000, no_resets_after=100_000)
  (20000, 40000, 60000, 80000)
  >>> reset_steps(20_000, 100_000, offset=1, released_counting=True)
  (20002, 40003, 60004)
  """
  if reset_every < 1:
    raise ValueError(f'reset_every must be at least 1, not {reset_every}')
  interval, end = reset_every, no_resets_after
  if released_counting:
    interval, end = reset_every + 1, no_resets_after - reset_every + 1
  return tuple(range(interval + offset, end + offset, interval))
