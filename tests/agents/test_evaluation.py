import re

import numpy as np
import pytest

from agents import atari, evaluation


class StackingPolicy:
  """A policy whose action depends on every pixel of its stack of 4 frames."""

  def __init__(self, num_actions):
    self._num_actions = num_actions
    rng = np.random.default_rng(0)
    self._weights = rng.integers(1000, size=(4, 84, 84))
    self._stacks = None

  def __call__(self, frames, first):
    num = len(frames)
    assert frames.shape == (num, 84, 84)
    assert frames.dtype == np.uint8
    assert first.shape == (num,)
    assert first.dtype == bool
    if self._stacks is None:
      assert first.all()
      self._stacks = np.zeros((num, 4, 84, 84), np.uint8)
    assert len(self._stacks) == num, 'the size of the batch changes'
    self._stacks[first] = 0
    self._stacks = np.concatenate([self._stacks[:, 1:], frames[:, None]], 1)
    weighted = np.tensordot(self._stacks.astype(np.int64), self._weights, 3)
    return weighted % self._num_actions


def play_alone(environment, policy, noops, max_steps):
  """Returns return and length of one episode, played in a plain loop."""
  frame = environment.reset()
  for _ in range(noops):
    frame, *_ = environment.step(0)
  total, length, first, lives = 0.0, 0, True, 0
  while length < max_steps and not environment.game_over:
    (action,) = policy(frame[None, ..., 0], np.array([first]))
    frame, reward, _, info = environment.step(int(action))
    first, lives = info['lives'] < lives, info['lives']
    total += reward
    length += 1
  return total, length


@pytest.mark.parametrize(
  ('game', 'max_steps'), [('Assault', 400), ('AirRaid', 320)]
)
def test_evaluation_equals_playing_one_episode_after_another(game, max_steps):
  """Some episodes end, others reach the time limit."""
  expected = []
  for episode in range(6):
    environment = atari.AtariEnvironment(
      game, seed=0, max_noops=0, terminal_on_life_loss=False
    )
    num_actions = environment.action_space.n
    policy = StackingPolicy(num_actions)
    noops = atari.draw_noops(2, episode, 30)
    expected.append(play_alone(environment, policy, noops, max_steps))
  assert len(set(expected)) > 1, 'the episodes are all alike'
  assert len({length == max_steps for _, length in expected}) > 1
  played = evaluation.evaluate(
    StackingPolicy(num_actions),
    game,
    num_episodes=6,
    seed=2,
    max_episode_steps=max_steps,
  )
  np.testing.assert_array_equal(np.transpose(played), expected)


@pytest.mark.parametrize('played_before', [(), (1, 4), range(6)])
def test_episodes_of_before_are_not_played_again(monkeypatch, played_before):
  def evaluate(finished, kept):
    job = evaluation.Job(
      StackingPolicy(7), 'Assault', 6, 2, finished, kept.__setitem__
    )
    shown = []
    [(index, played)] = evaluation.evaluate_all(
      [job], max_episode_steps=400, progress=lambda *x: shown.append(x)
    )
    assert index == 0
    assert shown[-1][1] == 6
    return played

  episodes = {}
  whole = evaluate({}, episodes)
  assert episodes == {i: (whole.returns[i], whole.lengths[i]) for i in range(6)}
  loaded, make = [], evaluation.make_evaluation_environment
  monkeypatch.setattr(
    evaluation,
    'make_evaluation_environment',
    lambda game: loaded.append(game) or make(game),
  )
  rest = {}
  again = evaluate({i: episodes[i] for i in played_before}, rest)
  assert len(loaded) == len(rest) == 6 - len(played_before)
  np.testing.assert_array_equal(again, whole)


def test_an_episode_that_is_over_rests(monkeypatch):
  emulated = []

  class Counting(evaluation.vector_env.AtariVectorEnv):
    def send(self, actions):
      emulated.extend(actions)
      super().send(actions)

  monkeypatch.setattr(evaluation.vector_env, 'AtariVectorEnv', Counting)
  played = evaluation.evaluate(
    StackingPolicy(7), 'Assault', 6, seed=2, max_episode_steps=400
  )
  assert len(set(played.lengths)) > 1
  noops = sum(atari.draw_noops(2, episode, 30) for episode in range(6))
  assert len(emulated) == played.lengths.sum() + noops


# Game, number of actions and of episodes, seed.
JOBS = [('Assault', 7, 4, 2), ('AirRaid', 6, 3, 0), ('Assault', 7, 2, 5)]


def jobs_of(started):
  """Yields `JOBS`, and adds the index of each to a list when it starts."""
  for i, (game, num_actions, num_episodes, seed) in enumerate(JOBS):
    started.append(i)
    policy = StackingPolicy(num_actions)
    yield evaluation.Job(policy, game, num_episodes, seed)


@pytest.fixture(scope='module')
def alone():
  """Returns the evaluation of each of `JOBS` alone."""
  return [
    evaluation.evaluate(*job[:4], max_episode_steps=330) for job in jobs_of([])
  ]


@pytest.mark.parametrize(
  ('most_episodes', 'started_together'), [(1, 1), (5, 2), (8, 3)]
)
def test_jobs_together_are_evaluated_as_alone(
  alone, most_episodes, started_together
):
  started, heard = [], []

  def progress(steps, finished):
    heard.append(finished)
    if not finished:  # A job starts after each step.
      assert len(started) == min(steps, started_together)
    playing = sum(JOBS[i][2] for i in started) - finished
    assert playing < most_episodes + JOBS[started[-1]][2]

  found = dict(
    evaluation.evaluate_all(
      jobs_of(started),
      max_episode_steps=330,
      progress=progress,
      most_episodes=most_episodes,
    )
  )
  assert heard == sorted(heard)
  assert heard[-1] == sum(job[2] for job in JOBS)
  assert len({tuple(played.lengths) for played in alone}) == len(JOBS)
  for i, expected in enumerate(alone):
    np.testing.assert_array_equal(found[i], expected)


def test_no_policy_waits_for_the_actions_of_another():
  log = []

  class Later:
    """Actions that are computed when they are read."""

    def __init__(self, name):
      self._name = name
      log.append(f'ask {name}')

    def __array__(self, dtype=None, copy=None):
      log.append(f'read {self._name}')
      return np.zeros(1, int)

  jobs = [
    evaluation.Job(lambda *_, name=name: Later(name), 'Pong', 1, seed=0)
    for name in 'AB'
  ]
  done = evaluation.evaluate_all(jobs, max_noops=0, max_episode_steps=3)
  assert [i for i, _ in done] == [0, 1]
  both = ['ask A', 'ask B', 'read A', 'read B']
  assert log == ['ask A', 'read A', *both, *both, 'ask B', 'read B']


def test_evaluation_leaves_out_games_that_end_while_idle():
  """With no-ops Assault lasts 161 steps: it ends before the episode starts."""
  assert atari.draw_noops(0, 0, 1000) > 350
  environment = atari.AtariEnvironment(
    'Assault', seed=0, max_noops=1000, terminal_on_life_loss=False
  )
  total, length = play_alone(environment, StackingPolicy(7), 0, max_steps=99)
  assert total > 0
  played = evaluation.evaluate(
    StackingPolicy(7),
    'Assault',
    num_episodes=1,
    seed=0,
    max_noops=1000,
    max_episode_steps=99,
  )
  np.testing.assert_array_equal(np.transpose(played), [[total, length]])


@pytest.mark.parametrize('game', ['Pong', 'Breakout', 'Assault', 'AirRaid'])
def test_evaluation_frames_equal_training_frames(game):
  """Without life-loss terminals, before and after the end of the game."""
  environment = atari.AtariEnvironment(
    game, seed=0, max_noops=0, terminal_on_life_loss=False
  )
  batch = evaluation.make_evaluation_environment(game)
  rng = np.random.default_rng(1)
  frame, (frames, _) = environment.reset(), batch.reset()
  for _ in range(400):
    np.testing.assert_array_equal(frames[0, 0], frame[..., 0])
    action = int(rng.integers(environment.action_space.n))
    frame, reward, is_terminal, info = environment.step(action)
    frames, rewards, ended, cut, infos = batch.step(np.array([action]))
    assert rewards[0] == reward
    assert ended[0] == is_terminal == environment.game_over
    assert not cut.any()
    assert infos['lives'][0] == info['lives']
    if is_terminal:
      break
  assert frames.shape == (1, 1, 84, 84)


def test_evaluation_of_episodes_that_are_cut():
  """The reward of the last step counts, and progress is reported."""
  heard = []
  played = evaluation.evaluate(
    lambda frames, first: np.zeros(len(frames), int),
    'Pong',
    num_episodes=3,
    seed=0,
    max_noops=10,
    max_episode_steps=20,
    progress=lambda *numbers: heard.append(numbers),
  )
  noops = [atari.draw_noops(0, episode, 10) for episode in range(3)]
  assert len(set(noops)) > 1
  np.testing.assert_array_equal(played.lengths, [20, 20, 20])
  assert heard == [
    (step, sum(noop + 20 <= step for noop in noops))
    for step in range(1, max(noops) + 21)
  ]


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ({'game': 'Breakot'}, "unknown game 'Breakot': did you mean Breakout?"),
    ({'seed': -1}, 'seed must be an integer from 0 to 4294967295 (2**32 - 1)'),
    ({'num_episodes': 0}, 'num_episodes must be an integer of at least 1'),
    ({'max_noops': -1}, 'max_noops must be an integer of at least 0'),
    ({'max_episode_steps': 0}, 'max_episode_steps must be an integer'),
  ],
)
def test_wrong_arguments_of_an_evaluation(arguments, message):
  right = {'policy': None, 'game': 'Pong', 'num_episodes': 1, 'seed': 0}
  with pytest.raises(ValueError, match=f'^{re.escape(message)}'):
    evaluation.evaluate(**{**right, **arguments})
