"""The command for accelerators, in small on this machine."""

import json
import pathlib
import subprocess
import sys
import types

import numpy as np
import pytest

from benchmarks.accelerator import page
from benchmarks.accelerator.ledger import Ledger, LedgerError
from benchmarks.accelerator.stages import (
  IMAGES,
  has_torch,
  matrix_rate,
  real_game,
  stages,
)
from experiments.supervised.models import make_model

# One of each kind; the rest differs in its arguments.
KINDS = (
  'rate/float32',
  'rate/bandwidth',
  'update/drq',
  'step/drq',
  'emulators/2',
  'population/2/turns',
  'images/ResNet-18/ht_rl',
  'images/ViT-Tiny/ht_rl',
)


@pytest.mark.slow
def test_each_kind_is_measured_and_shown(tmp_path):
  ledger = Ledger(tmp_path / 'figures.json', 'small')
  measures = dict(stages('small', str(tmp_path), deadline=0.0))
  for name in KINDS:
    ledger.measure(name, measures[name])
  saved = json.loads(ledger.path.read_text())
  assert saved['machine']['platform'] == 'cpu'
  for name in KINDS:
    figures = saved['figures'][name]
    time = figures.pop('time')
    assert 'T' in time
    known = [x for x in figures.values() if x is not None]
    assert known, name
    assert all(x > 0 for x in known), name
  drawn = page.render(ledger)
  assert 'not measured' in drawn  # BBF.
  rate = figures_of(ledger, 'rate/float32', 'flops_a_second')
  update = ledger.figures['update/drq']
  share = update['flops'] / update['seconds'] / rate
  assert f'| {share:.1%} |' in drawn
  runs = figures_of(ledger, 'population/2/turns', 'runs_an_hour')
  played = 1e3 * figures_of(ledger, 'emulators/2', 'seconds')
  assert f'| 2 | {runs:,.4g} | {played:,.4g} |' in drawn


def figures_of(ledger, name, key):
  return ledger.figures[name][key]


def test_a_rate_is_operations_by_seconds(monkeypatch):
  monkeypatch.setattr(
    'benchmarks.accelerator.stages.timed', lambda action, seconds: 0.5
  )
  # 2 n^3 operations, n = 256.
  assert matrix_rate('small', 'float32')['flops_a_second'] == 2 * 256**3 / 0.5


def test_a_figure_is_measured_once(tmp_path):
  path = tmp_path / 'figures.json'
  Ledger(path, 'small').measure('a', lambda: {'seconds': 1.0})
  again = Ledger(path, 'small')
  again.measure('a', lambda: pytest.fail('measured twice'))
  again.measure('b', lambda: None)  # Stopped.
  assert again.figures.keys() == {'a'}
  assert again.figures['a']['seconds'] == 1.0


def test_a_real_game_that_fails_is_measured_again(tmp_path, monkeypatch):
  typed = []

  def fails(command):
    typed.append(command)
    return subprocess_of([sys.executable, '-c', 'raise SystemExit(1)'])

  subprocess_of = subprocess.Popen
  monkeypatch.setattr(subprocess, 'Popen', fails)
  assert real_game('drq', str(tmp_path), deadline=float('inf')) is None
  (gin_file,) = [
    word.removeprefix('--gin_files=')
    for word in typed[0]
    if word.startswith('--gin_files=')
  ]
  # It is found from any folder.
  assert pathlib.Path(gin_file).is_absolute()
  assert pathlib.Path(gin_file).exists()


def test_too_little_memory_is_a_figure(tmp_path):
  ledger = Ledger(tmp_path / 'figures.json', 'small')

  def fail():
    raise MemoryError('needs 90 GB\nand more')

  ledger.measure('population/2/turns', fail)
  assert (
    Ledger(ledger.path, 'small').figures['population/2/turns']['error']
    == 'needs 90 GB'
  )
  assert 'failed: needs 90 GB' in page.render(ledger)


@pytest.mark.parametrize(
  ('key', 'value'), [('device', 'abacus'), ('scale', 'full'), ('jax', '0.1')]
)
def test_figures_of_another_machine_are_refused(key, value, tmp_path):
  path = tmp_path / 'figures.json'
  ledger = Ledger(path, 'small')
  ledger.machine[key] = value
  ledger.measure('a', lambda: {'seconds': 1.0})
  with pytest.raises(LedgerError, match=f'{key} {value}.*choose another'):
    Ledger(path, 'small')


@pytest.mark.parametrize(
  'text',
  ['', '[]', '{"machine": {}}', '{"mach', '{"machine": 3, "figures": {}}'],
)
def test_a_damaged_file_is_refused(text, tmp_path):
  path = tmp_path / 'figures.json'
  path.write_text(text)
  with pytest.raises(LedgerError, match='move it away'):
    Ledger(path, 'small')


def test_runs_that_do_not_fit_are_a_figure(monkeypatch):
  monkeypatch.setattr('agents.core.memory.available_memory', lambda: 10_000_000)
  (figure,) = [
    figure
    for name, figure in stages('small', '', deadline=0.0)
    if name == 'population/2/turns'
  ]
  assert 'must fit in memory' in figure()['error']


@pytest.mark.parametrize('scale', ['full', 'small'])
def test_both_networks_are_measured_beside_pytorch_if_it_is_there(
  scale, monkeypatch
):
  def sides():
    names = [name for name, _ in stages(scale, '', deadline=0.0)]
    return {name for name in names if name.startswith('images/')}

  ours = {'images/ResNet-18/ht_rl', 'images/ViT-Tiny/ht_rl'}
  monkeypatch.setattr('benchmarks.accelerator.stages.has_torch', lambda: False)
  assert sides() == ours
  monkeypatch.setattr('benchmarks.accelerator.stages.has_torch', lambda: True)
  # In place of the module, which needs PyTorch.
  beside = types.ModuleType('benchmarks.supervised')
  beside.indexed = None
  monkeypatch.setitem(sys.modules, 'benchmarks.supervised', beside)
  monkeypatch.setattr('benchmarks.supervised', beside, raising=False)
  assert sides() == ours | {name.replace('ht_rl', 'torch') for name in ours}


@pytest.mark.parametrize('scale', ['full', 'small'])
def test_there_is_each_network(scale):
  for model, _, _ in IMAGES[scale].values():
    make_model(model, num_classes=10)


def test_no_time_measures_nothing_and_says_how_to_go_on(tmp_path):
  done = subprocess.run(
    [
      *(sys.executable, '-m', 'benchmarks.accelerator', '--scale=small'),
      *('--minutes=0', f'--json={tmp_path / "figures.json"}'),
    ],
    capture_output=True,
    text=True,
  )
  assert done.returncode == 75, done.stderr
  assert 'the same command goes on' in done.stdout
  assert ('PyTorch is not installed' in done.stdout) == (not has_torch())
  text = (tmp_path / 'figures.md').read_text()
  assert text.count('Not measured.') >= 3
  assert np.all([f'## {head}' in text for head in ('The device', 'A game')])
