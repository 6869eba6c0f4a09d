"""Items from runs below a folder. Runs are made by hand: none is trained."""

import json
import pathlib
import shutil

import gin
import numpy as np
import pytest

from agents import atari as atari_lib
from experiments.config import load_config
from experiments.paper import atari
from experiments.supervised.experiment import make_experiment
from experiments.supervised.units import phase_runs
from ht_rl.atari100k import GAMES, REFERENCE_SCORES

ROOT = pathlib.Path(__file__).parents[3]
CONFIGS = ROOT / 'gin_configs'
METRICS = (
  'weight_magnitude',
  'weight_distance',
  'zero_gradients',
  'zero_activations',
  'feature_rank',
)


def finish(base_dir, files, bindings, accuracies):
  """Leaves settings as `experiments.supervised` leaves them, finished.

  Args:
    base_dir: folder of all runs.
    files: names of gin files.
    bindings: settings beside them.
    accuracies: by setting, the final accuracy of each seed.
  """
  load_config([f'{CONFIGS}/supervised/{name}.gin' for name in files], bindings)
  experiment = make_experiment()
  folder = base_dir / '+'.join(files)
  folder.mkdir(parents=True, exist_ok=True)
  config = gin.operative_config_str()
  (folder / 'operative_config.gin').write_text(config)
  for name, of_seeds in accuracies.items():
    seeds = experiment.seeds[: len(of_seeds)]
    for phase in phase_runs(base_dir, experiment.settings[name], seeds):
      for unit, value in zip(phase, of_seeds, strict=True):
        row = {
          'phase': unit.phase,
          'epoch': unit.setting.epochs[unit.phase],
          'step': 10 + unit.phase,
          'moment': 'end',
          'hare_test_accuracy': value,
          'tortoise_test_accuracy': 0.01 + value,
          'train_accuracy': 0.99,
          **dict.fromkeys(METRICS, value),
        }
        unit.folder.mkdir(parents=True, exist_ok=True)
        start = {**row, 'moment': 'start', 'epoch': 0, 'step': 0}
        (unit.folder / 'rows.json').write_text(json.dumps([start, row]))
        (unit.folder / 'finished').touch()


def table_of(out):
  """The rows of the first table, each as a dictionary of the columns."""
  text = out[out.index('\n| ') + 1 :].partition('\n\n')[0]
  header, _, *rows = [
    [cell.strip() for cell in line.strip('|').split(' | ')]
    for line in text.splitlines()
  ]
  return {row[0]: dict(zip(header, row, strict=True)) for row in rows}


def test_runs_below_the_folder_are_shown(type_command, tmp_path):
  # Images may lie anywhere; the settings are the paper's.
  finish(
    tmp_path,
    ['ablation_momentum', 'cifar10'],
    ["Setting.folder = '/data/cifar10'"],
    {'WS': [0.5, 0.6, 0.7, 0.8, 0.9], 'H&T 0.9': [0.7, 0.71, 0.72]}
    | {'H&T 0.999': [0.8] * 5},
  )
  file = tmp_path / 'page.html'
  code, out, _ = type_command(
    'figure9', f'--base_dir={tmp_path}', f'--html={file}'
  )
  assert code == 0
  folder = f'{tmp_path}/ablation_momentum+cifar10'
  line = f'- CIFAR-10, ResNet-18, ablation_momentum: 13 of 30 runs ({folder})'
  assert line in out.splitlines()
  rows = table_of(out)
  here = 'CIFAR-10, ResNet-18: here'
  assert rows['WS'][here] == f'0.7000 ± {np.sqrt(0.025):.4f}'
  # The tortoise is reported, and two seeds are not there.
  assert rows['H&T 0.9'][here] == '0.7200 ± 0.0100 (3 of 5 seeds)'
  assert rows['H&T 0.99'][here] == 'not run'
  assert rows['WS']['CIFAR-100, ViT-Tiny: here'] == 'not run'
  assert out.splitlines()[2] == 'State: 13 of 169 runs'
  # The figure is drawn from them.
  caption = f'CIFAR-10, ResNet-18, ablation_momentum: runs below {folder}'
  assert f'picture: {caption}\n' in out
  assert file.read_text().count('data:image/png') >= 3


def test_runs_with_other_settings_are_left_out(type_command, tmp_path):
  finish(
    tmp_path,
    ['ablation_momentum', 'cifar10'],
    ['Setting.width = 0.5'],
    {'WS': [0.5] * 5, 'H&T 0.9': [0.7] * 5},
  )
  code, out, _ = type_command('figure9', f'--base_dir={tmp_path}')
  assert code == 0
  assert 'CIFAR-10, ResNet-18, ablation_momentum: not run' in out
  assert '2 of 2 settings are not those of gin_configs/supervised/' in out


def test_runs_come_before_committed_results(type_command, tmp_path):
  finish(
    tmp_path,
    ['optimizer', 'fashion_mnist'],
    [],
    {'b1 0': [0.25, 0.25, 0.25, 0.25, 0.25]},
  )
  _, out, _ = type_command('figure3', f'--base_dir={tmp_path}')
  rows = table_of(out)
  here = 'Fashion-MNIST, MLP: here'
  assert rows['b1 0'][here] == '0.2500 ± 0.0000'
  assert rows['b1 0.5'][here].startswith('0.876')
  assert '60 of 60 runs (docs/results/optimizer.csv, ' in out


def test_more_committed_seeds_come_before_fewer_runs(type_command, tmp_path):
  finish(
    tmp_path,
    ['optimizer', 'fashion_mnist'],
    ['experiment.seeds = (1, 2)'],
    {'b1 0': [0.25, 0.25]},
  )
  _, out, _ = type_command('figure3', f'--base_dir={tmp_path}')
  rows = table_of(out)
  assert rows['b1 0']['Fashion-MNIST, MLP: here'].startswith('0.873')


def test_runs_of_earlier_commands_count(type_command, tmp_path):
  files, data = ['ablation_momentum', 'cifar10'], 'Setting.folder = "/data"'
  here = 'CIFAR-10, ResNet-18: here'
  finish(tmp_path, files, [data], {'WS': [0.5] * 5, 'H&T 0.9': [0.7] * 3})
  # The last command names one other seed, and one setting only.
  last = ['experiment.seeds = (6,)', 'experiment.settings = {"WS": {}}']
  finish(tmp_path, files, [data, *last], {'WS': [0.9]})
  _, out, _ = type_command('figure9', f'--base_dir={tmp_path}')
  rows = table_of(out)
  assert rows['WS'][here] == f'0.5667 ± {np.std([0.5] * 5 + [0.9], ddof=1):.4f}'
  assert rows['H&T 0.9'][here].startswith('0.7')


def test_phases_that_another_experiment_trained_count(type_command, tmp_path):
  finish(tmp_path, ['metrics', 'cifar100'], [], {'ratio 0.1, noise 0': [0.2]})
  _, out, _ = type_command('table5', f'--base_dir={tmp_path}')
  assert '0.2000 (1 of 5 seeds)' in out


def test_a_grid_and_its_correlations(type_command, tmp_path):
  cells = {'ratio 0.1, noise 0': [0.2], 'ratio 1, noise 0.5': [0.8]}
  seeds = ['experiment.seeds = (1,)']
  finish(tmp_path, ['metrics', 'cifar100'], seeds, cells)
  _, out, _ = type_command('figure8', f'--base_dir={tmp_path}')
  rows = table_of(out)
  here = 'CIFAR-100, ViT-Tiny: here'
  assert {rows[name][here] for name in rows} == {'+1.00 (n = 2)'}
  assert 'CIFAR-100, ViT-Tiny, metrics: 2 of 180 runs' in out
  shutil.move(tmp_path / 'metrics+cifar100', tmp_path / 'warm_start+cifar100')
  _, out, _ = type_command('table5', f'--base_dir={tmp_path}')
  line = next(
    x for x in out.splitlines() if x.split()[1:4] == ['0.1', '|', '0']
  )
  assert '0.2000 (1 of 5 seeds)' in line
  assert '0.45 ± 0.0027' in line


def test_a_damaged_folder_is_one_line(type_command, tmp_path):
  folder = tmp_path / 'optimizer+cifar10'
  folder.mkdir()
  (folder / 'operative_config.gin').write_text('Setting.wdith = 1\n')
  code, _, err = type_command('figure3', f'--base_dir={tmp_path}')
  assert code == 2
  assert err.count('\n') == 1
  assert 'did you mean width?' in err
  assert str(folder) in err


def write_run(base_dir, config, game, seed, score, text):
  folder = base_dir / config / game / str(seed)
  folder.mkdir(parents=True)
  result = {
    'config': config,
    'game': game,
    'seed': seed,
    'score': score,
    'protocol': atari_lib.PROTOCOL.as_dict(),
  }
  (folder / 'result.json').write_text(json.dumps(result))
  (folder / 'config.gin').write_text(text)


@pytest.fixture
def nothing_committed(tmp_path, monkeypatch):
  for name in ('SMALL', 'FULL'):
    monkeypatch.setattr(atari, name, tmp_path / f'{name}.csv')


@pytest.mark.usefixtures('nothing_committed')
def test_runs_of_atari(type_command, tmp_path, settings):
  for seed, score in ((0, 10.0), (3, 20.0)):
    write_run(tmp_path, 'drq', 'Pong', seed, score, settings['drq'])
  write_run(tmp_path, 'drq', 'Pong', 4, 90.0, settings['small_drq'])
  write_run(tmp_path, 'small_drq', 'Hero', 1, 70.0, settings['small_drq'])
  # Any seeds, and no more than are needed.
  for seed in range(4, 10):
    write_run(tmp_path, 'drq', 'Alien', seed, 90.0 + seed, settings['drq'])
  code, out, _ = type_command('table8', f'--base_dir={tmp_path}')
  assert code == 0
  assert f'- drq: 7 of 130 runs ({tmp_path}/drq)' in out
  found = table_of(out)
  assert found['Pong']['drq: paper'] == '-7.1'
  assert found['Pong']['drq: here'] == '15.0 (n = 2)'
  assert found['Alien']['drq: here'] == '96.5'
  assert found['Hero']['drq: here'] == 'not run'
  assert found['Hero']['drq: here, in small'] == '70.0 (n = 1)'
  left_out = f'{tmp_path}/drq: 1 of the runs have other settings than'
  assert left_out in out


@pytest.mark.usefixtures('nothing_committed')
def test_copies_and_runs_without_settings_do_not_count(
  type_command, tmp_path, settings
):
  write_run(tmp_path, 'drq', 'Pong', 0, 5.0, settings['drq'])
  write_run(tmp_path, 'drq', 'Pong', 1, 7.0, settings['drq'])
  of_game = tmp_path / 'drq' / 'Pong'
  shutil.copytree(of_game / '0', of_game / '0_backup')
  shutil.copytree(of_game, tmp_path / 'drq' / 'Hero')
  (of_game / '1' / 'config.gin').unlink()
  code, out, _ = type_command('table8', f'--base_dir={tmp_path}')
  assert code == 0
  assert f'- drq: 1 of 130 runs ({tmp_path}/drq)' in out
  assert table_of(out)['Pong']['drq: here'] == '5.0 (n = 1)'
  assert table_of(out)['Hero']['drq: here'] == 'not run'
  left_out = (
    f'note: {tmp_path}/drq: 4 of the runs do not lie in <config>/<game>'
  )
  assert left_out in out
  assert f'note: {tmp_path}/drq: 1 of the runs have no config.gin' in out


@pytest.fixture
def small(tmp_path, monkeypatch):
  """Scores of small networks alone: twice human, and human on one game."""
  file = tmp_path / 'small.csv'
  lines = ['algorithm,game,seed,score,commit,machine,date']
  for game in GAMES:
    random, human = REFERENCE_SCORES[game]
    score = random + 2 * (human - random)
    lines += [
      f'small_drq_ht,{game},{seed},{score},abc,"4 cores, 2 GHz",2026-01-01'
      for seed in (0, 1)
    ]
  human = REFERENCE_SCORES['Pong'].human
  lines += [f'{name},Pong,0,{human},abc,x,2026-01-01' for name in ('drq', 'my')]
  file.write_text('\n'.join(lines) + '\n')
  monkeypatch.setattr(atari, 'SMALL', file)
  monkeypatch.setattr(atari, 'FULL', tmp_path / 'full.csv')
  return file


def test_committed_scores_in_small(type_command, rows, tmp_path, small):
  base_dir = f'--base_dir={tmp_path}'
  code, out, _ = type_command('table1', base_dir)
  assert code == 0
  assert f'- drq_ht, in small: 52 of 52 runs ({small}), a stand-in' in out
  assert '- drq, in small: 1 of 26 runs' in out
  assert '- drq_hr20k, in small: not run, a stand-in' in out
  shown = rows(out)
  assert shown['drq_ht: here, in small'] == [
    *('2', '2.000 [2.000, 2.000]', '2.000 [2.000, 2.000]'),
    *('2.000 [2.000, 2.000]', '0.000 [0.000, 0.000]'),
  ]
  assert shown['drq_ht: here'][0] == 'not run'
  assert shown['drq: here, in small'][0] == '1 of 26 games'
  assert 'note: "In small" is a small network' in out
  assert f'note: {small}: the paper has no method my; left out.' in out
  _, out, _ = type_command('table8', base_dir)
  assert table_of(out)['Pong']['drq: here, in small'] == '14.6 (n = 1)'
  _, out, _ = type_command('list', base_dir)
  line = next(x for x in out.splitlines() if x.startswith('| table1 '))
  assert '| not run ' in line
  assert 'drq_ht, in small: 52 of 52 runs' in line


def test_committed_scores_of_full_networks(
  type_command, tmp_path, settings, monkeypatch
):
  file = tmp_path / 'full.csv'
  monkeypatch.setattr(atari, 'FULL', file)
  lines = ['drq,Pong,0,-3', 'drq,Hero,1,7', 'drq_eps,Alien,0,9']
  file.write_text('\n'.join(['algorithm,game,seed,score', *lines, '']))
  write_run(tmp_path, 'drq', 'Pong', 0, 5.0, settings['drq'])
  code, out, _ = type_command('table8', f'--base_dir={tmp_path}')
  assert code == 0
  assert f'- drq: 2 of 130 runs ({tmp_path}/drq, {file})' in out
  assert 'drq_eps' not in out
  found = table_of(out)
  # A run below the folder comes before a committed one.
  assert found['Pong']['drq: here'] == '5.0 (n = 1)'
  assert found['Hero']['drq: here'] == '7.0 (n = 1)'
  assert found['Alien']['drq: here'] == 'not run'


def test_wrong_committed_scores_are_one_line_each(
  type_command, tmp_path, small
):
  text = small.read_text() + 'drq,Pung,0,1,a,b,c\ndrq,Hero,x,1,a,b,c\n'
  small.write_text(text)
  code, _, err = type_command('table8', f'--base_dir={tmp_path}')
  assert code == 2
  first, second = err.splitlines()
  assert 'Pung' in first
  assert 'the seed must be a whole number' in second


def test_a_run_under_both_names_is_refused(type_command, tmp_path, small):
  small.write_text(small.read_text() + 'drq_ht,Pong,1,5,a,b,c\n')
  code, _, err = type_command('table8', f'--base_dir={tmp_path}')
  assert code == 2
  assert err.count('\n') == 1
  assert 'drq_ht on Pong, seed 1' in err
