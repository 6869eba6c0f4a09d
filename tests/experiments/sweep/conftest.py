"""Sweeps of stub runs, and what it takes to kill them."""

import json
import os
import pathlib
import resource
import signal
import subprocess
import sys

import pytest

from experiments.sweep import plan

ROOT = pathlib.Path(__file__).parents[3]
STUB = pathlib.Path(__file__).with_name('stub_trainer.py')


def _processes(folder):
  """The numbers of all processes whose command names a folder, but for us."""
  found = []
  for path in pathlib.Path('/proc').glob('[0-9]*/cmdline'):
    try:
      words = path.read_bytes().decode(errors='replace')
    except OSError:  # It has ended.
      continue
    if str(folder) in words and int(path.parent.name) != os.getpid():
      found.append(int(path.parent.name))
  return found


@pytest.fixture(scope='session')
def processes_of():
  return _processes


class StubSweep:
  """A sweep whose runs take milliseconds."""

  def __init__(self, base_dir, configs, games, seeds, retries=2):
    self.base_dir = base_dir
    self.sweep = plan.Sweep(
      base_dir,
      {name: plan.Configuration(f'# {name}\n', 5) for name in configs},
      tuple(
        plan.Run(config, game, seed)
        for config in configs
        for game in games
        for seed in seeds
      ),
      retries,
      (str(STUB),),
    )
    base_dir.mkdir(exist_ok=True)
    plan.save(self.sweep)

  def behave(self, **words):
    """Says what the attempts at runs do, by names with _ for /."""
    named = {name.replace('_', '/'): of for name, of in words.items()}
    (self.base_dir / 'behaviour.json').write_text(json.dumps(named))

  def argv(self, *more):
    this = [sys.executable, '-m', 'experiments.sweep', 'run']
    return [*this, f'--base_dir={self.base_dir}', *more]

  def environ(self):
    return {**os.environ, 'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu'}

  def run(self, *more):
    """Runs it to its end; returns the exit code and the lines."""
    return self.command(*self.argv(*more)[3:])

  def command(self, *words):
    """Runs another command; returns the exit code and the lines."""
    process = subprocess.run(
      [*self.argv()[:3], *map(str, words)],
      env=self.environ(),
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
      check=False,
      timeout=300,
    )
    assert 'Traceback' not in process.stdout, process.stdout
    return process.returncode, process.stdout.splitlines()

  def start(self, *more, largest_file=resource.RLIM_INFINITY):
    """Starts it in a process.

    Args:
      *more: flags.
      largest_file: fails longer writes in the middle, as a full disk does.
    """
    process = subprocess.Popen(
      self.argv(*more),
      env=self.environ(),
      stdout=subprocess.DEVNULL,
      stderr=(self.base_dir / 'stderr').open('a'),
    )
    self.limit_files(process, largest_file)  # Long before it starts any run.
    return process

  def limit_files(self, process, largest):
    """Sets the size of the largest file for a process and what it starts."""
    of_files = resource.RLIMIT_FSIZE
    _, hard = resource.prlimit(process.pid, of_files)
    soft = hard if largest == resource.RLIM_INFINITY else largest
    resource.prlimit(process.pid, of_files, (soft, hard))

  def start_one(self, run):
    """Starts the trainer of one run by itself."""
    self.sweep.folder(run).path.mkdir(parents=True)
    return subprocess.Popen([sys.executable, *self.sweep.arguments(run)])

  def processes(self):
    return _processes(self.base_dir)

  def done(self):
    return [
      run for run in self.sweep.runs if self.sweep.folder(run).is_finished
    ]

  def events(self, name):
    """The lines of a run's attempts.jsonl."""
    text = (self.base_dir / name / 'attempts.jsonl').read_text()
    return [json.loads(line) for line in text.splitlines()]

  def outcomes(self, name):
    return [x['outcome'] for x in self.events(name) if x['event'] == 'end']


@pytest.fixture
def stub_sweep(tmp_path):
  """Makes a sweep of stub runs; what is left of it is killed."""
  made = []

  def make(*args, **kwargs):
    made.append(StubSweep(tmp_path, *args, **kwargs))
    return made[-1]

  yield make
  for sweep in made:
    for number in sweep.processes():
      os.kill(number, signal.SIGKILL)
