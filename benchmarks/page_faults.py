"""Measures a step by what the commands ask of XLA and of the C library.

    python -m benchmarks.page_faults

Trains in four processes that take turns: `order` has XLA's order of operations
for memory (`experiments.xla_flags`), `heap` keeps freed memory
(`experiments.heap`), `both` and `neither` say what they are. Prints the time of
a step, its processor time and page faults, and the most memory that was
resident. The weights at the end must be equal bit for bit. On a machine that
does other work, read the ratios of the processor times.
"""

from collections.abc import Callable
import functools
import multiprocessing
from multiprocessing.connection import Connection
import os
import resource
import time
from typing import Any

from absl import app, flags, logging
import numpy as np

# Steps in one measurement: environment steps, or epochs of four batches.
STEPS = {'small': 100, 'full': 20, 'bbf': 3, 'mlp': 10, 'resnet': 1}
_CASES = flags.DEFINE_multi_enum(
  'case',
  ['small', 'full', 'mlp', 'resnet'],
  list(STEPS),
  'DrQ with the small or the full network at replay ratio 1; BBF with a narrow '
  'network; the supervised MLP; ResNet-18 of an eighth of its width.',
)
# Each side asks for the order or not, and keeps memory or not.
SIDES = {
  'neither': (False, False),
  'order': (True, False),
  'heap': (False, True),
  'both': (True, True),
}
_SIDES = flags.DEFINE_multi_enum(
  'side',
  list(SIDES),
  list(SIDES),
  'Sides; the first is what others are beside.',
)
WARM_UP = 150
_GAME = flags.DEFINE_string('game', 'RoadRunner', 'The game.')
_ROUNDS = flags.DEFINE_integer('rounds', 5, 'Rounds of measurements.')

# A side answers for one turn: seconds, processor seconds and faults of a step,
# and the most memory so far.
Turn = tuple[float, float, float, float]
Trained = tuple[Callable[[int], None], Callable[[], Any]]


def agent(case: str, game: str) -> Trained:
  """Returns functions that train an agent and return its weights."""
  import agents.dopamine  # noqa: F401

  from agents import configurables
  from benchmarks import playing

  settings: dict[str, Any] = {
    'num_actions': playing.num_actions(game),
    'replay_ratio': 1,
    'replay_capacity': 20_000,
    'min_replay_history': WARM_UP,
  }
  if case == 'bbf':
    network = functools.partial(
      configurables.bbf_network, channels=(16, 32, 32), hidden=512
    )
    loop = configurables.bbf_agent(network=network, **settings)
  else:
    network = functools.partial(
      configurables.dueling_q_network, **playing.NETWORKS[case]
    )
    loop = configurables.drq_agent(network=network, **settings)
  driver, train = playing.training(game, loop)
  train(WARM_UP + 10)
  return train, lambda: driver.tortoise


def classifier(case: str) -> Trained:
  """Returns functions that train a network on images and return its weights."""
  from benchmarks import image_training

  side, channels, model, width, seeds = {
    'mlp': (28, 1, 'mlp', 1.0, 5),
    'resnet': (32, 3, 'resnet18', 0.125, 1),
  }[case]
  images = image_training.random_images(side, channels, batches=4)
  train, state = image_training.training_and_state(images, model, width, seeds)
  train(1)
  return train, state


def serve(pipe: Connection, side: str, case: str, game: str) -> None:
  """Trains as many steps as it is told; answers a turn, or weights for 0."""
  # In a process of its own, since XLA reads its flags once.
  from experiments import heap, xla_flags

  orders, keeps = SIDES[side]
  os.environ.pop('XLA_FLAGS', None)
  if orders:
    xla_flags.order_operations_for_memory()
  if keeps and not heap.keep_freed_memory():
    raise SystemExit(
      f'{side}: the allocator cannot be set (it is not glibc, or MALLOC_* or '
      'GLIBC_TUNABLES sets it); leave this side out of --sides'
    )
  made = classifier(case) if case in ('mlp', 'resnet') else agent(case, game)
  train, weights = made
  pipe.send(None)
  while steps := pipe.recv():
    before, begun = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    train(steps)
    seconds = time.monotonic() - begun
    after = resource.getrusage(resource.RUSAGE_SELF)
    processor = after.ru_utime + after.ru_stime
    processor -= before.ru_utime + before.ru_stime
    faults = after.ru_minflt - before.ru_minflt
    per_step = (seconds / steps, processor / steps, faults / steps)
    pipe.send((*per_step, after.ru_maxrss * 1024.0))
  import jax

  pipe.send(jax.tree.map(np.asarray, jax.tree.leaves(weights())))


def measure(case: str) -> dict[str, np.ndarray]:
  """Returns the turns of each side, [rounds, 4]."""
  context = multiprocessing.get_context('spawn')
  pipes = {}
  for side in _SIDES.value:
    pipes[side], other = context.Pipe()
    arguments = (other, side, case, _GAME.value)
    context.Process(target=serve, args=arguments, daemon=True).start()
    other.close()  # So that the end of that process is an EOFError here.
    pipes[side].recv()  # One after the other, since they compile the same.
  turns: dict[str, list[Turn]] = {side: [] for side in pipes}
  for _ in range(_ROUNDS.value):
    for side, pipe in pipes.items():
      pipe.send(STEPS[case])
      turns[side].append(pipe.recv())
  weights = set()
  for pipe in pipes.values():
    pipe.send(0)
    weights.add(b''.join(x.tobytes() for x in pipe.recv()))
  if len(weights) > 1:
    raise RuntimeError('the sides have different weights')
  return {side: np.array(of_one) for side, of_one in turns.items()}


def main(argv: list[str]) -> None:
  """Prints a table."""
  del argv
  logging.set_verbosity(logging.WARNING)
  heads = ('ms', 'processor ms', 'faults', 'memory', 'time', 'processor time')
  print(f'{"":15}' + ''.join(f'{head:>22}' for head in heads))
  for case in _CASES.value:
    turns = measure(case)
    first = turns[_SIDES.value[0]]
    for side, of_one in turns.items():
      seconds, processor, faults, memory = np.median(of_one, axis=0)
      figures = [
        f'{1e3 * seconds:.2f}',
        f'{1e3 * processor:.2f}',
        f'{faults:.0f}',
        f'{memory / 1e9:.2f} GB',
      ]
      for ratio in (of_one[:, :2] / first[:, :2]).T:
        figures.append(
          f'{np.median(ratio):.2f} ({ratio.min():.2f} to {ratio.max():.2f})'
        )
      cells = ''.join(f'{figure:>22}' for figure in figures)
      print(f'{case:7}{side:8}{cells}', flush=True)


if __name__ == '__main__':
  app.run(main)
