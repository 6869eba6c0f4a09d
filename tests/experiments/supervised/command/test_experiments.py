"""Runs experiments to their end, and checks what they leave."""

import csv
import io
import shutil

import gin
import pytest

from experiments.supervised import results, run
from experiments.supervised.settings import Setting
from tests.experiments.refusals import assert_refused
from tests.experiments.supervised.command.typed import (
  BY_HAND,
  CELL,
  FIRST_PHASE,
  SEEDS,
  SHOWN,
  arguments,
  by_hand,
  contents,
  phase_folders,
  read_results,
  result_file,
  type_command,
)

pytest.importorskip('mlxtend')
pytestmark = pytest.mark.usefixtures('compile_fast', '_trace_once')


def test_what_an_experiment_leaves(finished, capfd):
  base_dir, typed = finished
  folder = base_dir / 'warm_start_mnist'
  assert {path.name for path in folder.iterdir()} == {
    *SHOWN,
    'lock',
    'operative_config.gin',
    'results.json',
  }
  before = contents(base_dir)
  # Again: nothing is trained, and what is written is the same.
  assert type_command(*typed) == 0
  out, err = capfd.readouterr()
  assert out == (folder / 'table.md').read_text()
  assert out.count('\n') == 3
  assert '| 0.5' in out.splitlines()[-1]
  written = ', '.join(str(folder / name) for name in SHOWN)
  assert err == f'written: {written}\n'
  after = contents(base_dir)
  for path, (content, written_at) in before.items():
    assert after[path][0] == content, path
    if path.parts[0] == 'phases' and path.name != 'lock':
      assert after[path][1] == written_at, path
  assert after.keys() == before.keys()

  # It can be typed again from what it leaves.
  config_file = folder / 'operative_config.gin'
  assert (
    type_command(f'--gin_files={config_file}', f'--base_dir={base_dir}') == 0
  )
  again = base_dir / 'operative_config'
  assert (again / 'results.json').read_bytes() == (
    folder / 'results.json'
  ).read_bytes()
  shutil.rmtree(again)
  capfd.readouterr()

  (read,) = read_results(base_dir)
  result = results.Result(**read)
  assert result.name == CELL
  assert result.seeds == list(SEEDS)
  places = [tuple(row[name] for name in results.PLACE) for row in result.rows]
  # 50 and 100 images in batches of 50: one and two steps an epoch. Of a half
  # of the data an epoch counts a half.
  assert places == [
    (0, 0, 0, 'start'),
    (0, 2, 2, 'epoch'),
    (0, 4, 4, 'end'),
    (1, 0, 4, 'start'),
    (1, 1, 6, 'epoch'),
    (1, 2, 8, 'end'),
  ]
  # It learns, and a phase begins where the last one has ended.
  accuracy = results.final_accuracy(result)
  assert (accuracy > 0.2).all()
  assert (accuracy > result.rows[0]['hare_test_accuracy']).all()
  for name in ('hare_test_loss', 'tortoise_test_loss'):
    assert result.rows[3][name] == result.rows[2][name]


def test_evaluations_in_a_phases_own_epochs(finished, tmp_path):
  settings = {CELL: {}}
  more = (
    '--gin_bindings=experiment.evaluate_every = 100',
    '--gin_bindings=experiment.evaluate_after = (1, 3)',
    '--gin_bindings=experiment.tabulate = @tables.continual_table',
  )
  assert type_command(*by_hand(tmp_path, settings, *more)) == 0
  ((result,), (often,)) = read_results(tmp_path), read_results(finished[0])
  at = [(x['phase'], x['epoch'], x['moment']) for x in result['rows']]
  assert at == [
    *((0, 0, 'start'), (0, 1, 'epoch'), (0, 3, 'epoch'), (0, 4, 'end')),
    *((1, 0, 'start'), (1, 1, 'epoch'), (1, 2, 'end')),
  ]
  # Evaluations do not change training.
  assert result['rows'][3:] == often['rows'][2:]
  table = (tmp_path / 'methods+mnist' / 'table.md').read_text()
  assert 'drop at phase starts' in table


def test_the_curves_as_a_table(finished):
  (result,) = read_results(finished[0])
  text = (finished[0] / 'warm_start_mnist' / 'curves.csv').read_text()
  rows = list(csv.DictReader(io.StringIO(text)))
  assert len(rows) == len(SEEDS) * len(result['rows'])
  for i, seed in enumerate(SEEDS):
    of_seed = [row for row in rows if row['seed'] == str(seed)]
    for read, row in zip(of_seed, result['rows'], strict=True):
      assert read['setting'] == CELL
      assert [read[name] for name in results.PLACE] == [
        str(row[name]) for name in results.PLACE
      ]
      for name, values in row.items():
        if name not in results.PLACE:
          assert float(read[name]) == values[i]
      if row['moment'] == 'start':
        assert read['train_accuracy'] == ''


def test_an_experiment_from_python(finished, tmp_path):
  fields = BY_HAND | {
    'train_size': 100,
    'width': 0.1,
    'batch_size': 50,
    'learning_rate': 0.01,
  }
  settings = {
    'WS': Setting(**fields),
    'HR': Setting(**fields, head_reset=True, reported='tortoise'),
  }
  gin.clear_config()
  first, reset = run.run_experiment(settings, SEEDS, tmp_path, evaluate_every=1)
  (whole,) = read_results(finished[0])
  assert first.rows == whole['rows']
  assert (first.name, reset.name) == ('WS', 'HR')
  assert reset.seeds == SEEDS
  assert reset.setting == settings['HR'].to_json()
  assert reset.rows[:3] == first.rows[:3]
  assert {path.name for path in tmp_path.iterdir()} == {'phases'}
  with pytest.raises(ValueError, match='seeds must be different'):
    run.run_experiment(settings, (1, 1), tmp_path)


@pytest.mark.parametrize('steps', [2000, 2001])
def test_short_phases_make_the_probability_of_snr_idle(tmp_path, capfd, steps):
  # A step an epoch.
  settings = {
    name: {
      'snr': snr,
      'ratios': (0.01,),
      'noises': (0.5,),
      'epochs': (steps,),
    }
    for name, snr in (('plain', None), ('a', 0.01), ('b', 0.05))
  }
  typed = by_hand(tmp_path, settings)
  assert type_command(*typed, '--draw_only') == 0
  err = capfd.readouterr().err
  said = 'the probability of SNR has no effect in a, b: no phase has more gradi'
  assert err.startswith(said) == (steps == 2000)
  assert ('SNR' in err) == (steps == 2000)


def test_a_buffer_that_holds_everything_is_none(finished, tmp_path, capfd):
  # The first phase has 50 samples.
  settings = {
    CELL: {},
    'idle': {'buffer_size': 50},
    'idle too': {'buffer_size': 60, 'buffer_policy': 'lowest_index'},
  }
  assert type_command(*by_hand(tmp_path, settings)) == 0
  err = capfd.readouterr().err
  assert err.startswith(
    'buffer_size 50, 60 has no effect in idle, idle too: it holds all samples '
    'that were seen before a phase, so these runs are those without a buffer\n'
  )
  assert err.count('buffer_size') == 1
  assert len(phase_folders(tmp_path)) == 2
  (whole,) = read_results(finished[0])
  found = read_results(tmp_path)
  assert [result['name'] for result in found] == list(settings)
  for result in found:
    assert result['rows'] == whole['rows']
    assert result['setting']['buffer_size'] is None
  # One sample less, and it acts.
  settings = {'acts': {'buffer_size': 49}}
  assert type_command(*by_hand(tmp_path, settings)) == 0
  assert 'buffer_size' not in capfd.readouterr().err
  assert len(phase_folders(tmp_path)) == 3


def test_draw_only(finished, tmp_path, capfd):
  base_dir, _ = finished
  copy = tmp_path / 'copy'
  shutil.copytree(base_dir, copy)
  written = result_file(copy).read_bytes()
  shutil.rmtree(copy / 'warm_start_mnist')
  before = contents(copy)
  more = 'warm_starts.noises = (0.0, 0.5)'
  assert type_command(*arguments(copy, more), '--draw_only') == 0
  out, err = capfd.readouterr()
  assert out.count('\n') == 3
  assert err.startswith('written: ')
  assert err.count('\n') == 1
  # The cell that is there is shown, and the other one is not begun.
  assert result_file(copy).read_bytes() == written
  after = contents(copy)
  assert {k: after[k] for k in before} == before
  assert len(phase_folders(copy)) == 2

  assert type_command(*arguments(tmp_path / 'none'), '--draw_only') == 0
  assert capfd.readouterr() == ('', 'nothing is finished yet\n')
  assert not (tmp_path / 'none' / 'phases').exists()
  assert read_results(tmp_path / 'none') == []


def test_a_figure_tells_what_is_unfinished(finished, tmp_path, monkeypatch):
  copy, drawn = tmp_path / 'copy', []
  shutil.copytree(finished[0], copy)

  def keep(figures, folder):
    del folder
    drawn.append(figures['figure'])
    return []

  monkeypatch.setattr(run, 'write_figures', keep)
  settings = {'EMA': {}, 'HR': {'head_reset': True}}
  assert type_command(*by_hand(copy, settings), '--draw_only') == 0
  said = drawn[0].texts[1].get_text()
  assert said.startswith('1 of 2 settings.')


def test_a_setting_that_diverges_does_not_stop_the_others(tmp_path, capfd):
  wild = {'learning_rate': 1e30, 'warmup': 0.0}
  settings = {
    'wild': wild,
    'wild HR': wild | {'head_reset': True},
    CELL: {},
    'at its end': wild | FIRST_PHASE | {'epochs': (1,)},
  }
  why = 'the training loss of seed 3 was nan in epoch 2 of phase 1'
  for _ in range(2):
    assert type_command(*by_hand(tmp_path, settings)) == 76
    out, err = capfd.readouterr()
    assert [line for line in err.splitlines() if 'loss of' in line] == [
      f'wild: {why}',
      'at its end: the test loss of seed 3 was nan in epoch 1 of phase 1',
      f'error: 3 of 4 settings failed; wild: {why}',
    ]
    assert 'Traceback' not in err
    assert [result['name'] for result in read_results(tmp_path)] == [CELL]
    assert CELL in out


@pytest.mark.slow
def test_processes_share_the_work(tmp_path, capfd, monkeypatch):
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  settings = {CELL: {}, 'wild': {'learning_rate': 1e30, 'warmup': 0.0}}
  alone, shared = tmp_path / 'alone', tmp_path / 'shared'
  assert type_command(*by_hand(alone, settings)) == 76
  alone_says = capfd.readouterr().err.splitlines()[-1]
  more = ('--workers=2', '--runs_per_device=2')
  assert type_command(*by_hand(shared, settings, *more)) == 76
  out, err = capfd.readouterr()
  assert 'Traceback' not in err
  # The reason is that of a single process, with the log of one of the two.
  (line,) = [line for line in err.splitlines() if line.startswith('error: ')]
  assert line.startswith(f'{alone_says} ({shared}/')
  # (Not its numbers: the processes have fewer cores each.)
  ours, theirs = (
    [(x['name'], x['seeds'], len(x['rows'])) for x in read_results(folder)]
    for folder in (shared, alone)
  )
  assert ours == theirs
  finished = [path.name for path in phase_folders(shared)]
  assert sorted(finished) == sorted(x.name for x in phase_folders(alone))
  assert len(list(shared.glob('*/workers/*/attempts.jsonl'))) == 2

  assert (
    type_command(*by_hand(alone, settings, '--workers=2', '--executor=print'))
    == 0
  )
  out, err = capfd.readouterr()
  assert out.startswith('python -m experiments.supervised --gin_files=')
  assert out.count('\n') == 2
  for words, message in (
    (['--executor=ray'], '--executor has no effect here'),
    (['--workers=2', '--draw_only'], '--draw_only has no work'),
    (['--workers=2', '--cpus=3'], '--cpus has no effect with --executor=local'),
  ):
    code = type_command(*by_hand(alone, settings, *words))
    assert_refused(capfd, code, message)
