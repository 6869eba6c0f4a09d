"""Experiments that are killed, stopped, damaged and shared end the same."""

import json
import multiprocessing
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from agents import checkpoint

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[3]
FIRST, SECOND = 8, 6  # Epochs of the phases.
CONFIG = f"""
Setting.dataset = 'fashion_mnist'
Setting.folder = '{{data}}'
Setting.width = 0.1
Setting.batch_size = 50
Setting.learning_rate = 0.01
Setting.ratios = (0.5, 1.0)
Setting.noises = (0.2, 0.0)
Setting.epochs = ({FIRST}, {SECOND})
Setting.momentum = 0.5
Setting.reset_epochs = 2
experiment.settings = {{{{
  'H&T': {{{{'reported': 'tortoise'}}}},
  'S&P': {{{{'shrink': 0.5, 'perturb': 0.01}}}},
}}}}
experiment.seeds = (3, 8)
experiment.evaluate_every = 1
experiment.checkpoint_seconds = 0
experiment.draw = @figures.curves
"""
# A forked process has its imports from the server that it is a copy of: they
# take longer than all that is tried here.
CHILD = """
import os
for number, path in ((1, stdout), (2, stderr)):
  os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
from absl import app
import jax
from experiments.supervised import __main__ as supervised
from experiments.command import parse_flags
for name, value in options.items():
  jax.config.update(name, value)
app.run(supervised.main, ['supervised', *arguments], parse_flags)
"""


def write_data(folder):
  """Writes a data set like Fashion-MNIST: ten shades of grey, and noise."""
  rng = np.random.default_rng(5)
  for part, count in (('train', 100), ('t10k', 50)):
    labels = np.arange(count) % 10
    noise = rng.integers(0, 256, (count, 28, 28))
    shades = 25 * labels[:, None, None]
    mixed = np.where(rng.random(noise.shape) < 0.7, shades, noise)
    for name, array in (('images', mixed), ('labels', labels)):
      header = bytes((0, 0, 8, array.ndim))
      header += np.array(array.shape, '>u4').tobytes()
      path = folder / f'{part}-{name}-idx{array.ndim}-ubyte'
      path.write_bytes(header + array.astype(np.uint8).tobytes())


class Commands:
  """Types one command, for several folders."""

  def __init__(self, folder):
    self.folder = folder
    write_data(folder)
    self._config_file = folder / 'tiny.gin'
    self._config_file.write_text(CONFIG.format(data=folder))
    self._options = {
      'jax_disable_most_optimizations': True,
      'jax_compilation_cache_dir': str(folder / 'compiled'),
      'jax_persistent_cache_min_entry_size_bytes': -1,
    }
    self._server = multiprocessing.get_context('forkserver')
    self._server.set_forkserver_preload(['experiments.supervised.__main__'])
    self._started = 0

  def arguments(self, base_dir):
    return [f'--gin_files={self._config_file}', f'--base_dir={base_dir}']

  def run(self, base_dir):
    """Types it as a person does, and waits; the programs are kept."""
    options = {**self._options, 'jax_persistent_cache_min_compile_time_secs': 0}
    environ = {name.upper(): str(value) for name, value in options.items()}
    return subprocess.run(
      (
        sys.executable,
        '-m',
        'experiments.supervised',
        *self.arguments(base_dir),
      ),
      env={**os.environ, **environ, 'PYTHONPATH': str(ROOT)},
      cwd=self.folder,
      capture_output=True,
      text=True,
      check=False,
    )

  def start(self, base_dir):
    """Types it for a process that is left alone."""
    self._started += 1
    # No process that is killed may write a program.
    options = {
      **self._options,
      'jax_persistent_cache_min_compile_time_secs': 1e9,
    }
    names = {
      'options': options,
      'arguments': self.arguments(base_dir),
      'stdout': str(self.folder / f'stdout{self._started}'),
      'stderr': str(self.folder / f'stderr{self._started}'),
    }
    process = self._server.Process(target=exec, args=(CHILD, names))
    process.start()
    return Typed(process, names['stdout'], names['stderr'])


class Typed:
  """A running command."""

  def __init__(self, process, stdout, stderr):
    self.process = process
    self._stdout, self._stderr = pathlib.Path(stdout), pathlib.Path(stderr)

  def wait(self):
    """Returns the exit code, and the lines on stdout and on stderr."""
    self.process.join(300)
    said = (self._stdout, self._stderr)
    out, err = (p.read_text().splitlines() if p.exists() else [] for p in said)
    assert not any('Traceback' in line for line in err)
    return self.process.exitcode, out, err

  def until(self, condition):
    """Waits for a moment of the running process."""
    deadline = time.monotonic() + 300
    while not condition():
      assert self.process.is_alive(), self.wait()
      assert time.monotonic() < deadline
      time.sleep(1e-3)

  def kill(self):
    """Kills it; nothing was wrong until then."""
    self.process.kill()
    code, out, err = self.wait()
    assert code == -signal.SIGKILL
    assert out == []
    usual = 'devices: ', 'training: '
    assert [line for line in err if not line.startswith(usual)] == []


SEEDS = ('3', '8')


class Phase:
  """The folder of a phase, with those of its seeds."""

  def __init__(self, folder):
    self.folder = folder
    self.seeds = [folder / seed for seed in SEEDS]

  def exists(self):
    return (self.seeds[0] / 'setting.json').exists()

  def is_finished(self):
    return all((seed / 'finished').exists() for seed in self.seeds)

  def checkpoints(self):
    """Epochs of the complete checkpoints that all seeds have."""
    of_seeds = []
    for seed in self.seeds:
      # Each ends with the digest of its files.
      names = [p.parent.name for p in seed.glob('checkpoints/*/sha256')]
      of_seeds.append({int(name) for name in names if name.isdigit()})
    return sorted(set.intersection(*of_seeds))

  def unfinished(self):
    return list(self.seeds[0].glob('checkpoints/*.orbax-checkpoint-tmp*'))

  def left(self):
    """What it has left: its rows, and the bytes of the last arrays if any."""
    return [self._left(seed) for seed in self.seeds]

  def _left(self, seed):
    stored = checkpoint.Checkpoints(seed / 'checkpoints').restore(pytest.fail)
    return (
      (seed / 'rows.json').read_bytes(),
      (seed / 'setting.json').read_bytes(),
      stored
      and {
        name: (array.dtype, array.shape, array.tobytes())
        for name, array in stored[1].items()
      },
    )


def shown(base_dir):
  """The bytes of all that is drawn."""
  files = [path for path in (base_dir / 'tiny').iterdir() if path.is_file()]
  return {path.name: path.read_bytes() for path in files}


@pytest.fixture(scope='module')
def commands(tmp_path_factory):
  return Commands(tmp_path_factory.mktemp('commands'))


@pytest.fixture(scope='module')
def reference(commands):
  """An experiment that nothing has interrupted, and what it said."""
  base_dir = commands.folder / 'reference'
  return base_dir, commands.run(base_dir)


@pytest.fixture(scope='module')
def phases(reference):
  """The names of the folders: of the first phase, and of the second ones."""
  names = {}
  for folder in (reference[0] / 'phases').iterdir():
    assert sorted(path.name for path in folder.iterdir()) == list(SEEDS)
    seed = folder / SEEDS[0]
    (row, *_) = json.loads((seed / 'rows.json').read_text())
    setting = json.loads((seed / 'setting.json').read_text())['setting']
    names[row['phase'], row['phase'] and setting['shrink']] = folder.name
  assert len(names) == 3
  return names[0, 0], names[1, 0.0], names[1, 0.5]


def test_an_uninterrupted_experiment_says_what_it_should_and_no_more(
  reference, phases
):
  base_dir, process = reference
  assert process.returncode == 0
  device, *lines, written = process.stderr.splitlines()
  assert re.fullmatch(r'devices: 1 cpu \(cores [0-9,-]+\)', device)
  ended = [line for line in lines if not line.startswith('training: step ')]
  assert [line.split(' is finished, ')[0] for line in ended] == [
    'H&T: phase 1 of 2',
    'H&T: phase 2 of 2',
    'S&P: phase 2 of 2',
  ]
  assert written.startswith('written: ')
  assert process.stdout.encode() == shown(base_dir)['table.md']
  # What the comparisons below hold on to is there, and is not trivial.
  for name in phases:
    phase = Phase(base_dir / 'phases' / name)
    (rows, _, arrays), (other, _, _) = phase.left()
    rows, epochs = json.loads(rows), phase.checkpoints()
    is_first = name == phases[0]
    assert rows[-1]['epoch'] == (FIRST if is_first else SECOND)
    assert epochs == ([FIRST] if is_first else [])
    assert [row['moment'] for row in rows[1:-1]] == ['epoch'] * (len(rows) - 2)
    if is_first:
      assert any('tortoise' in path for path in arrays)
      assert any('.mu.' in path for path in arrays)
    # It learns what can be learnt, and no two seeds are alike.
    end = rows[-1]
    losses = [row['train_loss'] for row in rows[1:]]
    assert losses[-1] < losses[0]
    assert end['hare_test_loss'] != json.loads(other)[-1]['hare_test_loss']


def assert_equal(base_dir, reference, phases):
  for name in phases:
    ours, theirs = (
      Phase(path / 'phases' / name).left() for path in (base_dir, reference[0])
    )
    assert ours == theirs, name
  assert shown(base_dir) == shown(reference[0])
  assert {path.name for path in (base_dir / 'phases').iterdir()} == set(phases)


def test_killed_stopped_damaged_and_shared(
  commands, reference, phases, tmp_path
):
  moments = np.random.default_rng(2024)
  first, *seconds = (Phase(tmp_path / 'phases' / name) for name in phases)

  # Before the first checkpoint.
  typed = commands.start(tmp_path)
  typed.until(first.exists)
  time.sleep(moments.uniform(0.0, 0.5))
  typed.kill()

  # In the middle of writing one, when the rows tell of its epoch already.
  def writes():
    return first.unfinished() and first.checkpoints()[-1:] in ([3], [5])

  typed = commands.start(tmp_path)
  while True:
    typed.until(writes)
    os.kill(typed.process.pid, signal.SIGSTOP)
    if writes():
      break
    os.kill(typed.process.pid, signal.SIGCONT)
  typed.kill()
  assert first.unfinished()
  older, newest = first.checkpoints()

  # The newer of those that are whole is damaged; then killed between phases.
  damaged = first.seeds[1] / 'checkpoints' / str(newest)
  files = [path for path in damaged.rglob('*') if path.is_file()]
  largest = max(files, key=lambda path: path.stat().st_size)
  os.truncate(largest, largest.stat().st_size // 2)
  typed = commands.start(tmp_path)
  typed.until(first.is_finished)
  typed.process.kill()
  code, out, (_, line, *_) = typed.wait()  # The first is about devices.
  assert (code, out) == (-signal.SIGKILL, [])
  assert re.fullmatch(
    rf'the checkpoint of step {newest} is damaged \(.*\); going on from '
    rf'that of step {older}',
    line,
  )
  assert not any(phase.checkpoints() for phase in seconds)

  # Asked to stop in the second phase.
  typed = commands.start(tmp_path)
  epoch = int(moments.integers(1, SECOND - 2))
  typed.until(lambda: seconds[0].checkpoints()[-1:] >= [epoch])
  os.kill(typed.process.pid, signal.SIGTERM)
  code, out, err = typed.wait()
  assert (code, out) == (75, [])
  assert err[-1] == (
    f'stopped; {seconds[0].folder} has a checkpoint of each seed; the same '
    'command goes on from there'
  )
  assert epoch <= seconds[0].checkpoints()[-1] < SECOND
  assert not seconds[0].is_finished()

  # Two processes at once: each takes a phase.
  both = [commands.start(tmp_path) for _ in range(2)]
  ended = [typed.wait() for typed in both]
  assert [code for code, *_ in ended] == [0, 0]
  said = [[line for line in err if 'is finished' in line] for *_, err in ended]
  assert sorted(line[:16] for lines in said for line in lines) == [
    'H&T: phase 2 of ',
    'S&P: phase 2 of ',
  ]
  assert [len(lines) for lines in said] == [1, 1]
  table = reference[1].stdout.splitlines()
  assert [out for _, out, _ in ended] == [table, table]
  assert_equal(tmp_path, reference, phases)
