import bz2
import csv
import gzip
import io
import json
import lzma
import os
import pathlib
import zipfile

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from ht_rl.atari100k import games, score_files
from ht_rl.atari100k import runs as runs_lib
from ht_rl.atari100k.runs import Run

SCORES = (
  pathlib.Path(
    os.environ.get(
      'HT_RL_SHARED_DATA',
      pathlib.Path(__file__).parents[4] / 'shared' / 'data',
    )
  )
  / 'scores'
)

PROTOCOL = {
  'training_steps': 100_000,
  'eval_episodes': 100,
  'sticky_actions': 0.0,
  'frames': 400_000,
}
RESULT = {
  'config': 'drq',
  'game': 'Pong',
  'seed': 0,
  'score': -7.5,
  'human_normalized_score': 0.37,
  'returns': [-7.0, -8.0],
  'protocol': PROTOCOL,
}

LAYOUTS = 'the JSON must be an object of games or of methods, or a list of rows'
TRANSPOSED = (
  'the array must have a row for each run and a column for each of the 26 '
  'games; this looks like a row for each game: transpose it'
)
ADVICE = "; remove the file, and the run's command writes it again"


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
  """Paths in messages are short: those that were given."""
  monkeypatch.chdir(tmp_path)


def write(path, content):
  """Writes text or bytes as they are, anything else as JSON."""
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  if isinstance(content, bytes):
    path.write_bytes(content)
  else:
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding='utf-8', newline='')
  return path


def write_run(folder, **changes):
  """Writes the files of a finished run, as they differ from RESULT."""
  write(f'{folder}/config.gin', 'Atari100kRunner.training_steps = 100000\n')
  write(f'{folder}/result.json', RESULT | changes)


def scores_of(*paths):
  """Scores as plain lists, and the notes."""
  read = score_files.read(paths)
  scores = {
    method: {game: column.tolist() for game, column in columns.items()}
    for method, columns in runs_lib.by_method(read.runs).items()
  }
  return scores, read.notes


def problems_of(*paths):
  with pytest.raises(runs_lib.ScoreFileError) as caught:
    score_files.read(paths)
  assert str(caught.value) == '\n'.join(caught.value.problems)
  return list(caught.value.problems)


# Folders of runs.


@pytest.fixture
def tree():
  for game in ('Pong', 'Breakout'):
    for seed in (10, 9):
      write_run(f'runs/drq/{game}/{seed}', game=game, seed=seed, score=seed)
      # What lies in a run's folder is not looked at.
      write(f'runs/drq/{game}/{seed}/checkpoints/1/result.json', '{')
  write('runs/notes.txt', 'mine')
  return 'runs'


@pytest.mark.parametrize(
  ('part', 'scores'),
  [
    ('', {'Breakout': [9, 10], 'Pong': [9, 10]}),
    ('drq', {'Breakout': [9, 10], 'Pong': [9, 10]}),
    ('drq/Pong', {'Pong': [9, 10]}),
    ('drq/Pong/9', {'Pong': [9]}),
    ('drq/Pong/9/result.json', {'Pong': [9]}),
  ],
)
def test_any_part_of_a_tree(tree, part, scores):
  assert scores_of(pathlib.Path(tree, part)) == ({'drq': scores}, ())


def test_all_of_a_run():
  write_run('runs/drq/Pong/0')
  (run,) = score_files.read(['runs']).runs
  folder = pathlib.Path('runs/drq/Pong/0')
  assert run == Run(
    'drq',
    'Pong',
    0,
    -7.5,
    str(folder / 'result.json'),
    100_000,
    PROTOCOL,
    folder,
    'Atari100kRunner.training_steps = 100000',
  )


def test_a_linked_run_is_read_and_a_linked_circle_ends():
  write_run('elsewhere/0')
  write_run('runs/drq/Pong/1', seed=1)
  pathlib.Path('runs/drq/Pong/0').symlink_to(
    pathlib.Path('elsewhere/0').resolve()
  )
  pathlib.Path('runs/latest').symlink_to(pathlib.Path('runs/drq').resolve())
  pathlib.Path('runs/drq/up').symlink_to(pathlib.Path('runs').resolve())
  assert scores_of('runs')[0] == {'drq': {'Pong': [-7.5, -7.5]}}


def test_a_gin_file_beside_runs_hides_none():
  write_run('runs/drq/Pong/0')
  write('runs/drq/config.gin', '')
  assert scores_of('runs') == (
    {'drq': {'Pong': [-7.5]}},
    ('runs/drq is not finished (no step is logged) and left out.',),
  )


def test_an_unfinished_run_is_a_note():
  write_run('runs/drq/Pong/0')
  write('runs/drq/Pong/1/config.gin', '')
  record = {'version': 1, **RESULT, 'seed': 1}
  write('runs/drq/Pong/1/run.json', record)
  metrics = '{"step": 41100}\n{"step": 41200, "loss": 0.1}\n'
  write('runs/drq/Pong/1/metrics.jsonl', metrics + '{"step": 41300, "lo')
  assert scores_of('runs') == (
    {'drq': {'Pong': [-7.5]}},
    ('runs/drq/Pong/1 is not finished (step 41,200 of 100,000) and left out.',),
  )
  pathlib.Path('runs/drq/Pong/1/run.json').unlink()  # Older runs have none.
  assert scores_of('runs')[1] == (
    'runs/drq/Pong/1 is not finished (step 41,200) and left out.',
  )


def test_many_unfinished_runs_are_counted():
  write_run('runs/drq/Pong/0')
  for seed in range(1, 1013):
    write(f'runs/drq/Pong/{seed}/config.gin', '')
  notes = scores_of('runs')[1]
  assert len(notes) == 11
  assert notes[-1] == (
    'runs: and 1,002 more runs are not finished and left out.'
  )


def test_no_finished_run_is_a_problem():
  protocol = PROTOCOL | {'training_steps': 300}
  write('runs/drq/Pong/0/run.json', {**RESULT, 'protocol': protocol})
  write('runs/drq/Pong/0/metrics.jsonl', '{"step": 100}\n')
  assert problems_of('runs') == [
    'runs: no run is finished; runs/drq/Pong/0 is not finished (step 100 of '
    '300)'
  ]


def test_a_game_of_the_emulator_that_is_not_among_the_26():
  write_run('runs/drq/Pong/0')
  # Not even one of the 57.
  write_run('runs/drq/Tetris/0', game='Tetris', human_normalized_score=None)
  write_run('runs/drq/Tennis/0', game='Tennis', human_normalized_score=None)
  assert scores_of('runs') == (
    {'drq': {'Pong': [-7.5]}},
    (
      'runs: 2 games are not among the 26 of Atari-100k and left out: '
      'Tennis, Tetris.',
    ),
  )


def test_other_steps_or_protocols_of_methods_are_notes():
  write_run('runs/a/Pong/0', config='a')
  for seed in range(2):
    write_run(
      f'runs/b/Pong/{seed}',
      config='b',
      seed=seed,
      protocol=PROTOCOL
      | {'training_steps': 12_000, 'frames': 48_000, 'eval_episodes': 20},
    )
  assert scores_of('runs')[1] == (
    'b was trained for 12,000 agent steps, not for the 100,000 of Atari-100k.',
    'a and b are of different protocols: eval_episodes 100 and 20.',
  )


def test_protocols_that_differ_within_a_method_are_a_problem():
  write_run('runs/drq/Pong/0')
  for seed in (1, 2):
    write_run(
      f'runs/drq/Pong/{seed}',
      seed=seed,
      protocol=PROTOCOL | {'training_steps': 300, 'frames': 1200},
    )
  assert problems_of('runs') == [
    'drq must have runs of one protocol, not of training_steps 100000 and '
    '300 as in runs/drq/Pong/0/result.json and in runs/drq/Pong/1/result.json'
  ]


@pytest.mark.parametrize(
  ('content', 'problem'),
  [
    ('', 'the file is empty'),
    ('{"config": "drq",\n "game": "Po', 'the JSON is cut off at line 2'),
    (
      [1],
      'the result has no config and no game and no seed and no score '
      'and no protocol',
    ),
    ({**RESULT, 'game': 3}, 'the game must be a name, not 3'),
    ({**RESULT, 'seed': True}, 'the seed must be a whole number, not True'),
    ({**RESULT, 'score': '3'}, "the score must be a finite number, not '3'"),
    (
      {**RESULT, 'score': float('nan')},
      'the score must be a finite number, not nan',
    ),
    ({**RESULT, 'config': ' '}, "the method must have a name, not ' '"),
    (
      {**RESULT, 'protocol': None},
      'the protocol must be an object with training_steps',
    ),
    (
      {k: v for k, v in RESULT.items() if k != 'score'},
      'the result has no score',
    ),
  ],
)
def test_a_bad_result(content, problem):
  write('runs/drq/Pong/0/result.json', content)
  write_run('runs/drq/Pong/1', seed=1)
  assert problems_of('runs') == [
    f'runs/drq/Pong/0/result.json: {problem}{ADVICE}'
  ]


def test_a_result_of_an_unknown_game():
  write_run('runs/drq/Pong/0', game='Pung')
  assert problems_of('runs') == [
    "runs/drq/Pong/0/result.json: unknown game 'Pung': did you mean Pong?"
  ]


@pytest.mark.parametrize('name', ['result.json', 'copied.json'])
def test_a_result_of_a_newer_version(name):
  write(f'runs/{name}', {**RESULT, 'version': 2})
  assert problems_of(f'runs/{name}') == [
    f'runs/{name}: the file is of version 2 and this release of ht_rl reads '
    'versions up to 1; update ht_rl'
  ]


def test_settings_that_can_not_be_read():
  write_run('runs/drq/Pong/0')
  write('runs/drq/Pong/0/config.gin', b'DrQAgent.gamma = \xff')
  for path in ('runs', 'runs/drq/Pong/0/result.json'):
    assert problems_of(path) == [
      'runs/drq/Pong/0/config.gin must be a text file in UTF-8; restore it, or '
      'start the run in another folder'
    ]


def test_a_result_that_can_not_be_read():
  pathlib.Path('runs/drq/Pong/0/result.json').mkdir(parents=True)
  write('runs/drq/Pong/0/config.gin', '')
  write_run('runs/drq/Pong/1', seed=1)
  assert problems_of('runs') == [
    f'runs/drq/Pong/0/result.json: this is no file that can be read{ADVICE}'
  ]


def test_a_folder_that_can_not_be_listed(monkeypatch):
  write_run('runs/drq/Pong/0')
  write_run('runs/closed/0', seed=1)
  scandir = os.scandir

  def refusing(path):
    if os.fspath(path).endswith('closed'):
      raise PermissionError(13, 'Permission denied', os.fspath(path))
    return scandir(path)

  monkeypatch.setattr(os, 'scandir', refusing)
  assert problems_of('runs') == ['runs/closed: Permission denied']


def test_a_folder_without_runs():
  pathlib.Path('runs').mkdir()
  problem = 'no run is in this folder (a finished run has a result.json)'
  assert problems_of('runs') == [f'runs: {problem}']
  write('runs/scores.csv', 'config,game,seed,score\na,Pong,0,1\n')
  assert problems_of('runs') == [
    f'runs: {problem}; name its files instead, such as runs/scores.csv'
  ]


# Their curves.


ROWS = (
  '{"step": 71, "episode_return": -21.0, "episode_length": 71}\n'
  '{"step": 100, "loss": 0.1}\n'
  '{"step": 100, "evaluation_return": 3, "evaluation_episodes": 10}\n'
  '{"step": 171, "episode_return": 4.5, "episode_length": 100}\n'
)


def make_run(metrics=None):
  write_run('runs/drq/Pong/0')
  if metrics is not None:
    write('runs/drq/Pong/0/metrics.jsonl', metrics)
  return score_files.read(['runs']).runs[0]


def test_curves_of_a_run():
  run = make_run(ROWS)
  steps, returns = runs_lib.training_episodes(run)
  assert (steps.dtype, returns.dtype) == (np.int64, np.float64)
  assert (steps.tolist(), returns.tolist()) == ([71, 171], [-21.0, 4.5])
  steps, returns = runs_lib.evaluations(run)
  assert (steps.dtype, returns.dtype) == (np.int64, np.float64)
  assert (steps.tolist(), returns.tolist()) == ([100], [3.0])


def test_curves_with_other_ends_of_lines():
  run = make_run(ROWS.replace('\n', '\r\n').rstrip())
  assert runs_lib.training_episodes(run).steps.tolist() == [71, 171]


@pytest.mark.parametrize('metrics', [None, '', '{"step": 100}\n'])
def test_a_run_without_curves(metrics):
  run = make_run(metrics)
  for curve in (runs_lib.evaluations, runs_lib.training_episodes):
    steps, returns = curve(run)
    assert (steps.shape, returns.shape) == ((0,), (0,))


def test_a_score_without_curves():
  run = Run('drq', 'Pong', 0, 1.0, 'scores.csv, line 2')
  assert len(runs_lib.evaluations(run).steps) == 0


@pytest.mark.parametrize(
  'line',
  [
    '{"step": 300, "evaluation_return": 3',
    '{"evaluation_return": 3}',
    '{"step": 300, "evaluation_return": NaN}',
    '{"step": 300, "evaluation_return": null}',
    '{"step": 2.5, "evaluation_return": 3}',
    '{"step": 300, "name": "evaluation_return"}',
    '{"step": 300} "evaluation_return"',
    '{"step": 300, "evaluation_return": 3} "evaluation_return"',
    '["step", "evaluation_return"]',
  ],
)
def test_damaged_curves(line):
  run = make_run(f'{ROWS}{line}\n')
  assert len(runs_lib.training_episodes(run).steps) == 2
  with pytest.raises(runs_lib.ScoreFileError) as caught:
    runs_lib.evaluations(run)
  assert caught.value.problems == (
    'runs/drq/Pong/0/metrics.jsonl, line 5: this must be JSON with a step, '
    'later than those before, and its evaluation_return',
  )


def test_curves_that_can_not_be_read():
  pathlib.Path('runs/drq/Pong/0/metrics.jsonl').mkdir(parents=True)
  with pytest.raises(runs_lib.ScoreFileError) as caught:
    runs_lib.evaluations(make_run())
  assert caught.value.problems == (
    'runs/drq/Pong/0/metrics.jsonl must be a file and is a folder; remove it',
  )


# CSV with the columns config, game, seed and score.


def test_columns_in_any_order_and_more_of_them():
  write(
    'scores.csv',
    'when, Score ,seed,GAME,config\n'
    'now,-7.5,1,ALE/Pong-v5,drq\n'
    '\n'
    'now, 1E1 ,0,pong,drq\n'
    ',,,,\n'
    '"a, b",.5,-3,Ms. Pacman," drq, ""new"""\n',
  )
  assert scores_of('scores.csv') == (
    {'drq': {'Pong': [10.0, -7.5]}, 'drq, "new"': {'MsPacman': [0.5]}},
    (),
  )


def test_where_a_run_comes_from():
  write('scores.csv', 'config,game,seed,score\na,Pong,0,1\n\na,Hero,0,2\n')
  assert [run.source for run in score_files.read(['scores.csv']).runs] == [
    'scores.csv, line 2',
    'scores.csv, line 4',
  ]


@pytest.mark.parametrize('end', ['\n', '\r\n', '\r'])
@pytest.mark.parametrize('start', ['', '\ufeff', '\n'])
def test_ends_of_lines_and_byte_order_mark(start, end):
  rows = ['config,game,seed,score', 'drq,Pong,0,1.5', 'drq,Pong,1,2.5']
  write('scores.csv', (start + '\n'.join(rows)).replace('\n', end))
  assert scores_of('scores.csv')[0] == {'drq': {'Pong': [1.5, 2.5]}}


def test_seeds_as_pandas_writes_them():
  write('a.csv', 'config,game,seed,score\na,Pong,1.0,2\na,Pong,0.0,1\n')
  assert scores_of('a.csv')[0] == {'a': {'Pong': [1.0, 2.0]}}
  assert [run.seed for run in score_files.read(['a.csv']).runs] == [1, 0]


def test_means_over_runs():
  write(
    'scores.csv',
    'config,game,seed,score\n'
    'drq,Pong,mean,-7.13\ndrq,Hero,Mean,7198.58\nbbf,Pong,0,13\n',
  )
  runs = score_files.read(['scores.csv']).runs
  assert [run.seed for run in runs] == [None, None, 0]
  assert scores_of('scores.csv')[0] == {
    'drq': {'Hero': [7198.58], 'Pong': [-7.13]},
    'bbf': {'Pong': [13.0]},
  }


@settings(deadline=None, max_examples=50)
@given(
  st.dictionaries(
    st.tuples(
      st.text(
        st.characters(
          exclude_categories=('Cc', 'Cs', 'Zl', 'Zp'),
          exclude_characters='\ufffe\uffff',
        ),
        min_size=1,
      ).filter(str.strip),
      st.sampled_from(games.GAMES),
      st.integers(-(10**17), 10**17),
    ),
    st.floats(allow_nan=False, allow_infinity=False),
    min_size=1,
    max_size=10,
  ),
  st.permutations(['config', 'game', 'seed', 'score', 'more']),
  st.sampled_from(['\n', '\r\n']),
)
def test_what_was_written_is_read(scores, columns, end):
  file = io.StringIO(newline='')
  writer = csv.DictWriter(file, columns, lineterminator=end)
  writer.writeheader()
  expected = {}
  for (method, game, seed), score in scores.items():
    row = {'config': method, 'game': game, 'seed': seed, 'score': score}
    writer.writerow(row)
    expected[method.strip(), game, seed] = score
  write('random.csv', file.getvalue())
  if len(expected) < len(scores):  # Names that differ by spaces.
    assert any('it is there twice' in p for p in problems_of('random.csv'))
    return
  runs = score_files.read(['random.csv']).runs
  assert {(r.method, r.game, r.seed): r.score for r in runs} == expected
  assert len(runs) == len(expected)


@pytest.mark.parametrize(
  ('row', 'problem'),
  [
    ('drq,Pong,0,abc', "the score must be a finite number, not 'abc'"),
    ('drq,Pong,0,', "the score must be a finite number, not ''"),
    ('drq,Pong,0,nan', "the score must be a finite number, not 'nan'"),
    ('drq,Pong,0,-inf', "the score must be a finite number, not '-inf'"),
    ('drq,Pong,0,1e999', 'the score must be a finite number, not inf'),
    ('drq,Pong,0,1_000', "the score must be a finite number, not '1_000'"),
    ('drq,Pong,0,"1,5"', "the score must be a finite number, not '1,5'"),
    ('drq,Pong,0,0x10', "the score must be a finite number, not '0x10'"),
    ('drq,Pong,1.5,1', 'the seed must be a whole number, not 1.5'),
    ('drq,Pong,,1', "the seed must be a whole number, not ''"),
    ('drq,Pong,last,1', "the seed must be a whole number, not 'last'"),
    ('drq,Breakot,0,1', "unknown game 'Breakot': did you mean Breakout?"),
    ('drq,tenis,0,1', "unknown game 'tenis': did you mean Tennis?"),
    (' ,Pong,0,1', "the method must have a name, not ''"),
    ('drq,Pong,0', 'the row must have as many fields as the header, 4, not 3'),
    (
      'drq,Pong,0,1,5',
      'the row must have as many fields as the header, 4, not 5',
    ),
  ],
)
def test_a_bad_row(row, problem):
  good = 'drq,Pong,8,1\n', 'drq,Pong,9,1\n'
  write('scores.csv', f'config,game,seed,score\n{good[0]}{row}\n{good[1]}')
  assert problems_of('scores.csv') == [f'scores.csv, line 3: {problem}']


def test_all_that_is_wrong_in_a_row():
  write('scores.csv', 'config,game,seed,score\n,Pung,x,y\n')
  assert problems_of('scores.csv') == [
    "scores.csv, line 2: the seed must be a whole number, not 'x'",
    "scores.csv, line 2: the method must have a name, not ''",
    "scores.csv, line 2: unknown game 'Pung': did you mean Pong?",
    "scores.csv, line 2: the score must be a finite number, not 'y'",
  ]


def test_thousands_of_bad_rows():
  rows = [f'drq,coinrun{i},{i},x\n' for i in range(2500)]
  write('scores.csv', 'config,game,seed,score\n' + ''.join(rows))
  problems = problems_of('scores.csv')
  assert len(problems) == 11
  assert problems[-1] == 'scores.csv: and 4,990 more problems'


def test_no_one_problem_is_only_counted():
  rows = [f'drq,Pong,{seed},x\n' for seed in range(12)]
  write('scores.csv', 'config,game,seed,score\n' + ''.join(rows[:11]))
  problems = problems_of('scores.csv')
  assert len(problems) == 11
  assert problems[-1].startswith('scores.csv, line 12: ')
  write('scores.csv', 'config,game,seed,score\n' + ''.join(rows))
  assert problems_of('scores.csv') == [
    *problems[:10],
    'scores.csv: and 2 more problems',
  ]


@pytest.mark.parametrize(
  ('header', 'problem'),
  [
    (
      'config,game,seed,reward',
      'one column score; it reads config,game,seed,reward',
    ),
    (
      'game,score',
      'one column config and one column seed; it reads game,score',
    ),
    (
      'config,game,seed,score,Score',
      'one column score; it reads config,game,seed,score,Score',
    ),
    (
      'config;game;seed;score',
      'one column config and one column game and '
      'one column seed and one column score; it reads config;game;seed;score',
    ),
    (
      ',game,GameScoreAverage',
      'one column seed; it reads ,game,GameScoreAverage',
    ),
    (
      '"a","' + 'b' * 200 + '"',
      'one column config and one column game and one '
      'column seed and one column score; it reads a,' + 'b' * 98,
    ),
  ],
)
def test_a_wrong_header(header, problem):
  write('scores.csv', f'{header}\ndrq,Pong,0,1\n')
  assert problems_of('scores.csv') == [
    f'scores.csv: the header must have {problem}'
  ]


def test_a_header_alone():
  write('scores.csv', 'config,game,seed,score\n')
  assert problems_of('scores.csv') == ['scores.csv: no score is in this file']


def test_an_open_quote():
  write('scores.csv', 'config,game,seed,score\na,Pong,"0,1\na,Pong,1,2\n')
  assert problems_of('scores.csv') == [
    'scores.csv: line 3 is not CSV (unexpected end of data)'
  ]


def test_only_other_games():
  write('scores.csv', 'config,game,seed,score\na,tennis,0,1\na,Skiing,0,1\n')
  assert problems_of('scores.csv') == [
    'scores.csv: no game is among the 26 of Atari-100k, only Skiing, Tennis'
  ]


# CSV as it was released with BBF.


def test_both_orders_of_columns():
  write(
    'RR2_BBF.csv',
    ',seed,game,GameScoreAverage,GameScoreNormalized\n'
    '110,7779,alien,1265.0,0.15032\n111,7780,mspacman,2000.5,0.2\n'
    '112,7781,yarsrevenge,3.0,0.1\n',
  )
  write(
    'RR2_BBF+sticky_0.1.csv',
    ',GameScoreAverage,GameScoreNormalized,game,seed\n'
    '0,107.1,0.1257,bankheist,0\n',
  )
  scores, notes = scores_of('RR2_BBF.csv', 'RR2_BBF+sticky_0.1.csv')
  assert scores == {
    'RR2_BBF': {'Alien': [1265.0], 'MsPacman': [2000.5]},
    'RR2_BBF+sticky_0.1': {'BankHeist': [107.1]},
  }
  assert notes == (
    'RR2_BBF.csv: 1 game is not among the 26 of Atari-100k and left out: '
    'YarsRevenge.',
  )


@pytest.mark.parametrize('name', ['RR2_BBF', 'RR2_BBF-SPR'])
def test_the_released_files(name):
  path = SCORES / f'{name}.csv'
  if not path.exists():
    pytest.skip(f'{path} is not here')
  read = score_files.read([path])
  scores = runs_lib.by_method(read.runs)
  assert list(scores) == [name]
  assert tuple(scores[name]) == games.GAMES
  assert {len(column) for column in scores[name].values()} == {14}
  (note,) = read.notes
  assert note == (
    f'{path}: 29 games are not among the 26 of Atari-100k and left out: '
    'Asteroids, Atlantis, BeamRider, and 26 more.'
  )
  # The file's other column is an independent normalisation.
  with path.open() as file:
    for row in csv.DictReader(file):
      columns = {game.lower(): column for game, column in scores[name].items()}
      if row['game'] not in columns:
        continue
      game = games.canonical_game(row['game'])
      normalized = games.human_normalized_score(game, scores[name][game])
      expected = float(row['GameScoreNormalized'])
      assert np.min(np.abs(normalized - expected)) < 1e-4


# JSON.


def test_a_method_called_as_its_file():
  write('DrQ(eps).json', {'ms_pacman': [3, 1.5], 'ALE/Pong-v5': [-7]})
  assert scores_of('DrQ(eps).json') == (
    {'DrQ(eps)': {'MsPacman': [3.0, 1.5], 'Pong': [-7.0]}},
    (),
  )
  runs = score_files.read(['DrQ(eps).json']).runs
  assert [(run.seed, run.source) for run in runs] == [
    (0, "DrQ(eps).json, ['ms_pacman'][0]"),
    (1, "DrQ(eps).json, ['ms_pacman'][1]"),
    (0, "DrQ(eps).json, ['ALE/Pong-v5'][0]"),
  ]


def test_several_methods_with_and_without_the_suffix():
  data = {'a': {'Pong': [1, 2], 'Tennis': [9]}, ' b': {'Hero': [3]}}
  for name in ('scores.json', 'scores.txt'):
    write(name, '\ufeff \n' + json.dumps(data))
    assert scores_of(name) == (
      {'a': {'Pong': [1.0, 2.0]}, 'b': {'Hero': [3.0]}},
      (
        f'{name}: 1 game is not among the 26 of Atari-100k and left out: '
        'Tennis.',
      ),
    )


def test_matrices_of_normalised_scores():
  rng = np.random.default_rng(0)
  matrices = {
    name: rng.normal(size=(runs, 26)) for name, runs in (('DrQ', 3), ('SPR', 1))
  }
  write('rliable.json', {name: x.tolist() for name, x in matrices.items()})
  scores, _ = scores_of('rliable.json')
  for name, matrix in matrices.items():
    # In points, by the definition of the scale.
    for column, game in enumerate(sorted(games.GAMES)):
      random, human = games.REFERENCE_SCORES[game]
      np.testing.assert_allclose(
        scores[name][game],
        matrix[:, column] * (human - random) + random,
        rtol=1e-12,
      )
  run = score_files.read(['rliable.json']).runs[27]
  assert (run.game, run.seed) == ('Amidar', 1)
  assert run.source == "rliable.json, ['DrQ'][1][1]"


@pytest.mark.parametrize(
  ('data', 'problems'),
  [
    (
      {'Pong': [1, True]},
      ["['Pong'][1]: the score must be a finite number, not True"],
    ),
    (
      {'Pong': [1, '2']},
      ["['Pong'][1]: the score must be a finite number, not '2'"],
    ),
    (
      {'Pong': [None, 2]},
      ["['Pong'][0]: the score must be a finite number, not None"],
    ),
    (
      {'Pong': [float('nan')]},
      ["['Pong'][0]: the score must be a finite number, not nan"],
    ),
    (
      {'Pong': [10**400]},
      [
        "['Pong'][0]: the score must be a finite number, "
        'not 100000000000000000...0000000000000000000'
      ],
    ),
    (
      {'a': {'Pong': [{}]}},
      ["['a']['Pong'][0]: the score must be a finite number, not {}"],
    ),
    (
      {'a': {'Pong': 841.5}},
      [
        "['a']['Pong']: this must be a list with the "
        'score of each run, not 841.5'
      ],
    ),
    ({'Pung': [1, 2]}, ["['Pung']: unknown game 'Pung': did you mean Pong?"]),
    (
      {' ': {'Pong': [1]}},
      ["[' ']['Pong']: the method must have a name, not ' '"],
    ),
    ({'a': {}, 'b': {'Pong': [1]}}, ["['a']: no score is in here"]),
    ({'a': {'Hero': []}, 'b': {'Pong': [1]}}, ["['a']: no score is in here"]),
    (
      {'a': [[0.5] * 26, [0.5] * 25]},
      [
        "['a'][1]: a row must have the "
        'human-normalised scores of the 26 games in alphabetical order, not 25 '
        'columns'
      ],
    ),
    (
      {'a': [[0.5] * 26, 1]},
      [
        "['a'][1]: a row must have the "
        'human-normalised scores of the 26 games in alphabetical order, not 1'
      ],
    ),
    (
      {'a': [[0.5] * 25 + ['x']]},
      ["['a'][0][25]: the score must be a finite number, not 'x'"],
    ),
    ({'a': [[0.5] * 5] * 26}, [f"['a']: {TRANSPOSED}"]),
    (
      {'a': [[float(i)] * 26 for i in range(26)]},
      [f"['a']: {TRANSPOSED}"],
    ),
    ({'': [[0.5] * 26]}, ["['']: the method must have a name, not ''"]),
  ],
)
def test_bad_values(data, problems):
  write('scores.json', data)
  assert problems_of('scores.json') == [f'scores.json, {p}' for p in problems]


@pytest.mark.parametrize(
  ('text', 'problem'),
  [
    ('{"Pong": [1, 2', 'the JSON is cut off at line 1'),
    ('{"Pong":\n [1,', 'the JSON is cut off at line 2'),
    ('{"Pong": [1], "He', 'the JSON is cut off at line 1'),
    ('{"a": {"Pong": [1]}', 'the JSON is cut off at line 1'),
    ('{"Pong": [1.', 'the JSON is cut off at line 1'),
    (
      '{"Pong": [1]\n "Hero": [2]}',
      "line 2 is not JSON (Expecting ',' delimiter)",
    ),
    ('{"Pong": [1]}\n{"Hero": [2]}', 'line 2 is not JSON (Extra data)'),
    ('Pong', 'line 1 is not JSON (Expecting value)'),
    (
      '{"Pong": [1], "Pong": [2]}',
      "the key 'Pong' is twice in one JSON object",
    ),
    ('[1, 2]', f'{LAYOUTS}, not [1, 2]'),
    ('3', f'{LAYOUTS}, not 3'),
    ('{"Pong": []}', 'no score is in this file'),
    ('[' * 100_000, 'the JSON is nested too deeply'),
    ('{}', 'no score is in this file'),
  ],
)
def test_bad_json(text, problem):
  write('scores.json', text)
  assert problems_of('scores.json') == [f'scores.json: {problem}']


def test_a_game_without_runs_is_missing():
  write('a.json', {'Pong': [1, 2], 'Boxing': []})
  assert scores_of('a.json') == ({'a': {'Pong': [1.0, 2.0]}}, ())


def test_a_list_of_rows():
  rows = [
    {'game': 'pong', 'seed': 1.0, 'score': 2, 'when': 'now'},
    {'Score': '1.5', 'Seed': '0', 'Game': 'Pong'},
    {'game': 'Hero', 'seed': 'mean', 'score': 3, 'config': 'b'},
  ]
  rows[:2] = [{'config': 'a', **row} for row in rows[:2]]
  write('scores.json', rows)
  assert scores_of('scores.json')[0] == {
    'a': {'Pong': [1.5, 2.0]},
    'b': {'Hero': [3.0]},
  }
  runs = score_files.read(['scores.json']).runs
  assert runs[1].source == 'scores.json, [1]'


def test_a_list_of_rows_in_the_layout_of_bbf():
  write('BBF.json', [{'game': 'pong', 'seed': 7, 'GameScoreAverage': 2}])
  assert scores_of('BBF.json')[0] == {'BBF': {'Pong': [2.0]}}


def test_bad_rows():
  good = {'config': 'a', 'game': 'Pong', 'seed': 0, 'score': 1}
  rows = [good, 3, {**good, 'seed': 1.5}, {'game': 'Pong', 'score': 1}]
  write('scores.json', [*rows, {**good, 'score': True}])
  assert problems_of('scores.json') == [
    'scores.json, [1]: a row must be an object, not 3',
    'scores.json, [2]: the seed must be a whole number, not 1.5',
    'scores.json, [3]: the header must have one column config and one column '
    'seed; it reads game,score',
    'scores.json, [4]: the score must be a finite number, not True',
  ]


def test_spellings_of_one_game():
  write('a.json', {'Pong': [1, 2], 'pong': [3]})
  assert problems_of('a.json') == [
    "a on Pong, seed 0: it is there twice, in a.json, ['Pong'][0] and in "
    "a.json, ['pong'][0]"
  ]


# All of them.


@pytest.mark.parametrize(
  ('name', 'text'),
  [
    ('a.json', '{"Pong": [1, 2]}'),
    ('a.csv', 'config,game,seed,score\na,Pong,0,1\na,Pong,1,2\n'),
    ('a.csv', 'game,seed,GameScoreAverage\nPong,0,1\nPong,1,2\n'),
  ],
)
def test_a_gzipped_file(name, text):
  write(f'{name}.gz', gzip.compress(text.encode()))
  assert scores_of(f'{name}.gz') == ({'a': {'Pong': [1.0, 2.0]}}, ())
  # Whatever it is called.
  write('a', gzip.compress(text.encode()))
  assert scores_of('a') == ({'a': {'Pong': [1.0, 2.0]}}, ())


def test_a_gzipped_file_that_is_cut():
  write('a.json.gz', gzip.compress(b'{"Pong": [1, 2]}')[:-9])
  assert problems_of('a.json.gz') == ['a.json.gz: the gzipped file is damaged']
  write('a.json.gz', gzip.compress(b'{"Pong": [1, 2'))
  assert problems_of('a.json.gz') == [
    'a.json.gz: the JSON is cut off at line 1'
  ]


@pytest.mark.parametrize(
  ('compress', 'kind'), [(bz2.compress, 'bzip2'), (lzma.compress, 'xz')]
)
def test_other_compressed_files(compress, kind):
  write('a.json.x', compress(b'{"Pong": [1, 2]}'))
  assert problems_of('a.json.x') == [
    f'a.json.x: the file is compressed ({kind}); decompress it first'
  ]


def test_a_zip_file():
  with zipfile.ZipFile('a.zip', 'w') as archive:
    archive.writestr('a.json', '{"Pong": [1, 2]}')
  assert problems_of('a.zip') == [
    'a.zip: the file is compressed (zip); decompress it first'
  ]


def test_the_games_are_listed_once():
  rows = ''.join(f'a,coinrun{i},0,1\n' for i in range(3))
  write('a.csv', f'config,game,seed,score\n{rows}a,Pung,0,1\n')
  first, *others = problems_of('a.csv')
  assert first.startswith(
    "a.csv, line 2: unknown game 'coinrun0': the 57 games"
  )
  assert others == [
    "a.csv, line 3: unknown game 'coinrun1'",
    "a.csv, line 4: unknown game 'coinrun2'",
    "a.csv, line 5: unknown game 'Pung': did you mean Pong?",
  ]


def test_no_path():
  assert problems_of() == ['no file or folder to read is named']


def test_no_such_path():
  write_run('runs/drq/Pong/0')
  assert problems_of('rums') == ["no file or folder 'rums': did you mean runs?"]
  assert problems_of('runs/dqr') == [
    "no file or folder 'runs/dqr': did you mean runs/drq?"
  ]
  assert problems_of('else/where') == ["no file or folder 'else/where'"]


@pytest.mark.parametrize(
  ('data', 'problem'),
  [
    (b'', 'the file is empty'),
    (b'\xef\xbb\xbf \r\n', 'the file is empty'),
    (
      b'\x93NUMPY\x01\x00v\x00',
      'this is no text in UTF-8, so neither CSV nor JSON',
    ),
    (b'config,game\0', 'this is no text in UTF-8, so neither CSV nor JSON'),
    (
      'config,game'.encode('utf-16'),
      'this is no text in UTF-8, so neither CSV nor JSON',
    ),
  ],
)
@pytest.mark.parametrize('name', ['scores.csv', 'scores.json'])
def test_what_is_no_text(name, data, problem):
  write(name, data)
  assert problems_of(name) == [f'{name}: {problem}']


def test_what_is_no_file():
  os.mkfifo('pipe')
  assert problems_of('pipe') == ['pipe: this is no file that can be read']


def test_a_file_that_can_not_be_read(monkeypatch):
  write('scores.csv', 'config,game,seed,score\na,Pong,0,1\n')

  def refuse(path):
    raise PermissionError(13, 'Permission denied', str(path))

  monkeypatch.setattr(pathlib.Path, 'read_bytes', refuse)
  assert problems_of('scores.csv') == ['scores.csv: Permission denied']


def test_methods_in_the_order_of_the_paths():
  write_run('runs/z/Pong/0', config='z')
  write('c.json', {'Pong': [2]})
  write('b.csv', 'config,game,seed,score\ny,Pong,0,1\nc,Pong,1,3\n')
  assert scores_of('runs', 'c.json', 'b.csv')[0] == {
    'z': {'Pong': [-7.5]},
    'c': {'Pong': [2.0, 3.0]},
    'y': {'Pong': [1.0]},
  }
  assert list(scores_of('b.csv', 'c.json', 'runs')[0]) == ['y', 'c', 'z']


def test_the_problems_of_all_files():
  header = 'config,game,seed,score\n'
  write('a.csv', f'{header}a,Pong,0,x\n')
  write('b.json', '{"Pong": [1')
  write('c.csv', f'{header}c,Pong,0,1\nc,Pong,0,1\n')
  assert problems_of('a.csv', 'b.json', 'none', 'c.csv') == [
    "a.csv, line 2: the score must be a finite number, not 'x'",
    'b.json: the JSON is cut off at line 1',
    "no file or folder 'none'",
    'c on Pong, seed 0: it is there twice, in c.csv, line 2 and in c.csv, '
    'line 3',
  ]


def test_a_run_twice():
  write_run('runs/drq/Pong/0')
  write('a.csv', 'config,game,seed,score\ndrq,PONG,0,1\nb,Pong,mean,1\n')
  write('b.csv', 'config,game,seed,score\nb,Pong,mean,1\n')
  assert problems_of('runs', 'a.csv', 'b.csv') == [
    'drq on Pong, seed 0: it is there twice, in runs/drq/Pong/0/result.json '
    'and in a.csv, line 2',
    'b on Pong, the mean: it is there twice, in a.csv, line 3 and in b.csv, '
    'line 2',
  ]


def test_many_scores_of_one_seed():
  rows = [f'a,Pong,0,{score}\n' for score in range(100)]
  write('a.csv', 'config,game,seed,score\n' + ''.join(rows))
  assert problems_of('a.csv') == [
    'a on Pong, seed 0: it is there 100 times, first in a.csv, line 2; if '
    'these are episodes of a run, give their mean'
  ]


def test_a_file_twice():
  write('a.json', {game: [1] * 100 for game in games.GAMES})
  problems = problems_of('a.json', 'a.json')
  assert len(problems) == 11
  assert problems[-1] == 'and 2,590 more scores are there twice'


def test_runs_and_means_of_one_method():
  write('a.csv', 'config,game,seed,score\na,Pong,0,1\na,Hero,mean,1\n')
  assert problems_of('a.csv') == [
    'a must have either single runs or means over runs, not both as in '
    'a.csv, line 2 and in a.csv, line 3'
  ]


def test_games_and_seeds_are_in_order():
  runs = [
    Run('a', 'Pong', 10, 3.0, ''),
    Run('a', 'Alien', 0, 4.0, ''),
    Run('a', 'Pong', -1, 1.0, ''),
    Run('a', 'Pong', 2, 2.0, ''),
  ]
  scores = runs_lib.by_method(iter(runs))
  assert list(scores['a']) == ['Alien', 'Pong']
  assert scores['a']['Pong'].dtype == np.float64
  assert scores['a']['Pong'].tolist() == [1.0, 2.0, 3.0]
