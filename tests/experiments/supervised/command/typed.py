"""Types the command of supervised experiments, and reads what it leaves."""

import json
import os
import pathlib
import signal

from absl.testing import flagsaver

from experiments.command import parse_flags
from experiments.supervised import __main__ as command
from experiments.supervised import groups

ROOT = pathlib.Path(__file__).parents[4]
CONFIGS = ROOT / 'gin_configs' / 'supervised'
SEEDS = (3, 8)
CELL = 'ratio 0.5, noise 0.5'
# One cell of the grid of warm starts, on a fortieth of the digits.
TINY = (
  'warm_starts.ratios = (0.5,)',
  'warm_starts.noises = (0.5,)',
  'warm_starts.epochs = 2',
  'Setting.train_size = 100',
  'Setting.width = 0.1',
  'Setting.batch_size = 50',
  'Setting.learning_rate = 0.01',
  f'experiment.seeds = {SEEDS}',
  'experiment.evaluate_every = 1',
)
# What the cell is, said by hand: other settings can begin as it does.
BY_HAND = {'ratios': (0.5, 1.0), 'noises': (0.5, 0.0), 'epochs': (4, 2)}
FIRST_PHASE = {'ratios': (0.5,), 'noises': (0.5,), 'epochs': (4,)}
SHOWN = ('table.md', 'table.csv', 'curves.csv', 'figure.svg', 'figure.png')


def type_command(*arguments):
  """Runs the command in this process; returns its exit code."""
  with flagsaver.flagsaver():
    try:
      return command.main(parse_flags(['supervised', *arguments]))
    except SystemExit as error:
      return error.code


def arguments(base_dir, *bindings):
  """Returns what is typed for the cell."""
  return [
    f'--gin_files={CONFIGS / "warm_start_mnist.gin"}',
    f'--base_dir={base_dir}',
    *(f'--gin_bindings={binding}' for binding in (*TINY, *bindings)),
  ]


def by_hand(base_dir, settings, *more):
  """Returns what is typed for an experiment of other settings."""
  bindings = [line for line in TINY if not line.startswith('warm_starts')]
  said = {name: BY_HAND | fields for name, fields in settings.items()}
  bindings.append(f'experiment.settings = {said}')
  return [
    f'--gin_files={CONFIGS / "methods.gin"}',
    f'--gin_files={CONFIGS / "mnist.gin"}',
    f'--base_dir={base_dir}',
    *(f'--gin_bindings={binding}' for binding in bindings),
    *more,
  ]


def result_file(base_dir):
  (file,) = base_dir.glob('*/results.json')
  return file


def read_results(base_dir):
  return json.loads(result_file(base_dir).read_text())


def contents(folder):
  """Returns the bytes of every file of a folder, and when it was written."""
  return {
    path.relative_to(folder): (path.read_bytes(), path.stat().st_mtime_ns)
    for path in folder.rglob('*')
    if path.is_file()
  }


def phase_folders(base_dir):
  return list((base_dir / 'phases').iterdir())


def seed_folders(base_dir, phase=None):
  """Returns the folders of the seeds of a phase, or of all, by seed."""
  folders = sorted((base_dir / 'phases').glob('*/*'), key=lambda x: x.name)
  return [
    folder
    for folder in folders
    if phase is None
    or json.loads((folder / 'rows.json').read_text())[0]['phase'] == phase
  ]


def type_until_an_epoch(monkeypatch, typed):
  """Runs the command; SIGTERM comes after the first epoch of training."""
  epoch = groups._Training.train_epoch

  def then_stop(training):
    epoch(training)
    os.kill(os.getpid(), signal.SIGTERM)

  with monkeypatch.context() as patch:
    patch.setattr(groups._Training, 'train_epoch', then_stop)
    assert type_command(*typed) == 75
