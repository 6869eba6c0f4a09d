"""Several runs in one process against the same runs alone."""

import json
import os
import re
import signal
import subprocess
import time

import numpy as np
import pytest

from agents import atari, checkpoint
from experiments import runs

# Whatever an agent does, the episodes of these two games are short. They have
# 18 and 6 actions.
GAMES = ('RoadRunner', 'Qbert')


TURNS = '--strategy=turns'


def flags(game, seed, *more):
  """Returns the flags of some short runs, besides those of `Command`."""
  return [
    f'--game={game}',
    f'--seed={seed}',
    '--gin_bindings=Atari100kRunner.training_steps = 90',
    '--gin_bindings=Atari100kRunner.num_eval_episodes = 1',
    '--gin_bindings=DrQAgent.epsilon_eval = 0.5',  # Short episodes.
    *more,
  ]


def small(command, base_dir, game, seed, *more):
  """Returns the arguments of a command of some short runs."""
  return command.arguments(base_dir, *flags(game, seed, *more))


def story(base_dir, game, seed):
  """Returns all that a run has in its folder, but for clocks."""
  folder = base_dir / 'drq_ht' / game / str(seed)
  restored = checkpoint.Checkpoints(folder / 'checkpoints').restore(pytest.fail)
  step, arrays = restored
  del arrays['counters.seconds']
  result = json.loads((folder / 'result.json').read_text())
  for name in ('training_seconds', 'population'):
    result.pop(name, None)
  rows = [
    json.loads(line)
    for line in (folder / 'metrics.jsonl').read_text().splitlines()
  ]
  for row in rows:
    row.pop('seconds', None)
  settings = (folder / 'config.gin').read_text()
  run = json.loads((folder / 'run.json').read_text())
  weights = {**np.load(folder / 'tortoise.npz')}
  assert list((folder / 'metrics' / 'tensorboard').iterdir())
  return {
    'step': step,
    'result': result,
    'rows': rows,
    'settings': settings,
    'run': run,
    'arrays': {
      name: (x.dtype, x.shape, x.tobytes())
      for name, x in (*arrays.items(), *weights.items())
    },
  }


@pytest.fixture(scope='module')
def whole(command, tmp_path_factory):
  """Returns the folder of four runs that `auto` trained together."""
  base_dir = tmp_path_factory.mktemp('whole')
  assert command.type(*small(command, base_dir, 'RoadRunner', '1-4')) == 0
  return base_dir


@pytest.mark.slow
def test_two_games_are_two_groups(command, tmp_path, capfd):
  together, alone = tmp_path / 'together', tmp_path / 'alone'
  assert command.type(*small(command, together, ','.join(GAMES), 2, TURNS)) == 0
  err = capfd.readouterr().err
  for game, actions in zip(GAMES, (18, 6), strict=True):
    assert f'training 1 runs of {game}, with {actions} actions' in err
    assert re.search(f'drq_ht on {game}, seed 2: score .*after 90', err)
  assert command.type(*small(command, alone, 'Qbert', 2)) == 0
  assert story(together, 'Qbert', 2) == story(alone, 'Qbert', 2)


@pytest.mark.slow
def test_killed_and_resumed_and_one_goes_on_alone(
  command, whole, tmp_path, capfd
):
  arguments = small(command, tmp_path, 'RoadRunner', '1-4', TURNS)
  folder = tmp_path / 'drq_ht' / 'RoadRunner'
  process = subprocess.Popen(
    command.argv(tmp_path, *flags('RoadRunner', '1-4', TURNS)),
    env=command.environ(),
    stderr=subprocess.DEVNULL,
  )
  # Killed where some runs have a checkpoint that others lack, or soon after.
  moment = int(np.random.default_rng(11).integers(1, 4))
  deadline = time.monotonic() + 300
  while len(list(folder.glob('*/checkpoints/50/sha256'))) < moment:
    assert process.poll() is None
    assert time.monotonic() < deadline
    time.sleep(1e-3)
  os.kill(process.pid, signal.SIGKILL)
  assert process.wait() == -signal.SIGKILL
  assert not list(folder.glob('*/result.json'))

  assert command.type(*small(command, tmp_path, 'RoadRunner', 3)) == 0
  capfd.readouterr()
  with runs.claim(folder / '4'):
    assert command.type(*arguments) == 75
  lines = capfd.readouterr().err.splitlines()
  assert f'{folder / "3"} is finished already' in lines
  assert f'{folder / "4"} is left out: another process is running in it' in (
    lines
  )
  assert 'training 2 runs of RoadRunner, with 18 actions' in lines
  assert lines[-1] == (
    'error: 1 of 4 runs are left out: other processes are running them'
  )
  assert command.type(*arguments) == 0
  for seed in (1, 2, 3, 4):
    ours = story(tmp_path, 'RoadRunner', seed)
    assert ours == story(whole, 'RoadRunner', seed)
  result = json.loads((whole / 'drq_ht/RoadRunner/1/result.json').read_text())
  assert result['population'] == {
    'size': 4,
    'strategy': 'turns',
    'devices': 1,
  }


def on_devices(command, base_dir, count):
  """Starts a command of three runs where there are so many devices."""
  return subprocess.Popen(
    command.argv(base_dir, *flags('RoadRunner', '1-3', TURNS)),
    env={
      **command.environ(),
      'XLA_FLAGS': f'--xla_force_host_platform_device_count={count}',
      # XLA has as many threads, but no fewer than devices, and their number
      # changes the last bits of a convolution.
      'NPROC': '8',
    },
    stderr=subprocess.PIPE,
    text=True,
  )


@pytest.fixture(scope='module')
def on_one_device(command, tmp_path_factory):
  """Returns the folder of three runs on one device."""
  base_dir = tmp_path_factory.mktemp('one_device')
  process = on_devices(command, base_dir, 1)
  _, err = process.communicate()
  assert process.returncode == 0, err
  assert 'training 3 runs of RoadRunner, with 18 actions\n' in err
  return base_dir


@pytest.mark.slow
@pytest.mark.parametrize(('before', 'after'), [(8, 1), (1, 8)])
def test_killed_and_resumed_on_other_devices(
  command, on_one_device, tmp_path, before, after
):
  process = on_devices(command, tmp_path, before)
  written = tmp_path / 'drq_ht/RoadRunner/1/checkpoints/50/sha256'
  deadline = time.monotonic() + 600
  while not written.exists():
    assert process.poll() is None
    assert time.monotonic() < deadline
    time.sleep(1e-3)
  os.kill(process.pid, signal.SIGKILL)
  texts = {before: process.communicate()[1]}
  assert not list(tmp_path.rglob('result.json'))
  process = on_devices(command, tmp_path, after)
  texts[after] = process.communicate()[1]
  assert process.returncode == 0, texts[after]
  assert texts[8].startswith('devices: 8 cpu (')
  assert 'of RoadRunner, with 18 actions, on 3 devices\n' in texts[8]
  assert 'seed 1: going on from the checkpoint of step 50\n' in texts[after]
  for seed in (1, 2, 3):
    ours = story(tmp_path, 'RoadRunner', seed)
    assert ours == story(on_one_device, 'RoadRunner', seed)


def test_a_run_that_diverges_stops_alone(
  command, whole, tmp_path, monkeypatch, capfd
):
  class Broken(atari.AtariEnvironment):
    steps = 0

    def step(self, action):
      self.steps += 1
      observation, reward, *rest = super().step(action)
      if self._seed == 2 and self.steps >= 60:
        reward = float('nan')
      return observation, reward, *rest

  monkeypatch.setattr(atari, 'AtariEnvironment', Broken)
  code = command.type(*small(command, tmp_path, 'RoadRunner', '1-3', TURNS))
  assert code == 76
  assert re.fullmatch(
    r'error: RoadRunner, seed 2: the loss of gradient step \d+ is not finite; '
    r'the last good checkpoint is \S+/RoadRunner/2/checkpoints/50',
    capfd.readouterr().err.splitlines()[-1],
  )
  folder = tmp_path / 'drq_ht' / 'RoadRunner'
  assert sorted(path.parent.name for path in folder.glob('*/result.json')) == [
    '1',
    '3',
  ]
  for seed in (1, 3):
    ours = story(tmp_path, 'RoadRunner', seed)
    assert ours == story(whole, 'RoadRunner', seed)


WRONG = {
  '--seed=0-': "--seed must look like 0-4 or 0,2,7, not '0-'",
  '--seed=4-0': "--seed must look like 0-4 or 0,2,7, not '4-0'",
  '--seed=': '--seed is missing: for example --seed=0-4',
  '--seed=0-2,1': '--seed names 1 twice',
  '--seed=0-4294967296': '--seed must be an integer from 0 to 4294967295',
  '--game=Pong,Pnog': "--game: unknown game 'Pnog': did you mean Pong?",
  '--game=Pong,pong': '--game names Pong twice',
  '--game=,': "--game must name a game, not ','",
  '--strategy=fast': '--strategy=fast: value should be one of <auto|turns|',
  '--base_dir=': 'flag --base_dir=: it is empty',
  '--gin_bindings=DrQAgent.gamma = 2': 'DrQAgent.gamma must be a number',
  '--gin_bindings=DrQAgent.gama = 0.9': "has no setting 'gama'",
  '--gin_bindings=gamma = 0.9': "the setting 'gamma' has no effect",
  '--gin_bindings=JaxDQNAgent.gamma = 0.9': 'did you mean DrQAgent.gamma?',
  "--gin_bindings=CollectorDispatcher.collectors = 'console'": (
    'CollectorDispatcher.collectors must be a tuple'
  ),
  "--gin_bindings=JaxDQNAgent.collector_allowlist = ('console',)": (
    'JaxDQNAgent.collector_allowlist has no effect on several runs at once'
  ),
  "--gin_bindings=hare_tortoise.reset_mask = {'params': {'hed': True}}": (
    'reset_mask must be'
  ),
  '--gin_bindings=DrQAgent.replay_capacity = 2_000_000_000': (
    'DrQAgent.replay_capacity must fit in memory'
  ),
}


@pytest.mark.parametrize('argument', WRONG)
def test_a_wrong_command(command, capfd, tmp_path, argument):
  arguments = small(command, tmp_path, ','.join(GAMES), '0-1', argument)
  assert command.type(*arguments) == 2
  out, err = capfd.readouterr()
  assert out == ''
  assert WRONG[argument] in err
  assert err.startswith('error: ')
  assert err.count('\n') == 1
  assert list(tmp_path.iterdir()) == []


def test_a_strategy_is_for_several_runs(command, capfd, tmp_path):
  arguments = small(command, tmp_path, 'Qbert', 1, '--strategy=turns')
  assert command.type(*arguments) == 2
  assert capfd.readouterr().err == (
    'error: --strategy has no effect on a single run\n'
  )


def test_one_folder_of_another_configuration_stops_all(command, whole, capfd):
  before = sorted(whole.rglob('*'))
  arguments = small(
    command,
    whole,
    'RoadRunner',
    '0-1',
    '--gin_bindings=DrQAgent.gamma = 0.5',
  )
  assert command.type(*arguments) == 2
  assert 'RoadRunner/1 holds a run with another configuration' in (
    capfd.readouterr().err
  )
  assert sorted(whole.rglob('*')) == before
