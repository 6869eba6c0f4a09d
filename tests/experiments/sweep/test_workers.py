"""Processes of one command that share its work."""

import signal
import sys

import pytest

from agents.errors import StoppedError
from experiments.launchers.base import Command
from experiments.launchers.local import LocalLauncher
from experiments.launchers.workers import Workers

# Takes the units 0 to 19, each under a lock; the first process is killed in the
# middle of a unit.
SHARE = """
import fcntl, os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
left = list(range(20))
while left:
  for unit in list(left):
    with (folder / f'{unit}.lock').open('a') as lock:
      try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except BlockingIOError:
        continue
      left.remove(unit)
      done = folder / f'{unit}.done'
      if done.exists():
        continue
      try:
        (folder / 'killed').touch(exist_ok=False)
        os.kill(os.getpid(), signal.SIGKILL)
      except FileExistsError:
        pass
      with done.open('a') as file:
        file.write('x')
"""


def make(code, tmp_path, monkeypatch, count=3, retries=2):
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  argv = (sys.executable, '-c', code, str(tmp_path))
  commands = [Command(f'worker {i}', argv) for i in range(count)]
  said = []
  launcher = LocalLauncher(2, 1)
  return Workers(launcher, commands, retries, said.append), said, launcher


def test_all_work_is_done_once(tmp_path, monkeypatch):
  workers, said, _ = make(SHARE, tmp_path, monkeypatch)
  ends = workers.run()
  assert sorted(end.name for end in ends) == [f'worker {i}' for i in range(3)]
  assert {end.code for end in ends} == {0}
  assert len(said) == 1
  assert said[0].endswith('exit code -9 (retry)')
  for unit in range(20):
    assert (tmp_path / f'{unit}.done').read_text() == 'x'


@pytest.mark.parametrize(('code', 'tried'), [(1, 3), (2, 1), (76, 1)])
def test_what_is_tried_again(tmp_path, monkeypatch, code, tried):
  script = (
    'import pathlib, sys\n'
    'with (pathlib.Path(sys.argv[1]) / "tried").open("a") as file:\n'
    '  file.write("x")\n'
    f'print("why")\nsys.exit({code})'
  )
  workers, said, _ = make(script, tmp_path, monkeypatch, count=1)
  (end,) = workers.run()
  assert (end.code, end.last_line) == (code, 'why')
  assert len((tmp_path / 'tried').read_text()) == tried
  assert said == ['worker 0: why (retry)'] * (tried - 1) + (
    ['worker 0: why (no retry)'] if tried > 1 else []
  )


def test_a_stop_uses_up_no_retry(tmp_path, monkeypatch):
  script = (
    'import pathlib, sys\n'
    'path = pathlib.Path(sys.argv[1]) / "tried"\n'
    'with path.open("a") as file:\n'
    '  file.write("x")\n'
    'sys.exit(75 if len(path.read_text()) < 5 else 0)'
  )
  workers, _, _ = make(script, tmp_path, monkeypatch, count=1, retries=2)
  (end,) = workers.run()
  assert end.code == 0
  assert (tmp_path / 'tried').read_text() == 'xxxxx'


def test_they_are_stopped_together(tmp_path, monkeypatch):
  script = 'import time\nwhile True: time.sleep(1)'
  workers, _, launcher = make(script, tmp_path, monkeypatch, count=2)
  before = signal.signal(signal.SIGALRM, lambda *_: workers.stop())
  try:
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    with pytest.raises(StoppedError):
      workers.run()
  finally:
    signal.signal(signal.SIGALRM, before)
  assert not launcher.is_busy  # All have ended.
