"""Killed runs, stopped runs, full disks, damaged files: the result is equal."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import time
import zlib

import numpy as np
import pytest

from agents import checkpoint

pytestmark = pytest.mark.slow


class Run:
  """The folder of a run, and the processes that run it one after another."""

  def __init__(self, command, base_dir):
    self.command = command
    self.base_dir = base_dir
    self.folder = base_dir / command.folder
    self.result_file = self.folder / 'result.json'

  def start(self):
    self.stderr_file = self.base_dir / 'stderr'
    with self.stderr_file.open('w') as stderr:
      self.process = subprocess.Popen(
        self.command.argv(self.base_dir),
        env=self.command.environ(),
        cwd=self.base_dir,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
      )

  def wait(self):
    """Returns the exit code and the lines that the process printed."""
    code = self.process.wait(timeout=300)
    return code, self.stderr_file.read_text().splitlines()

  def until(self, condition):
    """Waits until a condition on the running process holds."""
    deadline = time.monotonic() + 300
    while not condition():
      assert self.process.poll() is None, self.stderr_file.read_text()
      assert time.monotonic() < deadline
      time.sleep(1e-3)

  def kill(self):
    self.process.kill()
    code, lines = self.wait()
    assert code == -signal.SIGKILL
    assert not any('Traceback' in line for line in lines)
    assert not self.result_file.exists()
    return lines

  def rows(self):
    file = self.folder / 'metrics.jsonl'
    lines = file.read_text().splitlines(keepends=True) if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith('\n')]

  def step(self):
    """Returns the last step in metrics.jsonl."""
    return max((row['step'] for row in self.rows()), default=0)

  def checkpoints(self):
    """Returns the steps of the complete checkpoints."""
    # The digest is written last.
    digests = (self.folder / 'checkpoints').glob('*/sha256')
    names = [path.parent.name for path in digests]
    return sorted(int(name) for name in names if name.isdigit())

  def unfinished(self):
    return list((self.folder / 'checkpoints').glob('*.orbax-checkpoint-tmp*'))


def state(run):
  """Returns the bytes of all arrays of the last checkpoint but the clock."""

  def fail(line):
    raise AssertionError(line)

  step, arrays = checkpoint.Checkpoints(run.folder / 'checkpoints').restore(
    fail
  )
  assert step == run.command.training_steps
  del arrays['counters.seconds']
  return {
    name: (array.dtype, array.shape, array.tobytes())
    for name, array in arrays.items()
  }


def without(rows, name):
  return [{k: v for k, v in row.items() if k != name} for row in rows]


def assert_equal_runs(run, reference):
  ours, theirs = state(run), state(reference)
  assert ours.keys() == theirs.keys()
  for name, value in ours.items():
    assert value == theirs[name], name
  results = [json.loads(r.result_file.read_text()) for r in (run, reference)]
  ours, theirs = without(results, 'training_seconds')
  assert ours == theirs
  assert without(run.rows(), 'seconds') == without(reference.rows(), 'seconds')


def resumed_from(lines):
  """Returns the step from which a process resumed, by its lines, or None."""
  found = re.findall(r'going on from the checkpoint of step (\d+)', lines[0])
  return int(found[0]) if found else None


@pytest.fixture(scope='module')
def reference(command, tmp_path_factory):
  run = Run(command, tmp_path_factory.mktemp('reference'))
  run.start()
  run.code, run.lines = run.wait()
  return run


def test_an_uninterrupted_run_says_what_it_should_and_no_more(reference):
  assert reference.code == 0
  device, *lines, last = reference.lines
  assert re.fullmatch(r'devices: 1 cpu \(cores [0-9,-]+\)', device)
  for line in lines:
    assert re.match('(train|evaluate): (step|episode) ', line), line
  assert re.match('drq_ht on RoadRunner, seed 1: score ', last)
  # The reference of the comparisons below exists and is not trivial.
  arrays = state(reference)
  for name in ('params', 'tortoise', '.mu.', 'replay.frames', 'key', 'actions'):
    assert any(name in path for path in arrays), name
  steps = reference.command.training_steps
  rows = reference.rows()
  others = {'episode_return', 'restart_gap'}
  figures = [row for row in rows if not others & row.keys()]
  assert [row['step'] for row in figures] == list(range(2, steps + 1, 2))
  assert len(figures) < len(rows)
  assert all(np.isfinite(row['loss']) for row in figures if row['step'] > 31)
  gaps = [row['restart_gap'] for row in rows if 'restart_gap' in row]
  assert gaps
  assert all(0 < gap < np.inf for gap in gaps)


def test_killed_at_any_moment(command, reference, tmp_path):
  moments = np.random.default_rng(2024)
  run = Run(command, tmp_path)

  # Before the first checkpoint.
  step = int(moments.integers(2, 30))
  for _ in range(10):
    run.start()
    run.until(lambda: run.step() >= step)
    run.kill()
    if run.checkpoints() == []:
      break
    shutil.rmtree(run.folder)  # On a busy machine, the kill can be late.
  assert run.checkpoints() == []

  # In the middle of writing one.
  run.start()
  while True:
    run.until(run.unfinished)
    run.process.send_signal(signal.SIGSTOP)
    if run.unfinished():
      break
    run.process.send_signal(signal.SIGCONT)
  lines = run.kill()
  assert resumed_from(lines or ['']) is None
  assert run.unfinished()
  whole = run.checkpoints()

  # At an arbitrary moment.
  run.start()
  step = min(run.step() + int(moments.integers(5, 90)), 298)
  run.until(lambda: run.step() >= step)
  lines = run.kill()
  if whole:
    assert resumed_from(lines) == whole[-1]

  # In the evaluation, which takes longer than its start.
  run.start()
  run.until(lambda: command.training_steps in run.checkpoints())
  run.kill()

  run.start()
  code, lines = run.wait()
  assert code == 0
  assert resumed_from(lines) == command.training_steps
  assert_equal_runs(run, reference)
  assert not run.unfinished()


def test_stopped_then_starved_of_disk_then_damaged(
  command, reference, tmp_path
):
  run = Run(command, tmp_path)
  moment = int(np.random.default_rng(7).integers(110, 230))

  run.start()
  run.until(lambda: run.step() >= moment)
  run.process.send_signal(signal.SIGTERM)
  code, lines = run.wait()
  assert code == 75
  stopped = run.checkpoints()[-1]
  assert stopped >= moment
  assert lines[-1] == (
    f'stopped at step {stopped}; the last good checkpoint is '
    f'{run.folder}/checkpoints/{stopped}; the same command goes on from there'
  )
  assert run.step() <= stopped

  # With a file size limit, a write fails in the middle, as on a full disk. The
  # frames are one chunk, so one file has all of them, however the writer
  # divides the arrays among its files. All other files are below the limit.
  before = run.checkpoints()
  limit = 25_000
  _, arrays = checkpoint.Checkpoints(run.folder / 'checkpoints').restore(print)
  frames = zlib.compress(arrays['agent.run.replay.frames'].tobytes())
  assert len(frames) > 1.4 * limit
  others = set(run.folder.rglob('*')) - set(run.folder.rglob('d/*'))
  assert max(path.stat().st_size for path in others) < limit
  run.start()
  resource.prlimit(run.process.pid, resource.RLIMIT_FSIZE, (limit, limit))
  code, lines = run.wait()
  assert code == 1
  assert resumed_from(lines) == stopped
  every = command.checkpoint_every
  assert lines[-1].startswith(
    'error: could not write the checkpoint of step '
    f'{stopped // every * every + every} to {run.folder}/checkpoints ('
  )
  assert lines[-1].endswith(f'the one of step {stopped} is whole')
  assert [line for line in lines if line.startswith('error')] == lines[-1:]
  assert not any('Traceback' in line for line in lines)
  assert run.checkpoints() == before

  files = [
    path
    for path in run.folder.glob(f'checkpoints/{stopped}/**/*')
    if path.is_file()
  ]
  largest = max(files, key=lambda path: path.stat().st_size)
  os.truncate(largest, largest.stat().st_size // 2)
  run.start()
  code, lines = run.wait()
  assert code == 0
  assert re.fullmatch(
    rf'the checkpoint of step {stopped} is damaged \(.*\); going on from that '
    f'of step {before[-2]}',
    lines[0],
  )
  assert [line for line in lines if 'damaged' in line] == lines[:1]
  assert_equal_runs(run, reference)


@pytest.mark.usefixtures('compile_fast')
def test_bbf_killed_between_resets_and_restarts(bbf_command, tmp_path):
  command = bbf_command(
    'bbf_ht',
    'BBFAgent.reset_every = 40',
    'BBFAgent.no_resets_after = 100',
    'hare_tortoise.reset_every = 20',
  )
  run, reference = (Run(command, tmp_path / str(i)) for i in range(2))
  for folder in (run.base_dir, reference.base_dir):
    folder.mkdir()
  # After the first reset and restart, and after a checkpoint.
  moment = int(np.random.default_rng(5).integers(55, 75))
  run.start()
  run.until(lambda: run.step() >= moment)
  run.kill()
  whole = run.checkpoints()[-1]
  run.start()
  # Meanwhile, run the same command in this process.
  assert command.type(*command.arguments(reference.base_dir)) == 0
  code, lines = run.wait()
  assert code == 0
  assert resumed_from(lines) == whole < command.training_steps
  assert_equal_runs(run, reference)

  # The last reset was at 80; the last restart at the last of 40 gradient steps.
  arrays = state(run)
  train = 'agent.run.train'
  assert np.frombuffer(arrays[f'{train}.cycle_steps'][2], np.int32) == 40
  tortoise = f'{train}.opt_state.tortoise.'
  pairs = [
    (value, arrays[name.replace(tortoise, f'{train}.params.')])
    for name, value in arrays.items()
    if name.startswith(tortoise)
  ]
  assert pairs
  assert all(slow == fast for slow, fast in pairs)
  assert 'agent.run.replay.priorities' in arrays
