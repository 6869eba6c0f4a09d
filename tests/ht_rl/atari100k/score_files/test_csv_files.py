import csv
import io

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from ht_rl.atari100k import games, score_files
from tests.ht_rl.atari100k.score_files.files import (
  problems_of,
  scores_of,
  write,
)


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
      'score; it reads config,game,seed,reward',
    ),
    (
      'game,score',
      'seed; it reads game,score',
    ),
    (
      'config,game,seed,score,Score',
      'score; it reads config,game,seed,score,Score',
    ),
    (
      'config;game;seed;score',
      'game, seed, score; it reads config;game;seed;score',
    ),
    (
      ',game,GameScoreAverage',
      'seed; it reads ,game,GameScoreAverage',
    ),
    (
      '"a","' + 'b' * 200 + '"',
      'game, seed, score; it reads a,' + 'b' * 98,
    ),
  ],
)
def test_a_wrong_header(header, problem):
  write('scores.csv', f'{header}\ndrq,Pong,0,1\n')
  assert problems_of('scores.csv') == [
    f'scores.csv: the header must have each of these columns once: {problem}'
  ]


def test_a_file_of_one_method_needs_no_name_of_it():
  write('mine.csv', 'game,seed,score\nPong,0,1\nPong,1,2\n')
  assert scores_of('mine.csv')[0] == {'mine': {'Pong': [1, 2]}}


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
