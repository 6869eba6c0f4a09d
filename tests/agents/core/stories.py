"""Small runs, alone and in populations, and how to compare them."""

import functools

import jax
import numpy as np
import optax

from agents.core.bbf_learner import BBFLearner
from agents.core.bbf_networks import BBFNetwork, ImpalaEncoder
from agents.core.driver import Driver, Programs
from agents.core.drq_learner import DrQLearner
from agents.core.loop import Loop
from agents.core.networks import DuelingQNetwork, NatureEncoder
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
# The reward of a task that each agent learns soon: BBF has an atom at 5.
WORTH = {'drq': 1.0, 'bbf': 5.0, 'bbf_impala': 5.0, 'der': 5.0}
# A stacked run may be this far from the run alone after 9 gradient steps, in
# units in the last place of the largest number of an array. 15 and 240 were
# seen; a wrong convolution gives 10**6.
ULPS = {'drq': 100, 'bbf': 1000, 'bbf_impala': 1000, 'der': 1000}
# The part of the runs that may be farther away. Of 20 runs alone of a deep
# network with max pooling, 5 end 1,600 to 2 * 10**7 units away if each of their
# first weights is changed by one unit, among them those far off in a stack.
SENSITIVE = {'bbf_impala': 0.3}


def make_optimizer():
  # Larger after a story, so that little time is needed to learn something.
  rate = optax.piecewise_constant_schedule(1e-3, {9: 20.0})
  return ht_rl.hare_tortoise(
    optax.adam(rate, eps=1e-4), momentum=0.9, reset_every=4
  )


def make_drq():
  network = DuelingQNetwork(
    NUM_ACTIONS, channels=(3, 4), kernels=(4, 3), strides=(2, 1), hidden=4
  )
  return DrQLearner(
    network,
    optimizer=make_optimizer(),
    update_horizon=3,
    reset_every=6,
    no_resets_after=12,
    **SETTINGS,
  )


def make_bbf(impala=False, noisy=True, **settings):
  encoder = (
    ImpalaEncoder((2, 2))
    if impala
    else NatureEncoder((2, 3), (4, 2), (2, 1), flatten=False)
  )
  network = BBFNetwork(
    NUM_ACTIONS, encoder=encoder, hidden=4, num_atoms=5, noisy=noisy
  )
  return BBFLearner(
    network,
    optimizer=make_optimizer(),
    max_update_horizon=4,
    cycle_steps=10,
    reset_every=18,
    no_resets_after=36,
    **{'jumps': 1, **SETTINGS, **settings},
  )


# `bbf` has the parts of SPR and SR-SPR, with noisy layers; `bbf_impala` is BBF;
# `der` has no self-prediction and no augmentation.
AGENTS = {
  'drq': make_drq,
  'bbf': make_bbf,
  'bbf_impala': functools.partial(
    make_bbf, impala=True, noisy=False, jumps=2, priorities='batch_mean'
  ),
  'der': functools.partial(make_bbf, jumps=0, data_augmentation=False),
}


@functools.cache
def make_loop(name):
  return Loop(AGENTS[name](), replay_ratio=1)


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


def play(runs, seeds, leave=None):
  """Plays a population from the start; returns the stories of its runs.

  Args:
    runs: a `Population`.
    seeds: of the games.
    leave: steps from which on runs are left out, by index; None for none.
  """
  leave = leave or {}
  games = [Game(seed) for seed in seeds]
  stories = [Story() for _ in seeds]
  actions = [
    member.begin(game.frame())
    for member, game in zip(runs.members, games, strict=True)
  ]
  actions = dict(enumerate(actions))
  outcomes = np.zeros((len(seeds), 3))
  frames = np.zeros((len(seeds), *SHAPE), np.uint8)
  for step in range(STEPS):
    for index in [i for i in actions if leave.get(i) == step]:
      del actions[index]
    for index, action in actions.items():
      stories[index].append(int(action))
      outcomes[index], frames[index] = games[index].advance(action)
    chosen = runs.step(list(actions), Outcome(*outcomes.T), frames)
    actions = dict(zip(actions, chosen, strict=True))
  for index, action in actions.items():
    stories[index].append(int(action))
    stories[index].state = jax.device_get(runs.members[index].get_state())
  return stories


def distance(ours, theirs):
  """Returns how far two stories are apart, and in which array.

  Actions and integers must be equal. The unit is that in the last place of the
  largest number of an array; 0 means that all bits are equal.
  """
  assert list(ours) == list(theirs)
  pairs = zip(
    jax.tree.leaves_with_path(ours.state),
    jax.tree.leaves_with_path(theirs.state),
    strict=True,
  )
  found = []
  for (path, x), (other, y) in pairs:
    assert path == other
    assert x.dtype == y.dtype
    assert x.shape == y.shape
    name = jax.tree_util.keystr(path)
    if x.dtype != np.float32:
      np.testing.assert_array_equal(x, y, err_msg=name)
    elif x.tobytes() != y.tobytes():
      unit = np.spacing(np.maximum(np.abs(x).max(), np.abs(y).max()))
      found.append((max(np.abs(x - y).max() / unit, 1e-9), name))
  return max(found, default=(0.0, ''))


def assert_equal(ours, theirs, ulps):
  assert distance(ours, theirs) <= (ulps, 'z')


def assert_learn(runs, name, steps=150):
  """Plays on where all actions are worth the same; all losses must halve.

  Args:
    runs: a `Population` after its story.
    name: of the agent.
    steps: number of steps.
  """
  size = len(runs.members)
  random = np.random.default_rng(0)
  frames = random.integers(0, 256, (size, *SHAPE), dtype=np.uint8)
  each = np.ones(size)
  losses = []
  for _ in range(steps):
    runs.step(range(size), Outcome(WORTH[name] * each, each, 0 * each), frames)
    losses.append([member.metrics()['loss'] for member in runs.members])
  # A quarter was left in the slowest of 20 runs alone, and at least 56% in each
  # of 20 whose weights were kept.
  first, last = np.median(losses[:20], axis=0), np.median(losses[-30:], axis=0)
  assert (last < first / 2).all(), (first, last)
