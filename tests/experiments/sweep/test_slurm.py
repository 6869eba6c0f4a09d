"""A sweep in jobs of submitit, of which one runs out of time."""

import os
import pathlib
import signal
import time

import pytest

from experiments.command import SettingsError
from experiments.launchers import slurm_launcher
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
