"""Runs are made by hand: none is trained."""

import csv
import json

from absl.testing import flagsaver
import numpy as np
import pytest

from experiments.command import parse_flags
from experiments.paper import collect
from ht_rl.atari100k import score_files
from ht_rl.atari100k.run_folder import RunFolder


@pytest.fixture
def finish(settings):
  """Returns a function that leaves a finished run, with some settings."""

  def leave(base_dir, config, seed, score, of=None, gaps=(), commit='abc'):
    run = RunFolder.of(base_dir, config, 'Pong', seed)
    run.path.mkdir(parents=True)
    run.config_file.write_text(settings[of or config])
    run.write_result(
      {
        'config': config,
        'game': 'Pong',
        'seed': seed,
        'score': score,
        'returns': [score - 1, score + 1],
        'protocol': {'training_steps': 100_000},
        'gradient_steps': 7,
        'training_seconds': 12.4,
        'cpu': 'Z80',
        'versions': {'jax': '0.10.2'},
        'commit': commit,
      }
    )
    rows = [{'step': i + 1, 'restart_gap': x} for i, x in enumerate(gaps)]
    lines = ''.join(json.dumps(row) + '\n' for row in rows)
    run.metrics_file.write_text(lines)

  return leave


def run(*words):
  with flagsaver.flagsaver():
    return collect.main(parse_flags(['collect', *words]))


@pytest.fixture
def results(tmp_path, monkeypatch):
  (tmp_path / 'docs').mkdir()
  monkeypatch.setattr(collect, 'FOLDER', tmp_path / 'docs')
  return tmp_path / 'docs'


def test_finished_runs_with_their_settings_are_collected(
  finish, results, tmp_path, capsys
):
  runs = tmp_path / 'runs'
  gaps = np.random.default_rng(0).random(10)
  finish(runs, 'small_drq', 0, -20.0)
  finish(runs, 'small_drq_ht', 3, 4.5, gaps=gaps)
  finish(runs, 'small_drq', 1, 99.0, of='drq')
  assert run(f'--base_dir={runs}') == 0

  scores = score_files.read([results / 'atari100k_small.csv'])
  found = {(x.method, x.game, x.seed): x.score for x in scores.runs}
  assert found == {
    ('small_drq', 'Pong', 0): -20.0,
    ('small_drq_ht', 'Pong', 3): 4.5,
  }
  assert capsys.readouterr().err.splitlines() == [
    f'warning: {runs}/small_drq: 1 of the runs have other settings than '
    'gin_configs/small/small_drq.gin and are left out.',
    f'{results}/atari100k_small.csv: 2 runs',
    f'{results}/restart_gap.csv: 1 runs',
  ]
  with (results / 'restart_gap.csv').open() as file:
    (row,) = csv.DictReader(file)
  assert (row['algorithm'], row['restarts']) == ('small_drq_ht', '10')
  assert float(row['quarter_1']) == pytest.approx(gaps[:3].mean(), abs=1e-4)
  assert float(row['quarter_4']) == pytest.approx(gaps[8:].mean(), abs=1e-4)


def test_each_kind_of_run_has_a_table(finish, results, tmp_path):
  runs = tmp_path / 'runs'
  finish(runs, 'small_ht_999_400', 2, 3.0, gaps=np.ones(8))
  finish(runs, 'small_drq_ht', 2, 4.0)
  finish(runs, 'drq_eps', 2, 5.0)
  finish(runs, 'drq', 2, 6.0)
  assert run(f'--base_dir={runs}') == 0
  for name, configs in (
    ('restarts_small', ['small_ht_999_400']),
    ('atari100k_small', ['small_drq_ht']),
    ('atari100k_full', ['drq', 'drq_eps']),
  ):
    found = score_files.read([results / f'{name}.csv']).runs
    assert [(x.method, x.seed) for x in found] == [(x, 2) for x in configs]
  with (results / 'restart_gap.csv').open() as file:
    (row,) = csv.DictReader(file)
  assert row['algorithm'] == 'small_ht_999_400'


def test_a_run_that_was_collected_stays_as_it_is(finish, results, tmp_path):
  first, second = tmp_path / 'first', tmp_path / 'second'
  finish(first, 'small_drq', 0, 1.0)
  assert run(f'--base_dir={first}') == 0
  finish(second, 'small_drq', 0, 1.0, commit='def')
  finish(second, 'small_drq', 10, 2.0, commit='def')
  finish(second, 'small_drq', 9, 3.0, commit='def')
  assert run(f'--base_dir={second}') == 0
  with (results / 'atari100k_small.csv').open() as file:
    rows = [
      tuple(row[x] for x in ('seed', 'cpu', 'commit'))
      for row in csv.DictReader(file)
    ]
  assert rows == [
    ('0', 'Z80', 'abc'),
    ('9', 'Z80', 'def'),
    ('10', 'Z80', 'def'),
  ]
  # A run that the table has already needs no commit.
  (path,) = second.glob('*/*/0/result.json')
  path.write_text(path.read_text().replace('"commit"', '"other"'))
  finish(second, 'small_drq', 8, 4.0, commit='def')
  assert run(f'--base_dir={second}') == 0
  with (results / 'atari100k_small.csv').open() as file:
    rows = [(row['seed'], row['commit']) for row in csv.DictReader(file)]
  assert rows == [('0', 'abc'), ('8', 'def'), ('9', 'def'), ('10', 'def')]


def test_a_damaged_file_is_one_line(finish, results, tmp_path, capsys):
  finish(tmp_path / 'runs', 'small_drq', 0, 1.0)
  words = [f'--base_dir={tmp_path / "runs"}']
  table = results / 'atari100k_small.csv'
  table.write_text('algorithm,game,seed,score\nsmall_drq,Pong,7,3\n')
  assert run(*words) == 2
  error = capsys.readouterr().err
  assert error.startswith(f'error: {table}: the columns must be algorithm,game')
  # As a merge conflict and an interrupted copy leave them.
  table.unlink()
  assert run(*words) == 0
  capsys.readouterr()
  whole = table.read_text()
  for damaged in (
    whole.replace('small_drq', '<<<<<<< HEAD\nsmall_drq'),
    whole[: whole.index('100000')].rstrip(','),
  ):
    table.write_text(damaged)
    assert run(*words) == 2
    assert capsys.readouterr().err == (
      f'error: {table}, line 2: each row must have 12 entries, as the header '
      'has\n'
    )
    assert table.read_text() == damaged
  table.write_text(whole.replace('small_drq,Pong,0', 'small_drq,Pong,o'))
  assert run(*words) == 2
  assert capsys.readouterr().err == (
    f"error: {table}: the seed 'o' must be a whole number\n"
  )
  table.unlink()
  (path,) = (tmp_path / 'runs').glob('*/*/*/result.json')
  result = json.loads(path.read_text())
  for name in collect.NEEDED:
    path.write_text(json.dumps({k: v for k, v in result.items() if k != name}))
    assert run(*words) == 2
    assert capsys.readouterr().err == f'error: {path} has no {name}\n'


def test_a_damaged_table_leaves_all_tables_as_they_are(
  finish, results, tmp_path, capsys
):
  runs = tmp_path / 'runs'
  finish(runs, 'small_drq', 0, 1.0)
  finish(runs, 'small_drq_ht', 0, 2.0, gaps=np.ones(8))
  (results / 'restart_gap.csv').write_text('algorithm,game,seed\n1,2,3,4\n')
  before = {path: path.read_bytes() for path in results.iterdir()}
  assert run(f'--base_dir={runs}') == 2
  assert 'restart_gap.csv, line 2: each row' in capsys.readouterr().err
  assert {path: path.read_bytes() for path in results.iterdir()} == before


def test_a_wrong_command_is_one_line(results, tmp_path, capsys):
  (tmp_path / 'runs').mkdir()
  empty = f'--base_dir={tmp_path / "runs"}'
  for words in (
    ['--base_dir=nowhere'],
    [empty],
    [empty, 'x'],
    [empty, '--gin_files=a.gin'],
  ):
    assert run(*words) == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ')
    assert error.count('\n') == 1
  assert not list(results.iterdir())
