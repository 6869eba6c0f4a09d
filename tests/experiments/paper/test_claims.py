"""Whether the claims' states are true of the committed results."""

import csv
import pathlib
import re
import statistics

import pytest

from experiments.command import SettingsError
from experiments.paper import atari, claims, items, supervised, verdicts
from experiments.paper.verdicts import (
  above,
  best_above,
  each_above,
  scores,
)
from ht_rl.atari100k.games import GAMES, REFERENCE_SCORES

ROOT = pathlib.Path(__file__).parents[3]
METHODS = items.on_fashion('methods')


@pytest.mark.parametrize(
  ('word', 'page'),
  [
    ('claims', 'results/index.md'),
    ('small', 'results/atari100k.md'),
    ('full', 'results/atari100k.md'),
    ('restarts', 'choosing.md'),
  ],
)
def test_a_page_has_what_the_committed_results_say(word, page, type_command):
  code, out, _ = type_command(word)
  assert code == 0
  assert out in (ROOT / 'docs' / page).read_text('utf-8'), (
    f'docs/{page} must have what `python -m experiments.paper {word}` prints'
  )


def test_scores_in_small_are_those_of_the_file(type_command):
  with (ROOT / 'docs/results/atari100k_small.csv').open(newline='') as file:
    runs = list(csv.DictReader(file))
  _, out, _ = type_command('small')
  scores_alone, _, _ = out.partition('\n\n')
  lines = [line.strip('|').split('|') for line in scores_alone.splitlines()]
  head = [cell.strip() for cell in lines[0]]
  rows = {line[0].strip(): line for line in lines[2:]}
  assert rows.keys() == {run['game'] for run in runs}
  for game, row in rows.items():
    for name, cell in zip(head, row, strict=True):
      if not name.endswith(': in small'):
        continue
      method = 'small_' + name.removesuffix(': in small')
      scores = [
        float(run['score'])
        for run in runs
        if (run['game'], run['algorithm']) == (game, method)
      ]
      if not scores:
        assert cell.strip() == 'not run'
        continue
      number = cell.split('(')[0].strip()
      # It is rounded to the last digit that is shown.
      half = 0.5 * 10 ** -len(number.partition('.')[2])
      assert abs(float(number) - statistics.mean(scores)) <= half + 1e-9


def test_every_claim_has_a_state_and_an_item():
  lines = claims.table().splitlines()[2:]
  assert len(lines) == len(claims.CLAIMS)
  for line, claim in zip(lines, claims.CLAIMS, strict=True):
    states = re.findall(r'\*\*(.+?)\*\*', line)
    assert states in [['confirmed'], ['not confirmed'], ['not run']]
    assert claim.item in {*items.ITEMS, 'claims'}
    assert line.count(' | ') == 4


def test_the_loss_of_a_warm_start_by_hand():
  with (ROOT / 'docs/results/methods.csv').open(newline='') as file:
    rows = {row['setting']: row for row in csv.DictReader(file)}
  mean, std = 'hare test accuracy', 'hare test accuracy std'
  fresh, warm = rows['fresh'], rows['WS']
  loss = float(fresh[mean]) - float(warm[mean])
  error = (float(fresh[std]) ** 2 / 5 + float(warm[std]) ** 2 / 5) ** 0.5
  assert loss > 2 * error
  verdict = above(METHODS, 'fresh', 'WS')()
  assert verdict.state == 'confirmed'
  assert verdict.scale == 'Fashion-MNIST, MLP, 5 seeds'
  assert verdict.numbers == f'fresh - WS: {loss:+.4f} ± {error:.4f}'


def test_what_the_second_run_of_the_warm_start_changes(monkeypatch):
  before = {claim.text: claim.check() for claim in claims.CLAIMS}
  found = verdicts.committed
  second = found(items.on_fashion('controls_schedule'))['WS']
  monkeypatch.setattr(
    verdicts,
    'committed',
    lambda run: {
      name: second if name == 'WS' else one for name, one in found(run).items()
    },
  )
  after = {claim.text: claim.check() for claim in claims.CLAIMS}
  (changed,) = (x for x in after if after[x].state != before[x].state)
  assert changed == 'L2 regularisation raises test accuracy.'
  first = found(items.on_fashion('methods'))['WS']
  assert round(first.test.mean, 4) == 0.8787
  monkeypatch.setattr(
    verdicts,
    'committed',
    lambda run: {
      name: first if name in ('WS', 'ratio 0.1, noise 0.5') else one
      for name, one in found(run).items()
    },
  )
  for claim in claims.CLAIMS:
    assert claim.check().state == before[claim.text].state, claim.text
  page = (ROOT / 'docs' / 'results' / 'index.md').read_text('utf-8')
  said = ' '.join(page.split())
  number = after[changed].numbers.removeprefix('the highest, L2 0.1 - WS: ')
  assert f'L2 0.1 - WS is {number}, {after[changed].state}.' in said


@pytest.fixture
def committed(tmp_path, monkeypatch):
  """Returns a function that commits test accuracies of seeds by setting."""
  monkeypatch.setattr(supervised, 'RESULTS', tmp_path)

  def commit(**accuracies):
    columns = ['setting', 'seeds', 'reported']
    for name in ('hare test', 'tortoise test', 'train'):
      columns += [f'{name} accuracy', f'{name} accuracy std']
    lines = [','.join(columns)]
    for name, values in accuracies.items():
      std = statistics.stdev(values) if len(values) > 1 else ''
      pair = f'{statistics.mean(values)},{std}'
      setting = name.replace('_', ' ')
      lines.append(f'{setting},{len(values)},hare,{pair},{pair},{pair}')
    (tmp_path / 'methods.csv').write_text('\n'.join(lines) + '\n')
    supervised.read_table.cache_clear()

  yield commit
  supervised.read_table.cache_clear()


LOW, HIGH = [0.5, 0.51, 0.52], [0.7, 0.71, 0.72]


@pytest.mark.parametrize(
  ('accuracies', 'state'),
  [
    ({'fresh': HIGH, 'WS': LOW}, 'confirmed'),
    ({'fresh': LOW, 'WS': HIGH}, 'not confirmed'),
    # 0.01 apart, with a standard error of 0.008.
    ({'fresh': [0.51, 0.52, 0.53], 'WS': LOW}, 'not confirmed'),
    ({'fresh': HIGH}, 'not run'),
    ({'fresh': [0.7], 'WS': [0.5]}, 'not run'),
    ({}, 'not run'),
  ],
)
def test_above(accuracies, state, committed):
  committed(**accuracies)
  assert above(METHODS, 'fresh', 'WS')().state == state


def test_every_one_must_be_above(committed):
  both = each_above(METHODS, ('HR', 'CReLU'))
  committed(WS=LOW, HR=HIGH, CReLU=HIGH)
  assert both().state == 'confirmed'
  committed(WS=LOW, HR=HIGH, CReLU=LOW)
  assert both().state == 'not confirmed'
  assert both().numbers == 'the lowest, CReLU - WS: +0.0000 ± 0.0082'


@pytest.mark.parametrize('claimed', [True, False])
def test_the_best_of_a_grid(claimed, committed):
  check = best_above(METHODS, ('L2',), claimed=claimed)
  committed(WS=LOW, **{'L2_0.1': LOW, 'L2_1': HIGH})
  assert check().state == ('confirmed' if claimed else 'not confirmed')
  assert check().numbers.startswith('the highest, L2 1 - WS: +0.2')
  # That none is above takes all of them.
  committed(WS=LOW, **{'L2_0.1': LOW})
  assert check().state == 'not run'
  grid = dict.fromkeys(('L2_1', 'L2_0.1', 'L2_0.01', 'L2_0.001'), LOW)
  committed(WS=LOW, **grid, **{'L2_0.0001': LOW})
  assert check().state == ('not confirmed' if claimed else 'confirmed')
  committed(WS=LOW)
  assert check().state == 'not run'


def test_the_shown_setting_is_the_one_that_decides(committed):
  committed(WS=LOW, **{'L2_1': [0.55, 0.56, 0.57], 'L2_0.1': [0.3, 0.7, 0.8]})
  found = best_above(METHODS, ('L2',), claimed=True)()
  assert (found.state, found.numbers) == (
    'confirmed',
    'the highest, L2 1 - WS: +0.0500 ± 0.0082',
  )


@pytest.fixture
def commit(tmp_path, monkeypatch):
  """Writes normalised scores of games; a list has the seeds."""
  monkeypatch.setattr(atari, 'SMALL', tmp_path / 'small.csv')
  monkeypatch.setattr(atari, 'FULL', tmp_path / 'full.csv')

  def write(to='small.csv', **methods):
    lines = ['algorithm,game,seed,score']
    for name, games in methods.items():
      for game, of_game in games.items():
        random, human = REFERENCE_SCORES[game]
        lines += [
          f'{name},{game},{seed},{random + level * (human - random)}'
          for seed, level in enumerate(of_game)
        ]
    (tmp_path / to).write_text('\n'.join(lines) + '\n')

  return write


BETTER = scores(items.ATARI, 'drq_ht', 'drq')
WORSE = scores(items.ATARI, 'drq', 'drq_ht')


def test_scores_of_several_seeds(commit):
  low = {game: [0.4, 0.41, 0.42] for game in GAMES}
  high = {game: [0.8, 0.81, 0.82] for game in GAMES}
  commit(drq=low, drq_ht=high)
  assert BETTER().state == 'confirmed'
  assert BETTER().scale == 'small network, 26 games, 3 runs a game'
  assert WORSE().state == 'not confirmed'
  commit(drq=low, drq_ht={game: high[game] for game in GAMES[:-1]})
  assert BETTER().state == 'not run'


def test_scores_of_single_seeds(commit):
  low = {game: [0.4] for game in GAMES}
  high = {game: [0.8] for game in GAMES}
  commit(drq=low, drq_ht=high)
  assert BETTER() == (
    'confirmed',
    'small network, 26 games, 1 run a game',
    'IQM difference +0.400; better on 26 games, worse on 0, p < 0.001',
  )
  assert WORSE().state == 'not confirmed'
  # A second seed of one game changes little.
  commit(drq=low, drq_ht={**high, 'Alien': [0.8, 0.7]})
  assert BETTER().state == 'confirmed'
  assert BETTER().scale == 'small network, 26 games, 1 to 2 runs a game'


def test_full_networks_decide_before_small_ones(commit):
  low = {game: [0.4, 0.41] for game in GAMES}
  high = {game: [0.8, 0.81] for game in GAMES}
  commit(drq=high, drq_ht=low)
  assert BETTER().state == 'not confirmed'
  commit(to='full.csv', drq=low, drq_ht={'Pong': [0.8]}, drq_eps=low)
  assert BETTER().scale == 'small network, 26 games, 2 runs a game'
  commit(to='full.csv', drq=low, drq_ht=high, drq_eps=low)
  assert BETTER().state == 'confirmed'
  assert BETTER().scale == 'full network, 26 games, 2 runs a game'


def test_a_claim_that_none_is_higher(commit):
  low = {game: [0.4, 0.41] for game in GAMES}
  high = {game: [0.8, 0.81] for game in GAMES}
  not_worse = scores(items.ATARI, 'drq_hr20k', 'drq_ht', claimed=False)
  assert not_worse().state == 'not run'
  commit(drq_hr20k=low, drq_ht=low)
  assert not_worse().state == 'confirmed'
  commit(drq_hr20k=high, drq_ht=low)
  assert not_worse().state == 'not confirmed'


def test_many_small_wins_and_a_lower_iqm_confirm_nothing(commit):
  low = {game: [0.1 * i] for i, game in enumerate(GAMES)}
  wins = {game: [of[0] + 0.01] for game, of in low.items()}
  losses = {game: [low[game][0] - 0.9] for game in GAMES[10:16]}
  commit(drq=low, drq_ht={**wins, **losses})
  found = BETTER()
  assert found.state == 'not confirmed'
  assert found.numbers.startswith('IQM difference -0.')
  assert found.numbers.endswith('better on 20 games, worse on 6, p = 0.0094')


def test_no_correlations_are_not_run(tmp_path, monkeypatch):
  (check,) = (x.check for x in claims.CLAIMS if x.item == 'figure8')
  # The root stays: gin files are read below it.
  monkeypatch.setattr(supervised, 'RESULTS', tmp_path)
  file = tmp_path / 'metrics.csv'
  for rows in ('', 'feature rank,,180\n'):
    file.write_text('metric,correlation,points\n' + rows)
    supervised.read_table.cache_clear()
    assert check().state == 'not run'
  file.write_text('metric,correlation,points\na,-0.71,180\nb,,180\n')
  supervised.read_table.cache_clear()
  assert check().state == 'not confirmed'


@pytest.mark.parametrize(
  ('pattern', 'new', 'message'),
  [
    (r'^WS,5,', 'WS,,', 'WS must have a whole number of seeds'),
    (r'^WS,5,', 'WS,2.5,', 'WS must have a whole number of seeds'),
    (r',seeds,', ',n,', "each row must have a number in 'seeds', not None"),
    (
      r'^WS,5,0\.87',
      'WS,5,87.',
      "'hare test accuracy' must be from 0 to 1, not ",
    ),
    (
      r'^(WS,5,[\d.]+),[\d.]+,',
      r'\1,,',
      'WS has 5 seeds, but no standard deviation of the accuracy 0.8',
    ),
    (
      r'^(WS,.*),hare,',
      r'\1,both,',
      "each row must have a number in 'both test accuracy', not None",
    ),
  ],
)
def test_a_damaged_table_is_one_line(
  pattern, new, message, tmp_path, monkeypatch
):
  whole = (ROOT / 'docs/results/methods.csv').read_text()
  monkeypatch.setattr(supervised, 'RESULTS', tmp_path)
  file = tmp_path / 'methods.csv'
  try:
    # As Excel writes it.
    file.write_text(whole, 'utf-8-sig')
    supervised.read_table.cache_clear()
    assert supervised.committed(METHODS)['WS'].seeds == 5
    damaged = re.sub(pattern, new, whole, count=1, flags=re.M)
    assert damaged != whole
    file.write_text(damaged)
    supervised.read_table.cache_clear()
    with pytest.raises(SettingsError) as caught:
      supervised.committed(METHODS)
    assert str(caught.value).startswith(f'{file}: ')
    assert message in str(caught.value)
  finally:
    supervised.read_table.cache_clear()
