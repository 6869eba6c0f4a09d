import csv
import json
import os
import pathlib
import shutil
import subprocess
import sys

from absl.testing import flagsaver
import numpy as np
import pytest

from agents import atari
from experiments import summarize
from ht_rl import atari100k
from ht_rl.atari100k.run_folder import RunFolder
from tests import shared_data

ROOT = pathlib.Path(__file__).parents[2]
SCORES = shared_data.FOLDER / 'scores'
GAMES = ('Breakout', 'Pong')


def type_command(*arguments):
  """Runs the command in this process; returns its exit code."""
  with flagsaver.flagsaver():
    try:
      return summarize.main(
        summarize.parse(['summarize', *map(str, arguments)])
      )
    except SystemExit as error:
      return error.code


def write_run(base_dir, config, game, seed, score, evaluations=()):
  """Makes a finished run as `experiments.train` leaves it."""
  folder = base_dir / config / game / str(seed)
  folder.mkdir(parents=True)
  result = {
    'config': config,
    'game': game,
    'seed': seed,
    'score': score,
    'protocol': atari.PROTOCOL.as_dict(),
  }
  (folder / 'result.json').write_text(json.dumps(result))
  rows = [
    {'step': step, 'evaluation_return': value} for step, value in evaluations
  ]
  (folder / 'metrics.jsonl').write_text(
    ''.join(json.dumps(row) + '\n' for row in rows)
  )
  return folder


@pytest.fixture
def runs(tmp_path):
  """Three runs each of two configurations on two games."""
  base_dir = tmp_path / 'runs'
  for config, bonus in (('drq', 0.0), ('drq_ht', 5.0)):
    for game in GAMES:
      for seed in range(3):
        score = 2.0 + bonus + seed
        write_run(base_dir, config, game, seed, score, [(50_000, score / 2)])
  return base_dir


def table_of(text):
  """The lines of the first table, by their first cell."""
  lines = text.split('\n\n')[1].splitlines()
  return {line.split()[0]: line for line in lines}


def test_runs_of_ours(runs, capsys):
  assert type_command(runs, '--partial', '--replicates=2000') == 0
  printed = capsys.readouterr()
  assert printed.err == ''
  assert printed.out.startswith('Atari-100k, 2 of 26 games: ')
  lines = table_of(printed.out)
  normalized = [
    atari100k.human_normalized_score(game, np.arange(3) + 7.0) for game in GAMES
  ]
  assert f' {np.mean(normalized):.3f} [' in lines['drq_ht']
  # Each run of drq_ht beats each of drq.
  assert '1.00 [1.00, 1.00]' in printed.out
  assert 'note: drq, drq_ht have no score of Alien, Amidar,' in printed.out


@pytest.mark.parametrize(
  ('more', 'message'),
  [
    (['--plan=5', '--report=r.html'], '--report means nothing beside --plan'),
    (['--plan=5', '--compare=drq,drq_ht'], '--compare means nothing beside'),
    (['--plan=5', '--format=csv'], '--format means nothing beside --plan'),
    (['--plan=5', '--detect=0.1'], '--detect means nothing beside --plan'),
    (['--plan=5', '--replicates=200'], '--replicates means nothing beside'),
  ],
)
def test_flags_that_a_plan_does_not_read(runs, capsys, more, message):
  _assert_no_plan((runs, *more), capsys, message)


@pytest.mark.parametrize(
  'flag', ['partial', 'i_mean_it', 'last=0.5', 'bootstrap_seed=1']
)
def test_flags_that_a_plan_reads_for_paths_alone(capsys, flag):
  name = flag.partition('=')[0]
  message = f'--{name} means nothing beside --plan without a path'
  _assert_no_plan(('--plan=5', f'--{flag}'), capsys, message)


def _assert_no_plan(words, capsys, message):
  assert type_command(*words) == 2
  printed = capsys.readouterr()
  assert printed.out == ''
  assert printed.err.startswith(f'error: {message}')


def test_a_path_that_is_named_twice(runs, capsys):
  assert type_command(runs, runs / '..' / runs.name, '--partial') == 2
  assert capsys.readouterr().err == f'error: {runs} is named 2 times\n'


def test_missing_games_are_named(runs, capsys):
  assert type_command(runs) == 2
  printed = capsys.readouterr()
  assert printed.out == ''
  assert printed.err.startswith(
    'error: drq, drq_ht have no score of Alien, Amidar, '
  )
  assert printed.err.endswith(' (--partial compares the games that all have)\n')
  assert printed.err.count('\n') == 1


@pytest.mark.parametrize(
  ('name', 'expected'),
  [
    ('RR2_BBF', ['0.940', '0.755', '2.175', '0.377']),
    ('RR2_BBF-SPR', ['0.826', '0.711', '1.737', '0.397']),
  ],
)
def test_released_scores(name, expected, capsys):
  path = SCORES / f'{name}.csv'
  if not path.exists():
    pytest.skip(f'needs {path}')
  assert type_command(path, '--replicates=100') == 0
  words = table_of(capsys.readouterr().out)[name].split()
  assert words[1] == '14'
  assert [word for word in words[2:] if word[0] != '['][::2] == expected


def test_the_papers_numbers_beside_ours(tmp_path, capsys):
  scores = {
    game: [s.random, s.human] for game, s in atari100k.REFERENCE_SCORES.items()
  }
  path = tmp_path / 'mine.json'
  path.write_text(json.dumps(scores))
  # Two runs with these scores are as far apart in each game.
  arguments = [path, '--baselines=paper', '--format=csv', '--i_mean_it']
  assert type_command(*arguments) == 0
  lines = capsys.readouterr().out.splitlines()
  assert lines[1].startswith('mine,iqm,,2,26,0.5,')
  assert 'drq_ht (paper),iqm,,published,26,0.287,,' in lines
  assert 'bbf (paper),mean_score,Breakout,published,1,331.0,,' in lines


def test_pictures_and_report(runs, tmp_path, capsys):
  plots, report = tmp_path / 'new' / 'plots', tmp_path / 'new' / 'report.html'
  arguments = [runs, '--partial', f'--plots={plots}', f'--report={report}']
  assert type_command(*arguments, '--replicates=200') == 0
  assert capsys.readouterr().err.splitlines() == [
    f'10 pictures are in {plots}',
    f'the report is {report}',
  ]
  names = ('intervals', 'profiles', 'curves', 'improvement', 'games')
  assert sorted(path.name for path in plots.iterdir()) == sorted(
    f'{name}.{suffix}' for name in names for suffix in ('svg', 'png')
  )
  page = report.read_text('utf-8')
  assert page.count('data:image/svg+xml;base64,') == 5
  assert 'drq_ht' in page
  assert {path.name for path in report.parent.iterdir()} == {
    'plots',
    'report.html',
  }


def test_the_same_command_gives_the_same_bytes(runs, tmp_path, capsys):
  written = []
  for name in ('a', 'b'):
    report = tmp_path / f'{name}.html'
    assert type_command(runs, '--partial', f'--report={report}') == 0
    written.append((capsys.readouterr().out, report.read_bytes()))
  assert written[0] == written[1]


def test_what_is_not_finished_is_told_and_left_out(runs, capsys):
  (runs / 'drq' / 'Pong' / '2' / 'result.json').unlink()
  RunFolder(runs / 'drq' / 'Pong' / '2').begin(
    config='drq',
    game='Pong',
    seed=2,
    protocol={'training_steps': 100_000},
    settings='',
    operative_settings='',
  )
  assert type_command(runs, '--partial') == 0
  out = capsys.readouterr().out
  assert 'is not finished (step 50,000 of 100,000), so it is left out.' in out
  assert 'drq has 2 to 3 runs of a game (fewest of Pong)' in out


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ([], 'no path is given: for example python -m experiments.summarize runs'),
    (['no_such_folder'], "no file or folder 'no_such_folder'"),
    (['--format=html', 'x'], 'flag --format=html: value should be one of '),
    (['--baselines=dqn', 'x'], 'flag --baselines=dqn: value should be one of '),
    (
      ['--replicates=1', 'x'],
      'flag --replicates=1: 1 is not an integer in the range ',
    ),
    (['--confidence=95', 'x'], 'flag --confidence=95: '),
    (['--bootstrap_seed=-1', 'x'], 'flag --bootstrap_seed=-1: '),
    (['--plot=x', 'x'], "Unknown command line flag 'plot'. Did you mean: "),
  ],
)
def test_a_wrong_command_line_gets_one_line(
  arguments, message, capsys, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  assert type_command(*arguments) == 2
  printed = capsys.readouterr()
  assert printed.out == ''
  assert printed.err.startswith(f'error: {message}')
  assert printed.err.count('\n') == 1


def test_every_problem_gets_a_line(runs, capsys):
  damaged = runs / 'drq' / 'Pong' / '1' / 'result.json'
  damaged.write_text('{"config": "drq", "ga')
  shutil.copytree(runs / 'drq' / 'Breakout' / '0', runs / 'copy')
  assert type_command(runs, '--partial') == 2
  printed = capsys.readouterr()
  assert printed.out == ''
  lines = printed.err.splitlines()
  assert len(lines) == 2
  assert all(line.startswith('error: ') for line in lines)
  assert str(damaged) in lines[0]
  assert str(runs / 'copy') in lines[1]


def test_runs_of_two_configurations_are_not_one_method(runs, capsys):
  for seed, gamma in enumerate((0.99, 0.5, 0.99)):
    config = runs / 'drq' / 'Pong' / str(seed) / 'config.gin'
    config.write_text(f'# Of DrQ.\nDrQAgent.gamma = {gamma}\n')
  assert type_command(runs, '--partial') == 2
  folder = runs / 'drq' / 'Pong'
  assert capsys.readouterr().err == (
    f'error: drq must have runs of one configuration, but only '
    f"{folder}/1/result.json has 'DrQAgent.gamma = 0.5'; give the other one a "
    'gin file of its own\n'
  )


def test_a_result_above_others_hides_none(runs, capsys):
  result = runs / 'drq' / 'Pong' / '2' / 'result.json'
  shutil.copy(result, runs / 'drq' / 'result.json')
  assert type_command(runs, '--partial') == 2
  assert 'drq on Pong, seed 2: it is there twice' in capsys.readouterr().err


def test_the_notes_of_a_csv_stand_beside_it(runs, capsys):
  assert type_command(runs, '--partial', '--format=csv') == 0
  printed = capsys.readouterr()
  assert 'note: drq, drq_ht have no score of Alien, ' in printed.err
  assert 'note' not in printed.out


def test_a_report_overwrites_no_scores(runs, tmp_path, capsys):
  scores = tmp_path / 'scores.csv'
  scores.write_text('config,game,seed,score\na,Pong,0,1\na,Pong,1,2\n')
  link = tmp_path / 'link.html'
  link.symlink_to(scores)
  for path in (scores, link):
    assert type_command(scores, '--partial', f'--report={path}') == 2
    assert capsys.readouterr().err == (
      f'error: --report: {path} is one of the files to read\n'
    )
  assert type_command(scores, '--partial', f'--report={tmp_path}') == 2
  assert capsys.readouterr().err == (
    f'error: --report: {tmp_path} exists and is not a file\n'
  )
  assert scores.read_text().startswith('config,')


@pytest.mark.parametrize('name', ['a\x1bb', 'a\nb', 'a\ud800b', 'a\ufffeb'])
def test_names_that_can_not_be_printed(name, tmp_path, capsys):
  path = tmp_path / 'scores.json'
  path.write_text(json.dumps({name: {'Pong': [1.0, 2.0]}}))
  assert type_command(path, '--partial') == 2
  printed = capsys.readouterr().err
  assert 'must have printable characters only' in printed
  assert printed.count('\n') == 1


def test_an_output_that_knows_ascii_alone(runs):
  done = subprocess.run(
    [sys.executable, '-m', 'experiments.summarize', runs, '--partial'],
    env={**os.environ, 'PYTHONIOENCODING': 'ascii'},
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert (done.returncode, done.stderr) == (0, '')
  assert 'drq_ht' in done.stdout


def test_a_report_that_can_not_be_written(runs, tmp_path, capsys):
  blocked = tmp_path / 'file'
  blocked.write_text('mine')
  report = blocked / 'report.html'
  assert type_command(runs, '--partial', f'--report={report}') == 1
  printed = capsys.readouterr()
  assert printed.err.startswith('error: ')
  assert printed.err.count('\n') == 1
  assert blocked.read_text() == 'mine'


def test_only_reads_and_loads_no_tensorflow(runs):
  before = sorted(runs.rglob('*'))
  code = (
    'import sys\n'
    'from experiments import summarize\n'
    'from experiments.command import parse_flags\n'
    f'argv = ["summarize", {str(runs)!r}, "--partial", "--replicates=100"]\n'
    'assert summarize.main(parse_flags(argv)) == 0\n'
    'heavy = {"tensorflow", "dopamine", "flax", "gin", "matplotlib"}\n'
    'assert not heavy & set(sys.modules), heavy & set(sys.modules)\n'
  )
  subprocess.run([sys.executable, '-c', code], check=True, cwd=ROOT)
  assert sorted(runs.rglob('*')) == before


def test_a_reader_that_has_seen_enough(runs):
  command = f'{sys.executable} -m experiments.summarize {runs} --partial'
  done = subprocess.run(
    f'set -o pipefail; {command} | true',
    shell=True,
    executable='/bin/bash',
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert (done.returncode, done.stderr) == (0, '')


class TestComparison:
  @pytest.fixture
  def paths(self, tmp_path):
    rng = np.random.default_rng(0)
    for name, mean in {'one': 18, 'the, other': 8}.items():
      data = {g: (mean + rng.uniform(size=5)).tolist() for g in GAMES}
      (tmp_path / f'{name}.json').write_text(json.dumps(data))
    return [tmp_path / 'one.json', tmp_path / 'the, other.json', '--partial']

  @pytest.mark.parametrize(
    'words',
    [
      ('--compare', 'one', 'the, other'),
      ('--compare=one,"the, other"',),
      ('--compare', 'one,"the, other"'),
    ],
  )
  def test_two_methods(self, paths, capsys, words):
    assert type_command(*paths[:2], *words, '--partial') == 0
    out = capsys.readouterr().out
    assert 'one and the, other, paired by game: differences with 95%' in out
    assert 'The data tell them apart: one has the higher IQM (95% inter' in out
    assert 'needs about 2 runs of each game, which are there.' in out
    assert '5 runs of each of 2 games detect an IQM difference of about' in out

  def test_a_given_difference(self, paths, capsys):
    words = ('--compare', 'one', 'the, other', '--detect=0.001')
    assert type_command(*paths, *words) == 0
    assert 'To detect an IQM difference of 0.001 with 80% power, each ' in (
      capsys.readouterr().out
    )

  @pytest.mark.parametrize('style', ['json', 'csv'])
  def test_for_other_readers(self, paths, capsys, style):
    words = ('--compare', 'the, other', 'one', f'--format={style}')
    assert type_command(*paths, *words) == 0
    out, err = capsys.readouterr()
    if style == 'json':
      comparison = json.loads(out)['comparison']
      assert comparison['first'] == 'the, other'
      assert comparison['iqm_difference']['high'] < 0
      assert comparison['runs_needed']['value'] == 2
      assert comparison['better'] == 'one'
      won = [comparison[x]['value'] for x in ('games_won', 'games_lost')]
      assert won == [0, 2]
      assert comparison['sign_test_p']['value'] == 0.5
      assert len(comparison['sentences']) == 3
    else:
      rows = list(csv.reader(out.splitlines()))
      (row,) = (row for row in rows if row[1] == 'iqm_difference')
      assert row[:5] == ['the, other', 'iqm_difference', 'one', '5', '2']
      assert float(row[6]) < float(row[5]) < float(row[7]) < 0
      (row,) = (row for row in rows if row[1] == 'sign_test_p')
      assert row[5:] == ['0.5', '', '']
      assert err.startswith('The data tell them apart: one has the higher IQM')

  def test_figures_and_report(self, paths, tmp_path):
    report = tmp_path / 'report.html'
    words = ('--compare', 'one', 'the, other', f'--report={report}')
    assert type_command(*paths, *words, f'--plots={tmp_path}/plots') == 0
    assert (tmp_path / 'plots' / 'comparison.svg').exists()
    assert 'The data tell them apart' in report.read_text()

  @pytest.mark.parametrize(
    ('words', 'message'),
    [
      (['--compare=one'], '--compare takes the names of two methods, such as '),
      (
        ['--compare', 'one', 'won'],
        "--compare: there is no method 'won': did you mean one?",
      ),
      (
        ['--compare', 'one', 'x'],
        "--compare: there is no method 'x': there are one, the, other",
      ),
      (
        ['--compare', 'one', 'one'],
        '--compare: name two different methods; both are one',
      ),
      (['--detect=0.1'], '--detect needs --compare'),
      (['--compare', 'one', 'x', '--detect=0'], 'flag --detect=0'),
      (['--plan=1'], 'flag --plan=1: '),
    ],
  )
  def test_wrong_settings(self, paths, capsys, words, message):
    assert type_command(*paths, *words) == 2
    assert message in capsys.readouterr().err

  def test_a_plan(self, paths, capsys):
    assert type_command('--plan=5') == 0
    assert capsys.readouterr().out == (
      'If runs vary like those of BBF: 5 runs of each of 26 games detect an '
      'IQM difference of about 0.25 or more (80% power).\n'
    )
    assert type_command(*paths, '--plan=20') == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(':')[0] for line in lines] == [
      'If runs vary like those of one',
      'If runs vary like those of the, other',
    ]
    assert '20 runs of each of 2 games detect an IQM' in lines[0]

  def test_a_plan_says_what_it_leaves_out(self, tmp_path, capsys):
    path = tmp_path / 'a.json'
    path.write_text('{"Pong": [1, 2], "Tennis": [2, 3]}')
    assert type_command(path, '--partial', '--plan=5') == 0
    out, err = capsys.readouterr()
    assert '5 runs of each of 1 games' in out
    assert 'not among the 26 of Atari-100k, so left out: Tennis' in err
    assert 'note: Intervals over so few games are not reliable.' in err

  @pytest.mark.parametrize('name', ['confidence', 'detect', 'last'])
  def test_nan_is_no_number(self, paths, capsys, name):
    assert type_command(*paths, f'--{name}=nan') == 2
    error = capsys.readouterr().err
    assert error == f'error: --{name} must be a number, not nan\n'

  def test_a_difference_to_detect_with_single_runs(self, tmp_path, capsys):
    for name in 'xy':
      (tmp_path / f'{name}.json').write_text('{"Pong": [1], "Hero": [2]}')
    paths = [tmp_path / 'x.json', tmp_path / 'y.json', '--partial']
    assert type_command(*paths, '--compare', 'x', 'y', '--detect=0.1') == 2
    assert '--compare: difference needs two runs of' in capsys.readouterr().err
    assert type_command(*paths, '--compare', 'x', 'y') == 0
    out = capsys.readouterr().out
    assert 'x and y, paired by game: differences\n' in out
    assert 'better on 0 of 2 games and worse on 0 (sign test, p = 1).' in out

  def test_a_plan_of_single_runs(self, tmp_path, capsys):
    (tmp_path / 'a.json').write_text('{"Pong": [1], "Hero": [2, 3]}')
    assert type_command(tmp_path / 'a.json', '--partial', '--plan=5') == 2
    assert '--plan: a: a plan needs at least two runs of each game; Pong' in (
      capsys.readouterr().err
    )


class TestScoresThatLookWrong:
  @pytest.fixture
  def path(self, tmp_path):
    """Episodes of one run in place of runs."""
    rng = np.random.default_rng(0)
    data = {game: rng.integers(5, 20, 100).tolist() for game in GAMES}
    path = tmp_path / 'a.json'
    path.write_text(json.dumps(data))
    return path

  def test_are_asked_for(self, path, capsys):
    assert type_command(path, '--partial') == 2
    out, err = capsys.readouterr()
    assert out == ''
    assert err == (
      'error: a: are these runs? 100 whole numbers a game look like episodes. '
      'A run has one score, the mean of its episodes. (--i_mean_it takes the '
      'scores)\n'
    )

  def test_are_taken_if_they_are_meant(self, path, capsys):
    assert type_command(path, '--partial', '--i_mean_it') == 0
    assert 'note: a: are these runs? 100 whole' in capsys.readouterr().out

  def test_a_method_with_the_name_of_a_baseline(self, tmp_path, capsys):
    path = tmp_path / 'drq (paper).json'
    path.write_text('{"Pong": [1, 2], "Hero": [2, 3]}')
    assert type_command(path, '--partial', '--baselines=paper') == 2
    assert 'there is a method drq (paper) already' in capsys.readouterr().err

  def test_a_method_with_the_name_of_a_published_system(self, tmp_path, capsys):
    path = tmp_path / 'DrQ.json'
    path.write_text(json.dumps({game: [1, 2] for game in atari100k.GAMES}))
    arguments = (path, '--i_mean_it', '--baselines=published')
    assert type_command(*arguments) == 2
    assert 'there is a method DrQ already' in capsys.readouterr().err

  def test_means_are_asked_for_too(self, tmp_path, capsys):
    rows = [f'a,{game},mean,0.5\n' for game in atari100k.GAMES]
    path = tmp_path / 'a.csv'
    path.write_text('config,game,seed,score\n' + ''.join(rows))
    assert type_command(path) == 2
    assert 'error: a: are these game points? ' in capsys.readouterr().err


@pytest.mark.parametrize(
  ('missing', 'what'),
  [
    ('tabulate', 'tables need tabulate: pip install tabulate'),
    ('jinja2', "this needs jinja2: pip install '.[analysis]'"),
  ],
)
def test_a_package_that_is_missing(
  tmp_path, capsys, monkeypatch, missing, what
):
  monkeypatch.setitem(sys.modules, missing, None)
  # So that it is imported again.
  monkeypatch.delitem(sys.modules, 'ht_rl.atari100k.report', raising=False)
  monkeypatch.delattr(atari100k, 'report', raising=False)
  path = tmp_path / 'a.json'
  path.write_text('{"Pong": [1, 2]}')
  arguments = (path, '--partial', f'--report={tmp_path / "report.html"}')
  style = '--format=csv' if missing == 'jinja2' else '--format=table'
  assert type_command(*arguments, style) == 2
  assert capsys.readouterr().err == f'error: {what}\n'
  assert type_command('--plan=5') == 0


def test_curves_need_a_part(tmp_path, capsys):
  path = tmp_path / 'a.json'
  path.write_text(json.dumps({game: [[1, 2, 4, 8]] * 2 for game in GAMES}))
  assert type_command(path, '--partial') == 2
  assert 'such as --last=0.05' in capsys.readouterr().err
  assert type_command(path, '--partial', '--last=0.5', '--format=json') == 0
  summary = json.loads(capsys.readouterr().out)
  assert summary['methods']['a']['scores']['Pong'] == [6, 6]
  assert any('the last 50% of a curve' in note for note in summary['notes'])


def test_a_part_needs_curves(runs, tmp_path, capsys):
  assert type_command(runs, '--partial', '--last=0.5') == 2
  assert capsys.readouterr().err == (
    'error: --last has no effect: no path has a curve\n'
  )
  path = tmp_path / 'a.json'
  path.write_text(json.dumps({game: [[1, 2, 4, 8]] * 2 for game in GAMES}))
  assert type_command(runs, path, '--partial', '--last=0.5') == 0


def test_published_systems(tmp_path, capsys):
  means = {game: of.human for game, of in atari100k.REFERENCE_SCORES.items()}
  path = tmp_path / 'human.json'
  path.write_text(json.dumps({game: {'mean': x} for game, x in means.items()}))
  report = tmp_path / 'report.html'
  words = ('--baselines=published,paper', f'--report={report}')
  assert type_command(path, *words) == 0
  out = capsys.readouterr().out
  assert 'Beside published systems, by IQM: 26 games' in out
  assert 'Ye et al. (2021)' in out
  assert 'bbf_ht (paper)' in out
  assert 'Beside published systems' in report.read_text()


def test_published_systems_need_all_games(runs, capsys):
  assert type_command(runs, '--partial', '--baselines=published') == 2
  assert capsys.readouterr().err == (
    'error: --baselines=published needs scores of all 26 games, over which the '
    'published aggregates are taken\n'
  )
