import bz2
import gzip
import lzma
import os
import pathlib
import zipfile

import numpy as np
import pytest

from ht_rl.atari100k import games
from ht_rl.atari100k import runs as runs_lib
from ht_rl.atari100k.runs import Run
from tests.ht_rl.atari100k.score_files.files import (
  problems_of,
  scores_of,
  write,
  write_run,
)


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
      'this holds arrays of NumPy; pass them to `ht_rl.atari100k.summarize` in '
      'Python, or write a CSV file',
    ),
    (
      b'config,game\0',
      'this is not text in UTF-8, so it is neither CSV nor JSON',
    ),
    (
      'config,game'.encode('utf-16'),
      'this is not text in UTF-8, so it is neither CSV nor JSON',
    ),
  ],
)
@pytest.mark.parametrize('name', ['scores.csv', 'scores.json'])
def test_what_is_no_text(name, data, problem):
  write(name, data)
  assert problems_of(name) == [f'{name}: {problem}']


def test_arrays_in_a_zip_file():
  np.savez('scores.npz', x=np.zeros(3))
  (problem,) = problems_of('scores.npz')
  assert problem.startswith('scores.npz: this holds arrays of NumPy; pass them')


def test_what_is_no_file():
  os.mkfifo('pipe')
  assert problems_of('pipe') == ['pipe: this is not a regular file']


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
