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
from agents.errors import ReplayError
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


# AirRaid's screen is 250 pixels high, the others are 210. The start of Assault
# depends on the restarts before it. Lives in Breakout and Qbert are short.
@pytest.mark.parametrize('game', ['Pong', 'Breakout', 'Assault', 'AirRaid'])
@pytest.mark.parametrize('terminal_on_life_loss', [True, False])
def test_frames_equal_dopamines(game, terminal_on_life_loss):
  """Compares frames, rewards and terminals across lives and episodes."""
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
  """With no-ops RoadRunner lasts 270 steps: here it ends several times."""
  environment = atari.AtariEnvironment(
    'RoadRunner', seed=0, max_noops=2000, terminal_on_life_loss=False
  )
  assert atari.draw_noops(0, 0, 2000) > 600
  environment.reset()
  assert not environment.game_over
  assert environment.get_state()['steps'] == 0
  assert environment.step(0)[3]['lives'] > 0


def play(environment, actions):
  """Returns everything that an agent observes with these actions."""
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
  """Compares 2,000 steps after resuming, across lives and episodes.

  Qbert does not resume exactly from the state that ale-py itself saves, and
  Assault only after the correct number of restarts.
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
  """One state can serve as the template for reading any other."""
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
  actions = state['actions'].copy()
  actions[7] = 4  # Breakout has four actions.
  for other, saved in [
    (atari.AtariEnvironment('Breakout', seed=1), state),
    (atari.AtariEnvironment('Pong', seed=0), state),
    # Its game is over before the saved one.
    (atari.AtariEnvironment('Breakout', seed=0, max_episode_steps=19), state),
    (one, state | {'actions': actions}),
  ]:
    with pytest.raises(ReplayError, match='does not replay'):
      other.set_state(saved)


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (
      {'game': 'Breakot'},
      "unknown game 'Breakot': did you mean Breakout?",
    ),
    ({'game': 'tenis'}, "unknown game 'tenis': did you mean Tennis?"),
    ({'seed': -1}, 'seed must be an integer from 0 to 4294967295'),
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
from agents import evaluation
atari.AtariEnvironment('Pong', seed=0).reset()
evaluation.evaluate(
  lambda frames, first: np.zeros(len(frames), int), 'Pong', 2, 0,
  max_episode_steps=2,
)
heavy = {'tensorflow', 'dopamine', 'gin', 'gym', 'flax'} & set(sys.modules)
assert not heavy, heavy
""")
  assert done.stdout == done.stderr == ''
