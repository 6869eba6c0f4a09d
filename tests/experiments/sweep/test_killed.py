"""Sweeps whose drivers and workers are killed lose no run."""

import contextlib
import json
import os
import signal
import time

import numpy as np
import pytest

from ht_rl import atari100k

pytestmark = pytest.mark.slow


def test_260_runs_and_50_kills_with_two_drivers(stub_sweep):
  sweep = stub_sweep(
    ['drq', 'drq_ht'], list(atari100k.GAMES), range(5), retries=60
  )
  assert len(sweep.sweep.runs) == 260
  random = np.random.default_rng(2024)
  moments = sorted(random.choice(250, 50, replace=False))
  drivers = [sweep.start('--runs_per_device=2') for _ in range(2)]
  deadline = time.monotonic() + 600
  while moments or any(driver.poll() is None for driver in drivers):
    assert time.monotonic() < deadline
    for i, driver in enumerate(drivers):
      if driver.poll() is not None and (moments or driver.returncode != 0):
        drivers[i] = sweep.start('--runs_per_device=2')
    is_due = moments and len(sweep.done()) >= moments[0]
    if is_due and (victims := sweep.processes()):
      with contextlib.suppress(ProcessLookupError):  # It has just ended.
        os.kill(int(random.choice(victims)), signal.SIGKILL)
        moments.pop(0)
    time.sleep(0.01)
  assert len(sweep.done()) == 260
  assert not (sweep.base_dir / 'twice').exists()
  for run in sweep.sweep.runs:
    folder = sweep.sweep.folder(run).path
    assert json.loads((folder / 'result.json').read_text())['seed'] == run.seed
    events = sweep.events(str(run))
    starts = [x['start'] for x in events if x['event'] == 'start']
    assert starts == sorted(starts)
  assert not (sweep.base_dir / 'stderr').read_text().count('Traceback')
