"""What the exit codes of runs mean to a sweep, and what it says."""

import dataclasses
import datetime
import json
import resource
import shlex
import signal
import subprocess
import time

import pytest

from experiments import locks
from experiments.launchers.local import LocalLauncher
from experiments.sweep import history, plan, view
from experiments.sweep.driver import Driver
from experiments.sweep.monitor import Monitor


def wait_for(path):
  deadline = time.monotonic() + 300
  while not path.exists():
    assert time.monotonic() < deadline
    time.sleep(0.01)


def lines_with(lines, text):
  return [line for line in lines if text in line]


def test_what_an_exit_code_means(stub_sweep):
  sweep = stub_sweep(['drq'], ['Pong'], range(8))
  sweep.behave(
    drq_Pong_0=['crash', 'segfault'],
    drq_Pong_1=['crash'] * 3,
    drq_Pong_2=['stop'] * 2,
    drq_Pong_3=['diverge'],
    drq_Pong_4=['crash', 'stop', 'crash'],
    drq_Pong_5=['nothing'] * 3,
    drq_Pong_6=['crash', 'diverge'],
  )
  code, lines = sweep.run('--runs_per_device=2')
  assert code == 1
  assert {run.seed for run in sweep.done()} == {0, 2, 4, 7}
  assert [sweep.outcomes(f'drq/Pong/{seed}') for seed in range(8)] == [
    ['failed', 'failed', 'done'],
    ['failed'] * 3,
    ['stopped', 'stopped', 'done'],
    ['diverged'],
    ['failed', 'stopped', 'failed', 'done'],
    ['failed'] * 3,
    ['failed', 'diverged'],
    ['done'],
  ]
  starts, ends = (
    [x for x in sweep.events('drq/Pong/0') if x['event'] == event]
    for event in ('start', 'end')
  )
  assert [end['exit_code'] for end in ends] == [1, -signal.SIGSEGV, 0]
  assert ends[0]['last_line'] == 'OSError: the disk has gone'
  assert ends[1]['last_line'] == 'ended by SIGSEGV'
  # After a failure it waits for a second, and then for longer.
  waited = [
    datetime.datetime.fromisoformat(start['start'])
    - datetime.datetime.fromisoformat(end['end'])
    for start, end in zip(starts[1:], ends, strict=False)
  ]
  assert waited[0].total_seconds() > 0.9
  assert waited[1].total_seconds() > 1.9
  log = sweep.base_dir / 'drq/Pong/0' / starts[0]['log']
  assert log.read_text().startswith('Traceback')
  # The end: those that said the same are told of together.
  assert '8 runs: 4 done, 0 running, 0 waiting, 4 failed' in lines
  end = lines[lines.index('8 runs: 4 done, 0 running, 0 waiting, 4 failed') :]
  assert '1 failed: OSError: the disk has gone' in end
  assert '2 failed: error: the loss of gradient step 3 is not finite' in end
  assert f'  log: {sweep.base_dir}/drq/Pong/1/logs/3.log' in end
  assert lines_with(end, '--game=Pong --seed=1')
  # What is final stays so.
  tried = sweep.outcomes('drq/Pong/1')
  code, lines = sweep.run()
  assert code == 1
  assert sweep.outcomes('drq/Pong/1') == tried


def test_failures_that_differ_by_their_folder_are_told_of_together(stub_sweep):
  sweep = stub_sweep(['drq'], ['Pong'], [0, 1, 2], retries=0)
  sweep.behave(**{f'drq_Pong_{seed}': ['path'] for seed in range(3)})
  code, lines = sweep.run('--runs_per_device=3')
  assert code == 1
  folder = sweep.base_dir / 'drq/Pong/0'
  assert f'3 failed: error: {folder}/config.gin is damaged' in lines


def test_a_watch_that_is_stopped_has_the_code_of_it(stub_sweep):
  sweep = stub_sweep(['drq'], ['Pong'], [0])
  process = subprocess.Popen(
    [*sweep.argv()[:3], 'status', str(sweep.base_dir), '--watch'],
    env=sweep.environ(),
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
  )
  line = process.stderr.readline()
  assert line.startswith('1 runs: 0 done, 0 running, 1 waiting')
  process.send_signal(signal.SIGTERM)
  process.communicate(timeout=300)
  assert process.returncode == 75


def test_what_retry_says_can_be_typed(stub_sweep):
  sweep = stub_sweep(['drq'], ['Pong'], [0])
  there = sweep.base_dir / 'my runs'
  plan.save(dataclasses.replace(sweep.sweep, base_dir=there))
  code, (line,) = sweep.command('retry', there)
  assert code == 0
  words = shlex.split(line.split('`')[1])
  assert words[2:] == ['experiments.sweep', 'run', f'--base_dir={there}']


def test_a_wrong_setting_fails_its_configuration_at_once(stub_sweep):
  sweep = stub_sweep(['drq', 'bbf'], ['Pong', 'Qbert'], range(3))
  sweep.behave(drq_Pong_0=['wrong'])
  code, lines = sweep.run('--runs_per_device=1')
  assert code == 1
  assert {run.config for run in sweep.done()} == {'bbf'}
  assert len(sweep.done()) == 6
  assert sweep.outcomes('drq/Pong/0') == ['wrong setting']
  tried = [path.parent.name for path in sweep.base_dir.glob('drq/*/*/tried')]
  assert tried == ['0']
  assert '6 failed: error: DrQAgent.gamma must be a number' in lines

  # After a retry they all go on.
  code, lines = sweep.command('retry', sweep.base_dir)
  assert code == 0
  assert lines[0].startswith('failed runs are going to be tried again (1 ')
  code, lines = sweep.run('--runs_per_device=2')
  assert code == 0
  assert len(sweep.done()) == 12


def test_out_of_memory_lowers_the_runs_of_a_device(stub_sweep):
  sweep = stub_sweep(['drq'], ['Pong'], range(3))
  sweep.behave(drq_Pong_0=['memory'] * 5, drq_Pong_1=['memory'])
  code, _ = sweep.run('--runs_per_device=3')
  assert code == 1
  assert {run.seed for run in sweep.done()} == {1, 2}
  # To the last with the whole device; then more of the same is of no use.
  shares = [
    event['sharing']
    for event in sweep.events('drq/Pong/0')
    if event['event'] == 'start'
  ]
  assert shares == sorted(shares, reverse=True)
  assert (shares[0], shares[-1]) == (3, 1)
  assert set(sweep.outcomes('drq/Pong/0')) == {'out of memory'}


def test_out_of_memory_beside_unknown_others(stub_sweep):
  sweep = stub_sweep(['drq'], ['Pong'], [0], retries=1)
  sweep.behave(drq_Pong_0=['memory', 'crash', 'memory'])
  # As other programs start the commands of --executor=print.
  codes = [sweep.command('attempt', sweep.base_dir, 0)[0] for _ in range(3)]
  assert codes == [1, 1, 1]
  assert sweep.outcomes('drq/Pong/0') == ['out of memory', 'failed']
  shares = [event.get('sharing') for event in sweep.events('drq/Pong/0')]
  assert shares == [None] * 4


def test_a_stopped_sweep_leaves_nothing_and_goes_on(stub_sweep):
  sweep = stub_sweep(['drq'], ['Pong'], range(3))
  sweep.behave(drq_Pong_1=['wait'])
  driver = sweep.start('--runs_per_device=1')
  wait_for(sweep.base_dir / 'waits')
  code, lines = sweep.command('status', sweep.base_dir)
  assert code == 0
  assert lines[0].startswith('3 runs: 1 done, 1 running, 1 waiting, 0 failed')
  assert lines[1] == 'drq: 1 of 26 games, 1 seed, IQM 0.250'
  assert lines[2].startswith('drq/Pong/1: step 0 of 5, cores ')
  assert len(lines) == 3
  driver.send_signal(signal.SIGTERM)
  assert driver.wait(timeout=300) == 75
  assert sweep.processes() == []
  assert sweep.outcomes('drq/Pong/1') == ['stopped']
  code, lines = sweep.run()
  assert code == 0
  assert len(sweep.done()) == 3


@pytest.mark.parametrize(
  ('second', 'waits'), [(signal.SIGTERM, True), (signal.SIGINT, False)]
)
def test_only_a_second_ctrl_c_does_not_wait_for_checkpoints(
  stub_sweep, second, waits
):
  sweep = stub_sweep(['drq'], ['Pong'], [0])
  sweep.behave(drq_Pong_0=['checkpoint'])
  driver = sweep.start('--runs_per_device=1')
  wait_for(sweep.base_dir / 'waits')
  driver.send_signal(signal.SIGTERM)
  wait_for(sweep.base_dir / 'asked')
  driver.send_signal(second)
  if waits:
    with pytest.raises(subprocess.TimeoutExpired):
      driver.wait(timeout=1)
    (sweep.base_dir / 'release').touch()
  assert driver.wait(timeout=300) == 75
  assert (sweep.base_dir / 'checkpoint').exists() == waits
  assert sweep.outcomes('drq/Pong/0') == ['stopped']


def test_a_killed_sweep_takes_its_runs_along(stub_sweep):
  sweep = stub_sweep(['drq'], ['Pong'], range(2))
  sweep.behave(drq_Pong_0=['wait'])
  driver = sweep.start('--runs_per_device=1')
  wait_for(sweep.base_dir / 'waits')
  driver.kill()
  driver.wait()
  deadline = time.monotonic() + 300
  while sweep.processes():
    assert time.monotonic() < deadline
    time.sleep(0.01)
  assert sweep.outcomes('drq/Pong/0') == ['stopped']
  assert sweep.run()[0] == 0


def test_a_folder_that_can_not_be_written(stub_sweep):
  sweep = stub_sweep(['drq'], ['Pong', 'Qbert'], [0], retries=0)
  (sweep.base_dir / 'drq').mkdir(exist_ok=True)
  (sweep.base_dir / 'drq' / 'Pong').write_text('a file')
  lines = []
  monitor = Monitor(sweep.sweep, sweep.sweep.runs)
  driver = Driver(monitor, LocalLauncher(1, 1), lines.append, patience=2.0)
  driver.run(lambda driver: None)
  assert [run.game for run in sweep.done()] == ['Qbert']
  why = (
    f'error: {sweep.base_dir}/drq/Pong/0 cannot be written (Not a directory)'
  )
  assert driver.lost == {sweep.sweep.runs[0]: why}
  # After 0, 1 and 3 seconds.
  assert [line for line in lines if 'Pong' in line] == [
    f'drq/Pong/0: {why} (retry)',
    f'drq/Pong/0: {why} (retry)',
    f'drq/Pong/0: {why} (given up; the next `sweep run` tries it)',
  ]
  first, *_ = view.failures(monitor, driver.lost)
  assert first == f'1 failed: {why}'


# One attempt cannot be recorded, the other fails and is.
@pytest.mark.parametrize('is_recorded', [True, False])
def test_nothing_starts_while_the_disk_is_full(stub_sweep, is_recorded):
  sweep = stub_sweep(['drq'], ['Pong', 'Qbert', 'Hero'], [0], retries=1)
  folder = sweep.base_dir / 'drq/Pong/0'
  folder.mkdir(parents=True)
  if is_recorded:
    sweep.behave(drq_Pong_0=['crash'])
  else:
    (folder / 'attempts.jsonl').write_text('x' * 10_000)
  driver = sweep.start('--runs_per_device=1', largest_file=10_000)
  said = sweep.base_dir / 'stderr'
  full = f'{sweep.base_dir} cannot be written (File too large): no other run'
  deadline = time.monotonic() + 300
  while full not in said.read_text():
    assert time.monotonic() < deadline
    time.sleep(0.01)
  time.sleep(2)
  assert sweep.done() == []
  sweep.limit_files(driver, resource.RLIM_INFINITY)
  assert driver.wait(timeout=300) == 0
  lines = said.read_text().splitlines()
  assert len(lines_with(lines, full)) == 1
  assert f'{sweep.base_dir} can be written again' in lines
  assert len(sweep.done()) == 3
  outcomes = [attempt.outcome for attempt in history.read(folder).attempts]
  assert outcomes == ['failed', 'done'] if is_recorded else ['done']


def test_a_run_of_somebody_else_is_waited_for(stub_sweep):
  sweep = stub_sweep(['drq'], ['Pong'], [0, 1])
  sweep.behave(drq_Pong_0=['wait'])
  single = sweep.start_one(sweep.sweep.runs[0])
  wait_for(sweep.base_dir / 'waits')
  driver = sweep.start()
  wait_for(sweep.base_dir / 'drq/Pong/1/result.json')
  single.kill()
  single.wait()
  assert driver.wait(timeout=300) == 0
  assert sweep.outcomes('drq/Pong/0') == ['done']


def test_one_attempt_by_its_number(stub_sweep):
  sweep = stub_sweep(['drq', 'bbf'], ['Pong'], [0, 1])
  sweep.behave(drq_Pong_1=['crash'], bbf_Pong_0=['wrong'])
  for number, code in ((1, 1), (1, 0), (1, 0), (2, 2)):
    assert sweep.command('attempt', sweep.base_dir, number)[0] == code
  assert sweep.outcomes('drq/Pong/1') == ['failed', 'done']
  code, lines = sweep.command('attempt', sweep.base_dir, 3)
  assert code == 2  # Of the same configuration as run 2.
  assert lines == ['error: bbf/Pong/0: error: DrQAgent.gamma must be a number']
  code, lines = sweep.command('attempt', sweep.base_dir, 4)
  assert code == 2
  assert lines == ['error: there is no run 4; the 4 runs count from 0']


def test_checkpoints_that_a_kill_after_the_result_left(stub_sweep):
  sweep = stub_sweep(['drq'], ['Pong'], range(4))
  assert sweep.run()[0] == 0
  folders = [sweep.sweep.folder(run) for run in sweep.sweep.runs]
  for folder in folders:
    (folder.checkpoints / '100').mkdir(parents=True)
    folder.config_file.write_text('DrQAgent.gamma = 0.9\n')
  keep = 'Atari100kRunner.keep_checkpoints = True\n'
  folders[1].config_file.write_text(keep)
  folders[2].config_file.unlink()  # Nothing says whether they are to stay.
  with locks.hold(folders[3].lock_file):  # It is still removing its own.
    assert sweep.run()[0] == 0
  there = [folder.checkpoints.exists() for folder in folders]
  assert there == [False, True, True, True]


def test_what_has_failed_for_good_is_not_tried_by_its_number(stub_sweep):
  sweep = stub_sweep(['drq'], ['Pong'], [0, 1, 2], retries=0)
  sweep.behave(
    drq_Pong_0=['diverge'], drq_Pong_1=['nothing'], drq_Pong_2=['segfault']
  )
  for number, code in ((0, 76), (1, 1), (2, 128 + signal.SIGSEGV)):
    for _ in range(2):
      assert sweep.command('attempt', sweep.base_dir, number)[0] == code
  outcomes = [sweep.outcomes(f'drq/Pong/{seed}') for seed in range(3)]
  assert outcomes == [['diverged'], ['failed'], ['failed']]
  _, lines = sweep.command('attempt', sweep.base_dir, 0)
  assert lines == [
    'error: the loss of gradient step 3 is not finite (no retry)'
  ]
  sweep.command('retry', sweep.base_dir)
  assert sweep.command('attempt', sweep.base_dir, 0)[0] == 0


def test_commands_to_print(stub_sweep):
  sweep = stub_sweep(['drq', 'bbf'], ['Pong'], [0, 1])
  sweep.command('attempt', sweep.base_dir, 1)
  code, lines = sweep.run('--executor=print')
  assert code == 0
  # Seed after seed; the numbers are those of `sweep.json`, and stay.
  assert [line.split('  # ')[1] for line in lines] == [
    'drq/Pong/0',
    'bbf/Pong/0',
    'bbf/Pong/1',
  ]
  assert lines[0].startswith(
    f'python -m experiments.sweep attempt {sweep.base_dir} 0  #'
  )
  for line in lines:
    words = line.split('  #')[0].split()
    assert sweep.command(*words[3:])[0] == 0
  assert len(sweep.done()) == 4


def test_status_as_json(stub_sweep):
  sweep = stub_sweep(['drq'], ['Pong'], [0, 1])
  sweep.behave(drq_Pong_0=['diverge'])
  sweep.run()
  code, (line,) = sweep.command('status', sweep.base_dir, '--json')
  assert code == 1
  failed, done = json.loads(line)['runs']
  assert failed == {
    'config': 'drq',
    'game': 'Pong',
    'seed': 0,
    'status': 'failed',
    'attempts': 1,
    'last_line': 'error: the loss of gradient step 3 is not finite',
    'log': f'{sweep.base_dir}/drq/Pong/0/logs/1.log',
  }
  assert done['status'] == 'done'


@pytest.mark.parametrize(
  ('words', 'message'),
  [
    (['run', '--watch'], '--watch has no effect on `run`'),
    (['status', 'x', '--retries=1'], '--retries has no effect on `status`'),
    (['run', '--runs_per_device=few'], "must be 'auto' or at least 1"),
    (
      ['run', '--executor=print', '--runs_per_device=2'],
      '--runs_per_device has no effect with --executor=print',
    ),
    (['status', 'x', '--executor=ray'], '--executor has no effect here'),
    (
      ['run', '--executor=slurm', '--runs_per_device=2'],
      '--runs_per_device=2 needs --runs_per_task=2 or more',
    ),
    (['run', '--games=Pong'], '--games needs --gin_files'),
    (['status'], 'one folder must be named'),
    (['status', '/nowhere'], 'there is no sweep in /nowhere'),
    (['walk'], 'the first word must be one of run, status, retry, attempt'),
  ],
)
def test_a_wrong_command(stub_sweep, words, message):
  sweep = stub_sweep(['drq'], ['Pong'], [0])
  code, lines = sweep.command(*words)
  assert code == 2
  assert len(lines) == 1
  assert lines[0].startswith('error: ')
  assert message in lines[0]
