"""Commands of tiny runs."""

import os
import pathlib
import sys

from absl.testing import flagsaver
import gin
import pytest

from experiments import train
from experiments.command import parse_flags


class Command:
  """The command `python -m experiments.train` for a tiny run of DrQ + H&T."""

  root = pathlib.Path(__file__).parents[2]
  config_file = str(root / 'gin_configs' / 'drq_ht.gin')
  folder = pathlib.Path('drq_ht/RoadRunner/1')
  training_steps = 300
  checkpoint_every = 50
  settings = (
    # Episodes of this game are short, whatever the agent does.
    f'Atari100kRunner.training_steps = {training_steps}',
    f'Atari100kRunner.checkpoint_every = {checkpoint_every}',
    'Atari100kRunner.log_every = 2',
    'Atari100kRunner.keep_checkpoints = True',  # They are compared.
    'Atari100kRunner.num_eval_episodes = 3',
    'DrQAgent.min_replay_history = 30',
    'DrQAgent.replay_capacity = 200',
    'DrQAgent.replay_ratio = 1',
    'DrQAgent.batch_size = 4',
    'DuelingQNetwork.channels = (4,)',
    'DuelingQNetwork.kernels = (12,)',
    'DuelingQNetwork.strides = (12,)',
    'DuelingQNetwork.hidden = 16',
    'hare_tortoise.reset_every = 40',
  )

  def arguments(self, base_dir, *more):
    """Returns the arguments of the command; those in `more` override."""
    return [
      f'--gin_files={self.config_file}',
      '--game=RoadRunner',
      '--seed=1',
      f'--base_dir={base_dir}',
      *(f'--gin_bindings={setting}' for setting in self.settings),
      *more,
    ]

  def argv(self, base_dir, *more):
    """Returns the whole command, for a subprocess."""
    arguments = self.arguments(base_dir, *more)
    return [sys.executable, '-m', 'experiments.train', *arguments]

  def environ(self):
    """Returns the environment of the subprocess, for any folder."""
    return {**os.environ, 'PYTHONPATH': str(self.root)}

  def type(self, *arguments):
    """Runs the command in this process; returns its exit code."""
    with flagsaver.flagsaver():
      try:
        return train.main(parse_flags(['train', *arguments]))
      except SystemExit as error:
        return error.code


class BBFCommand(Command):
  """The command for a tiny run of BBF or a relative."""

  training_steps = 100
  checkpoint_every = 25
  settings = (
    f'Atari100kRunner.training_steps = {training_steps}',
    f'Atari100kRunner.checkpoint_every = {checkpoint_every}',
    'Atari100kRunner.log_every = 1',
    'Atari100kRunner.keep_checkpoints = True',
    'Atari100kRunner.num_eval_episodes = 1',
    'BBFAgent.min_replay_history = 15',
    'BBFAgent.replay_capacity = 80',
    'BBFAgent.replay_ratio = 2',
    'BBFAgent.batch_size = 4',
    "BBFNetwork.encoder = 'nature'",
    'BBFNetwork.channels = (2, 2, 2)',
    'BBFNetwork.hidden = 8',
  )

  def __init__(self, name, *settings):
    self.config_file = str(self.root / 'gin_configs' / f'{name}.gin')
    self.folder = pathlib.Path(name) / 'RoadRunner' / '1'
    self.settings += settings

  def environ(self):
    return {**super().environ(), 'JAX_DISABLE_MOST_OPTIMIZATIONS': '1'}


@pytest.fixture(scope='session')
def command():
  return Command()


@pytest.fixture(scope='session')
def bbf_command():
  return BBFCommand


@pytest.fixture(autouse=True, scope='module')
def _no_settings_left():
  yield
  gin.clear_config()
