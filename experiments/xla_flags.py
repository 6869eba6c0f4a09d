"""The flags that XLA gets before JAX starts."""

import os

import jax

# XLA aborts the process at a flag that it does not know, so pass this one only
# to versions that were tried.
_TRIED = ((0, 10),)
_ORDER = '--xla_cpu_enable_concurrency_optimized_scheduler'


def order_operations_for_memory() -> None:
  """Makes XLA's CPU backend reuse memory within a program; call it early.

  By default the backend orders operations so that they can run side by side,
  and holds the temporary arrays of all gradient steps of a program at once. For
  4 gradient steps of a small network these are 41 MB instead of 5, more than a
  cache holds, and a step takes about three times as long (`python -m
  benchmarks.replay_ratio`). The order changes no result.

  Nothing happens if XLA_FLAGS has the flag already, or once JAX has a backend.
  """
  flags = os.environ.get('XLA_FLAGS', '')
  if _ORDER not in flags and jax.__version_info__[:2] in _TRIED:
    os.environ['XLA_FLAGS'] = f'{flags} {_ORDER}=false'.strip()
