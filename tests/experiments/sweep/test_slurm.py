"""A sweep in jobs of submitit, of which one runs out of time."""

import os
import pathlib
import signal
import time

import pytest

from agents.errors import StoppedError
from experiments.command import SettingsError
from experiments.launchers import slurm_launcher
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
  assert [[x.name for x in names] for names, _, _ in tasks] == [
    ['0', '1', '2', '3'],
    ['4', '5', '6', '7'],
    ['8', '9'],
  ]
  assert {sharing for _, sharing, _ in tasks} == {2}
  assert launcher.stop() == (
    'the jobs continue without this command (scancel 12 stops them)'
  )


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
    _, found, _ = load(path).function._arguments
    return found

  launcher = slurm_launcher.SlurmLauncher(slurm.executor(), None, 1, 1 << 30)
  assert sharing() is None
  launcher.fit(0.2)
  assert sharing() == 4
  launcher.limit(2)
  assert sharing() == 2
  launcher.fit(0.1)  # A limit stays.
  assert sharing() == 2
  launcher.limit(3)
  assert sharing() == 2


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
