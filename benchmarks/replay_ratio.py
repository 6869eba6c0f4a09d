"""Measures an environment step by replay ratio, in two orders of operations.

    python -m benchmarks.replay_ratio

Trains DrQ in two processes that take turns: `memory` with the order of
operations that the commands ask for on a CPU (`experiments.xla_flags`),
`default` with XLA's own. The weights at the end must be equal bit for bit.
"""

import functools
import hashlib
import multiprocessing
from multiprocessing.connection import Connection
import os
import time

from absl import app, flags, logging
import numpy as np

_GAME = flags.DEFINE_string('game', 'RoadRunner', 'The game.')
_RATIOS = flags.DEFINE_list('ratios', ['1', '2', '4', '8'], 'Replay ratios.')
_ROUNDS = flags.DEFINE_integer('rounds', 5, 'Rounds of measurements.')
_STEPS = flags.DEFINE_integer('steps', 100, 'Steps in one measurement.')
_NETWORK = flags.DEFINE_enum(
  'network', 'small', ['small', 'full'], 'The network.'
)

WARM_UP = 150


def serve(
  pipe: Connection, orders: bool, game: str, network: str, ratio: int
) -> None:
  """Trains as many steps as it is told; answers seconds, or a digest for 0."""
  # In a process of its own, since XLA reads its flags once.
  os.environ.pop('XLA_FLAGS', None)
  if orders:
    from experiments import xla_flags

    xla_flags.order_operations_for_memory()
  import agents.dopamine  # noqa: F401

  from agents import configurables
  from benchmarks import playing

  settings = playing.NETWORKS[network]
  agent = configurables.drq_agent(
    num_actions=playing.num_actions(game),
    network=functools.partial(configurables.dueling_q_network, **settings),
    replay_ratio=ratio,
    replay_capacity=20_000,
    min_replay_history=WARM_UP,
  )
  driver, train = playing.training(game, agent)
  train(WARM_UP + 20)
  pipe.send(0.0)
  while steps := pipe.recv():
    begun = time.perf_counter()
    train(steps)
    pipe.send(time.perf_counter() - begun)
  digest = hashlib.sha256()
  import jax

  for leaf in jax.tree.leaves(driver.tortoise):
    digest.update(np.asarray(leaf).tobytes())
  pipe.send(digest.hexdigest())


def measure(ratio: int) -> dict[str, np.ndarray]:
  """Returns the seconds of a step of both sides, by round."""
  context = multiprocessing.get_context('spawn')
  pipes = {}
  for side in ('memory', 'default'):
    pipes[side], other = context.Pipe()
    arguments = (other, side == 'memory', _GAME.value, _NETWORK.value, ratio)
    context.Process(target=serve, args=arguments, daemon=True).start()
    other.close()  # So that the end of that process is an EOFError here.
  for pipe in pipes.values():
    pipe.recv()
  seconds: dict[str, list[float]] = {side: [] for side in pipes}
  for _ in range(_ROUNDS.value):
    for side, pipe in pipes.items():
      pipe.send(_STEPS.value)
      seconds[side].append(pipe.recv() / _STEPS.value)
  digests = set()
  for pipe in pipes.values():
    pipe.send(0)
    digests.add(pipe.recv())
  if len(digests) > 1:
    raise RuntimeError('the two orders give different weights')
  return {side: np.array(times) for side, times in seconds.items()}


def main(argv: list[str]) -> None:
  """Prints a table."""
  del argv
  logging.set_verbosity(logging.WARNING)
  print(f'{_GAME.value}, {_NETWORK.value} network, batch 32')
  print(f'{"ratio":>5}{"memory":>12}{"default":>12}  default / memory')
  for ratio in map(int, _RATIOS.value):
    seconds = measure(ratio)
    ms = {side: 1e3 * float(np.median(x)) for side, x in seconds.items()}
    times = seconds['default'] / seconds['memory']
    print(
      f'{ratio:5}{ms["memory"]:9.2f} ms{ms["default"]:9.2f} ms  '
      f'{np.median(times):.2f} ({times.min():.2f} to {times.max():.2f})',
      flush=True,
    )


if __name__ == '__main__':
  app.run(main)
