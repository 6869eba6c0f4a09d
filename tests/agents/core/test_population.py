"""Each run of a population against the same run alone."""

import functools
import re

import jax
import numpy as np
import optax
import pytest

from agents.core import memory, population, strategies
from agents.core.bbf_learner import BBFLearner
from agents.core.bbf_networks import BBFNetwork
from agents.core.driver import Driver, Programs
from agents.core.drq_learner import DrQLearner
from agents.core.loop import Due, Loop
from agents.core.networks import DuelingQNetwork, NatureEncoder
from agents.core.population import Population
from agents.core.state import Outcome
import ht_rl

SHAPE = (12, 12)
NUM_ACTIONS = 3
WARM_UP = 12
# After 12 steps that fill the replay 9 learn; a reset and restarts are in them.
STEPS = 21
SETTINGS = {
  'num_actions': NUM_ACTIONS,
  'observation_shape': SHAPE,
  'stack_size': 2,
  'replay_capacity': 18,
  'batch_size': 2,
  'min_replay_history': WARM_UP,
  'epsilon_decay_period': 1,
  'epsilon_train': 0.1,
}
EXACT = ('turns', 'unrolled')
STACKED = ('vmap', 'map', 'grouped')
# How far a stacked run may be from the run alone after 9 gradient steps, in
# units in the last place of the largest number of an array. 15 and 240 were
# seen; a wrong convolution gives 10**6.
ULPS = {'drq': 100, 'bbf': 1000}


def make_optimizer():
  return ht_rl.hare_tortoise(
    optax.adam(1e-3, eps=1e-4), momentum=0.9, reset_every=4
  )


@functools.cache
def make_loop(name):
  if name == 'drq':
    network = DuelingQNetwork(
      NUM_ACTIONS, channels=(3, 4), kernels=(4, 3), strides=(2, 1), hidden=4
    )
    learner = DrQLearner(
      network,
      optimizer=make_optimizer(),
      update_horizon=3,
      reset_every=6,
      **SETTINGS,
    )
  else:
    network = BBFNetwork(
      NUM_ACTIONS,
      encoder=NatureEncoder((2, 3), (4, 2), (2, 1), flatten=False),
      hidden=4,
      num_atoms=5,
      noisy=True,
    )
    learner = BBFLearner(
      network,
      optimizer=make_optimizer(),
      max_update_horizon=4,
      jumps=1,
      cycle_steps=10,
      reset_every=18,
      **SETTINGS,
    )
  return Loop(learner, replay_ratio=1)


@functools.cache
def make_programs(name):
  return Programs(make_loop(name))


class Game:
  """Random frames and rewards, which depend on the actions too."""

  def __init__(self, seed):
    self._random = np.random.default_rng(seed)
    self._step = seed

  def frame(self):
    return self._random.integers(0, 256, SHAPE, dtype=np.uint8)

  def advance(self, action):
    self._step += 1
    reward = self._random.random() + float(action) - 1.0
    terminal = self._step % 7 == 0
    truncation = self._step % 11 == 0 and not terminal
    return Outcome(reward, terminal, truncation), self.frame()


class Story(list):
  """The actions of a run, and its state at the end."""

  state = None


@functools.cache
def alone(name, seed):
  """Returns the story of a run alone."""
  driver = Driver(
    make_loop(name), seed, restart_every=4, programs=make_programs(name)
  )
  game, story = Game(seed), Story()
  action = driver.begin(game.frame())
  for _ in range(STEPS):
    story.append(int(action))
    action = driver.step(*game.advance(action))
  story.append(int(action))
  story.state = jax.device_get(driver.get_state())
  return story


def play(runs, seeds, steps=STEPS, stop=None):
  """Plays a population from the start; returns the stories of its runs.

  Args:
    runs: a `Population`.
    seeds: of the games.
    steps: number of steps.
    stop: (step, index): from this step on, that run is left out.
  """
  games = [Game(seed) for seed in seeds]
  stories = [Story() for _ in seeds]
  actions = [
    member.begin(game.frame())
    for member, game in zip(runs.members, games, strict=True)
  ]
  indices = list(range(len(seeds)))
  outcomes = np.zeros((len(seeds), 3))
  frames = np.zeros((len(seeds), *SHAPE), np.uint8)
  for step in range(steps):
    if stop == (step, indices[-1]):
      del indices[-1]
      actions = actions[:-1]
    for index, action in zip(indices, actions, strict=True):
      stories[index].append(int(action))
      outcomes[index], frames[index] = games[index].advance(action)
    actions = runs.step(indices, Outcome(*outcomes.T), frames)
  for index, action in zip(indices, actions, strict=True):
    stories[index].append(int(action))
    stories[index].state = jax.device_get(runs.members[index].get_state())
  return stories


def assert_equal(ours, theirs, ulps):
  assert list(ours) == list(theirs)
  pairs = zip(
    jax.tree.leaves_with_path(ours.state),
    jax.tree.leaves_with_path(theirs.state),
    strict=True,
  )
  for (path, x), (other, y) in pairs:
    assert path == other
    assert x.dtype == y.dtype
    assert x.shape == y.shape
    if ulps == 0 or x.dtype != np.float32:
      np.testing.assert_array_equal(x, y, err_msg=jax.tree_util.keystr(path))
    else:
      # Of the largest number of its array.
      unit = np.spacing(np.maximum(np.abs(x).max(), np.abs(y).max()))
      assert np.abs(x - y).max() <= ulps * unit, jax.tree_util.keystr(path)


# (agent, strategy, number of runs). `turns` compiles nothing for a new number;
# a CPU takes too long for `grouped`, whose program is XLA's own batching.
SIZES = [
  *((name, 'turns', n) for name in ('drq', 'bbf') for n in (1, 2, 4, 20)),
  ('drq', 'unrolled', 2),
  ('drq', 'unrolled', 4),
  ('drq', 'vmap', 20),
  ('bbf', 'vmap', 4),
  ('drq', 'map', 4),
]


@pytest.mark.usefixtures('compile_fast')
@pytest.mark.parametrize(('name', 'strategy', 'num_runs'), SIZES)
def test_a_run_of_a_population_is_the_run_alone(name, strategy, num_runs):
  seeds = range(3, 3 + num_runs)
  stories = play(Population(make_loop(name), seeds, 4, strategy), seeds)
  assert len({tuple(story) for story in stories}) > num_runs // 2
  for seed, story in zip(seeds, stories, strict=True):
    assert_equal(
      story, alone(name, seed), 0 if strategy in EXACT else ULPS[name]
    )


def lowered(name, strategy, num_runs, platform):
  """Returns the program of a learning step of N runs, for a platform."""
  programs = make_programs(name)
  state = jax.eval_shape(programs.loop.learner.init, jax.random.PRNGKey(0))

  def stack(x):
    return jax.ShapeDtypeStruct((num_runs, *x.shape), x.dtype)

  one = Outcome(np.float32(0), np.bool_(0), np.bool_(0))
  step = jax.jit(
    strategies.stacked_step(programs, strategy), static_argnames='due'
  )
  traced = step.trace(
    jax.tree.map(stack, state),
    jax.tree.map(stack, one),
    jax.ShapeDtypeStruct((num_runs, *SHAPE), np.uint8),
    due=Due(1, reset=False),
  )
  return traced.lower(lowering_platforms=(platform,)).as_text()


def groups(text):
  """Returns the numbers of groups of all convolutions in a program."""
  found = re.findall(r'(?:feature|batch)_group_count = (\d+)', text)
  return {int(number) for number in found}


@pytest.mark.parametrize('name', ['drq', 'bbf'])
def test_no_convolution_is_grouped(name):
  vmapped = lowered(name, 'vmap', 3, 'cuda')
  assert 'convolution' not in vmapped
  assert 'dot_general' in vmapped
  mapped = lowered(name, 'map', 3, 'cuda')
  assert 'stablehlo.while' in mapped
  assert groups(mapped) == {1}
  # What is avoided.
  assert max(groups(lowered(name, 'grouped', 3, 'cuda'))) >= 3


@pytest.mark.usefixtures('compile_fast')
@pytest.mark.parametrize('strategy', ['turns', 'map'])
def test_a_run_that_is_left_out_changes_no_other(strategy):
  seeds = range(3, 7)
  runs = Population(make_loop('drq'), seeds, 4, strategy)
  stories = play(runs, seeds, stop=(WARM_UP + 4, 3))
  ulps = 0 if strategy in EXACT else ULPS['drq']
  for seed, story in zip(seeds, stories[:3], strict=False):
    assert_equal(story, alone('drq', seed), ulps)
  left = stories[3]
  assert left == alone('drq', 6)[: len(left)]
  assert len(left) == WARM_UP + 4


def test_auto_takes_the_fastest(monkeypatch):
  seconds = {'turns': 3e-3, 'unrolled': 1e-3}
  make, names = strategies.make, {}

  def make_and_note(name, *arguments):
    runs = make(name, *arguments)
    names[runs] = name
    return runs

  monkeypatch.setattr(strategies, 'make', make_and_note)
  monkeypatch.setattr(
    population,
    '_seconds_of_a_step',
    lambda loop, num_runs, runs: seconds[names[runs]],
  )
  monkeypatch.setattr(population, 'candidates', lambda *_: list(seconds))
  lines = []
  loop = make_loop('drq')
  assert Population(loop, [1, 2], say=lines.append).strategy == 'unrolled'
  seconds['turns'] = 0.5e-3
  assert Population(loop, [1, 2], say=lines.append).strategy == 'turns'
  assert lines == [
    'a step of 2 runs takes: turns 3.0 ms, unrolled 1.0 ms; they go on by '
    "'unrolled'",
    'a step of 2 runs takes: turns 0.5 ms, unrolled 1.0 ms; they go on by '
    "'turns'",
  ]


def test_what_auto_times():
  for num_runs in (1, 4, 100):
    assert population.candidates(num_runs, 'cpu') == ['turns']
  assert set(population.candidates(4, 'gpu')) == {*EXACT, *STACKED}
  assert 'unrolled' not in population.candidates(9, 'gpu')
  lines = []
  assert Population(make_loop('drq'), [1, 2], say=lines.append).strategy == (
    'turns'
  )
  assert lines == []


def test_runs_that_do_not_fit_in_memory(monkeypatch):
  learner = make_loop('drq').learner
  state = jax.eval_shape(learner.init, jax.random.PRNGKey(0))
  train = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state.train))
  # A replay of 18 frames of 20x20 pixels.
  monkeypatch.setattr(
    memory, 'available_memory', lambda: 4 * (train + 18 * 400)
  )
  memory.check_memory(learner, 4)
  with pytest.raises(
    ValueError, match=r'5 runs must fit .* enough for 4; name'
  ):
    Population(make_loop('drq'), range(5))


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (([],), 'the number of seeds must be an integer of at least 1'),
    (([1, 2], None, 'fast'), 'strategy must be'),
  ],
)
def test_a_wrong_argument(arguments, message):
  with pytest.raises(ValueError, match=message):
    Population(make_loop('drq'), *arguments)
