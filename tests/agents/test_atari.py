import dataclasses
import hashlib
import inspect
import json
import pathlib
import re
import subprocess
import sys

import agents.dopamine  # noqa: F401

from dopamine.discrete_domains import atari_lib
import numpy as np
import pytest

from agents import atari
from ht_rl.atari100k import games

ROOT = pathlib.Path(__file__).parents[2]


def run_python(code, *arguments):
  """Runs code in a fresh interpreter and returns what it prints."""
  done = subprocess.run(
    [sys.executable, '-c', code, *map(str, arguments)],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  return done


def random_actions(environment, seed):
  rng = np.random.default_rng(seed)
  while True:
    yield int(rng.integers(environment.action_space.n))


# --- The training environment ---


# AirRaid's screen is 250 pixels high, the others' 210. Assault's start depends
# on the restarts before it. Breakout and Qbert lose lives quickly.
@pytest.mark.parametrize('game', ['Pong', 'Breakout', 'Assault', 'AirRaid'])
@pytest.mark.parametrize('terminal_on_life_loss', [True, False])
def test_frames_equal_dopamines(game, terminal_on_life_loss):
  """Frames, rewards and terminals, across life losses and episodes' ends."""
  theirs = atari_lib.create_atari_environment(game, sticky_actions=False)
  theirs.terminal_on_life_loss = terminal_on_life_loss
  ours = atari.AtariEnvironment(
    game, seed=3, terminal_on_life_loss=terminal_on_life_loss
  )
  assert ours.action_space == theirs.action_space
  assert ours.observation_space == theirs.observation_space
  actions = random_actions(ours, seed=0)
  episodes = life_losses = 0
  for step in range(1200):
    if step == 0 or ours.game_over:
      expected = theirs.reset()
      for _ in range(atari.draw_noops(3, episodes, 30)):
        expected, *_ = theirs.step(0)
      np.testing.assert_array_equal(ours.reset(), expected)
      episodes += 1
    action = next(actions)
    observation, reward, is_terminal, info = ours.step(action)
    expected, *outcome, _ = theirs.step(action)
    np.testing.assert_array_equal(observation, expected)
    assert [reward, is_terminal] == outcome
    assert ours.game_over == theirs.game_over
    assert info['lives'] == theirs.environment.unwrapped.ale.lives()
    life_losses += is_terminal and not ours.game_over
  assert episodes > 1
  if game in ('Breakout', 'Assault'):
    assert (life_losses > 0) == terminal_on_life_loss


def test_observations_are_not_written_to_again():
  environment = atari.AtariEnvironment('Breakout', seed=0)
  first = environment.reset()
  copy = first.copy()
  while np.array_equal(first, environment.step(1)[0]):
    pass
  np.testing.assert_array_equal(first, copy)


def test_time_limit_is_no_terminal():
  environment = atari.AtariEnvironment('Pong', seed=0, max_episode_steps=7)
  for _ in range(2):
    environment.reset()
    outcomes = [environment.step(0)[2] for _ in range(7)]
    assert outcomes == [False] * 7
    assert environment.game_over
    with pytest.raises(RuntimeError, match='reset'):
      environment.step(0)


def test_step_before_reset():
  with pytest.raises(RuntimeError, match='reset'):
    atari.AtariEnvironment('Pong', seed=0).step(0)


def test_noops_are_uniform_and_both_ends_are_drawn():
  draws = [atari.draw_noops(seed, 5, 30) for seed in range(3100)]
  counts = np.bincount(draws, minlength=31)
  assert len(counts) == 31
  # 100 are expected of each; the standard deviation is 10.
  assert 50 < counts.min() <= counts.max() < 150
  assert atari.draw_noops(1, 0, 30) == atari.draw_noops(1, 0, 30)
  assert len({atari.draw_noops(1, episode, 30) for episode in range(9)}) > 3
  assert atari.draw_noops(1, 0, 0) == 0


def test_game_that_ends_while_idle_starts_anew():
  """Idle, RoadRunner lasts 270 steps: here it ends several times."""
  environment = atari.AtariEnvironment(
    'RoadRunner', seed=0, max_noops=2000, terminal_on_life_loss=False
  )
  assert atari.draw_noops(0, 0, 2000) > 600
  environment.reset()
  assert not environment.game_over
  assert environment.get_state()['steps'] == 0
  assert environment.step(0)[3]['lives'] > 0


def play(environment, actions):
  """Returns all that an agent sees while it plays these actions."""
  seen = []
  for action in actions:
    if environment.game_over:
      seen.append(environment.reset().tobytes())
    observation, *outcome = environment.step(int(action))
    seen.append((observation.tobytes(), *outcome, environment.game_over))
  return seen


IMPORTS = """
import hashlib
import sys
import numpy as np
from agents import atari
"""
RESUME = """
for path in sys.argv[1:]:
  saved = np.load(path)
  environment = atari.AtariEnvironment(str(saved['game']), seed=11)
  environment.set_state(saved)
  seen = repr(play(environment, saved['next']))
  print(hashlib.sha256(seen.encode()).hexdigest())
"""


def test_resumes_in_a_fresh_process(tmp_path):
  """2,000 steps go on bit for bit, over life losses and ends of episodes.

  Qbert does not resume from the state that ale-py itself saves, and Assault
  only after the right number of restarts.
  """
  paths, expected = [], []
  for game in ['Pong', 'Breakout', 'Qbert', 'Assault']:
    environment = atari.AtariEnvironment(game, seed=11)
    rng = np.random.default_rng(0)
    actions = rng.integers(environment.action_space.n, size=2700)
    play(environment, actions[:700])
    state = environment.get_state()
    assert state['steps'] > 10, 'not in the middle of an episode'
    paths.append(tmp_path / f'{game}.npz')
    np.savez(paths[-1], game=game, next=actions[700:], **state)
    seen = play(environment, actions[700:])
    assert len(seen) > 2000, 'no episode has ended'
    lost_lives = [step for step in seen if step[2] is True and not step[-1]]
    assert game == 'Pong' or lost_lives
    expected.append(hashlib.sha256(repr(seen).encode()).hexdigest())
  imports = (
    'import hashlib, sys\nimport numpy as np\nfrom agents import atari\n'
  )
  code = imports + inspect.getsource(play) + RESUME
  assert run_python(code, *paths).stdout.split() == expected


def test_state_before_the_first_episode_and_right_after_a_reset():
  for resets in (0, 1, 3):
    one = atari.AtariEnvironment('Breakout', seed=4)
    for _ in range(resets):
      one.reset()
    other = atari.AtariEnvironment('Breakout', seed=4)
    other.reset()
    other.set_state(one.get_state())
    assert other.game_over == one.game_over == (resets == 0)
    assert play(other, [1, 2, 3] * 90) == play(one, [1, 2, 3] * 90)


def test_state_at_an_episodes_end():
  one = atari.AtariEnvironment('Breakout', seed=4)
  one.reset()
  while not one.game_over:
    one.step(0 if one.get_state()['steps'] % 2 else 1)
  other = atari.AtariEnvironment('Breakout', seed=4)
  other.set_state(one.get_state())
  assert other.game_over
  assert play(other, [1, 2, 3] * 9) == play(one, [1, 2, 3] * 9)


def test_states_have_one_structure():
  """So that one state is a template for reading any other."""
  environment = atari.AtariEnvironment('Pong', seed=0)
  before = environment.get_state()
  play(environment, [1] * 20)
  after = environment.get_state()
  assert after['steps'] == 20
  for name, value in after.items():
    assert np.shape(value) == np.shape(before[name])
    assert np.asarray(value).dtype == np.asarray(before[name]).dtype
  play(environment, [2])
  assert after['actions'][20] == 0, 'the state changes with the environment'


def test_state_of_another_run():
  one = atari.AtariEnvironment('Breakout', seed=0)
  play(one, [1, 2, 3, 0] * 5)
  state = one.get_state()
  one.set_state(state)
  for other in [
    atari.AtariEnvironment('Breakout', seed=1),
    atari.AtariEnvironment('Pong', seed=0),
  ]:
    with pytest.raises(ValueError, match='does not replay'):
      other.set_state(state)


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (
      {'game': 'Breakot'},
      "unknown game 'Breakot': did you mean Breakout?",
    ),
    ({'game': 'tenis'}, "unknown game 'tenis': did you mean Tennis?"),
    ({'seed': -1}, 'seed must be an integer of at least 0, not -1'),
    ({'seed': 1.5}, 'seed must be an integer'),
    ({'seed': None}, 'seed must be an integer'),
    ({'max_noops': -1}, 'max_noops must be an integer of at least 0'),
    ({'max_episode_steps': 0}, 'max_episode_steps must be an integer'),
    ({'terminal_on_life_loss': 1}, 'terminal_on_life_loss must be'),
  ],
)
def test_wrong_arguments(arguments, message):
  with pytest.raises(ValueError, match=f'^{re.escape(message)}'):
    atari.AtariEnvironment(**{'game': 'Pong', 'seed': 0, **arguments})


@pytest.mark.parametrize('action', [-1, 4])
def test_wrong_actions(action):
  environment = atari.AtariEnvironment('Breakout', seed=0)
  environment.reset()
  with pytest.raises(ValueError, match=r'action must be in \[0, 4\)'):
    environment.step(action)


def test_games():
  assert set(games.GAMES) < set(atari.all_games())
  environment = atari.AtariEnvironment('ALE/MsPacman-v5', seed=0)
  assert environment.game == 'MsPacman'
  assert environment.action_space.n == 9


# --- Evaluation ---


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
  """The return and length of one episode, by a plain loop."""
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
  """Returns and lengths; some episodes end, others come to the time limit."""
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
  for num_threads in (1, 2):
    evaluation = atari.evaluate(
      StackingPolicy(num_actions),
      game,
      num_episodes=6,
      seed=2,
      max_episode_steps=max_steps,
      num_threads=num_threads,
    )
    np.testing.assert_array_equal(np.transpose(evaluation), expected)


def test_evaluation_leaves_out_games_that_end_while_idle():
  """Idle, Assault lasts 161 steps: here it ends before the episode starts."""
  assert atari.draw_noops(0, 0, 1000) > 350
  environment = atari.AtariEnvironment(
    'Assault', seed=0, max_noops=1000, terminal_on_life_loss=False
  )
  total, length = play_alone(environment, StackingPolicy(7), 0, max_steps=99)
  assert total > 0
  evaluation = atari.evaluate(
    StackingPolicy(7),
    'Assault',
    num_episodes=1,
    seed=0,
    max_noops=1000,
    max_episode_steps=99,
  )
  np.testing.assert_array_equal(np.transpose(evaluation), [[total, length]])


@pytest.mark.parametrize('game', ['Pong', 'Breakout', 'Assault', 'AirRaid'])
def test_evaluation_frames_equal_training_frames(game):
  """Without life-loss terminals, until the game's end and from it on."""
  environment = atari.AtariEnvironment(
    game, seed=0, max_noops=0, terminal_on_life_loss=False
  )
  batch = atari.make_evaluation_environments(game, 2)
  actions = random_actions(environment, seed=1)
  frame, (frames, _) = environment.reset(), batch.reset()
  for _ in range(400):
    np.testing.assert_array_equal(frames[0, 0], frame[..., 0])
    action = next(actions)
    frame, reward, is_terminal, info = environment.step(action)
    frames, rewards, ended, cut, infos = batch.step(np.array([action, 0]))
    assert rewards[0] == reward
    assert ended[0] == is_terminal == environment.game_over
    assert not cut.any()
    assert infos['lives'][0] == info['lives']
    if is_terminal:
      break
  assert frames.shape == (2, 1, 84, 84)


def test_evaluation_of_episodes_that_are_cut():
  """The last step's reward counts, and progress is told of."""
  heard = []
  evaluation = atari.evaluate(
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
  np.testing.assert_array_equal(evaluation.lengths, [20, 20, 20])
  assert heard == [
    (step, sum(noop + 20 <= step for noop in noops))
    for step in range(1, max(noops) + 21)
  ]


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ({'game': 'Breakot'}, "unknown game 'Breakot': did you mean Breakout?"),
    ({'seed': -1}, 'seed must be an integer of at least 0, not -1'),
    ({'num_episodes': 0}, 'num_episodes must be an integer of at least 1'),
    ({'max_noops': -1}, 'max_noops must be an integer of at least 0'),
    ({'max_episode_steps': 0}, 'max_episode_steps must be an integer'),
    ({'num_threads': -1}, 'num_threads must be an integer of at least 0'),
  ],
)
def test_wrong_arguments_of_an_evaluation(arguments, message):
  right = {'policy': None, 'game': 'Pong', 'num_episodes': 1, 'seed': 0}
  with pytest.raises(ValueError, match=f'^{re.escape(message)}'):
    atari.evaluate(**{**right, **arguments})


# --- The module ---


def test_protocol():
  protocol = atari.PROTOCOL.as_dict()
  assert json.loads(json.dumps(protocol)) == protocol
  assert protocol['frames'] == 400_000
  assert protocol['sticky_actions'] == 0
  short = dataclasses.replace(atari.PROTOCOL, training_steps=500)
  assert short.as_dict() == {**protocol, 'training_steps': 500, 'frames': 2000}
  with pytest.raises(TypeError):
    atari.Protocol(frame_skip=1)


def test_is_light_and_quiet():
  done = run_python("""
import sys
import numpy as np
from agents import atari
atari.AtariEnvironment('Pong', seed=0).reset()
atari.evaluate(
  lambda frames, first: np.zeros(len(frames), int), 'Pong', 2, 0,
  max_episode_steps=2,
)
heavy = {'tensorflow', 'dopamine', 'gin', 'gym', 'flax'} & set(sys.modules)
assert not heavy, heavy
""")
  assert done.stdout == done.stderr == ''
