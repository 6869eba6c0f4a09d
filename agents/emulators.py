"""Plays the emulators of several runs, here or in worker processes.

ale-py holds Python's lock (the GIL) while an emulator plays, so that threads
would play one after another (`python -m benchmarks.emulators`). Processes play
at the same time. Each plays some of the games in `atari.AtariEnvironment`, so
that results do not depend on the number of workers.

    python -m agents.emulators 5

is a worker, which `Emulators` starts: it answers what arrives at file
descriptor 5.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
import contextlib
import multiprocessing
from multiprocessing.connection import Connection
import os
import pathlib
import signal
import subprocess
import sys
from typing import Any, Protocol

import numpy as np

from agents import atari, machine
from ht_rl.atari100k.games import canonical_game

# Index of an environment, name of its method, and arguments.
Call = tuple[int, str, tuple[Any, ...]]


class Environment(Protocol):
  """The methods of `atari.AtariEnvironment` that a run uses."""

  def reset(self) -> np.ndarray:
    """See `AtariEnvironment.reset`."""

  def advance(self, action: int) -> atari.Timestep:
    """See `AtariEnvironment.advance`."""

  def get_state(self) -> dict[str, Any]:
    """See `AtariEnvironment.get_state`."""

  def set_state(self, state: Mapping[str, Any]) -> None:
    """See `AtariEnvironment.set_state`."""


class Emulators:
  """Training environments of several runs, which play at the same time.

  Attributes:
    environments: of the runs, in their order.
  """

  environments: Sequence[Environment]

  def __init__(self, games: Sequence[tuple[str, int]], num_workers: int):
    """Loads the games.

    Args:
      games: name of the game and seed of each run; see `AtariEnvironment`.
      num_workers: number of processes that play; 0 plays in this process.

    Raises:
      ValueError: a game is unknown, or a seed out of range.
      ChildProcessError: a worker ended.
    """
    for game, _ in games:  # Before any process starts.
      canonical_game(game, atari.all_games())
    self._workers = [_Worker() for _ in range(num_workers)]
    if not num_workers:
      self.environments = [atari.AtariEnvironment(*game) for game in games]
      return
    self.environments = [
      _Remote(self._workers[i % num_workers], i) for i in range(len(games))
    ]
    try:
      self._call_all((i, 'load', game) for i, game in enumerate(games))
    except BaseException:
      self.close()
      raise

  def advance(
    self, indices: Sequence[int], actions: Sequence[int]
  ) -> list[atari.Timestep]:
    """Plays one training step of some runs.

    Args:
      indices: of the runs.
      actions: of these runs; see `AtariEnvironment.advance`.

    Returns:
      Their timesteps.

    Raises:
      ChildProcessError: a worker ended.
    """
    chosen = list(zip(indices, actions, strict=True))
    if not self._workers:
      return [self.environments[i].advance(action) for i, action in chosen]
    return self._call_all((i, 'advance', (action,)) for i, action in chosen)

  def _call_all(self, calls: Iterable[Call]) -> list[Any]:
    """Makes calls in all workers at the same time; returns the answers."""
    workers = self._workers
    order: list[tuple[int, int]] = []
    of_workers: list[list[Call]] = [[] for _ in workers]
    for call in calls:
      mine = call[0] % len(workers)  # As the constructor has it.
      order.append((mine, len(of_workers[mine])))
      of_workers[mine].append(call)
    busy = [i for i, some in enumerate(of_workers) if some]
    for i in busy:
      workers[i].send(of_workers[i])
    # All answer before an error is raised: else the next call would hear them.
    answers = {i: workers[i].receive() for i in busy}
    found = {i: _without_error(answer) for i, answer in answers.items()}
    return [found[i][place] for i, place in order]

  def close(self) -> None:
    """Ends the workers; waits for them."""
    for worker in self._workers:
      worker.close()


class _Worker:
  """A worker process."""

  def __init__(self) -> None:
    """Starts it."""
    self._connection, theirs = multiprocessing.Pipe()
    with theirs:
      self._process = subprocess.Popen(
        [sys.executable, '-m', __name__, str(theirs.fileno())],
        stdin=subprocess.DEVNULL,
        cwd=pathlib.Path(__file__).parents[1],
        # It computes nothing with JAX, and must not hold the accelerator.
        env={**os.environ, 'JAX_PLATFORMS': 'cpu'},
        pass_fds=[theirs.fileno()],
        # Ctrl-C is for this process, which still needs the emulators' states.
        start_new_session=True,
      )

  def send(self, calls: Sequence[Call]) -> None:
    """Sends calls; `receive` their answers before the next ones."""
    with self._explained():
      self._connection.send(calls)

  def receive(self) -> list[Any] | Exception:
    """Returns the answers, or the error of a call."""
    with self._explained():
      return self._connection.recv()

  @contextlib.contextmanager
  def _explained(self) -> Iterator[None]:
    try:
      yield
    except (EOFError, ConnectionError) as error:
      code = self._process.wait()
      raise ChildProcessError(
        f'a process that plays the games ended with exit code {code}; start '
        'the command again to go on from the last checkpoints'
      ) from error

  def close(self) -> None:
    """Ends the process, which goes when it hears nothing more."""
    self._connection.close()
    self._process.wait()


class _Remote:
  """An environment in a worker."""

  def __init__(self, worker: _Worker, index: int):
    self._worker = worker
    self._index = index

  def reset(self) -> np.ndarray:
    return self._call('reset')

  def advance(self, action: int) -> atari.Timestep:
    return self._call('advance', action)

  def get_state(self) -> dict[str, Any]:
    return self._call('get_state')

  def set_state(self, state: Mapping[str, Any]) -> None:
    self._call('set_state', state)

  def _call(self, name: str, *arguments: Any) -> Any:
    self._worker.send([(self._index, name, arguments)])
    return _without_error(self._worker.receive())[0]


def _without_error(answer: list[Any] | Exception) -> list[Any]:
  """Returns the answer; raises it if it is an error."""
  if isinstance(answer, Exception):
    raise answer
  return answer


def num_workers(num_runs: int, platform: str) -> int:
  """Returns the number of worker processes for a number of runs.

  On a CPU the network takes most of the time, and the cores; on one core
  workers would play one after another, too. There are none then.

  Args:
    num_runs: number of runs, each with an emulator.
    platform: what the network is on, such as 'cpu'.
  """
  if platform == 'cpu':
    return 0
  workers = min(num_runs, len(machine.cores()))
  return workers if workers > 1 else 0


def serve(connection: Connection) -> None:
  """Answers lists of calls until the other end is closed."""
  environments: dict[int, atari.AtariEnvironment] = {}

  def answer(index: int, name: str, arguments: tuple[Any, ...]) -> Any:
    if name == 'load':
      environments[index] = atari.AtariEnvironment(*arguments)
      return None
    return getattr(environments[index], name)(*arguments)

  with contextlib.suppress(EOFError, ConnectionError):
    while True:
      calls = connection.recv()
      try:
        connection.send([answer(*call) for call in calls])
      except Exception as error:
        connection.send(error)


if __name__ == '__main__':
  for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
  serve(Connection(int(sys.argv[1])))
