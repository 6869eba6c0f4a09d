import json

import numpy as np
import pytest

from ht_rl.atari100k import games, score_files
from tests.ht_rl.atari100k.score_files.files import (
  problems_of,
  scores_of,
  write,
)

LAYOUTS = 'the JSON must be an object of games or of methods, or a list of rows'
TRANSPOSED = (
  'the array must have a row for each run and a column for each of the 26 '
  'games; this looks like a row for each game: transpose it'
)


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
        f'{name}: 1 game is not among the 26 of Atari-100k, so left out: '
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
    'scores.json, [3]: the header must have each of these columns once: seed; '
    'it reads game,score',
    'scores.json, [4]: the score must be a finite number, not True',
  ]


def test_spellings_of_one_game():
  write('a.json', {'Pong': [1, 2], 'pong': [3]})
  assert problems_of('a.json') == [
    "a on Pong, seed 0: it is there twice, in a.json, ['Pong'][0] and in "
    "a.json, ['pong'][0]"
  ]
