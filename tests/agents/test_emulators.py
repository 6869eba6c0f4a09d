"""Emulators in worker processes, against emulators in this process."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from agents import atari, emulators

# Both lose lives soon, whatever is done; they have 18 and 6 actions.
GAMES = [('RoadRunner', 3), ('Qbert', 0), ('RoadRunner', 4), ('Qbert', 1)]
STEPS = 250


def actions_of(step):
  """Returns an action of each game for a step."""
  return [(step * (i + 3)) % 6 for i in range(len(GAMES))]


@pytest.fixture(scope='module')
def expected():
  """Returns what each game does in an `AtariEnvironment` by itself."""
  found = []
  for i, game in enumerate(GAMES):
    environment = atari.AtariEnvironment(*game)
    frames = [environment.reset()]
    timesteps = [
      environment.advance(actions_of(step)[i]) for step in range(STEPS)
    ]
    frames += [timestep.observation for timestep in timesteps]
    rest = [
      (timestep.outcome, timestep.reward, timestep.episode_over)
      for timestep in timesteps
    ]
    found.append((np.stack(frames), rest, environment.get_state()))
  assert any(over for _, rest, _ in found for *_, over in rest)
  assert any(outcome.terminal for _, rest, _ in found for outcome, *_ in rest)
  return found


def assert_same_state(state, expected):
  assert state.keys() == expected.keys()
  for name, value in state.items():
    np.testing.assert_array_equal(value, expected[name])


@pytest.mark.parametrize('num_workers', [0, 1, 3])
def test_the_same_bits_for_any_number_of_workers(expected, num_workers):
  """Halfway, the states move to other emulators; one game then waits."""
  half = STEPS // 2
  with contextlib.ExitStack() as closing:

    def start():
      games = emulators.Emulators(GAMES, num_workers)
      closing.callback(games.close)
      return games

    games = start()
    frames = [[environment.reset()] for environment in games.environments]
    rest = [[] for _ in GAMES]
    for step in range(half):
      timesteps = games.advance(range(len(GAMES)), actions_of(step))
      for i, timestep in enumerate(timesteps):
        frames[i].append(timestep.observation)
        rest[i].append(
          (timestep.outcome, timestep.reward, timestep.episode_over)
        )
    states = [environment.get_state() for environment in games.environments]
    games = start()
    for state, environment in zip(states, games.environments, strict=True):
      environment.set_state(state)
    going_on = [3, 0, 1]
    for step in range(half, STEPS):
      actions = actions_of(step)
      timesteps = games.advance(going_on, [actions[i] for i in going_on])
      for i, timestep in zip(going_on, timesteps, strict=True):
        frames[i].append(timestep.observation)
        rest[i].append(
          (timestep.outcome, timestep.reward, timestep.episode_over)
        )
    for step in range(half, STEPS):
      timestep = games.environments[2].advance(actions_of(step)[2])
      frames[2].append(timestep.observation)
      rest[2].append((timestep.outcome, timestep.reward, timestep.episode_over))
    for i, environment in enumerate(games.environments):
      np.testing.assert_array_equal(np.stack(frames[i]), expected[i][0])
      assert rest[i] == expected[i][1]
      assert_same_state(environment.get_state(), expected[i][2])


def test_errors_of_a_game_come_out():
  with pytest.raises(ValueError, match="unknown game 'Pnog'"):
    emulators.Emulators([('Pong', 0), ('Pnog', 0)], 2)
  games = emulators.Emulators([('Pong', 0), ('Qbert', 0)], 2)
  with contextlib.closing(games):
    for environment in games.environments:
      environment.reset()
    with pytest.raises(ValueError, match=r'^action must be in \[0, 6\), not 9'):
      games.advance([0, 1], [9, 0])
    # No answer is mistaken for that of a later call.
    assert len(games.advance([0, 1], [0, 0])) == 2
    state = games.environments[0].get_state()
    with pytest.raises(ValueError, match='the saved episode does not replay'):
      games.environments[1].set_state(state)


def processes_of(games):
  return [worker._process for worker in games._workers]


def test_workers_end_when_they_are_closed():
  games = emulators.Emulators([('Pong', 0)] * 3, 2)
  assert [process.poll() for process in processes_of(games)] == [None, None]
  games.close()
  assert [process.poll() for process in processes_of(games)] == [0, 0]


def test_a_worker_that_is_killed_is_one_sentence():
  games = emulators.Emulators([('Pong', 0), ('Pong', 1)], 2)
  with contextlib.closing(games):
    for environment in games.environments:
      environment.reset()
    killed = processes_of(games)[1]
    killed.kill()
    killed.wait()
    with pytest.raises(
      ChildProcessError,
      match='a process that plays the games ended with exit code -9; start ',
    ):
      games.advance([0, 1], [0, 0])
  assert [process.poll() for process in processes_of(games)] == [0, -9]


OWNER = """
import sys
from agents import emulators

if __name__ == '__main__':
  games = emulators.Emulators([('Pong', 0), ('Pong', 1)], 2)
  print(*(worker._process.pid for worker in games._workers), flush=True)
  for environment in games.environments:
    environment.reset()
  while True:
    games.advance([0, 1], [0, 0])
"""


def is_running(pid):
  try:
    with open(f'/proc/{pid}/stat') as file:
      return file.read().rpartition(')')[2].split()[0] != 'Z'
  except FileNotFoundError:
    return False


def test_no_worker_survives_its_owner():
  """Workers leave signals to their owner, and end with it."""
  owner = subprocess.Popen(
    [sys.executable, '-c', OWNER], stdout=subprocess.PIPE, text=True
  )
  try:
    workers = [int(pid) for pid in owner.stdout.readline().split()]
    assert len(workers) == 2
    for pid in workers:
      os.kill(pid, signal.SIGTERM)
      os.kill(pid, signal.SIGINT)
    time.sleep(0.5)
    assert owner.poll() is None
    assert all(map(is_running, workers))
  finally:
    owner.kill()
    owner.wait()
  deadline = time.monotonic() + 120
  while any(map(is_running, workers)):
    assert time.monotonic() < deadline
    time.sleep(0.01)


@pytest.mark.parametrize(
  ('num_runs', 'platform', 'cores', 'expected'),
  [
    (20, 'gpu', 16, 16),
    (3, 'gpu', 16, 3),
    (20, 'gpu', 1, 0),
    (1, 'gpu', 16, 0),
    (20, 'cpu', 16, 0),
  ],
)
def test_number_of_workers(monkeypatch, num_runs, platform, cores, expected):
  monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: set(range(cores)))
  assert emulators.num_workers(num_runs, platform) == expected
