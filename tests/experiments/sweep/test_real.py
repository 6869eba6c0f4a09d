"""A sweep of real runs, killed again and again, ends as if it were not."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[3]
# Of as many actions, so that they share their compiled programs; and of short
# episodes.
GAMES = ('Alien', 'Kangaroo', 'RoadRunner')
SEEDS = (0, 1)
STEPS = 120
SETTINGS = f"""
include '{ROOT}/gin_configs/drq.gin'
Atari100kRunner.training_steps = {STEPS}
Atari100kRunner.checkpoint_every = 40
Atari100kRunner.log_every = 2
Atari100kRunner.num_eval_episodes = 1
DrQAgent.min_replay_history = 20
DrQAgent.replay_capacity = 100
DrQAgent.replay_ratio = 1
DrQAgent.batch_size = 4
DuelingQNetwork.channels = (4,)
DuelingQNetwork.kernels = (12,)
DuelingQNetwork.strides = (12,)
DuelingQNetwork.hidden = 16
"""
CONFIGS = {
  'small': SETTINGS,
  'small_ht': f'{SETTINGS}hare_tortoise.reset_every = 40\n',
}
# One core to a run, in the sweep and in the runs that it is compared with: the
# order of a sum depends on the number of threads.
ONE_BY_ONE = """
import itertools, os, sys
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
from experiments import train
*files, base_dir = sys.argv[1:]
for file, game, seed in itertools.product(files, {games}, {seeds}):
  train.run([file], [], game, seed, base_dir)
"""


@pytest.fixture(scope='module')
def gin_files(tmp_path_factory):
  folder = tmp_path_factory.mktemp('gin')
  for name, settings in CONFIGS.items():
    (folder / f'{name}.gin').write_text(settings)
  return [str(folder / f'{name}.gin') for name in CONFIGS]


@pytest.fixture(scope='module')
def environ():
  return {**os.environ, 'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu'}


@pytest.fixture(scope='module')
def undisturbed(gin_files, environ, tmp_path_factory):
  """The same runs, one after another."""
  folder = tmp_path_factory.mktemp('undisturbed')
  code = ONE_BY_ONE.format(games=GAMES, seeds=SEEDS)
  argv = [sys.executable, '-c', code, *gin_files, str(folder)]
  subprocess.run(argv, env=environ, check=True, capture_output=True)
  return folder


def run_folders():
  return [
    f'{config}/{game}/{seed}'
    for config in CONFIGS
    for game in GAMES
    for seed in SEEDS
  ]


def rows(folder):
  """The rows of a run's metrics, but for the clock."""
  file = folder / 'metrics.jsonl'
  lines = file.read_text().splitlines(keepends=True) if file.exists() else []
  rows = [json.loads(line) for line in lines if line.endswith('\n')]
  return [{k: v for k, v in row.items() if k != 'seconds'} for row in rows]


def result(folder):
  read = json.loads((folder / 'result.json').read_text())
  del read['training_seconds']
  return read


def progress(base_dir):
  """Steps of all runs together, as far as they are logged."""
  return sum(
    max((row['step'] for row in rows(base_dir / name)), default=0)
    for name in run_folders()
  )


def test_ten_kills(undisturbed, gin_files, environ, tmp_path, processes_of):
  argv = [
    *(sys.executable, '-m', 'experiments.sweep', 'run'),
    *(f'--gin_files={file}' for file in gin_files),
    f'--games={",".join(GAMES)}',
    '--seeds=0-1',
    f'--base_dir={tmp_path}',
    f'--runs_per_device={len(os.sched_getaffinity(0))}',
    '--retries=10',
  ]

  def start():
    with (tmp_path / 'stderr').open('a') as stderr:
      return subprocess.Popen(
        argv, env=environ, stdout=subprocess.DEVNULL, stderr=stderr
      )

  random = np.random.default_rng(2024)
  total = STEPS * len(run_folders())
  moments = sorted(random.choice(int(0.95 * total), 10, replace=False))
  driver = start()
  deadline = time.monotonic() + 900
  while moments or driver.poll() is None:
    assert time.monotonic() < deadline
    if driver.poll() is not None:
      driver = start()
    is_due = moments and progress(tmp_path) >= moments[0]
    if is_due and (victims := processes_of(tmp_path)):
      with contextlib.suppress(ProcessLookupError):  # It has just ended.
        os.kill(random.choice(victims), signal.SIGKILL)
        moments.pop(0)
    time.sleep(0.05)
  assert driver.returncode == 0
  for name in run_folders():
    assert result(tmp_path / name) == result(undisturbed / name), name
    assert rows(tmp_path / name) == rows(undisturbed / name), name
    ours, theirs = (
      (folder / name / 'tortoise.npz').read_bytes()
      for folder in (tmp_path, undisturbed)
    )
    assert ours == theirs, name
    assert not (tmp_path / name / 'checkpoints').exists()
  # What is compared is not trivial: both configurations learn, and differ.
  ends = [rows(undisturbed / f'{config}/Alien/0')[-1] for config in CONFIGS]
  assert all(np.isfinite(end['loss']) for end in ends)
  assert ends[0]['loss'] != ends[1]['loss']
