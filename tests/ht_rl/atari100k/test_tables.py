import csv
import io
import json
import re

import numpy as np
import pytest

from ht_rl import atari100k
from ht_rl.atari100k import paper, tables
from ht_rl.atari100k.summary import summarize


@pytest.fixture(scope='module')
def summary():
  rng = np.random.default_rng(0)

  def scores(runs):
    return {
      game: random + (human - random) * rng.gamma(1, 1, runs)
      for game, (random, human) in atari100k.REFERENCE_SCORES.items()
    }

  mine = scores(3)
  mine['Pong'] = mine['Pong'][:2]
  return summarize(
    {'a|b_1': mine, 'single': scores(1)},
    means={'drq': paper.SCORES['drq'], 'bbf (paper)': paper.SCORES['bbf']},
    published={'bbf (paper)': paper.AGGREGATES['bbf']},
    notes=('one.', 'two.'),
    replicates=2000,
  )


def cells(line, separator):
  """The cells of a table's line, with the escapes taken back."""
  split = re.split(separator, line.strip().removesuffix(r'\\').strip('|'))
  return [cell.strip().replace('\\', '') for cell in split]


def find(lines, name, separator):
  """The first table's line that begins with a name."""
  for line in lines:
    found = cells(line, separator)
    if found[0] == name:
      return found
  raise AssertionError(f'no line of {name}')


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('style', ['table', 'markdown', 'latex'])
def test_a_score_that_is_too_large_leaves_the_table_narrow(style):
  scores = {game: [1e300, 3e300] for game in atari100k.GAMES}
  huge = summarize({'mine': scores}, replicates=10)
  text = tables.render(huge, style)
  assert not re.search('[0-9,]{20}', text)
  assert '2e+300' in text


@pytest.mark.parametrize(
  ('style', 'separator'),
  [('table', r'\s{2,}'), ('markdown', r'(?<!\\)\|'), ('latex', r'(?<!\\)&')],
)
def test_texts_show_the_numbers(summary, style, separator):
  text = tables.render(summary, style)
  assert text.endswith('\n')
  assert not text.endswith('\n\n')
  lines = text.splitlines()
  mine = summary.methods[0].estimates
  expected = [
    '{:.3f} [{:.3f}, {:.3f}]'.format(*mine[metric])
    for metric in ('iqm', 'median', 'mean', 'optimality_gap')
  ]
  assert find(lines, 'a|b_1', separator) == ['a|b_1', '2-3', *expected]
  unknown = '--' if style == 'latex' else '\N{EN DASH}'
  # Only means are known: neither IQM nor optimality gap.
  assert find(lines, 'drq', separator) == [
    'drq', 'means', unknown, '0.193', '0.468', unknown,
  ]  # fmt: skip
  assert find(lines, 'bbf (paper)', separator) == [
    'bbf (paper)', 'published', '0.940', '0.755', '2.175', '0.377',
  ]  # fmt: skip
  single = find(lines, 'single', separator)
  assert single[1] == '1'
  assert single[2] == f'{summary.methods[1].estimates["iqm"].value:.3f}'
  amidar = find(lines, 'Amidar', separator)
  assert amidar[1:3] == ['5.8', '1720']
  assert amidar[-2:] == ['182.5', '236.6']
  mean = np.mean(summary.methods[0].scores['Amidar'])
  assert amidar[3] == (f'{mean:.0f}' if mean >= 1000 else f'{mean:.1f}')
  for note in summary.notes:
    assert note in text
  # One of two methods has no interval to give, so the pair has none.
  wins = summary.improvement['a|b_1', 'single'].value
  assert f'{wins:.2f}' in text


def test_the_heading_says_how_many_games(summary):
  assert summary.heading == (
    'Atari-100k, 26 games: human-normalised scores with 95% intervals '
    '(stratified bootstrap, 2,000 replicates, seed 0)'
  )
  few = summarize({'a': {'Pong': [1.0, 2.0]}}, partial=True)
  assert few.heading.startswith('Atari-100k, 1 of 26 games: ')
  assert '1 of 26 games' in tables.render(few, 'table')


def test_csv_has_every_number(summary):
  rows = list(csv.DictReader(io.StringIO(tables.render(summary, 'csv'))))
  [row] = [
    row for row in rows if (row['method'], row['quantity']) == ('a|b_1', 'iqm')
  ]
  estimate = summary.methods[0].estimates['iqm']
  found = [float(row[key]) for key in ('value', 'low', 'high')]
  assert found == list(estimate)
  assert (row['runs'], row['games']) == ('2-3', '26')
  [row] = [
    row for row in rows if (row['method'], row['of']) == ('drq', 'Breakout')
  ]
  assert (row['quantity'], row['value'], row['low']) == (
    'mean_score', '11.95', '',
  )  # fmt: skip
  wins = [r for r in rows if r['quantity'] == 'probability_of_improvement']
  assert [(row['method'], row['of']) for row in wins] == [
    ('a|b_1', 'single'),
    ('single', 'a|b_1'),
  ]
  assert {row['quantity'] for row in rows if row['method'] == 'drq'} == {
    'median',
    'mean',
    'mean_score',
  }


def test_json_has_every_number(summary):
  content = json.loads(tables.render(summary, 'json'))
  method = content['methods']['a|b_1']
  estimate = summary.methods[0].estimates['median']
  assert method['aggregates']['median'] == estimate._asdict()
  assert method['scores']['Pong'] == list(summary.methods[0].scores['Pong'])
  # JSON knows no NaN.
  assert content['methods']['single']['aggregates']['iqm']['low'] is None
  assert 'iqm' not in content['methods']['drq']['aggregates']
  assert content['notes'] == list(summary.notes)
  assert content['probability_of_improvement']['single'] == {
    'a|b_1': {
      'value': summary.improvement['single', 'a|b_1'].value,
      'low': None,
      'high': None,
    }
  }


def test_an_unknown_style_is_named(summary):
  with pytest.raises(ValueError, match=r"markdown, latex, .*, not 'html'$"):
    tables.render(summary, 'html')
