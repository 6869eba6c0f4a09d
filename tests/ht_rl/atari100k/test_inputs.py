"""Scores from Python, in the forms in which people hold them."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from ht_rl import atari100k
from ht_rl.atari100k.games import GAMES, REFERENCE_SCORES
from ht_rl.atari100k.inputs import means_of, methods_of, scores_of

EXPECTED = {'Hero': [30.0, 40.0], 'Pong': [1.0, 2.0]}


def lists(scores):
  return {game: values.tolist() for game, values in scores.items()}


def long_frame():
  rows = [
    (game, seed, score)
    for game, scores in EXPECTED.items()
    for seed, score in enumerate(scores)
  ]
  return pd.DataFrame(rows, columns=['game', 'seed', 'GameScoreAverage'])


@pytest.mark.parametrize(
  'scores',
  [
    EXPECTED,
    {'ALE/Hero-v5': (30, 40), 'pong': np.array([1, 2], np.float32)},
    {'Hero': {0: 30, 1: 40}, 'Pong': {'a': 1.0, 'b': 2.0}, 'Krull': []},
    {**EXPECTED, 'Tennis': [3.0]},  # Not among the 26.
    long_frame(),
    long_frame().astype({'seed': float, 'GameScoreAverage': 'Float64'}),
    long_frame().iloc[::-1],
    pd.DataFrame(EXPECTED),
    pd.DataFrame({'hero': [30, 40, None], 'Pong': [1.0, 2.0, np.nan]}),
    pd.DataFrame(EXPECTED).astype('Float32').reindex([0, 1, 2]),
    pd.DataFrame({**EXPECTED, 'seed': [0, 1], 'loss': [0.1, 0.2]}),
  ],
)
def test_one_method(scores):
  made = scores_of('mine', scores)
  assert lists(made) == EXPECTED
  assert {values.dtype for values in made.values()} == {np.dtype(np.float64)}


def test_an_array_is_normalised():
  matrix = np.random.default_rng(0).gamma(1, 1, (3, 26))
  made = scores_of('mine', matrix)
  for column, game in enumerate(sorted(GAMES)):
    random, human = REFERENCE_SCORES[game]
    np.testing.assert_allclose(
      (made[game] - random) / (human - random), matrix[:, column], rtol=1e-12
    )
  assert list(made) == list(GAMES)


def test_seeds_are_in_their_order():
  runs = {'10': 3.0, 9: 2.0, '0': 1.0}
  assert lists(scores_of('mine', {'Pong': runs})) == {'Pong': [1, 2, 3]}
  names = {'b': 1.0, 'a': 2.0}
  assert lists(scores_of('mine', {'Pong': names})) == {'Pong': [1, 2]}


def test_a_frame_of_methods():
  frame = long_frame().rename(columns={'GameScoreAverage': 'score'})
  both = pd.concat([frame.assign(config='a'), frame.assign(config='b')])
  made = methods_of(both)
  assert {name: lists(of) for name, of in made.items()} == {
    'a': EXPECTED,
    'b': EXPECTED,
  }
  with pytest.raises(ValueError, match='mine: the frame has 2 methods'):
    methods_of({'mine': both})


def test_polars():
  polars = pytest.importorskip('polars')
  frame = long_frame()
  columns = {name: frame[name].tolist() for name in frame.columns}
  assert lists(scores_of('mine', polars.DataFrame(columns))) == EXPECTED
  wide = polars.DataFrame({'Hero': [30.0, 40.0, None], 'Pong': [1, 2, None]})
  assert lists(scores_of('mine', wide)) == EXPECTED


@pytest.mark.parametrize(
  ('scores', 'message'),
  [
    ({'Pong': {'mean': 3, 'std': 1}}, 'Pong: these are means over runs, n'),
    (pd.DataFrame({'game': ['Pong'], 'mean': [1.0]}), 'these are means over r'),
    (
      pd.DataFrame(
        {'game': ['Pong'] * 2, 'seed': [0, 0], 'score': [1.0, 2]}
      ).assign(config='mine'),
      'mine on Pong, seed 0: it is there twice',
    ),
    ({'Pung': [1]}, "mine: unknown game 'Pung': did you mean Pong?"),
    ({'Pong': [1], 'pong': [2]}, 'mine: Pong is there twice'),
    (
      {'Pong': [[1, 2], [3, 4]]},
      'mine: Pong must have one score for each run, and a run has 2; if these',
    ),
    ({'Pong': [[1, 2], [3]]}, 'one score for each run, and a run has 2'),
    ({'Pong': ['x']}, "mine: Pong: the score must be a finite number, not 'x'"),
    ({'Pong': ['1']}, "mine: Pong: the score must be a finite number, not '1'"),
    (
      {'Pong': [1, None]},
      'mine: Pong: the score must be a finite number, not N',
    ),
    ({3: [1]}, 'mine: the game must be a name, not 3'),
    (np.zeros((5, 25)), r'of shape \[runs, 26\], not \[5, 25\]$'),
    (np.zeros((26, 5)), r'of shape \[runs, 26\], not \[26, 5\]; transpose it'),
    (np.zeros(26), r'of shape \[runs, 26\], not \[26\]$'),
    (
      np.linspace(0, 1, 26)[:, None] + np.zeros((26, 26)),
      r'not \[26, 26\]; transpose it',
    ),
    (
      np.where(np.arange(52).reshape(2, 26) == 27, np.nan, 0.5),
      '^mine: run 1, Amidar: the score must be a finite number, not nan$',
    ),
    ([[0.1] * 26, [0.2] * 25], '^mine: run 1: 25 scores, not 26$'),
    ([['x'] * 26], '^mine: an array of scores must have numbers alone'),
    (pd.DataFrame({'game': ['Pong'], 'score': [1]}), 'columns once: seed'),
    ({'Pong': [10**400]}, 'mine: Pong: the score must be a finite number'),
    (
      pd.DataFrame({'Pong': [1.0, 2.0]}, index=['x', 'y']),
      'the index of the frame is not used; make it a column with reset_index',
    ),
    (
      pd.DataFrame([[1.0, 2.0, 3.0]], columns=['Pong', 'a', 'a']),
      "mine: the column 'a' is there twice",
    ),
    (pd.DataFrame({'Pong': [1.0], 'Heroo': [2.0]}), 'did you mean Hero?'),
    (
      long_frame().assign(GameScoreAverage=[1, 2, np.inf, 3]),
      'mine, row 2: the score must be a finite number, not inf',
    ),
  ],
)
def test_wrong_scores(scores, message):
  with pytest.raises(ValueError, match=message):
    methods_of({'mine': scores})


@pytest.mark.parametrize(
  'runs',
  [
    [np.float32(1), np.int64(2)],
    [np.array(1.0), jnp.float32(2)],
    {0: jnp.float32(1), 5: jnp.int32(2)},
    jnp.array([1.0, 2.0]),
    (1, 2.0),
    pd.Series([1, 2]),
  ],
)
def test_scalars_and_arrays_of_any_library(runs):
  assert lists(scores_of('mine', {'Pong': runs})) == {'Pong': [1, 2]}


def test_a_frame_of_one_method_needs_no_name_of_it():
  columns = {'game': ['Pong'] * 2, 'seed': [0, 1], 'score': [1.0, 2.0]}
  assert lists(scores_of('mine', pd.DataFrame(columns))) == {'Pong': [1, 2]}


@pytest.mark.parametrize(
  'column', [[2, 2, 8], [2.0, 8.0, 2.0], ['2', '8', '8']], ids=str
)
def test_a_column_that_may_tell_methods_apart(column):
  frame = pd.DataFrame({'replay_ratio': column, 'Pong': [1.0, 2.0, 3.0]})
  with pytest.raises(ValueError, match="the column 'replay_ratio' has "):
    scores_of('mine', frame)


@pytest.mark.parametrize('column', [[2, 2, 2], [3, 1, 2], [0.5, np.nan, 0.1]])
def test_a_column_that_tells_nothing(column):
  frame = pd.DataFrame({'lr': column, 'Pong': [1.0, 2.0, 3.0]})
  assert lists(scores_of('mine', frame)) == {'Pong': [1, 2, 3]}


@pytest.mark.parametrize('function', [methods_of, means_of])
def test_the_names_of_methods(function):
  with pytest.raises(
    ValueError, match=r'^Pong: this is a game, where the name'
  ):
    function({'Pong': {0: 1.0, 1: 2.0}})
  scores = {'Pong': 1.0 if function is means_of else [1.0]}
  assert list(function({' a': scores})) == ['a']
  with pytest.raises(ValueError, match=r"^a : the method 'a' is there twice"):
    function({'a': scores, 'a ': scores})


def test_what_is_no_method():
  with pytest.raises(ValueError, match='a dictionary of methods or a data fra'):
    methods_of([1.0, 2.0])


def test_three_lines():
  wide = pd.DataFrame(
    {game: [of.human] for game, of in REFERENCE_SCORES.items()}
  )
  summary = atari100k.summarize({'mine': wide}, replicates=100)
  assert str(summary).splitlines()[1] == (
    'mine: IQM 1.000, median 1.000, mean 1.000, optimality gap 0.000'
  )
