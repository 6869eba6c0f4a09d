"""One attempt: what it records of the command that it runs."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from experiments import locks, watch
from experiments.command import SettingsError
from experiments.launchers.ray_launcher import RayLauncher
from experiments.launchers.slurm_launcher import slurm_executor
from experiments.sweep import history

ROOT = pathlib.Path(__file__).parents[3]
# An attempt whose ways to look at the machine are replaced by `changes`.
ATTEMPT = """
import sys
from experiments.sweep import attempt
{changes}
unit = attempt.Unit(sys.argv[1])
sys.exit(attempt.attempt(unit, [sys.executable, '-c', sys.argv[2]]))
"""


def make(folder, code, changes='', **environ):
  """Makes an attempt by running Python code; returns what is recorded."""
  subprocess.run(
    [sys.executable, '-c', ATTEMPT.format(changes=changes), folder, code],
    cwd=ROOT,
    env={**os.environ, **environ},
    check=False,
  )
  return history.read(folder).attempts[-1]


def begin(folder, code):
  """Begins an attempt by running Python code; returns its process."""
  argv = [sys.executable, '-c', ATTEMPT.format(changes=''), folder, code]
  return subprocess.Popen(argv, cwd=ROOT)


def wait_for(folder, line):
  """Waits until the log of the first attempt ends with a line."""
  log = folder / 'logs' / '1.log'
  deadline = time.monotonic() + 300
  while not log.exists() or not log.read_text().endswith(line):
    assert time.monotonic() < deadline
    time.sleep(0.01)


def test_it_is_small():
  code = (
    'import sys, experiments.sweep.attempt\n'
    'print({"jax", "numpy", "tensorflow", "absl"} & {*sys.modules})'
  )
  argv = [sys.executable, '-c', code]
  assert subprocess.check_output(argv, cwd=ROOT, text=True) == 'set()\n'


def test_what_is_recorded(tmp_path):
  code = 'import os; print("first"); print("last"); os._exit(7)'
  attempt = make(tmp_path, code, HT_RL_DEVICE='gpu 3', HT_RL_SHARING='4')
  assert (attempt.exit_code, attempt.outcome) == (7, 'failed')
  assert (attempt.device, attempt.sharing) == ('gpu 3', 4)
  assert attempt.host == os.uname().nodename
  assert attempt.seconds > 0
  assert (tmp_path / attempt.log).read_text() == 'first\nlast\n'
  assert attempt.last_line == 'last'
  assert 1e6 < attempt.memory < 1e9  # An interpreter takes some megabytes.
  big = make(tmp_path, "x = b'x' * 300_000_000; print(len(x))")
  assert big.number == 2
  assert big.memory > 300_000_000


@pytest.mark.parametrize(
  ('kills', 'outcome'), [((5, 5), 'failed'), ((5, 6), 'out of memory')]
)
def test_who_is_killed_by_the_kernel(tmp_path, kills, outcome):
  changes = f'kills = iter({kills}); attempt._oom_kills = lambda: next(kills)'
  attempt = make(tmp_path, 'import os; os.kill(os.getpid(), 9)', changes)
  assert (attempt.exit_code, attempt.outcome) == (-9, outcome)
  assert attempt.last_line == 'ended by SIGKILL'


def test_a_second_ctrl_c_is_no_failure(tmp_path):
  code = (
    'import signal, time\n'
    'signal.signal(signal.SIGTERM, signal.SIG_IGN)\n'
    'print("deaf", flush=True)\n'
    'time.sleep(600)'
  )
  process = begin(tmp_path, code)
  wait_for(tmp_path, 'deaf\n')
  deadline = time.monotonic() + 300
  while process.poll() is None:  # The first ones may come as one.
    assert time.monotonic() < deadline
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
  attempt = history.read(tmp_path).attempts[-1]
  assert (attempt.outcome, attempt.last_line) == ('stopped', 'ended by SIGINT')


def test_a_second_sigterm_waits_for_the_checkpoint(tmp_path):
  code = (
    'import os, signal, time\n'
    'def stop(*_):\n'
    '  print("asked", flush=True)\n'
    '  time.sleep(1)\n'
    '  print("saved", flush=True)\n'
    '  os._exit(75)\n'
    'signal.signal(signal.SIGTERM, stop)\n'
    'print("ready", flush=True)\n'
    'time.sleep(600)'
  )
  process = begin(tmp_path, code)
  for line in ('ready\n', 'asked\n'):
    wait_for(tmp_path, line)
    process.send_signal(signal.SIGTERM)
  assert process.wait() == 75
  attempt = history.read(tmp_path).attempts[-1]
  assert (attempt.outcome, attempt.last_line) == ('stopped', 'saved')


def test_a_folder_that_cannot_be_written_has_a_code_of_its_own(tmp_path, capfd):
  (tmp_path / 'file').touch()
  unit = json.dumps({'folder': str(tmp_path / 'file' / 'run')})
  argv = [sys.executable, '-m', 'experiments.sweep.attempt', unit, 'true']
  assert subprocess.run(argv, cwd=ROOT, check=False).returncode == 74
  (line,) = capfd.readouterr().err.splitlines()
  assert line.endswith('file/run cannot be written (Not a directory)')


def test_a_command_that_does_not_handle_signals_is_stopped(tmp_path):
  code = 'import os; os.kill(os.getpid(), 15)'
  argv = [sys.executable, '-c', ATTEMPT.format(changes=''), tmp_path, code]
  assert subprocess.run(argv, cwd=ROOT, check=False).returncode == 75
  assert history.read(tmp_path).attempts[-1].outcome == 'stopped'


def test_nohup_holds_for_the_command(tmp_path):
  code = 'import signal; print(signal.getsignal(signal.SIGHUP).name)'
  argv = [sys.executable, '-c', ATTEMPT.format(changes=''), tmp_path, code]
  subprocess.run(
    argv,
    cwd=ROOT,
    check=True,
    preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
  )
  assert history.read(tmp_path).attempts[-1].last_line == 'SIG_IGN'


@pytest.mark.parametrize(
  ('line', 'outcome'),
  [
    (
      'Allocator (GPU_0_bfc) ran out of memory trying to allocate 2.1GiB. The '
      'caller indicates that this is not a failure, but more could be faster.',
      'failed',
    ),
    ('RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.', 'out of memory'),
    (
      'error: could not write the checkpoint of step 120 to runs/checkpoints '
      '(RESOURCE_EXHAUSTED: Error writing "actor.steps/0" in OCDBT database at',
      'failed',
    ),
    (
      'RESOURCE_EXHAUSTED: events.out; No space left on device',
      'failed',
    ),
  ],
)
def test_what_is_out_of_memory(tmp_path, line, outcome):
  code = f'print({line!r}); raise SystemExit("No space left on device")'
  assert make(tmp_path, code).outcome == outcome


def test_the_peak_memory_of_a_gpu_is_recorded_at_the_end(tmp_path):
  seen = tmp_path / 'seen'
  changes = (
    'import pathlib\n'
    'attempt._MEASURE_SECONDS = 0.01\n'
    'used = iter([0.1, 0.3, 0.2])\n'
    'def memory_in_use(gpu):\n'
    '  for fraction in used:\n'
    '    return fraction\n'
    f'  pathlib.Path({str(seen)!r}).touch()\n'
    '  return 0.2\n'
    'attempt.devices.memory_in_use = memory_in_use'
  )
  # It ends when all is measured.
  code = (
    'import pathlib, time\n'
    f'while not pathlib.Path({str(seen)!r}).exists(): time.sleep(0.01)'
  )
  attempt = make(tmp_path, code, changes, HT_RL_MEASURE_GPU='0')
  assert attempt.outcome == 'done'
  assert attempt.gpu_fraction == 0.3
  events = (tmp_path / history.FILE).read_text().splitlines()
  fractions = [json.loads(line).get('gpu_fraction') for line in events]
  assert fractions == [None, 0.3]  # Of the start and of the end.
  assert make(tmp_path, 'pass').gpu_fraction is None


def test_locks(tmp_path):
  path = tmp_path / 'lock'
  assert not locks.is_held(path)
  with locks.hold(path) as held:
    assert held
    assert locks.is_held(path)
    with locks.hold(path) as again:
      assert not again
  assert not locks.is_held(path)


def test_a_missing_extra_is_named(tmp_path, monkeypatch):
  for module in ('ray', 'submitit', 'imageio.v2'):
    monkeypatch.setitem(sys.modules, module, None)
  with pytest.raises(SettingsError, match=r"Ray: pip install '\.\[ray\]'"):
    RayLauncher(1, 1)
  with pytest.raises(SettingsError, match=r"pip install '\.\[slurm\]'"):
    slurm_executor(
      tmp_path,
      partition=None,
      account=None,
      minutes=60,
      gpus=0,
      cpus=1,
      memory_gb=None,
    )
  with pytest.raises(SettingsError, match=r"pip install '\.\[watch\]'"):
    watch.run(tmp_path)
