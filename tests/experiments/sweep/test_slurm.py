"""A sweep in jobs of submitit, of which one runs out of time."""

import os
import pathlib
import signal
import time

import pytest

from agents import machine
from agents.errors import StoppedError
from experiments.command import SettingsError
from experiments.launchers import local, slurm_launcher
from experiments.launchers.base import Command, Ended
from experiments.sweep.driver import Driver
from experiments.sweep.monitor import Monitor

submitit = pytest.importorskip('submitit')
ROOT = pathlib.Path(__file__).parents[3]


def parent(number):
  """The process that started a process."""
  status = pathlib.Path(f'/proc/{number}/status').read_text()
  return int(status.split('PPid:')[1].split()[0])


def test_a_job_out_of_time_goes_back_into_the_queue(stub_sweep, monkeypatch):
  monkeypatch.setenv('PYTHONPATH', str(ROOT))
  monkeypatch.setattr(slurm_launcher, '_POLL_SECONDS', 0.1)
  sweep = stub_sweep(['drq'], ['Pong'], range(6))
  sweep.behave(drq_Pong_1=['wait'], drq_Pong_4=['crash'])
  executor = submitit.LocalExecutor(
    sweep.base_dir / 'submitit', max_num_timeout=10
  )
  executor.update_parameters(timeout_min=20, signal_delay_s=0)
  launcher = slurm_launcher.SlurmLauncher(
    executor, runs_per_device=1, runs_per_task=3, memory=1 << 20
  )
  driver = Driver(Monitor(sweep.sweep, sweep.sweep.runs), launcher, print)
  deadline = time.monotonic() + 300
  signalled = []

  def time_out(driver):
    del driver
    assert time.monotonic() < deadline
    waits = sweep.base_dir / 'waits'
    if not signalled and waits.exists() and waits.read_text().endswith('\n'):
      # What Slurm does before the end of the time: it signals the job.
      signalled.append(parent(int(waits.read_text())))
      os.kill(signalled[0], signal.SIGUSR2)

  driver.run(time_out)
  assert signalled
  assert len(sweep.done()) == 6
  assert driver.lost == {}
  # It was stopped and came back by itself: the driver started nothing anew.
  assert sweep.outcomes('drq/Pong/1') == ['stopped', 'done']
  # The driver did, in another job.
  assert sweep.outcomes('drq/Pong/4') == ['failed', 'done']
  jobs = list((sweep.base_dir / 'submitit').glob('*_submitted.pkl'))
  assert len(jobs) == 3


def test_without_slurm(tmp_path, monkeypatch):
  monkeypatch.setenv('PATH', str(tmp_path))
  with pytest.raises(SettingsError, match='this machine has no Slurm'):
    slurm_launcher.slurm_executor(
      tmp_path,
      partition=None,
      account=None,
      minutes=60,
      gpus=0,
      cpus=1,
      memory_gb=None,
    )


class Slurm:
  """Slurm, as far as submitit asks it at a submission."""

  def __init__(self, folder):
    self._folder = folder
    self.jobs = folder / 'jobs'
    self.write('srun', '')
    self.write('sbatch', 'echo Submitted batch job 12')

  def write(self, name, script):
    """Replaces a program of Slurm."""
    (self._folder / name).write_text(f'#!/bin/sh\n{script}\n')
    (self._folder / name).chmod(0o755)

  def executor(self):
    return slurm_launcher.slurm_executor(
      self.jobs,
      partition='gpu',
      account='me',
      minutes=240,
      gpus=1,
      cpus=4,
      memory_gb=32,
    )


@pytest.fixture
def slurm(tmp_path, monkeypatch):
  monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
  return Slurm(tmp_path)


def test_jobs_that_slurm_refuses(slurm):
  accepts = 'echo Submitted batch job 12'
  refuses = 'echo sbatch: error: first >&2; echo sbatch: error: why >&2; exit 1'
  launcher = slurm_launcher.SlurmLauncher(slurm.executor(), 1, 2, 1 << 30)
  commands = [Command(name, ('true',)) for name in ('a', 'b', 'c', 'd')]
  slurm.write('sbatch', refuses)
  why = 'Slurm refuses the jobs: sbatch: error: why'
  with pytest.raises(SettingsError, match=f'^{why}$'):  # A flag is wrong.
    launcher.start(commands[:1])
  slurm.write('sbatch', accepts)
  launcher.start(commands[:1])
  slurm.write('sbatch', refuses)
  launcher.start(commands[1:])
  assert launcher.ended() == [
    Ended(name, None, why) for name in ('b', 'c', 'd')
  ]
  assert launcher.ended() == []


def test_arrays_are_not_too_large(slurm, monkeypatch):
  monkeypatch.setattr(slurm_launcher, '_ARRAY_SIZE', 2)
  slurm.write(
    'sbatch',
    f'cp "$1" {slurm.jobs}/script$$\necho Submitted batch job $$',
  )
  launcher = slurm_launcher.SlurmLauncher(slurm.executor(), 1, 1, 1 << 30)
  launcher.start([Command(str(i), ('true',)) for i in range(4)])
  scripts = [path.read_text() for path in slurm.jobs.glob('script*')]
  assert ['#SBATCH --array=0-1%2' in script for script in scripts] == [True] * 2


def test_what_is_submitted(slurm):
  launcher = slurm_launcher.SlurmLauncher(slurm.executor(), 2, 4, 1 << 30)
  commands = [Command(str(i), ('true',)) for i in range(10)]
  assert launcher.room(len(commands)) == 10
  launcher.start(commands)
  (script,) = slurm.jobs.glob('12_submission.sh')
  lines = script.read_text().splitlines()
  for line in (
    '--account=me',
    '--array=0-2%3',
    '--cpus-per-task=4',
    '--gpus-per-node=1',
    '--mem=32GB',
    '--partition=gpu',
    '--signal=USR2@120',
    '--time=240',
  ):
    assert f'#SBATCH {line}' in lines
  # Each task has its commands, and how many of them share its device.
  tasks = [
    submitit.core.utils.DelayedSubmission.load(path).function._arguments
    for path in sorted(slurm.jobs.glob('12_*_submitted.pkl'))
  ]
  assert [[x.name for x in names] for names, *_ in tasks] == [
    ['0', '1', '2', '3'],
    ['4', '5', '6', '7'],
    ['8', '9'],
  ]
  assert {sharing for _, sharing, *_ in tasks} == {2}
  assert launcher.stop() == (
    'the jobs continue without this command (scancel 12 stops them)'
  )


class CountedJob:
  """A job that counts how often it is asked whether it is done."""

  job_id = '12_0'
  asked = 0
  is_done = False

  def done(self):
    self.asked += 1
    return self.is_done

  def exception(self):
    return None

  def result(self):
    return [Ended('a', 0, '')]


def test_jobs_are_not_asked_in_each_turn_of_the_driver(slurm, monkeypatch):
  launcher = slurm_launcher.SlurmLauncher(slurm.executor(), 1, 1, 1 << 30)
  job = CountedJob()
  launcher._jobs[job] = ['a']
  now = [1000.0]
  monkeypatch.setattr(slurm_launcher.time, 'monotonic', lambda: now[0])
  for turn in range(400):  # 20 seconds of turns.
    now[0] = 1000 + turn * 0.05
    assert launcher.ended() == []
  assert job.asked == 2
  job.is_done = True
  now[0] = 1021.0
  assert launcher.ended() == [Ended('a', 0, '')]


class LostJob:
  """A job whose node has died."""

  job_id = '12_0'

  def done(self):
    return True

  def exception(self):
    return RuntimeError('traceback\nthe node died')


def test_the_runs_of_a_lost_job_have_ended(slurm):
  launcher = slurm_launcher.SlurmLauncher(slurm.executor(), 1, 2, 1 << 30)
  launcher._jobs[LostJob()] = ['a', 'b']
  assert launcher.ended() == [
    Ended(name, None, 'the job 12_0 was lost: the node died')
    for name in ('a', 'b')
  ]
  assert launcher.stop() is None


def test_how_many_runs_share_a_device(slurm):
  def sharing():
    launcher.start([Command('a', ('true',))])
    path = max(slurm.jobs.glob('*_submitted.pkl'))
    load = submitit.core.utils.DelayedSubmission.load
    return load(path).function._arguments[1]

  launcher = slurm_launcher.SlurmLauncher(slurm.executor(), None, 6, 1 << 30)
  assert sharing() is None
  launcher.fit(0.2)
  assert sharing() == 4
  launcher.limit(2)
  assert sharing() == 2
  launcher.fit(0.1)  # A limit stays.
  assert sharing() == 2
  launcher.limit(3)
  assert sharing() == 2


@pytest.mark.parametrize(
  ('runs', 'gpus', 'shared'), [(1, 1, 1), (3, 1, 3), (4, 2, 2), (40, 2, 4)]
)
def test_no_more_runs_share_a_device_than_a_job_has(slurm, runs, gpus, shared):
  launcher = slurm_launcher.SlurmLauncher(
    slurm.executor(), None, runs, 1 << 30, gpus
  )
  launcher.fit(0.2)  # Four would fit.
  launcher.start([Command('a', ('true',))])
  (path,) = slurm.jobs.glob('*_submitted.pkl')
  task = submitit.core.utils.DelayedSubmission.load(path).function
  assert task._arguments[1] == shared


# With the default flags: a job of one run, and one of two with one run left.
@pytest.mark.parametrize(('runs', 'width'), [(1, 8), (2, 4), (3, 2), (20, 1)])
def test_the_runs_of_a_job_have_all_of_its_cores(
  monkeypatch, tmp_path, runs, width
):
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  monkeypatch.setattr(machine, 'cores', lambda: list(range(8)))
  monkeypatch.setattr(machine, 'main_memory', lambda: 100 << 30)
  pinned = []

  def command(argv, cores=()):
    pinned.append(len(cores))
    return argv

  monkeypatch.setattr(local.child, 'command', command)
  batch = slurm_launcher.Batch([Command('a', ('true',))], None, 1 << 30, runs)
  assert batch() == [Ended('a', 0, '')]
  assert pinned == [width]


class Detached:
  """A launcher whose jobs go on without it."""

  def room(self, waiting):
    return waiting

  def start(self, commands):
    pass

  def ended(self):
    return []

  def fit(self, gpu_fraction):
    pass

  def stop(self):
    return 'the jobs continue'


def test_a_stopped_sweep_does_not_wait_for_jobs_that_go_on(stub_sweep):
  sweep = stub_sweep(['drq'], ['Pong'], range(2))
  monitor = Monitor(sweep.sweep, sweep.sweep.runs)
  driver = Driver(monitor, Detached(), print)
  with pytest.raises(StoppedError, match=r'^the jobs continue$'):
    driver.run(lambda driver: driver.stop())
  assert len(driver.launched) == 2
