"""Measures the time of BBF's gradient steps and environment steps.

    python -m benchmarks.bbf_step

For each network, prints the milliseconds of an environment step of the training
loop at replay ratio 2, emulator included; the same per gradient step; and of
the network alone in a gradient step, on a prepared batch. The rest of the
environment step is emulator, replay, augmentation and acting. The operations
are XLA's count for the network alone. The matrix rate is measured on a product
of two float32 matrices, alternating with the rest.
"""

from collections.abc import Callable
import functools
import time
from typing import Any

from absl import app, flags, logging
import jax
import jax.numpy as jnp
import numpy as np

from agents import configurables
from agents.core.driver import Driver
from agents.core.loop import Loop
from benchmarks import network_alone, playing

_GAME = flags.DEFINE_string('game', 'Breakout', 'The game.')
_ROUNDS = flags.DEFINE_integer('rounds', 5, 'Rounds of measurements.')
_NETWORKS = flags.DEFINE_list(
  'networks', ['tiny', 'narrow', 'full'], 'Networks to measure.'
)
_JUMPS = flags.DEFINE_integer('jumps', 5, 'Steps that SPR predicts.')

WARM_UP = 100
NETWORKS: dict[str, dict[str, Any]] = {
  'tiny': {'encoder': 'nature', 'channels': (8, 8, 8), 'hidden': 8},
  'narrow': {'channels': (8, 16, 16), 'hidden': 128},
  'full': {},
}
STEPS = {'tiny': 50, 'narrow': 5, 'full': 1}  # In one measurement.
RATIO = 2
SIDE = 2048  # Rows and columns of the matrices.


def bbf(settings: dict[str, Any]) -> Loop:
  """Returns BBF with a network of these settings."""
  return configurables.bbf_agent(
    num_actions=playing.num_actions(_GAME.value),
    network=functools.partial(configurables.bbf_network, **settings),
    replay_capacity=1000,
    min_replay_history=WARM_UP,
    replay_ratio=RATIO,
    jumps=_JUMPS.value,
    reset_every=None,
  )


def count_bytes(driver: Driver) -> list[int]:
  """Returns a list that gets each step's bytes sent to the device."""
  step, sizes = driver.programs.step, []

  def counted(state: Any, *uploads: Any, **static: Any) -> Any:
    sizes.append(sum(upload.nbytes for upload in jax.tree.leaves(uploads)))
    return step(state, *uploads, **static)

  driver.programs.step = counted
  return sizes


def timed(action: Callable[[int], None], times: int) -> float:
  """Returns the mean seconds of `times` times."""
  begun = time.perf_counter()
  action(times)
  return (time.perf_counter() - begun) / times


def main(argv: list[str]) -> None:
  """Prints a table."""
  del argv
  logging.set_verbosity(logging.WARNING)
  matrix = jax.random.normal(jax.random.PRNGKey(0), (SIDE, SIDE))
  multiply = jax.jit(jnp.matmul)

  def multiply_matrices(times: int) -> None:
    for _ in range(times):
      multiply(matrix, matrix).block_until_ready()

  device = jax.devices()[0]
  print(
    f'{_GAME.value}, batch 32, replay ratio {RATIO}, SPR of {_JUMPS.value} '
    f'steps, on {device.device_kind}; medians of {_ROUNDS.value} rounds'
  )
  for name in _NETWORKS.value:
    driver, train = playing.training(_GAME.value, bbf(NETWORKS[name]))
    sizes = count_bytes(driver)
    train(WARM_UP + 5)
    alone, operations = network_alone.gradient_steps(driver)
    alone(1)
    multiply_matrices(1)
    steps = STEPS[name]
    turns = [
      (
        timed(train, steps),
        timed(alone, steps * RATIO),
        timed(multiply_matrices, 3),
      )
      for _ in range(_ROUNDS.value)
    ]
    step, network, product = np.median(turns, axis=0)
    rate = 2 * SIDE**3 / product
    rest = step - RATIO * network
    print(
      f'{name}: {1e3 * step:.1f} ms per environment step, '
      f'{1e3 * step / RATIO:.1f} ms per gradient step, '
      f'{1e3 * network:.1f} ms for its network alone\n'
      f'  not the network: {1e3 * rest:.1f} ms, {100 * rest / step:.0f}% of '
      f'an environment step; sent to the device: {max(sizes):,} bytes\n'
      f'  {operations / 1e9:.2f} GFLOP per gradient step, '
      f'{operations / network / 1e9:.1f} GFLOP/s: '
      f'{100 * operations / network / rate:.0f}% of the matrix rate '
      f'({rate / 1e9:.0f} GFLOP/s)',
      flush=True,
    )


if __name__ == '__main__':
  app.run(main)
