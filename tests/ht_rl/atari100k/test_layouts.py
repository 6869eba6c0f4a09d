"""Files in layouts of others, made here in these layouts."""

import fractions
import gzip
import json
import pathlib
import pickle

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from ht_rl.atari100k import score_files
from ht_rl.atari100k.runs import ScoreFileError, by_method


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)


def write(name, content):
  text = content if isinstance(content, str) else json.dumps(content)
  pathlib.Path(name).write_text(text)


def scores_of(name, **settings):
  read = score_files.read([name], **settings)
  scores = {
    method: {game: column.tolist() for game, column in columns.items()}
    for method, columns in by_method(read.runs).items()
  }
  return scores, read.notes


def seeds_of(name, **settings):
  return [run.seed for run in score_files.read([name], **settings).runs]


def problems_of(name, **settings):
  with pytest.raises(ScoreFileError) as caught:
    score_files.read([name], **settings)
  return list(caught.value.problems)


class TestSeedsInObjects:
  def test_of_one_method(self):
    write('a.json', {'Pong': {'1': 2, 'seed_0': 1}, 'hero': {'Seed 7': 3.5}})
    assert scores_of('a.json')[0] == {'a': {'Hero': [3.5], 'Pong': [1, 2]}}
    assert seeds_of('a.json') == [1, 0, 7]

  def test_of_several_methods(self):
    write('a.json', {'x': {'Pong': {'0': 1}}, 'y': {'Pong': {'0': 2}}})
    assert scores_of('a.json')[0] == {'x': {'Pong': [1]}, 'y': {'Pong': [2]}}

  def test_negative_and_large_ones(self):
    seeds = [-1, 1, 2**64 - 2, 2**64 - 1]
    write('a.json', {'Pong': {str(seed): 0 for seed in seeds}})
    assert seeds_of('a.json') == seeds
    rows = [f'a,Pong,{seed},0' for seed in seeds]
    write('a.csv', '\n'.join(['config,game,seed,score', *rows]))
    assert seeds_of('a.csv') == seeds

  def test_wrong_ones(self):
    write('a.json', {'Pong': {'first': 2, '1': 'x', '2': None}})
    assert problems_of('a.json') == [
      "a.json, ['Pong']['first']: the seed must be a whole number, not 'first'",
      "a.json, ['Pong']['1']: the score must be a finite number, not 'x'",
      "a.json, ['Pong']['2']: the score must be a finite number, not None",
    ]


class TestMeansOnly:
  @pytest.mark.parametrize(
    'data',
    [
      {'Pong': {'mean': 3, 'std': 1}, 'Hero': {'mean': 4.5, 'n': 5}},
      {'Pong_mean': 3, 'Pong_std': 1, 'hero-score-mean': 4.5},
    ],
  )
  @pytest.mark.parametrize('is_nested', [False, True])
  def test_in_json(self, data, is_nested):
    write('a.json', {'a': data} if is_nested else data)
    assert scores_of('a.json')[0] == {'a': {'Hero': [4.5], 'Pong': [3]}}
    assert seeds_of('a.json') == [None, None]

  @pytest.mark.parametrize(
    'text',
    [
      'game,mean,std\nPong,3,1\nhero,4.5,2\n',
      'Game,Score_Mean,score_std,config\nPong,3,1,a\nhero,4.5,2,a\n',
      'Pong_mean,Pong_std,Hero_mean\n3,1,4.5\n',
    ],
  )
  def test_in_csv(self, text):
    write('a.csv', text)
    assert scores_of('a.csv')[0] == {'a': {'Hero': [4.5], 'Pong': [3]}}
    assert seeds_of('a.csv') == [None, None]

  def test_a_score_beside_a_mean_is_that_of_a_run(self):
    write('a.csv', 'config,game,seed,score,mean\na,Pong,0,1,9\n')
    assert scores_of('a.csv')[0] == {'a': {'Pong': [1]}}
    assert seeds_of('a.csv') == [0]

  @pytest.mark.parametrize(
    ('data', 'key'),
    [
      ({'0': 1, '1': 3, 'mean': 2, 'std': 1}, "'0'"),
      ({'mean': 2, 'runs': [1, 3]}, "'runs'"),
    ],
  )
  def test_beside_runs(self, data, key):
    write('a.json', {'Pong': data})
    assert problems_of('a.json') == [
      f"a.json, ['Pong']: this has both a mean and runs ({key}); remove the "
      'mean to take the runs'
    ]


class TestColumnOfAlgorithms:
  @pytest.mark.parametrize(
    'text',
    [
      'algorithm,game,mean\nx,Pong,1\ny,Pong,2\n',
      'algorithm,game,seed,GameScoreAverage\nx,Pong,0,1\ny,Pong,0,2\n',
      'method,game,seed,score\nx,Pong,0,1\ny,Pong,1,2\n',
      'game,Agent,seed,score\nPong,x,0,1\nPong,y,1,2\n',
      'method,agent,game,mean\nx,dqn,Pong,1\ny,dqn,Pong,2\n',
    ],
  )
  def test_in_the_other_layouts(self, text):
    write('a.csv', text)
    assert scores_of('a.csv')[0] == {'x': {'Pong': [1]}, 'y': {'Pong': [2]}}

  def test_it_names_the_method(self):
    write(
      'a.csv', 'Algorithm,game,seed,score,date\nx,Pong,3,1,1\ny,Pong,3,2,1\n'
    )
    assert scores_of('a.csv')[0] == {'x': {'Pong': [1]}, 'y': {'Pong': [2]}}

  def test_beside_a_config_it_is_ignored(self):
    write('a.csv', 'algorithm,config,game,seed,score\nx,z,Pong,3,1\n')
    assert scores_of('a.csv')[0] == {'z': {'Pong': [1]}}

  @pytest.mark.parametrize('name', ['algorithm', 'method', 'Agent'])
  def test_beside_a_config_it_may_not_tell_runs_apart(self, name):
    write(
      'a.csv', f'{name},config,game,seed,score\nx,z,Pong,3,1\ny,z,Pong,4,2\n'
    )
    problem = (
      f"a.csv, line 3: the column {name!r} has 'y' here and 'x' above, both "
      "beside the method 'z'; if it names the method, call it 'config' and "
      'remove the other column, else remove it'
    )
    assert problems_of('a.csv') == [problem]
    rows = [
      {name: of, 'config': 'z', 'game': 'Pong', 'seed': seed, 'score': 1}
      for seed, of in enumerate('xyxy')
    ]
    write('a.json', rows)
    (problem,) = problems_of('a.json')
    assert "has 'y' here and 'x' above, both beside the method 'z'" in problem

  def test_it_is_there_twice(self):
    write('a.csv', 'algorithm,algorithm,game,seed,score\nx,y,Pong,3,1\n')
    (problem,) = problems_of('a.csv')
    assert 'each of these columns once: algorithm; it' in problem


class TestFilesThatNameOneMethod:
  @pytest.mark.parametrize(
    'contents',
    [
      ['game,seed,score\nPong,0,1\n', 'game,seed,score\nPong,1,2\n'],
      [{'Pong': {'0': 1}}, {'Pong': {'1': 2}}],
      ['Pong,seed\n1,0\n', [{'game': 'Pong', 'seed': 1, 'score': 2}]],
    ],
  )
  def test_in_two_folders(self, contents):
    paths = []
    for folder, content in zip('mn', contents, strict=True):
      pathlib.Path(folder).mkdir()
      paths.append(
        f'{folder}/scores.{"csv" if type(content) is str else "json"}'
      )
      write(paths[-1], content)
    with pytest.raises(ScoreFileError) as caught:
      score_files.read(paths)
    assert caught.value.problems == (
      f"{paths[1]}: its method is named 'scores' by the file, as that of "
      f'{paths[0]} is; rename one of the files, or name the methods in a '
      'column config',
    )

  def test_with_a_column_of_methods(self):
    for folder, method in (('m', 'x'), ('n', 'y'), ('o', 'x')):
      pathlib.Path(folder).mkdir()
      seed = ord(folder)
      rows = f'config,game,seed,score\n{method},Pong,{seed},1\n'
      write(f'{folder}/scores.csv', rows)
    read = score_files.read([f'{folder}/scores.csv' for folder in 'mno'])
    assert [run.method for run in read.runs] == ['x', 'y', 'x']


class TestColumnsOfGames:
  def test_rows_are_runs(self):
    write('a.csv', ',ms_pacman,Pong\n0,10,1\n1,20,2\n')
    assert scores_of('a.csv')[0] == {
      'a': {'MsPacman': [10, 20], 'Pong': [1, 2]}
    }
    assert seeds_of('a.csv') == [0, 0, 1, 1]

  def test_rows_of_json_are_runs(self):
    write('a.json', [{'Pong': 1, 'hero': 3}, {'Pong': 2}])
    assert scores_of('a.json')[0] == {'a': {'Hero': [3], 'Pong': [1, 2]}}
    assert seeds_of('a.json') == [0, 0, 1]

  def test_a_game_that_is_there_twice(self):
    write('a.csv', 'Pong,Pong,Hero\n1,2,3\n')
    assert problems_of('a.csv') == [
      "a.csv: the header has the column 'Pong' twice"
    ]

  @pytest.mark.parametrize('name', ['config', 'Algorithm', 'method', 'Agent'])
  def test_methods(self, name):
    write('a.csv', f'{name},Pong,Hero\nx,1,5\ny,2,6\n')
    expected = {
      'x': {'Hero': [5], 'Pong': [1]},
      'y': {'Hero': [6], 'Pong': [2]},
    }
    assert scores_of('a.csv')[0] == expected
    rows = [
      {name: 'x', 'Pong': 1, 'Hero': 5},
      {name: 'y', 'Pong': 2, 'Hero': 6},
    ]
    write('a.json', rows)
    assert scores_of('a.json')[0] == expected

  @pytest.mark.parametrize(
    ('header', 'rows', 'where', 'values', 'advice'),
    [
      ('variant,Pong', ['x,1', 'x,2', 'y,3'], 4, "'y' here and 'x'", 'config'),
      (',Pong', ['0,1', '1,2', 'mean,3', 'std,4'], 4, "'mean' here", 'config'),
      ('Step,Pong', ['10,1', '20,2', '30,3'], 3, "'20' here", 'one row'),
    ],
  )
  def test_another_column_that_tells_rows_apart(
    self, header, rows, where, values, advice
  ):
    write('a.csv', '\n'.join([header, *rows]))
    (problem,) = problems_of('a.csv')
    assert problem.startswith(f'a.csv, line {where}: the column ')
    assert values in problem
    assert advice in problem
    names = header.split(',')
    of_json = [dict(zip(names, row.split(','), strict=True)) for row in rows]
    write('a.json', [{**row, 'Pong': float(row['Pong'])} for row in of_json])
    (problem,) = problems_of('a.json')
    assert values in problem

  def test_another_column_with_one_value_or_with_numbers(self):
    write('a.csv', 'env,steps,index,Pong\nale,5,0,1\nale,5,1,2\n')
    assert scores_of('a.csv')[0] == {'a': {'Pong': [1, 2]}}

  def test_seeds_and_configs(self):
    write('a.csv', 'Config,SEED,Pong,Hero\nx,3,1,5\ny,3,2,\n')
    assert scores_of('a.csv')[0] == {
      'x': {'Hero': [5], 'Pong': [1]},
      'y': {'Pong': [2]},
    }
    assert set(seeds_of('a.csv')) == {3}

  def test_gzipped(self):
    content = gzip.compress(b'Pong,Hero\n1,2\n')
    pathlib.Path('a.csv.gz').write_bytes(content)
    assert scores_of('a.csv.gz')[0] == {'a': {'Hero': [2], 'Pong': [1]}}

  def test_a_misspelled_game(self):
    write('a.csv', 'Pong,Heroo\n1,2\n')
    assert problems_of('a.csv') == [
      "a.csv: the column 'Heroo': unknown game 'Heroo': did you mean Hero?"
    ]

  def test_a_bad_cell(self):
    write('a.csv', 'Pong,Hero\n1,2\n3,x\n')
    assert problems_of('a.csv') == [
      "a.csv, line 3, Hero: the score must be a finite number, not 'x'"
    ]


XS = [100_000, 200_000, 300_000, 380_000, 390_000, 400_000]
YS = [0, 1, 2, 3, 4, 8]


class TestDopamine:
  def write_log(self, name, *returns, key='eval_average_return'):
    path = pathlib.Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    log = {
      f'iteration_{i}': {'train_episode_returns': [0.0], key: [value]}
      for i, value in enumerate(returns)
    }
    path.write_bytes(pickle.dumps(log, protocol=pickle.HIGHEST_PROTOCOL))

  def test_the_last_iteration_counts(self):
    self.write_log('runs/drq/pong/0/logs/log_9', *[1.0] * 10)
    self.write_log('runs/drq/pong/0/logs/log_10', *[1.0] * 10, 3.5)
    self.write_log('runs/drq/ms_pacman/seed_2/logs/log_0', np.float64(200.0))
    expected = {'drq': {'MsPacman': [200.0], 'Pong': [3.5]}}
    for part in ('runs', 'runs/drq'):
      assert scores_of(part) == (
        expected,
        (
          f'{part}: each score is the eval_average_return of the last '
          "iteration of Dopamine's log.",
          f'{part}: the runs end at different iterations: '
          'runs/drq/ms_pacman/seed_2/logs/log_0 at 0, others at up to 10; a '
          'run may be unfinished.',
        ),
      )
    assert seeds_of('runs') == [2, 0]
    assert scores_of('runs/drq/pong')[0] == {'drq': {'Pong': [3.5]}}

  def test_links_are_followed_once(self):
    self.write_log('elsewhere/drq/Pong/0/logs/log_0', 1.0)
    self.write_log('runs/spr/Pong/0/logs/log_0', 2.0)
    pathlib.Path('runs/drq').symlink_to('../elsewhere/drq')
    pathlib.Path('runs/spr/again').symlink_to('..')
    expected = {'drq': {'Pong': [1]}, 'spr': {'Pong': [2]}}
    assert scores_of('runs')[0] == expected

  def test_a_path_from_another_folder(self, monkeypatch):
    self.write_log('spr/Pong/0/logs/log_0', 1.0)
    self.write_log('spr/Breakout/1/logs/log_0', 2.0)
    monkeypatch.chdir('spr/Pong/0')
    assert scores_of('../../Breakout')[0] == {'spr': {'Breakout': [2]}}
    assert seeds_of('../../Breakout/1') == [1]
    assert scores_of('..')[0] == {'spr': {'Pong': [1]}}

  def test_beside_our_own_runs_they_are_named(self):
    path = pathlib.Path('runs/drq/Pong/0')
    path.mkdir(parents=True)
    result = {'config': 'drq', 'game': 'Pong', 'seed': 0, 'score': 1.0}
    result['protocol'] = {'training_steps': 100_000}
    write(path / 'result.json', result)
    # As Dopamine's runner writes them for a run of ours.
    self.write_log(path / 'logs/log_0', 1.0)
    assert scores_of('runs') == ({'drq': {'Pong': [1]}}, ())
    self.write_log('runs/spr/Pong/0/logs/log_0', 2.0)
    assert scores_of('runs') == (
      {'drq': {'Pong': [1]}},
      (
        "runs: Dopamine's logs beside the runs of experiments.train are not "
        'read; name their folder by itself.',
      ),
    )

  def test_a_log_that_dopamine_wrote(self):
    logger = pytest.importorskip('dopamine.discrete_domains.logger')
    made = logger.Logger('runs/dqn/Pong/1/logs')
    made['iteration_0'] = {'eval_average_return': [np.float32(-20.5)]}
    made.log_to_file('log', 0)
    assert scores_of('runs')[0] == {'dqn': {'Pong': [-20.5]}}

  @pytest.mark.parametrize(
    ('name', 'problem'),
    [
      (
        'a/7/logs/log_0',
        'the game and the seed must be in the path, as METHOD/GAME/SEED/logs',
      ),
      (
        'a/Pong/logs/log_0',
        'the game and the seed must be in the path, as METHOD/GAME/SEED/logs',
      ),
      (
        'a/Pong/first/logs/log_0',
        "the seed must be a whole number, not 'first'; the path must be "
        'METHOD/GAME/SEED/logs',
      ),
    ],
  )
  def test_other_paths(self, name, problem):
    self.write_log(f'runs/{name}', 1.0)
    assert problems_of('runs') == [f'runs/{name}: {problem}']

  @pytest.mark.parametrize(
    ('content', 'problem'),
    [
      (b'', 'this is a damaged log'),
      (pickle.dumps({'iteration_0': {}})[:-4], 'this is a damaged log'),
      (
        pickle.dumps({'iteration_0': {}}),
        'the last iteration has no eval_average_return',
      ),
      (pickle.dumps([1]), 'the last iteration has no eval_average_return'),
      (
        pickle.dumps({'iteration_0': {'eval_average_return': ['x']}}),
        "the score must be a finite number, not 'x'",
      ),
      (
        pickle.dumps({'iteration_0': fractions.Fraction(1, 2)}),
        'this is not a log of numbers (fractions.Fraction is not a number)',
      ),
    ],
  )
  def test_other_content(self, content, problem):
    path = pathlib.Path('runs/a/Pong/0/logs/log_0')
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert problems_of('runs') == [f'{path}: {problem}']

  def test_nothing_is_executed(self):
    path = pathlib.Path('runs/a/Pong/0/logs/log_0')
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps(Touch()))
    (problem,) = problems_of('runs')
    assert 'this is not a log of numbers' in problem
    assert not pathlib.Path('touched').exists()

  def test_files_of_its_collector_are_refused(self):
    path = pathlib.Path('runs/Pong/1/metrics/pickle/pickle_0.pkl')
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps({}))
    assert problems_of('runs') == [
      f"runs: {path} is one of Dopamine's pickled files, which can execute "
      'code when they are read; name a folder with logs/log_N, or write a CSV '
      'file with config, game, seed, score'
    ]


class Touch:
  """Makes a file when it is unpickled without care."""

  def __reduce__(self):
    return pathlib.Path.touch, (pathlib.Path('touched'),)


class TestCurves:
  def rows(self):
    return [
      {'task': 'atari_pong', 'method': 'dreamer', 'seed': '0'}
      | {'xs': XS, 'ys': YS},
      {'task': 'atari_ms_pacman', 'method': 'dreamer', 'seed': '1'}
      | {'xs': [400_000], 'ys': [500]},
    ]

  def test_rows_with_steps(self):
    write('a.json', self.rows())
    # By hand: of steps above 380,000 and of all above 0.
    assert scores_of('a.json', last=0.05) == (
      {'dreamer': {'MsPacman': [500], 'Pong': [6]}},
      ('a.json: each score is the mean of the last 5% of a curve.',),
    )
    assert scores_of('a.json', last=1)[0]['dreamer']['Pong'] == [3]

  def test_lists_without_steps(self):
    write('a.json', {'Pong': [YS, [1, 3]], 'Hero': {'7': [2, 4]}})
    assert scores_of('a.json', last=0.5)[0] == {
      'a': {'Hero': [4], 'Pong': [5, 3]}
    }
    assert seeds_of('a.json', last=0.5) == [0, 1, 7]

  @pytest.mark.parametrize(
    ('steps', 'last', 'expected'),
    [
      # By hand: 1 - 0.8 is less than 0.2 in floating point.
      ([1, 2, 3, 4, 5], 0.8, [2, 3, 4, 5]),
      ([70, 80, 90], 0.3, [70, 80, 90]),
      ([63, 64, 90], 0.3, [64, 90]),
      ([0], 0.1, [0]),
      ([0, 5], 1, [0, 5]),
    ],
  )
  def test_the_edge_of_the_part(self, steps, last, expected):
    row = {'task': 'pong', 'method': 'x', 'seed': 0, 'xs': steps, 'ys': steps}
    write('a.json', [row])
    mean = sum(expected) / len(expected)
    assert scores_of('a.json', last=last)[0] == {'x': {'Pong': [mean]}}

  def test_objects_in_methods(self):
    run = {'xs': XS, 'ys': YS}
    write('a.json', {'x': {'Pong': [run, run]}})
    assert scores_of('a.json', last=0.05)[0] == {'x': {'Pong': [6, 6]}}

  def test_the_part_must_be_stated(self):
    write('a.json', self.rows()[:1])
    assert problems_of('a.json') == [
      'a.json, [0]: this is a curve; state the part at its end whose mean is '
      'the score, such as --last=0.05'
    ]

  @pytest.mark.parametrize(
    ('change', 'problem'),
    [
      ({'xs': [1]}, 'the curve must have as many scores as steps, one or more'),
      (
        {'xs': [], 'ys': []},
        'the curve must have as many scores as steps, one or more',
      ),
      ({'ys': [None] * 6}, 'the score must be a finite number, not None'),
      ({'seed': 'x'}, "the seed must be a whole number, not 'x'"),
      ({'task': 'Pung'}, "unknown game 'Pung': did you mean Pong?"),
    ],
  )
  def test_wrong_ones(self, change, problem):
    write('a.json', [self.rows()[0] | change])
    assert problems_of('a.json', last=0.1) == [f'a.json, [0]: {problem}']


def check_outcome(name, last):
  """Fails if a file gives anything but finite scores or lines for a person."""
  problems, runs = ('none',), ()
  try:
    runs = score_files.read([name], last=last).runs
  except ScoreFileError as error:
    problems = error.problems
  assert all(line and '\n' not in line for line in problems)
  assert all(np.isfinite(run.score) for run in runs)


NAMES = st.sampled_from(
  [
    *('Pong', 'hero_mean', 'Hero_std', 'Tennis', 'Pung', 'a', 'mean', '0'),
    *('seed', 'game', 'score', 'config', 'xs', 'ys', 'task', 'protocol', ''),
    *('training_steps', 'GameScoreAverage', 'version', 'returns', 'seed_1'),
  ]
)
VALUES = st.recursive(
  st.none()
  | st.booleans()
  | st.integers(-(10**20), 10**20)
  | st.floats()
  | NAMES,
  lambda inner: (
    st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6)
  ),
  max_leaves=30,
)


@settings(
  deadline=None,
  max_examples=300,
  suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(VALUES, st.sampled_from([None, 0.1, 1.0]))
def test_any_json_is_read_or_refused(data, last):
  write('a.json', data)
  check_outcome('a.json', last)


@settings(
  deadline=None,
  max_examples=200,
  suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
  st.lists(NAMES, min_size=1, max_size=5),
  st.lists(
    st.lists(NAMES | st.floats().map(str) | st.integers().map(str), max_size=5),
    max_size=4,
  ),
)
def test_any_csv_is_read_or_refused(header, rows):
  write('a.csv', '\n'.join(','.join(row) for row in [header, *rows]))
  check_outcome('a.csv', None)
