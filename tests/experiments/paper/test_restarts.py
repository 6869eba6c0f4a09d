"""The table of restarts, from scores made by hand."""

import itertools

from experiments.paper import restarts
from ht_rl.atari100k.games import REFERENCE_SCORES


def test_a_cell_has_the_means_of_its_own_runs(tmp_path, monkeypatch):
  monkeypatch.setattr(restarts, 'ROOT', tmp_path)
  (tmp_path / restarts.GRID).parent.mkdir(parents=True)
  head = 'algorithm,game,seed,score\n'
  # Scores of 1 and 3 times the human's: the mean is twice the human's, so the
  # normalised mean is not 2, since the random policy does not have 0.
  lines = [
    f'small_ht_999_400,{game},{seed},{factor * REFERENCE_SCORES[game].human}\n'
    for game, (seed, factor) in itertools.product(
      restarts.GAMES, [(0, 1.0), (1, 3.0)]
    )
  ]
  lines.append('small_ht_995_none,Assault,0,7.5\n')
  (tmp_path / restarts.GRID).write_text(head + ''.join(lines))

  rows = [
    [cell.strip() for cell in line.strip('|').split('|')]
    for line in restarts.table().splitlines()[2:]
  ]
  cells = {(row[0], row[1]): row[2:] for row in rows}
  assert len(cells) == 12
  humans = {'Assault': 742.0, 'Krull': 2665.5, 'RoadRunner': 7845.0}
  randoms = {'Assault': 222.4, 'Krull': 1598.0, 'RoadRunner': 11.5}
  slopes = {x: humans[x] - randoms[x] for x in humans}
  mean = sum((2 * humans[x] - randoms[x]) / slopes[x] for x in humans) / 3
  # Two seeds at 1 and 3 have the standard error 1.
  error = sum((humans[x] / slopes[x]) ** 2 for x in humans) ** 0.5 / 3
  assert cells.pop(('0.999', '400')) == [
    '1484 (n = 2)',
    '5331 (n = 2)',
    '15690 (n = 2)',
    f'{mean:.2f} ± {error:.2f}',
  ]
  assert cells.pop(('0.995', 'none')) == ['7.5', *['not run'] * 3]
  assert all(set(row) == {'not run'} for row in cells.values())


def test_one_seed_has_no_standard_error(tmp_path, monkeypatch):
  monkeypatch.setattr(restarts, 'ROOT', tmp_path)
  (tmp_path / restarts.GRID).parent.mkdir(parents=True)
  lines = [
    f'small_ht_995_4000,{game},0,{REFERENCE_SCORES[game].human}\n'
    for game in restarts.GAMES
  ]
  lines.append('small_ht_995_4000,Krull,1,2000\n')
  (tmp_path / restarts.GRID).write_text(
    'algorithm,game,seed,score\n' + ''.join(lines)
  )
  expected = (2 + (2665.5 + 2000 - 2 * 1598) / 2 / (2665.5 - 1598)) / 3
  row = restarts.table().splitlines()[2].strip('|').split('|')
  assert row[-1].strip() == f'{expected:.2f}'
