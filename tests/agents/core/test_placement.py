"""Runs on several devices against the same runs alone.

The number of devices is fixed when JAX starts, so most checks run in a process
of their own: this file, as a script.
"""

import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from agents.core import memory, placement, population, strategies
from agents.core.driver import Driver
from agents.core.loop import Due
from agents.core.population import Population
from agents.core.state import Outcome
from tests.agents.core import stories

ROOT = pathlib.Path(__file__).parents[3]


def devices_of(tree):
  """Returns the devices on which any array of a pytree lies."""
  return set().union(*(x.devices() for x in jax.tree.leaves(tree)))


def check(strategy, num_runs, leave=None):
  """Compares runs on all devices with the runs alone.

  Args:
    strategy: of the population.
    num_runs: number of runs.
    leave: steps from which on runs are left out, by index; None for none.
  """
  leave = leave or {}
  seeds = range(3, 3 + num_runs)
  runs = Population(stories.make_loop('drq'), seeds, 4, strategy)
  told = stories.play(runs, seeds, leave)
  ulps = 0 if strategy in stories.EXACT else stories.ULPS['drq']
  there = jax.local_devices()
  for index, (seed, story) in enumerate(zip(seeds, told, strict=True)):
    expected = stories.alone('drq', seed)
    if index in leave:
      assert story == expected[: leave[index]]
      continue
    stories.assert_equal(story, expected, ulps)
    member = runs.members[index]
    assert devices_of(member.state) == {there[index % len(there)]}
    assert devices_of(member.anchor) == {there[index % len(there)]}
    assert devices_of(member.tortoise) == {there[index % len(there)]}
  return runs


def check_moves(runs):
  """Moves runs from their devices to one alone and back; each goes on there."""
  program = stories.make_programs('drq')
  outcome, frame = Outcome(1.0), np.full(stories.SHAPE, 77, np.uint8)
  here, there = runs.members[9], runs.members[4]
  state = jax.device_get(here.get_state())
  alone = Driver(stories.make_loop('drq'), 0, 4, program)
  alone.set_state(state)
  there.set_state(state)
  assert devices_of((there.state, there.anchor)) == {jax.local_devices()[4]}
  assert devices_of((alone.state, alone.anchor)) == {jax.local_devices()[0]}
  for _ in range(4):  # With a restart.
    actions = {int(run.step(outcome, frame)) for run in (alone, here, there)}
    assert len(actions) == 1
    gaps = {run.take_restart_gap() for run in (alone, here, there)}
    assert len(gaps) == 1
  assert devices_of(there.state) == {jax.local_devices()[4]}
  ends = [jax.device_get(run.get_state()) for run in (alone, here, there)]
  for other in ends[1:]:
    jax.tree.map(np.testing.assert_array_equal, ends[0], other)


def check_policy(run):
  """The policy of a run acts on the device where the run is."""
  policy = run.policy(2, seed=0)
  alone = Driver(stories.make_loop('drq'), 0, 4, stories.make_programs('drq'))
  alone.set_state(jax.device_get(run.get_state()))
  same = alone.policy(2, seed=0)
  random = np.random.default_rng(0)
  for first in (True, False, False):
    frames = random.integers(0, 256, (2, *stories.SHAPE), dtype=np.uint8)
    flags = np.full(2, first)
    np.testing.assert_array_equal(policy(frames, flags), same(frames, flags))


def run_as_script(count):
  """Runs this file where there are so many devices."""
  done = subprocess.run(
    [sys.executable, __file__, str(count)],
    env={
      **os.environ,
      'JAX_PLATFORMS': 'cpu',
      'JAX_DISABLE_MOST_OPTIMIZATIONS': '1',
      'PYTHONPATH': str(ROOT),
      'XLA_FLAGS': f'--xla_force_host_platform_device_count={count}',
    },
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout == f'{count} devices checked\n'


@pytest.mark.slow
def test_eight_devices():
  run_as_script(8)


@pytest.mark.slow
def test_several_runs_in_a_program_on_each_of_two_devices():
  run_as_script(2)


class Action:
  """An action that a device has still to compute."""

  def __init__(self, log, value):
    self._log = log
    self._value = value

  def __array__(self, dtype=None, copy=None):
    self._log.append('fetched')
    return np.array(self._value, np.int32)


@pytest.mark.parametrize('strategy', ['turns', 'vmap'])
def test_all_devices_start_before_one_is_waited_for(monkeypatch, strategy):
  log = []

  class Part:
    def __init__(self, size):
      self.size = size

    def step(self, indices, outcomes, frames, due):
      log.append('started')
      assert frames.shape == (self.size, 4)
      # A frame holds the number of its run.
      numbers = [int(frames[index, 0]) for index in indices]
      assert [outcomes.reward[index] for index in indices] == numbers
      return [Action(log, number) for number in numbers], numbers

  monkeypatch.setattr(placement, 'devices', lambda num_runs: ['a', 'b', 'c'])
  monkeypatch.setattr(strategies, 'maker', lambda *_: Part)
  runs = placement.Divided(strategy, programs=None, num_runs=7)
  numbers = np.arange(7)
  outcomes = Outcome(numbers, numbers > 7, numbers > 7)
  frames = np.repeat(numbers[:, None], 4, axis=1)
  # Runs 1 and 4 have left, and with them the second device.
  for indices in (range(7), [6, 0, 5, 2, 3]):
    log.clear()
    actions, metrics = runs.step(indices, outcomes, frames, Due(1, reset=False))
    assert actions.dtype == np.int32
    assert actions.tolist() == metrics == list(indices)
    starts = 1 if strategy == 'turns' else 3 if 1 in indices else 2
    assert log == ['started'] * starts + ['fetched'] * len(indices)
  assert [runs.device(index) for index in range(4)] == ['a', 'b', 'c', 'a']


def test_how_many_runs_a_device_has(monkeypatch):
  programs = stories.make_programs('drq')
  monkeypatch.setattr(jax, 'local_devices', lambda: list('abc'))
  assert [len(placement.devices(n)) for n in (1, 2, 3, 4)] == [1, 2, 3, 3]
  sizes = [placement.largest_share(n) for n in (1, 2, 3, 4, 6, 7)]
  assert sizes == [1, 1, 1, 2, 2, 3]
  # A single run is where JAX would compute it.
  assert placement.Divided('turns', programs, 1).device(0) is None


class Gpu:
  def __init__(self, limit):
    self._limit = limit

  def memory_stats(self):
    return {'bytes_limit': self._limit}


def test_memory_is_that_of_each_device(monkeypatch):
  learner = stories.make_loop('drq').learner
  state = jax.eval_shape(learner.init, jax.random.PRNGKey(0))
  train = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state.train))
  run = train + 18 * 400  # A replay of 18 frames of 20x20 pixels.
  there = [Gpu(3 * run), Gpu(3 * run - 1), Gpu(5 * run)]
  monkeypatch.setattr(jax, 'local_devices', lambda: there)
  memory.check_memory(learner, 6)
  with pytest.raises(
    ValueError, match=r'7 runs .* each of 3 devices has .* enough for 6 in all;'
  ):
    memory.check_memory(learner, 7)
  del there[1:]
  memory.check_memory(learner, 3)
  with pytest.raises(ValueError, match=r'this machine has .* enough for 3;'):
    memory.check_memory(learner, 4)


def test_cpus_share_their_memory(monkeypatch):
  learner = stories.make_loop('drq').learner
  state = jax.eval_shape(learner.init, jax.random.PRNGKey(0))
  train = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state.train))
  cpus = jax.local_devices()[:1] * 2
  monkeypatch.setattr(jax, 'local_devices', lambda: cpus)
  monkeypatch.setattr(
    memory, 'available_memory', lambda: 4 * (train + 18 * 400)
  )
  memory.check_memory(learner, 4)
  with pytest.raises(ValueError, match=r'this machine has .* enough for 4;'):
    memory.check_memory(learner, 5)


if __name__ == '__main__':
  count = int(sys.argv[1])
  assert len(jax.local_devices()) == count
  # Each program is compiled once for a device.
  population.Programs = lambda loop, num_runs: stories.make_programs('drq')
  learning = stories.WARM_UP + 4
  if count == 8:
    for size in (1, 3, 8):
      check('turns', size)
    ten = check('turns', 10, leave={5: learning})
    check_policy(ten.members[9])
    check_moves(ten)
  else:
    check('unrolled', 3)
    # One run of two on the first device; then the only one of the second.
    check('vmap', 3, leave={2: learning, 1: learning + 2})
    population.candidates = lambda *_: ['turns', 'vmap']
    population._SECONDS = 0.0
    assert check('auto', 3).strategy in ('turns', 'vmap')
  print(count, 'devices checked')
