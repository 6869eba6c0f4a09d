"""Measures whether emulators can play at the same time.

    python -m benchmarks.emulators

A call of ale-py or OpenCV lets other threads of Python run only if it releases
Python's lock (the GIL). For each call of an environment step, the first table
has its time and in how many of 300 calls another thread ran. Python's own
switching of threads is off meanwhile, so the number of cores does not matter.

The second table plays N games in this process, in threads, and in worker
processes (`agents.emulators`), which take turns: the time of a step of all, and
the processor time of the main thread. On a machine that does other work, read
the latter: the device waits at least so long.
"""

from collections.abc import Callable
from concurrent import futures
import contextlib
import sys
import threading
import time

from absl import app, flags
import cv2
import numpy as np

from agents import atari, emulators, machine

_GAME = flags.DEFINE_string('game', 'Breakout', 'The game.')
_SIZES = flags.DEFINE_list('sizes', ['2', '8'], 'Numbers of games.')
_WORKERS = flags.DEFINE_integer(
  'workers', None, 'Number of threads or processes; None for one a core.'
)
_ROUNDS = flags.DEFINE_integer('rounds', 7, 'Rounds of measurements.')
_STEPS = flags.DEFINE_integer('steps', 100, 'Steps in a measurement.')

CALLS = 300


def calls_of_a_step(game: str) -> dict[str, Callable[[], object]]:
  """Returns the calls that an environment step consists of, and two others.

  `time.sleep` releases the lock, and a sum in Python does not.
  """
  environment = atari.AtariEnvironment(game, seed=0)
  environment.reset()
  emulator, screen = environment._emulator, environment._screens[0]
  size = (atari.PROTOCOL.screen_size,) * 2
  return {
    'act': lambda: emulator.act(0),
    'getScreenGrayscale': lambda: emulator.getScreenGrayscale(screen),
    'cv2.resize': lambda: cv2.resize(
      screen, size, interpolation=cv2.INTER_AREA
    ),
    'time.sleep': lambda: time.sleep(1e-5),
    'sum in Python': lambda: sum(range(1000)),
  }


def switches(call: Callable[[], object]) -> tuple[int, float]:
  """Returns in how many calls another thread ran, and seconds of a call."""
  ran, done, begun = [0], threading.Event(), threading.Event()

  def other() -> None:
    begun.set()
    while not done.is_set():
      ran[0] += 1
      time.sleep(1e-6)

  interval = sys.getswitchinterval()
  thread = threading.Thread(target=other)
  thread.start()
  begun.wait()
  sys.setswitchinterval(1e3)
  try:
    count = 0
    start = time.thread_time()
    for _ in range(CALLS):
      before = ran[0]
      call()
      count += ran[0] != before
    seconds = (time.thread_time() - start) / CALLS
  finally:
    sys.setswitchinterval(interval)
    done.set()
    thread.join()
  return count, seconds


class Threads:
  """Games in this process, each step in a pool of threads."""

  def __init__(self, games: list[tuple[str, int]], workers: int):
    """Loads the games."""
    self.environments = [atari.AtariEnvironment(*game) for game in games]
    self._pool = futures.ThreadPoolExecutor(workers)

  def advance(self, indices: range, actions: list[int]) -> list[atari.Timestep]:
    """Plays a step of all games."""
    del indices
    return list(
      self._pool.map(
        lambda pair: pair[0].advance(pair[1]),
        zip(self.environments, actions, strict=True),
      )
    )

  def close(self) -> None:
    """Ends the threads."""
    self._pool.shutdown()


def together(game: str, size: int, workers: int) -> dict[str, np.ndarray]:
  """Returns the seconds of a step of all games for each way, [rounds, 2].

  The first column is of the clock, the second of the main thread's processor.
  """
  games = [(game, seed) for seed in range(size)]
  seconds: dict[str, list[np.ndarray]] = {}
  with contextlib.ExitStack() as closing:
    ways: dict[str, emulators.Emulators | Threads] = {
      'one after another': emulators.Emulators(games, 0),
      f'{workers} threads': Threads(games, workers),
      f'{workers} processes': emulators.Emulators(games, workers),
    }
    for played in ways.values():
      closing.callback(played.close)
      for environment in played.environments:
        environment.reset()
    for _ in range(_ROUNDS.value):
      for way, played in ways.items():
        begun = np.array([time.perf_counter(), time.thread_time()])
        for _ in range(_STEPS.value):
          played.advance(range(size), [0] * size)
        spent = np.array([time.perf_counter(), time.thread_time()]) - begun
        seconds.setdefault(way, []).append(spent / _STEPS.value)
  return {way: np.array(rows) for way, rows in seconds.items()}


def main(argv: list[str]) -> None:
  """Prints two tables."""
  del argv
  print(f'{"call":20}{"us":>8}  calls in which another thread ran')
  for name, call in calls_of_a_step(_GAME.value).items():
    count, seconds = switches(call)
    print(f'{name:20}{1e6 * seconds:8.1f}  {count} of {CALLS}', flush=True)
  workers = _WORKERS.value or len(machine.cores())
  print(
    f'\n{"games":20}{"":10}{"ms a step of all":>18}{"main thread, ms":>18}'
    '   time beside one after another'
  )
  for size in map(int, _SIZES.value):
    rows = together(_GAME.value, size, workers)
    alone = rows['one after another'][:, 0]
    for way, times in rows.items():
      clock, thread = 1e3 * np.median(times, axis=0)
      ratio = times[:, 0] / alone
      print(
        f'{size:3} {way:26}{clock:18.2f}{thread:18.3f}   '
        f'{np.median(ratio):.2f} ({ratio.min():.2f} to {ratio.max():.2f})',
        flush=True,
      )


if __name__ == '__main__':
  app.run(main)
