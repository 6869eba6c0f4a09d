"""Compares the numbers of the pages with the committed files."""

import csv
import pathlib
import re

import numpy as np
from PIL import Image
import pytest

from experiments.paper import restarts
from ht_rl import atari100k
from ht_rl.atari100k import figures, score_files
from ht_rl.atari100k.runs import by_method
from ht_rl.drawing import write_figures

REPOSITORY = pathlib.Path(__file__).parents[2]


def test_the_demos_scores_are_those_of_the_file():
  with (REPOSITORY / 'docs/results/demo.csv').open(newline='') as file:
    rows = list(csv.DictReader(file))
  page = (REPOSITORY / 'docs' / 'performance.md').read_text()
  for instructions in ('AVX-512', 'AVX2'):
    (line,) = re.findall(
      rf'^\| {instructions} \| 0 to 9 \| (.+) \|$', page, re.M
    )
    shown = [float(score) for score in line.split(', ')]
    scores = [
      float(row['score']) for row in rows if row['instructions'] == instructions
    ]
    assert len(scores) == 10
    assert all(abs(x - y) <= 0.5 for x, y in zip(shown, scores, strict=True)), (
      instructions
    )
  everything = [float(row['score']) for row in rows]
  least, mean = min(everything) / 1790 - 1, np.mean(everything) / 1790 - 1
  gains = f'by {least:.0%} of the random score at least and by {mean:.0%} on'
  assert gains in ' '.join(page.split())
  text = (REPOSITORY / 'README.md').read_text()
  low, high = map(
    int, re.search(r'ended between (\d+) and (\d+) points', text).groups()
  )
  assert abs(low - min(everything)) <= 0.5
  assert abs(high - max(everything)) <= 0.5


def test_the_restart_gaps_are_those_of_the_file():
  with (REPOSITORY / 'docs/results/restart_gap.csv').open() as file:
    every = list(csv.DictReader(file))
  rows = [row for row in every if row['algorithm'] == 'small_drq_ht']
  page = ' '.join((REPOSITORY / 'docs/choosing.md').read_text().split())
  assert {row['seed'] for row in rows} == {'0'}
  assert {row['restarts'] for row in rows} == {'49'}
  ranges = []
  for quarter in range(1, 5):
    gaps = [float(row[f'quarter_{quarter}']) for row in rows]
    ranges.append(f'{min(gaps):.2f} to {max(gaps):.2f}')
  assert f'{", ".join(ranges)}, on {len(rows)} games' in page
  (full,) = (row for row in every if row['algorithm'] == 'drq_ht')
  *first, last = (f'{float(full[f"quarter_{i}"]):.2f}' for i in range(1, 5))
  assert f"paper's network has {', '.join(first)} and {last} in the one" in page
  assert f'on {full["game"]}.' in page


def test_the_restart_gaps_of_the_grid_are_near_those_of_a_random_walk():
  with (REPOSITORY / 'docs/results/restart_gap.csv').open() as file:
    gaps = {}
    for row in csv.DictReader(file):
      gaps.setdefault(row['algorithm'], []).append(float(row['quarter_4']))
  off, straighter = [], []
  for momentum in restarts.MOMENTA:
    for interval in restarts.INTERVALS:
      if interval is None:
        continue
      walk = restarts.random_walk_gap(momentum, interval)
      straight = restarts.straight_gap(momentum, interval)
      for gap in gaps[restarts.config(momentum, interval)]:
        off.append(abs(gap - walk))
        if interval * (1 - momentum) > 3.99 and off[-1] > abs(gap - straight):
          straighter.append((momentum, interval))
  page = ' '.join((REPOSITORY / 'docs/choosing.md').read_text().split())
  (bound,) = re.findall(r'to within (0\.\d+) in all runs', page)
  assert max(off) <= float(bound) < max(off) + 0.01
  assert 'and at four all runs but one' in page
  assert straighter == [(0.999, 4000)]


def test_the_page_says_how_much_of_the_grid_has_been_run():
  with (REPOSITORY / 'docs/results/restarts_small.csv').open() as file:
    there = sum(1 for _ in csv.DictReader(file))
  seeds = 3
  needed = len(restarts.gin_files()) * len(restarts.GAMES) * seeds
  page = (REPOSITORY / 'docs/choosing.md').read_text()
  assert f'{there} of {needed} runs are there' in page


def test_the_full_run_of_hare_and_tortoise_is_that_of_the_file():
  with (REPOSITORY / 'docs/results/atari100k_full.csv').open() as file:
    rows = [x for x in csv.DictReader(file) if x['algorithm'] == 'drq_ht']
  (row,) = rows
  page = (REPOSITORY / 'README.md').read_text()
  assert f'({row["game"]}: {float(row["score"]):.0f} points' in page
  hours = float(row['training_seconds']) / 3600
  page = (REPOSITORY / 'docs/results/atari100k.md').read_text()
  assert f'`drq_ht` took {hours:.1f} hours' in page


@pytest.mark.parametrize('name', ['games', 'profiles'])
def test_the_pictures_of_small_networks_are_drawn_from_their_scores(
  name, tmp_path
):
  results = REPOSITORY / 'docs/results'
  runs = score_files.read([results / 'atari100k_small.csv']).runs
  summary = atari100k.summarize(by_method(runs))
  figure = figures.all_figures(summary)[name]
  write_figures({name: figure}, tmp_path)
  drawn, there = (
    np.asarray(Image.open(path).convert('L'), int)
    for path in (
      tmp_path / f'{name}.png',
      results / f'atari100k_small_{name}.png',
    )
  )
  assert drawn.shape == there.shape
  # Another machine may round the edges of shapes and letters differently.
  assert np.mean(abs(drawn - there) > 64) < 1e-5


def test_the_front_page_has_the_verdict_in_small():
  verdict = 'he data do not tell them apart'
  page = (REPOSITORY / 'docs/results/atari100k.md').read_text()
  assert f'T{verdict}: drq_ht is better on' in page
  assert f't{verdict} ([scores]' in (REPOSITORY / 'README.md').read_text()


def test_the_front_page_has_the_numbers_of_continual_learning():
  def columns(name, column):
    with (REPOSITORY / f'docs/results/{name}.csv').open() as file:
      return {
        row['setting']: float(row[column] or 'nan')
        for row in csv.DictReader(file)
      }

  page = ' '.join((REPOSITORY / 'README.md').read_text().split())
  way = {
    network: columns('continual_limited', f'{network} mean over phase ends')
    for network in ('hare', 'tortoise')
  }
  ours = way['tortoise'].pop('H&T')
  del way['hare']['H&T']
  assert (
    f'its mean over phase ends is {ours:.2f}; the best average of the others '
    f'has {max(way["tortoise"].values()):.2f}, the best trained weights '
    f'{max(way["hare"].values()):.2f}.'
  ) in page
  hares = columns('continual_limited', 'hare test accuracy')
  averages = columns('continual_limited', 'tortoise test accuracy')
  ours = averages.pop('H&T')
  del hares['H&T']
  gains = sorted(100 * (ours - x) for x in hares.values())
  above = 100 * (ours - max(averages.values()))
  assert (
    f'At the end it is {gains[0]:.1f} to {gains[-1]:.1f} points above their '
    f'trained weights and {above:.1f} above the best average.'
  ) in page
  kept = columns('continual', 'tortoise test accuracy')['H&T']
  shrunk = columns('continual', 'hare test accuracy')['S&P 0.8']
  assert f'shrink and perturb ({kept:.3f} against {shrunk:.3f})' in page


# The columns of the tables of supervised.md, in the committed files.
COLUMNS = {
  'hare': 'hare test accuracy',
  'hare, at the end': 'hare test accuracy',
  'tortoise': 'tortoise test accuracy',
  'tortoise, at the end': 'tortoise test accuracy',
  'hare, mean over phase ends': 'hare mean over phase ends',
  'tortoise, mean over phase ends': 'tortoise mean over phase ends',
  'train': 'train accuracy',
  'test': 'test accuracy',
}


TEXTS = ('setting', 'reported', 'ratio', 'noise')


def cell(row, title):
  """Returns what the page shows of a row of a file in a column."""
  column = COLUMNS.get(title, title)
  if column in TEXTS:
    return row[column].removesuffix('.0')
  if not row[column]:  # It was not measured.
    return '\N{EN DASH}'
  std = row.get(f'{column} std')
  return f'{float(row[column]):.4f}' + (f' ± {float(std):.4f}' if std else '')


@pytest.mark.parametrize(
  'name',
  [
    'methods',
    'controls',
    'controls_schedule',
    'ablation_interval',
    'ablation_momentum',
    'warm_start',
    'continual_limited',
    'continual',
    'optimizer',
    'cifar10_small',
  ],
)
def test_a_table_of_supervised_runs_is_that_of_the_file(name):
  results = REPOSITORY / 'docs' / 'results'
  with (results / f'{name}.csv').open(newline='') as file:
    rows = list(csv.DictReader(file))
  page = (results / 'supervised.md').read_text()
  # A table stands below what names its file.
  _, below = page.split(f'{name}.', 1)
  table = re.search(r'(?:^\|.+\|\n)+', below, re.M).group()
  header, _, *lines = [
    [cell.strip() for cell in line.strip('|').split('|')]
    for line in table.splitlines()
  ]
  rows = [[cell(row, title) for title in header] for row in rows]
  assert lines == [row for row in rows if row in lines]

  def numbers(row):
    return [x for t, x in zip(header, row, strict=True) if t not in TEXTS]

  # A row that the page leaves out has the numbers of one that is there.
  shown = [numbers(row) for row in lines]
  assert all(numbers(row) in shown for row in rows)
