"""Time and memory of one update, with and without Hare & Tortoise.

    python -m benchmarks.transform

Updates weights by given gradients, without a network, jitted and donated: with
Adam alone, with Adam and a hand-written average, and with `hare_tortoise`
without and with restarts (none is due). `temporary` is the memory that XLA
allocates for a call, in addition to weights and state.
"""

from collections.abc import Callable
import time
from typing import Any

from absl import app, flags
import jax
import jax.numpy as jnp
import numpy as np
import optax

import ht_rl

_LEAVES = flags.DEFINE_integer('leaves', 8, 'Arrays of weights.')
_SIZE = flags.DEFINE_integer('size', 1_000_000, 'Weights in each of them.')
_ROUNDS = flags.DEFINE_integer('rounds', 15, 'Turns of each side.')

UPDATES = 10  # In one turn.
MOMENTUM = 0.995


def with_transform(optimizer: Any) -> tuple[Callable, Callable]:
  """Returns init and update of an optimizer."""

  def update(params: Any, state: Any, grads: Any) -> Any:
    updates, state = optimizer.update(grads, state, params)
    return optax.apply_updates(params, updates), state

  return optimizer.init, update


def with_own_average() -> tuple[Callable, Callable]:
  """Returns init and update of Adam with a hand-written target network."""
  adam = optax.adam(1e-4)

  def init(params: Any) -> Any:
    return adam.init(params), jax.tree.map(jnp.array, params)

  def update(params: Any, state: Any, grads: Any) -> Any:
    state, target = state
    updates, state = adam.update(grads, state, params)
    params = optax.apply_updates(params, updates)
    target = optax.incremental_update(params, target, 1 - MOMENTUM)
    return params, (state, target)

  return init, update


def hare_tortoise(reset_every: int | None) -> tuple[Callable, Callable]:
  return with_transform(
    ht_rl.hare_tortoise(
      optax.adam(1e-4), momentum=MOMENTUM, reset_every=reset_every
    )
  )


def main(argv: list[str]) -> None:
  """Prints a table."""
  del argv
  sides = {
    'adam': with_transform(optax.adam(1e-4)),
    'adam and own average': with_own_average(),
    'no restarts': hare_tortoise(None),
    'restarts': hare_tortoise(100_000),
  }
  key = jax.random.key(0)
  weights = [jnp.ones(_SIZE.value) for _ in range(_LEAVES.value)]
  grads = [jax.random.normal(key, w.shape) for w in weights]
  runs: dict[str, Any] = {}
  memory: dict[str, float] = {}
  for name, (init, update) in sides.items():
    params = jax.tree.map(jnp.array, weights)
    carry = (params, init(params))
    compiled = jax.jit(update, donate_argnums=(0, 1)).lower(*carry, grads)
    runs[name] = [compiled.compile(), carry]
    memory[name] = runs[name][0].memory_analysis().temp_size_in_bytes / 1e6
  seconds: dict[str, list[float]] = {name: [] for name in sides}
  for _ in range(_ROUNDS.value):
    for name, run in runs.items():
      begun = time.perf_counter()
      for _ in range(UPDATES):
        run[1] = run[0](*run[1], grads)
      jax.block_until_ready(run[1])
      seconds[name].append((time.perf_counter() - begun) / UPDATES)
  total = 4e-6 * _SIZE.value * _LEAVES.value
  print(
    f'{_LEAVES.value} arrays, {total:.0f} MB of weights, on '
    f'{jax.devices()[0].device_kind}'
  )
  print(f'{"":22}{"ms an update":>14}{"fastest":>10}{"temporary":>12}')
  for name in sides:
    median, fastest = np.median(seconds[name]), min(seconds[name])
    print(
      f'{name:22}{1e3 * median:14.2f}{1e3 * fastest:10.2f}'
      f'{memory[name]:9.0f} MB'
    )


if __name__ == '__main__':
  app.run(main)
