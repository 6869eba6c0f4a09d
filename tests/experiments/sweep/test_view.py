"""What is shown of a sweep, and what it is said to take."""

import datetime
import json
import os
import pathlib
import pty
import re
import subprocess

from experiments import locks
from experiments.sweep import board, estimate, history
from experiments.sweep.monitor import Monitor, Status


def looked_at(sweep):
  monitor = Monitor(sweep.sweep, sweep.sweep.runs)
  monitor.refresh()
  return monitor


def test_the_end_is_a_table(stub_sweep):
  sweep = stub_sweep(['drq', 'drq_ht'], ['Pong', 'Qbert'], range(4))
  code, lines = sweep.run()
  assert code == 0
  text = '\n'.join(lines)
  assert '16 runs: 16 done, 0 running, 0 waiting, 0 failed' in lines
  assert 'IQM' in text
  assert re.search(r'drq_ht .*\d\.\d+ \[-?\d\.\d+, -?\d\.\d+\]', text), text
  assert 'Intervals over so few games are not reliable.' in text

  # By hand: of .25, .5, .75 and 1 of both games the middle half is .5 to .75.
  code, lines = sweep.command('status', sweep.base_dir)
  assert code == 0
  assert 'drq: 2 of 26 games, 4 seeds, IQM 0.625' in lines


def test_figures_while_it_runs(stub_sweep, monkeypatch):
  sweep = stub_sweep(['drq'], ['Pong', 'Qbert', 'Hero'], [0, 1])
  for number in (0, 1, 2):
    sweep.command('attempt', sweep.base_dir, number)
  run = sweep.sweep.runs[3]
  folder = sweep.sweep.folder(run)
  folder.path.mkdir(parents=True)
  now = [1000.0]
  monkeypatch.setattr(board.time, 'monotonic', lambda: now[0])

  def figures_at(seconds, step):
    now[0] = 1000.0 + seconds
    metrics.write_text(f'{{"step": {step}}}\n')
    return shown.figures(lambda run: monitor.look(run).status)

  metrics = folder.path / 'metrics.jsonl'
  with locks.hold(folder.lock_file):
    monitor = looked_at(sweep)
    shown = board.Board(monitor)
    (one,) = figures_at(0, 0).running
    assert (one.step, one.steps, one.rate) == (0, 5, None)
    assert str(one) == 'drq/Qbert/1: step 0 of 5'
    assert figures_at(40, 1).rate == 1 / 40
    # Between two lines of its log the rate stays.
    assert figures_at(70, 1).rate == 1 / 40
    assert figures_at(400, 3).rate == 2 / 360  # The last five minutes.
    assert figures_at(410, 2).rate == 0  # It goes on from a checkpoint.
    figures = figures_at(420, 4)
    assert figures.rate == figures.running[0].rate == 2 / 10
    # Steps per second are those of training.
    ended = figures_at(430, 5)
    assert str(ended.running[0]) == 'drq/Qbert/1: evaluation'
    assert ended.rate == 0
  assert figures.statuses == {
    Status.DONE: 3,
    Status.RUNNING: 1,
    Status.WAITING: 2,
  }
  assert figures.scores['drq'].startswith('2 of 26 games, 1 to 2 seeds, IQM ')


def test_what_is_left_by_hand(stub_sweep):
  sweep = stub_sweep(['drq', 'bbf'], ['Pong'], range(3))
  sweep.behave(drq_Pong_2=['crash'])
  # One is done: 130 s of two attempts, of which 100 were training.
  folder = sweep.base_dir / 'drq/Pong/0'
  folder.mkdir(parents=True)
  start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
  for number, seconds in ((1, 50), (2, 80)):
    history.append(
      folder,
      'start',
      number=number,
      host='host',
      pid=1,
      device='cores 0',
      sharing=1,
      start=start,
      log='logs/1.log',
    )
    end = start + datetime.timedelta(seconds=seconds)
    history.append(
      folder, 'end', number=number, end=end, exit_code=0, outcome='done'
    )
  result = {
    'config': 'drq',
    'game': 'Pong',
    'seed': 0,
    'score': 1.0,
    'protocol': {'training_steps': 5},
    'training_seconds': 100.0,
  }
  (folder / 'result.json').write_text(json.dumps(result))
  (folder / 'weights').write_bytes(bytes(10_000_000))
  monitor = looked_at(sweep)
  costs = estimate.costs(monitor)
  assert set(costs) == {'drq'}
  assert costs['drq'][:2] == (100.0, 30.0)
  assert 10_000_000 < costs['drq'].disk < 10_010_000
  # Five to go, two at once; one of them has done 2 of its 5 steps. Those of
  # bbf are taken to cost as much as the ones that are known.
  run = sweep.sweep.runs[1]
  seconds = estimate.seconds_left(monitor, costs, {run: 2}, 2)
  assert seconds == (5 * 130 - 0.4 * 100) / 2
  # With all five at once, the four that wait take as long as one.
  assert estimate.seconds_left(monitor, costs, {run: 2}, 5) == 130
  # A run that waits again has what it logged behind it.
  again = sweep.base_dir / 'drq/Pong/2'
  assert sweep.command('attempt', sweep.base_dir, 2)[0] == 1
  (again / 'metrics.jsonl').write_text('{"step": 4}\n')
  monitor.refresh()
  assert estimate.steps_done(monitor) == {sweep.sweep.runs[2]: 4}

  code, lines = sweep.run('--dry_run')
  assert code == 0
  assert lines[:2] == ['done     drq/Pong/0', 'waiting  bbf/Pong/0']
  assert 'bbf: no finished run, so its cost is unknown' in lines
  assert (
    'drq: 2 runs to do, each with 0:01:40 of training, 0:00:30 of start and '
    'evaluation, and 10 MB of disk when finished' in lines
  )
  assert 'in all: 0:09:30, one run after another' in lines  # 650 s - 80 s.
  assert lines[-1].startswith('disk: 20 MB and what is unknown to be written')
  assert not any(sweep.base_dir.glob('bbf/Pong/*'))


def test_memory_is_unknown_until_a_run_is_done(stub_sweep):
  sweep = stub_sweep(['drq'], ['Pong'], [0])
  sweep.behave(drq_Pong_0=['crash'])
  sweep.command('attempt', sweep.base_dir, 0)
  assert looked_at(sweep).footprint() == (0, 0.0)
  sweep.command('attempt', sweep.base_dir, 0)
  assert looked_at(sweep).footprint()[0] > 1e6


def test_the_cost_of_a_run_that_removes_its_checkpoints(
  stub_sweep, monkeypatch
):
  sweep = stub_sweep(['drq'], ['Pong'], [0])
  assert sweep.command('attempt', sweep.base_dir, 0)[0] == 0
  monitor = looked_at(sweep)
  (sweep.base_dir / 'drq/Pong/0/checkpoint').touch()
  is_file = pathlib.Path.is_file

  def remove(path):
    there = is_file(path)
    if path.name == 'checkpoint':
      path.unlink(missing_ok=True)
    return there

  with monkeypatch.context() as patch:
    patch.setattr(pathlib.Path, 'is_file', remove)
    assert estimate.costs(monitor) == {}
  assert estimate.costs(monitor).keys() == {'drq'}


def test_on_a_terminal(stub_sweep):
  sweep = stub_sweep(['drq'], ['Pong'], range(3))
  sweep.behave(drq_Pong_1=['crash'])
  ours, theirs = pty.openpty()
  process = subprocess.Popen(
    sweep.argv(),
    env={**sweep.environ(), 'TERM': 'xterm', 'COLUMNS': '120'},
    stdout=subprocess.DEVNULL,
    stderr=theirs,
  )
  os.close(theirs)
  seen = b''
  while True:
    try:
      part = os.read(ours, 10_000)
    except OSError:  # How Linux says that the other side is closed.
      break
    if not part:
      break
    seen += part
  os.close(ours)
  assert process.wait(timeout=300) == 0
  text = seen.decode()
  assert 'Traceback' not in text
  for words in (
    'configuration',
    'scores so far',
    'drq/Pong/1: failed: OSError: the disk has gone (retry)',
    'drq/Pong/2: done',
    '3 runs: 3 done, 0 running, 0 waiting, 0 failed',
  ):
    assert words in text
