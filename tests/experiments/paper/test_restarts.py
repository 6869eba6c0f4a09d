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
  (tmp_path / restarts.GRID).write_text(head + ''.join(lines))
  (tmp_path / restarts.SMALL).write_text(head + 'small_drq,Boxing,0,7.5\n')

  rows = [
    [cell.strip() for cell in line.strip('|').split('|')]
    for line in restarts.table().splitlines()[2:]
  ]
  cells = {(row[0], row[1]): row[2:] for row in rows}
  assert len(cells) == 12
  games = {'Assault': 742.0, 'Boxing': 12.1, 'Krull': 2665.5}
  randoms = {'Assault': 222.4, 'Boxing': 0.1, 'Krull': 1598.0}
  normalised = [
    (2 * games[x] - randoms[x]) / (games[x] - randoms[x]) for x in games
  ]
  normalised.append((2 * 7845.0 - 11.5) / (7845.0 - 11.5))
  assert cells.pop(('0.999', '400')) == [
    '1484 (n = 2)',
    '24.2 (n = 2)',
    '5331 (n = 2)',
    '15690 (n = 2)',
    f'{sum(normalised) / 4:.2f}',
  ]
  not_run = 'not run'
  assert cells.pop(('0.995', 'none')) == [not_run, '7.5', *[not_run] * 3]
  assert all(set(row) == {not_run} for row in cells.values())
