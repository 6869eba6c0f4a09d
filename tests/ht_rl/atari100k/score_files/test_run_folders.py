import os
import pathlib

import pytest

from ht_rl.atari100k import score_files
from ht_rl.atari100k.runs import Run
from tests.ht_rl.atari100k.score_files.files import (
  PROTOCOL,
  RESULT,
  problems_of,
  scores_of,
  write,
  write_run,
)

ADVICE = (
  '; if experiments.train wrote this file, remove it, and the same command '
  'writes it again'
)


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
    ('runs/drq is not finished (no step is logged), so it is left out.',),
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
    (
      'runs/drq/Pong/1 is not finished (step 41,200 of 100,000), so it is left '
      'out.',
    ),
  )
  pathlib.Path('runs/drq/Pong/1/run.json').unlink()  # Older runs have none.
  assert scores_of('runs')[1] == (
    'runs/drq/Pong/1 is not finished (step 41,200), so it is left out.',
  )


def test_many_unfinished_runs_are_counted():
  write_run('runs/drq/Pong/0')
  for seed in range(1, 1013):
    write(f'runs/drq/Pong/{seed}/config.gin', '')
  notes = scores_of('runs')[1]
  assert len(notes) == 11
  assert notes[-1] == (
    'runs: and 1,002 more runs are not finished, so they are left out.'
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
      'runs: 2 games are not among the 26 of Atari-100k, so left out: '
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
    f'runs/drq/Pong/0/result.json: this is not a regular file{ADVICE}'
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
