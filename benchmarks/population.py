"""Measures several runs in one process against the same runs alone.

    python -m benchmarks.population

Trains DrQ with N seeds in processes that take turns: `alone`, one run after the
other, and one process for each strategy (`agents.core.strategies`). The ratios
are those of the times of all N runs: of the clock, and of the processor, which
other processes on the machine disturb less. The weights of `turns` and
`unrolled` must be those of `alone` bit for bit.
"""

from collections.abc import Callable
import functools
import hashlib
import multiprocessing
from multiprocessing.connection import Connection
import os
import time

from absl import app, flags, logging
import numpy as np

_GAME = flags.DEFINE_string('game', 'RoadRunner', 'The game.')
_SIZES = flags.DEFINE_list('sizes', ['2', '4'], 'Numbers of runs.')
_STRATEGIES = flags.DEFINE_list(
  'strategies', ['turns', 'unrolled'], 'Strategies.'
)
_ROUNDS = flags.DEFINE_integer('rounds', 5, 'Rounds of measurements.')
_STEPS = flags.DEFINE_integer('steps', 50, 'Steps of a run in a measurement.')
_NETWORK = flags.DEFINE_enum(
  'network', 'small', ['small', 'full'], 'The network.'
)

WARM_UP = 150
EXACT = ('turns', 'unrolled')


def make(
  side: str, game: str, network: str, size: int
) -> tuple[list, Callable[[int], None]]:
  """Returns N runs, and a function that trains each for some steps."""
  from agents import configurables
  from agents.core.driver import Programs
  from agents.emulators import Emulators
  from benchmarks import playing

  loop = configurables.drq_agent(
    num_actions=playing.num_actions(game),
    network=functools.partial(
      configurables.dueling_q_network, **playing.NETWORKS[network]
    ),
    replay_capacity=20_000,
    min_replay_history=WARM_UP,
  )
  if side == 'alone':
    programs = Programs(loop)
    drivers, trainers = zip(
      *(playing.training(game, loop, i, programs) for i in range(size)),
      strict=True,
    )

    def one_by_one(steps: int) -> None:
      for train in trainers:
        train(steps)

    return list(drivers), one_by_one

  games = Emulators([(game, seed) for seed in range(size)], num_workers=0)
  population, together = playing.training_together(games, loop, side)
  return list(population.members), together


def serve(
  pipe: Connection, side: str, game: str, network: str, size: int
) -> None:
  """Trains as many steps as it is told; answers times, or digests for 0."""
  # In a process of its own, since XLA reads its flags once.
  os.environ.pop('XLA_FLAGS', None)
  from experiments import xla_flags

  xla_flags.order_operations_for_memory()
  import jax

  runs, train = make(side, game, network, size)
  train(WARM_UP + 20)
  pipe.send(0.0)
  while steps := pipe.recv():
    begun = np.array([time.perf_counter(), time.process_time()])
    train(steps)
    pipe.send(np.array([time.perf_counter(), time.process_time()]) - begun)
  digests = []
  for run in runs:
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(run.tortoise):
      digest.update(np.asarray(leaf).tobytes())
    digests.append(digest.hexdigest())
  pipe.send(digests)


def measure(size: int) -> dict[str, np.ndarray]:
  """Returns the seconds of a step of all runs for each side, [rounds, 2].

  The first column is of the clock, the second of the processor.
  """
  context = multiprocessing.get_context('spawn')
  sides = ['alone', *_STRATEGIES.value]
  pipes = {}
  for side in sides:
    pipes[side], other = context.Pipe()
    arguments = (other, side, _GAME.value, _NETWORK.value, size)
    context.Process(target=serve, args=arguments, daemon=True).start()
    other.close()  # So that the end of that process is an EOFError here.
  for pipe in pipes.values():
    pipe.recv()
  seconds: dict[str, list[np.ndarray]] = {side: [] for side in sides}
  for _ in range(_ROUNDS.value):
    for side, pipe in pipes.items():
      pipe.send(_STEPS.value)
      seconds[side].append(pipe.recv() / _STEPS.value)
  digests = {}
  for side, pipe in pipes.items():
    pipe.send(0)
    digests[side] = pipe.recv()
  for side in sides:
    if side in EXACT and digests[side] != digests['alone']:
      raise RuntimeError(f'{side} gives other weights than the runs alone')
  return {side: np.array(times) for side, times in seconds.items()}


def main(argv: list[str]) -> None:
  """Prints a table."""
  del argv
  logging.set_verbosity(logging.WARNING)
  print(f'{_GAME.value}, {_NETWORK.value} network, batch 32, replay ratio 2')
  print('      side      ms per step of all  alone / side')
  for size in map(int, _SIZES.value):
    seconds = measure(size)
    for side, times in seconds.items():
      ratios = seconds['alone'] / times
      for i, kind in enumerate(('clock', 'processor')):
        low, high = ratios[:, i].min(), ratios[:, i].max()
        print(
          f'{size:4}  {side:9}{1e3 * np.median(times[:, i]):8.2f} {kind:9}  '
          f'{np.median(ratios[:, i]):.2f} ({low:.2f} to {high:.2f})',
          flush=True,
        )


if __name__ == '__main__':
  app.run(main)
