"""The pages' numbers in small, from scores made by hand."""

import pytest

from experiments.paper import atari, small


@pytest.fixture
def commit(tmp_path, monkeypatch):
  """Writes the committed scores, from rows."""
  file = tmp_path / 'small.csv'
  monkeypatch.setattr(atari, 'SMALL', file)
  head = 'algorithm,game,seed,score,training_seconds'

  def write(*rows):
    timed = [f'{row},{600 * (i + 1)}' for i, row in enumerate(rows)]
    file.write_text('\n'.join([head, *timed, '']))

  return write


def test_two_methods_are_compared_on_the_games_of_both(commit):
  # Normalised: 0.5, 1 and 0 against 0.25, 0.5 and 1.
  commit(
    'small_drq_ht,Boxing,0,6.1',
    'small_drq_ht,Assault,0,742.0',
    'small_drq_ht,RoadRunner,0,11.5',
    'small_drq,Boxing,0,3.1',
    'small_drq,Assault,0,482.2',
    'small_drq,RoadRunner,0,7845',
    'small_drq,Krull,0,3000',
  )
  scores, cost, title, table, sentences = small.text().split('\n\n')
  assert len(scores.splitlines()) == 2 + 4
  # 10, 20, ... 70 minutes.
  assert cost == (
    'Training took 10 to 70 minutes a run, 40 in the middle, and 4.7 hours of '
    'one core for all 7 runs.'
  )
  assert title == '**drq_ht and drq in small, on 3 of 26 games**'
  rows = {
    cells[0]: cells[1:]
    for line in table.splitlines()
    if (cells := [cell.strip() for cell in line.strip('|').split('|')])
  }
  assert rows['mean'] == ['0.500', '0.583', '-0.083']
  assert rows['games won (sign test)'] == ['2', '1', 'p = 1']
  assert sentences.splitlines() == [
    '- The data do not tell them apart: drq_ht is better on 2 of 3 games and '
    'worse on 1 (sign test, p = 1).',
    '- There are no intervals of the difference: with one run of a game the '
    'variation between runs is unknown.',
    # Table 8: Assault 604.1 and 560.0, Boxing 14.3 and 10.6, RoadRunner 14674
    # and 12822.
    "- In the paper's Table 8 drq_ht has the higher mean on 3 of these games.",
  ]


def test_methods_without_a_common_game_are_not_compared(commit):
  commit('small_drq_ht,Boxing,0,6.1', 'small_drq,Krull,0,3000')
  assert '**' not in small.text()
  assert small.text() == f'{small.table()}\n\n{small.cost()}'


def test_scores_alone_have_no_cost(tmp_path, monkeypatch):
  file = tmp_path / 'small.csv'
  monkeypatch.setattr(atari, 'SMALL', file)
  assert small.cost() == ''
  file.write_text('algorithm,game,seed,score\nsmall_drq,Krull,0,3000\n')
  assert small.cost() == ''
  assert '3000 |' in small.text()
