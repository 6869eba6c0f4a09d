"""The figures, in the order in which they are measured."""

from collections.abc import Callable, Iterator
import contextlib
import functools
from importlib.util import find_spec
import multiprocessing
import pathlib
import queue
import signal
import subprocess
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp

from agents import atari, configurables, emulators
from agents.core import strategies
from agents.core.loop import Loop
from benchmarks import image_training, network_alone, playing
from benchmarks.accelerator.ledger import Figure
from ht_rl.atari100k.run_folder import RunFolder

# A named figure, and the function that measures it.
Stage = tuple[str, Callable[[], Figure | None]]

_ROOT = pathlib.Path(__file__).parents[2]
WARM_UP = 100
STEPS_OF_A_RUN = 100_000
GAME = 'Breakout'
SEEDS = 5

DRQ: dict[str, dict[str, Any]] = {
  'full': {},
  'small': {
    'channels': (4,),
    'kernels': (4,),
    'strides': (28,),
    'hidden': 16,
  },
}
BBF: dict[str, dict[str, Any]] = {
  'full': {},
  'small': {'encoder': 'nature', 'channels': (4, 4, 4), 'hidden': 8},
}
SIZES = {'full': (1, 2, 4, 8, 16, 32), 'small': (1, 2)}
PROCESSES = {'full': (1, 2, 4, 8), 'small': (1, 2)}
SECONDS = {'full': 3.0, 'small': 0.3}  # Of one measurement.
SIDE = {'full': 8192, 'small': 256}  # Of the matrices.
ARRAY = {'full': 1 << 30, 'small': 1 << 22}  # Bytes.
IMAGES: dict[str, dict[str, tuple[str, float, int]]] = {
  'full': {
    'ResNet-18': ('resnet18', 1.0, 32),
    'ViT-Tiny': ('vit_tiny', 1.0, 32),
  },
  'small': {
    'ResNet-18': ('resnet18', 0.0625, 32),
    'ViT-Tiny': ('vit_tiny', 0.0625, 32),
  },
}


def stages(scale: str, base_dir: str, deadline: float) -> Iterator[Stage]:
  """Yields all figures.

  Args:
    scale: 'full' or 'small'.
    base_dir: folder of the runs of the real game.
    deadline: of `time.monotonic()`, at which the real game stops.
  """
  for dtype in ('float32', 'bfloat16'):
    yield f'rate/{dtype}', functools.partial(matrix_rate, scale, dtype)
  yield 'rate/bandwidth', functools.partial(bandwidth, scale)
  for agent in ('drq', 'bbf'):
    yield f'update/{agent}', functools.partial(update, scale, agent)
    yield f'step/{agent}', functools.partial(alone, scale, agent)
  for size in SIZES[scale]:
    yield f'emulators/{size}', functools.partial(host, scale, size)
    for strategy in strategies.STRATEGIES:
      yield (
        f'population/{size}/{strategy}',
        functools.partial(population, scale, size, strategy),
      )
  for count in PROCESSES[scale]:
    yield f'processes/{count}', functools.partial(processes, scale, count)
  for name in IMAGES[scale]:
    yield (
      f'images/{name}/ht_rl',
      functools.partial(images, scale, name, image_training.ours),
    )
  if has_torch():
    from benchmarks import supervised

    for name in IMAGES[scale]:
      yield (
        f'images/{name}/torch',
        functools.partial(images, scale, name, supervised.indexed),
      )
  if scale == 'full':
    for config in ('drq', 'drq_ht'):
      yield (
        f'game/{config}',
        functools.partial(real_game, config, base_dir, deadline),
      )


def has_torch() -> bool:
  """Returns whether PyTorch can be measured beside this project."""
  return find_spec('torch') is not None


def timed(action: Callable[[int], None], seconds: float) -> float:
  """Returns the shortest mean time of some calls, after a warm-up.

  Args:
    action: does something a number of times, and waits for its end.
    seconds: about how long to measure.
  """
  action(1)
  begun = time.perf_counter()
  action(1)
  once = time.perf_counter() - begun
  times = max(1, round(seconds / 3 / once))
  means = []
  for _ in range(3):
    begun = time.perf_counter()
    action(times)
    means.append((time.perf_counter() - begun) / times)
  return min(means)


def matrix_rate(scale: str, dtype: str) -> Figure:
  """Operations a second in a product of two matrices."""
  side = SIDE[scale]
  matrix = jnp.ones((side, side), dtype)
  multiply = jax.jit(jnp.matmul)

  def run(times: int) -> None:
    for _ in range(times):
      product = multiply(matrix, matrix)
    product.block_until_ready()

  return {'flops_a_second': 2 * side**3 / timed(run, SECONDS[scale])}


def bandwidth(scale: str) -> Figure:
  """Bytes a second, read and written, in an addition of 1."""
  array = jnp.zeros(ARRAY[scale] // 4, jnp.float32)
  add = jax.jit(lambda x: x + 1)

  def run(times: int) -> None:
    for _ in range(times):
      result = add(array)
    result.block_until_ready()

  return {'bytes_a_second': 2 * array.nbytes / timed(run, SECONDS[scale])}


def make_loop(scale: str, agent: str, ratio: int) -> Loop:
  """Returns an agent of this scale."""
  common: dict[str, Any] = {
    'num_actions': playing.num_actions(GAME),
    'replay_ratio': ratio,
    'replay_capacity': STEPS_OF_A_RUN if scale == 'full' else 1000,
    'min_replay_history': WARM_UP,
  }
  if agent == 'drq':
    network = functools.partial(configurables.dueling_q_network, **DRQ[scale])
    return configurables.drq_agent(network=network, **common)
  network = functools.partial(configurables.bbf_network, **BBF[scale])
  return configurables.bbf_agent(network=network, reset_every=None, **common)


def update(scale: str, agent: str) -> Figure:
  """A gradient step of the network alone, on a prepared batch."""
  driver, train = playing.training(GAME, make_loop(scale, agent, 1))
  train(WARM_UP + 5)
  gradient_steps, operations = network_alone.gradient_steps(driver)
  seconds = timed(gradient_steps, SECONDS[scale])
  return {'seconds': seconds, 'flops': operations}


def alone(scale: str, agent: str) -> Figure:
  """An environment step of a run alone at replay ratio 2."""
  _, train = playing.training(GAME, make_loop(scale, agent, 2))
  train(WARM_UP + 5)
  game = atari.AtariEnvironment(GAME, seed=0)
  game.reset()

  def play(steps: int) -> None:
    for _ in range(steps):
      game.advance(0)

  return {
    'seconds': timed(train, SECONDS[scale]),
    'emulator_seconds': timed(play, SECONDS[scale] / 3),
    'memory': _peak_memory(),
  }


def games_of(size: int) -> emulators.Emulators:
  """Returns the emulators of N runs, as a group of runs has them."""
  return emulators.Emulators(
    [(GAME, seed) for seed in range(size)],
    emulators.num_workers(size, jax.default_backend()),
  )


def host(scale: str, size: int) -> Figure:
  """A step of all emulators of N runs."""
  with contextlib.closing(games_of(size)) as games:
    for environment in games.environments:
      environment.reset()

    def play(steps: int) -> None:
      for _ in range(steps):
        games.advance(range(size), [0] * size)

    return {'seconds': timed(play, SECONDS[scale] / 3)}


def population(scale: str, size: int, strategy: str) -> Figure:
  """An environment step of DrQ runs at replay ratio 2, emulators included."""
  loop = make_loop(scale, 'drq', 2)
  with contextlib.closing(games_of(size)) as games:
    try:
      _, train = playing.training_together(games, loop, strategy)
    except ValueError as error:  # They do not fit in memory.
      return {'error': str(error)}
    train(WARM_UP + 5)
    seconds = timed(train, SECONDS[scale])
  return {
    'seconds': seconds,
    'runs_an_hour': size * 3600 / (seconds * STEPS_OF_A_RUN),
    'memory': _peak_memory(),
  }


def processes(scale: str, count: int) -> Figure:
  """DrQ runs at replay ratio 2, each in a process of its own."""
  context = multiprocessing.get_context('spawn')
  barrier = context.Barrier(count)
  results = context.Queue()
  workers = [
    context.Process(target=_train, args=(scale, barrier, results), daemon=True)
    for _ in range(count)
  ]
  for worker in workers:
    worker.start()
  rates: list[float] = []
  while len(rates) < count:
    try:
      rates.append(results.get(timeout=1))
    except queue.Empty:
      if any(worker.exitcode for worker in workers):
        for worker in workers:
          worker.kill()
        return {'error': f'one of {count} processes failed'}
  return {'runs_an_hour': 3600 * sum(rates) / STEPS_OF_A_RUN}


def _train(scale: str, barrier: Any, results: Any) -> None:
  """Trains beside others; puts steps a second into the results."""
  _, train = playing.training(GAME, make_loop(scale, 'drq', 2))
  train(WARM_UP + 5)
  barrier.wait()
  begun, steps = time.monotonic(), 0
  while time.monotonic() < begun + 3 * SECONDS[scale]:
    train(10)
    steps += 10
  results.put(steps / (time.monotonic() - begun))


def images(scale: str, name: str, make: Callable[..., Any]) -> Figure:
  """Images a second in supervised training."""
  model, width, side = IMAGES[scale][name]
  batches = 50 if scale == 'full' else 1
  train = make(image_training.random_images(side, 3, batches), model, width, 1)
  seconds = timed(train, SECONDS[scale])
  return {'images_a_second': batches * image_training.BATCH / seconds}


def real_game(config: str, base_dir: str, deadline: float) -> Figure | None:
  """Five runs of a game at full length, by the command for users.

  Returns:
    Scores and times; None if the deadline came first, or if the command
    failed, which has said why: a full disk, for example, is no figure.
  """
  gin_file = _ROOT / 'gin_configs' / f'{config}.gin'
  command = (
    *(sys.executable, '-m', 'experiments.train', f'--base_dir={base_dir}'),
    *(f'--gin_files={gin_file}', f'--game={GAME}'),
    f'--seed=0-{SEEDS - 1}',
  )
  begun = time.monotonic()
  with subprocess.Popen(command) as process:
    try:
      process.wait(max(0.0, deadline - begun))
    except subprocess.TimeoutExpired:
      process.send_signal(signal.SIGTERM)  # It writes a checkpoint.
      process.wait()
      return None
  runs = [RunFolder.of(base_dir, config, GAME, seed) for seed in range(SEEDS)]
  results = [result for run in runs if (result := run.read_result())]
  if len(results) < len(runs):
    return None
  return {
    'scores': [result['score'] for result in results],
    'training_seconds': max(result['training_seconds'] for result in results),
  }


def _peak_memory() -> int | None:
  """Returns the most bytes that the device had in use; None if unknown."""
  return (jax.devices()[0].memory_stats() or {}).get('peak_bytes_in_use')
