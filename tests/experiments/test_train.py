"""Right and wrong commands, and their messages."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from agents import atari, checkpoint
from experiments import atari_run, config, runs
from tests.experiments.refusals import assert_refused
from tests.experiments.wrong_settings import WRONG_SETTINGS


def contents(folder):
  """Returns the bytes of every file under a folder."""
  files = [path for path in folder.rglob('*') if path.is_file()]
  return {path.relative_to(folder): path.read_bytes() for path in files}


WRONG_COMMANDS = [
  (['--game=Breakot'], "unknown game 'Breakot': did you mean Breakout?"),
  (['--game='], '--game is missing'),
  (['--seed=-1'], '--seed must be an integer from 0 to 4294967295'),
  (['--seed=4294967296'], '--seed must be an integer from 0 to 4294967295'),
  (['--seed=9223372036854775808'], '--seed must be an integer from 0'),
  (['--seed=one'], '--seed'),
  (['--base_dir='], 'flag --base_dir=: it is empty'),
  (['--gaem=Pong'], "flag 'gaem'. Did you mean: game"),
  (['Pong'], "unexpected argument 'Pong'"),
  (
    ['--gin_files=gin_configs/drq_th.gin'],
    "no gin file 'gin_configs/drq_th.gin': did you mean gin_configs/drq_",
  ),
  (['--gin_files=/nowhere/drq.gin'], "no gin file '/nowhere/drq.gin'"),
  (['--base_dir=/proc/runs'], '/proc/runs/drq_ht/RoadRunner/1 cannot be'),
  (['--base_dir=setup.py'], 'setup.py/drq_ht/RoadRunner/1 cannot be written'),
]


@pytest.mark.parametrize(('arguments', 'message'), WRONG_COMMANDS)
def test_a_wrong_command(
  command, capfd, tmp_path, monkeypatch, arguments, message
):
  monkeypatch.chdir(command.root)
  code = command.type(*command.arguments(tmp_path, *arguments))
  assert_refused(capfd, code, message)
  assert contents(tmp_path) == {}


@pytest.mark.parametrize('missing', ['--game', '--gin_files'])
def test_what_is_needed(command, capfd, tmp_path, missing):
  arguments = command.arguments(tmp_path)
  arguments = [word for word in arguments if not word.startswith(missing)]
  assert_refused(capfd, command.type(*arguments), f'{missing} is missing')


@pytest.mark.parametrize('setting', WRONG_SETTINGS)
def test_a_wrong_setting(command, capfd, tmp_path, setting):
  arguments = command.arguments(tmp_path, f'--gin_bindings={setting}')
  assert_refused(capfd, command.type(*arguments), WRONG_SETTINGS[setting])
  # The folder stays free for a correct command.
  assert list(tmp_path.iterdir()) == []


FOLDERS = ('checkpoints', 'metrics', 'metrics/tensorboard')
FILES = (
  'config.gin',
  'metrics.jsonl',
  'operative_config.gin',
  'result.json',
  'run.json',
  'tortoise.npz',
)


@pytest.mark.parametrize(
  ('name', 'kind'),
  [
    *((name, kind) for name in FOLDERS for kind in ('file', 'dangling link')),
    *((name, 'folder') for name in FILES),
  ],
)
def test_a_path_of_the_wrong_kind(command, capfd, tmp_path, name, kind):
  path = tmp_path / command.folder / name
  path.parent.mkdir(parents=True)
  if kind == 'file':
    path.touch()
  elif kind == 'folder':
    path.mkdir()
  else:
    path.symlink_to(tmp_path / 'nothing')
  assert command.type(*command.arguments(tmp_path)) == 1
  wanted = 'folder' if name in FOLDERS else 'file'
  assert capfd.readouterr().err == (
    f'error: {path} must be a {wanted}; move it away\n'
  )


def test_a_wrong_file_is_named(command, capfd, tmp_path):
  file = tmp_path / 'mine.gin'
  file.write_text('DrQAgent.gamma = 0.9\nDrQAgnt.gamma = 0.9\n')
  arguments = command.arguments(tmp_path, f'--gin_files={file}')
  assert_refused(capfd, command.type(*arguments), f'(in {file})')


@pytest.fixture(scope='module')
def finished(command, tmp_path_factory):
  """Returns the base_dir of a finished run; its first command was wrong."""
  base_dir = tmp_path_factory.mktemp('finished')
  arguments = command.arguments(base_dir)
  assert command.type(*arguments, '--gin_bindings=DrQAgent.gamma = 2') == 2
  assert command.type(*arguments) == 0
  return base_dir


def test_the_same_command_elsewhere_gives_the_same_scores(
  command, finished, tmp_path, capfd
):
  assert command.type(*command.arguments(tmp_path)) == 0
  out, err = capfd.readouterr()
  assert out == ''
  results = [
    json.loads((base / command.folder / 'result.json').read_text())
    for base in (finished, tmp_path)
  ]
  for key in ('score', 'returns', 'lengths', 'gradient_steps'):
    assert results[0][key] == results[1][key]
  assert len(set(results[0]['lengths'])) > 1
  assert f'score {results[0]["score"]:.2f}' in err.splitlines()[-1]


def test_a_finished_run_stays_as_it_is(command, finished, capfd):
  before = contents(finished)
  assert command.type(*command.arguments(finished)) == 0
  out, err = capfd.readouterr()
  assert out == ''
  says, score = err.splitlines()
  assert says == f'{finished / command.folder} is finished already'
  result = json.loads(before[command.folder / 'result.json'])
  assert f'score {result["score"]:.2f}' in score
  assert contents(finished) == before


def test_what_a_kill_after_the_result_left_is_removed(
  command, finished, tmp_path
):
  shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
  folder = tmp_path / command.folder
  checkpoints, episodes = folder / 'checkpoints', folder / 'episodes.jsonl'
  episodes.write_text('')
  assert (checkpoints / '300').is_dir()  # The run keeps them.
  assert command.type(*command.arguments(tmp_path)) == 0
  assert (checkpoints / '300').is_dir()
  assert not episodes.exists()
  keep = 'Atari100kRunner.keep_checkpoints = '
  file = folder / 'config.gin'
  file.write_text(file.read_text().replace(f'{keep}True', f'{keep}False'))
  assert (
    command.type(*command.arguments(tmp_path, f'--gin_bindings={keep}False'))
    == 0
  )
  assert not checkpoints.exists()
  assert (folder / 'tortoise.npz').exists()


def test_a_finished_run_whose_result_others_wrote(
  command, finished, tmp_path, capfd
):
  shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
  path = tmp_path / command.folder / 'result.json'
  given = json.loads(path.read_text())
  kept = ('config', 'game', 'seed', 'score', 'protocol')
  path.write_text(json.dumps({key: given[key] for key in kept}))
  assert command.type(*command.arguments(tmp_path)) == 0
  assert (
    capfd.readouterr().err.splitlines()[-1].endswith(' after 300 agent steps')
  )


@pytest.mark.parametrize(
  ('typed', 'difference'),
  [
    ('--gin_bindings=DrQAgent.gamma = 0.5', 'here: DrQAgent.gamma = 0.5'),
    ('--gin_bindings=adam.b1 = 0.5', 'here: adam.b1 = 0.5'),
  ],
)
def test_the_folder_of_another_configuration(
  command, finished, capfd, typed, difference
):
  before = contents(finished)
  code = command.type(*command.arguments(finished, typed))
  assert_refused(capfd, code, f'another configuration ({difference})')
  assert contents(finished) == before


def test_a_setting_that_is_gone(command, finished, capfd):
  arguments = command.arguments(finished)
  arguments.remove('--gin_bindings=DuelingQNetwork.hidden = 16')
  code = command.type(*arguments)
  assert_refused(capfd, code, '(there: DuelingQNetwork.hidden = 16)')


def test_one_process_at_a_time(command, finished, tmp_path, capfd):
  shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
  arguments = command.arguments(tmp_path)
  with runs.claim(tmp_path / command.folder):
    assert command.type(*arguments) == 75
    folder = tmp_path / command.folder
    assert capfd.readouterr().err == (
      f'error: another process is running in {folder}\n'
    )
  assert command.type(*arguments) == 0


@pytest.mark.parametrize(
  ('typed', 'message'),
  [
    # The binding needs the included file: includes are found from any folder.
    ('--gin_bindings=DrQAgent.gamma = 2', 'DrQAgent.gamma must be'),
    ('--gaem=Pong', 'Did you mean: game'),
  ],
)
def test_a_process_of_its_own(command, tmp_path, typed, message):
  process = subprocess.run(
    command.argv(tmp_path, typed),
    env=command.environ(),
    cwd=tmp_path,
    capture_output=True,
    text=True,
    check=False,
  )
  assert process.returncode == 2
  assert process.stdout == ''
  assert process.stderr.startswith('error: ')
  assert process.stderr.count('\n') == 1
  assert message in process.stderr


def every_array(base_dir, command):
  """Yields the arrays of each checkpoint, newest first."""
  folder = base_dir / command.folder / 'checkpoints'
  for step in reversed(checkpoint.Checkpoints(folder).steps()):
    for other in checkpoint.Checkpoints(folder).steps():
      if other > step:
        shutil.rmtree(folder / str(other))
    yield checkpoint.Checkpoints(folder).restore(pytest.fail)


@pytest.mark.parametrize('log_every', [1, 1000])
def test_a_reward_that_is_no_number(
  command, tmp_path, monkeypatch, capfd, log_every
):
  class Broken(atari.AtariEnvironment):
    steps = 0

    def step(self, action):
      self.steps += 1
      observation, reward, *rest = super().step(action)
      reward = reward if self.steps < 120 else float('nan')
      return observation, reward, *rest

  monkeypatch.setattr(atari, 'AtariEnvironment', Broken)
  arguments = command.arguments(
    tmp_path, f'--gin_bindings=Atari100kRunner.log_every = {log_every}'
  )
  assert command.type(*arguments) == 76
  _, err = capfd.readouterr()
  folder = tmp_path / command.folder
  said = re.fullmatch(
    r'error: the loss of gradient step (\d+) is not finite; '
    rf'the last good checkpoint is {folder}/checkpoints/100',
    err.splitlines()[-1],
  )
  assert said
  assert 'Traceback' not in err
  rows = (folder / 'metrics.jsonl').read_text().splitlines()
  figures = [row for row in map(json.loads, rows) if 'loss' in row]
  assert all(np.isfinite(row['loss']) for row in figures)
  if log_every == 1:
    # All rows before the first bad step were written; the bad one was not.
    assert int(said[1]) == figures[-1]['gradient_steps'] + 1
  else:
    # The checkpoint of step 150 detects it, but the bad step came before.
    assert 90 <= int(said[1]) < 115
  assert not (folder / 'result.json').exists()
  steps = []
  for step, arrays in every_array(tmp_path, command):
    steps.append(step)
    for name, array in arrays.items():
      if name != 'counters.last_return':  # NaN before the first episode.
        assert np.isfinite(array).all(), name
  assert steps == [100, 50]


def test_weights_that_are_no_numbers_are_not_saved(command, tmp_path, capfd):
  # Adam divides 0 by 0 where a gradient is 0: the loss of the first gradient
  # step is finite, but the new weights are not.
  settings = (
    'adam.eps = 0.0',
    'Atari100kRunner.checkpoint_every = 1',
    'DrQAgent.min_replay_history = 11',
  )
  arguments = [f'--gin_bindings={setting}' for setting in settings]
  assert command.type(*command.arguments(tmp_path, *arguments)) == 76
  _, err = capfd.readouterr()
  assert re.fullmatch(
    r'error: the loss of gradient step 2 is not finite; the last good '
    r'checkpoint is .*/checkpoints/\d+',
    err.splitlines()[-1],
  )
  for _, arrays in every_array(tmp_path, command):
    for name, array in arrays.items():
      if name.startswith('agent.run.train'):
        assert np.isfinite(array).all(), name


def test_settings_of_what_is_not_made_are_left_alone(command, tmp_path):
  # As in a file that replaces the optimizer of the file that it includes.
  config.load_config(
    [command.config_file],
    [
      *command.settings,
      "create_optimizer.name = 'rmsprop'",
      'rate = 0.5',
      'adam.learning_rate = %rate',
    ],
  )
  run = atari_run.AtariRun(tmp_path, 'mine', 'RoadRunner', 1)
  run._make_runner(lambda: False)  # Checks that each setting has an effect.
