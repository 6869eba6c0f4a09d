"""The tables of restarts, from scores and gaps made by hand."""

import itertools

import numpy as np
import pytest

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
  # Beside the cells, a row for each interval and one for each momentum.
  assert len(cells) == len(rows) == 12 + 4 + 3
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


def test_a_row_of_all_is_the_mean_of_its_cells(tmp_path, monkeypatch):
  monkeypatch.setattr(restarts, 'ROOT', tmp_path)
  (tmp_path / restarts.GRID).parent.mkdir(parents=True)
  human, random = (
    np.array([getattr(REFERENCE_SCORES[x], y) for x in restarts.GAMES])
    for y in ('human', 'random')
  )
  rng = np.random.default_rng(0)
  # Momentum, interval, game and seed.
  scores = rng.uniform(10, 90, size=(3, 4, 3, 2)).round(1)
  lines = [
    f'{restarts.config(momentum, interval)},{game},{k},{scores[i, j, g, k]}\n'
    for i, momentum in enumerate(restarts.MOMENTA)
    for j, interval in enumerate(restarts.INTERVALS)
    for g, game in enumerate(restarts.GAMES)
    for k in range(2)
  ]
  (tmp_path / restarts.GRID).write_text(
    'algorithm,game,seed,score\n' + ''.join(lines)
  )
  normalised = (scores - random[:, None]) / (human - random)[:, None]
  # Half the difference of two seeds is the standard error of their mean.
  errors = abs(normalised[..., 0] - normalised[..., 1]) / 2

  rows = [
    [cell.strip() for cell in line.strip('|').split('|')]
    for line in restarts.table().splitlines()[2:]
  ]
  for row, cells in (
    (rows[12], np.s_[:, 0]),  # The first interval.
    (rows[15], np.s_[:, 3]),  # No restarts.
    (rows[18], np.s_[2]),  # The last momentum.
  ):
    points = [float(x) for x in row[2:5]]
    np.testing.assert_allclose(
      points, scores[cells].mean(axis=(0, 2)), atol=0.0501
    )
    middle, error = (float(x) for x in row[5].split(' ± '))
    assert abs(middle - normalised[cells].mean()) < 0.00501
    expected = np.sqrt(np.sum(errors[cells] ** 2)) / errors[cells].size
    assert abs(error - expected) < 0.00501
  names = [tuple(row[:2]) for row in rows[12:]]
  assert names[:2] == [('all', '4000'), ('all', '1000')]
  assert names[3:5] == [('all', 'none'), ('0.995', 'all')]
  assert names[-1] == ('0.9995', 'all')


def test_settings_are_compared_at_what_is_equal_in_both(tmp_path, monkeypatch):
  monkeypatch.setattr(restarts, 'ROOT', tmp_path)
  path = tmp_path / restarts.GRID
  path.parent.mkdir(parents=True)
  # A score says its momentum (thousands), its interval and its seed: whatever
  # differs by momentum must not count as a difference of the interval.
  order = (None, 400, 1000, 4000)
  lines = [
    f'{restarts.config(momentum, interval)},{game},{seed},'
    f'{1000 * restarts.MOMENTA.index(momentum) + 10 * order.index(interval)}\n'
    for momentum, interval, game, seed in itertools.product(
      restarts.MOMENTA, restarts.INTERVALS, restarts.GAMES, range(3)
    )
  ]
  path.write_text('algorithm,game,seed,score\n' + ''.join(lines))
  rows = [
    [cell.strip() for cell in line.strip('|').split('|')]
    for line in restarts.comparison_table().splitlines()[2:]
  ]
  assert [row[:2] for row in rows] == [
    ['interval 4000', 'no restarts'],
    ['interval 1000', 'no restarts'],
    ['interval 400', 'no restarts'],
    ['momentum 0.999', 'momentum 0.995'],
    ['momentum 0.9995', 'momentum 0.995'],
  ]
  # Everybody of the one beats everybody of the other.
  assert {tuple(row[2:]) for row in rows} == {('1.00',) * 4 + ('< 0.001',)}

  # One game without one cell of the interval 1000 at one momentum.
  missing = f'{restarts.config(0.999, 1000)},Krull'
  kept = [line for line in lines if not line.startswith(missing)]
  path.write_text('algorithm,game,seed,score\n' + ''.join(kept))
  rows = restarts.comparison_table().splitlines()[2:]
  assert ['not run' in row for row in rows] == [False, True, False, True, False]


def test_a_cell_has_the_gaps_of_its_own_runs(tmp_path, monkeypatch):
  monkeypatch.setattr(restarts, 'ROOT', tmp_path)
  (tmp_path / restarts.GAPS).parent.mkdir(parents=True)
  (tmp_path / restarts.GAPS).write_text(
    'algorithm,game,seed,restarts,quarter_1,quarter_2,quarter_3,quarter_4\n'
    'small_drq_ht,Pong,0,49,.9,.9,.9,.9\n'
    'small_ht_995_4000,Krull,0,19,.1,.2,.3,.21\n'
    'small_ht_995_4000,Krull,1,19,.1,.2,.3,.144\n'
  )
  rows = [
    [cell.strip() for cell in line.strip('|').split('|')]
    for line in restarts.gap_table().splitlines()[2:]
  ]
  cells = {(row[0], row[1]): row[2:] for row in rows}
  # Three momenta with three intervals: the cells without restarts have none.
  assert len(rows) == len(cells) == 9
  # 4,000 steps are 20 horizons of 200; a straight hare is 200 steps ahead,
  # and sqrt(200 / (2 * 4000)) is 0.158.
  numbers = ['20.0', '0.05', '0.16', '0.14 to 0.21']
  assert cells.pop(('0.995', '4000')) == numbers
  assert all(row[-1] == 'not run' for row in cells.values())


@pytest.mark.parametrize(
  ('momentum', 'interval'), [(0.9, 1), (0.9, 5), (0.9, 30), (0.99, 60)]
)
def test_walks_have_the_gaps_of_the_formulas(momentum, interval):
  walks = 20_000
  rng = np.random.default_rng(0)
  for steps, formula, bound in (
    (np.ones((interval, 1)), restarts.straight_gap, 1e-9),
    # A norm has a relative error of about 1 / sqrt(2 walks) = 0.005.
    (rng.normal(size=(interval, walks)), restarts.random_walk_gap, 0.03),
  ):
    hare = tortoise = np.zeros(steps.shape[1])
    for step in steps:
      hare = hare + step
      tortoise = momentum * tortoise + (1 - momentum) * hare
    gap = np.linalg.norm(hare - tortoise) / np.linalg.norm(hare)
    assert formula(momentum, interval) == pytest.approx(gap, rel=bound)


@pytest.mark.parametrize(
  ('damaged', 'entry'),
  [
    ('algorithm,quarter_4\nsmall_ht_995_400,o\n', "'o'"),
    ('algorithm,quarter\nsmall_ht_995_400,1\n', 'None'),
  ],
)
def test_a_damaged_file_of_gaps_is_one_line(
  damaged, entry, tmp_path, monkeypatch, type_command
):
  monkeypatch.setattr(restarts, 'ROOT', tmp_path)
  path = tmp_path / restarts.GAPS
  path.parent.mkdir(parents=True)
  path.write_text(damaged)
  code, out, error = type_command('restarts')
  assert (code, out) == (2, '')
  assert error == (
    f"error: {path}: each row must have a number in 'quarter_4', not {entry}\n"
  )
