import csv
import dataclasses
import io
import math
import statistics
import sys

import numpy as np
import pytest
from scipy import stats

from experiments.supervised import paper, results
from experiments.supervised.report import selection, tables
from experiments.supervised.report.correlations import correlation_table
from experiments.supervised.report.spread import spread

METHOD_COLUMNS = (
  'setting',
  'seeds',
  'hare test accuracy',
  'hare test accuracy std',
  'tortoise test accuracy',
  'tortoise test accuracy std',
  'reported',
  'paper',
  'difference',
  'train accuracy',
  'train accuracy std',
  'paper train',
)


def by_name(table):
  """Each row by its first entry, as a dictionary of the columns."""
  return {
    row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows
  }


def lines(markdown):
  """The cells of the lines of a Markdown table, without the rule."""
  assert markdown.endswith('|\n')
  split = [line.strip('|').split(' | ') for line in markdown.splitlines()]
  return [[cell.strip() for cell in line] for line in (split[0], *split[2:])]


def test_spread_is_that_of_a_sample():
  values = [0.71, 0.74, 0.735, 0.7]
  mean, std = spread(np.array(values))
  assert mean == pytest.approx(statistics.mean(values))
  assert std == pytest.approx(statistics.stdev(values))
  assert spread(np.array([0.5])).mean == 0.5
  assert math.isnan(spread(np.array([0.5])).std)


def test_method_table(methods):
  table = tables.method_table(methods)
  assert table.columns == METHOD_COLUMNS
  rows = by_name(table)
  assert list(rows) == [result.name for result in methods]
  for result in methods:
    row = rows[result.name]
    last = [r for r in result.rows if r['moment'] == 'end'][-1]
    for network in ('hare', 'tortoise'):
      values = last[f'{network}_test_accuracy']
      column = f'{network} test accuracy'
      assert row[column] == pytest.approx(statistics.mean(values))
      assert row[f'{column} std'] == pytest.approx(statistics.stdev(values))
    train = statistics.mean(last['train_accuracy'])
    assert row['train accuracy'] == pytest.approx(train)
    assert row['seeds'] == 3
    assert row['reported'] == result.reported


def test_the_papers_tables_7_and_6_are_beside_the_methods(methods):
  rows = by_name(tables.method_table(methods))
  published = {
    name: (row['paper'], row['paper train'])
    for name, row in rows.items()
    if not math.isnan(row['paper'])
  }
  # Of H&T, EMA and SD the paper has a picture but no number.
  assert published == {
    'WS': (0.704, 0.998),
    'fresh': (0.835, 0.998),
    'L2': (0.735, 0.990),
    'Aug': (0.840, 0.993),
    'Spectral': (0.705, 0.997),
    'Regen': (0.701, 0.996),
    'ReDo': (0.682, 0.998),
    'CReLU': (0.678, 0.997),
    'HR': (0.693, 0.997),
    'S&P': (0.771, 0.997),
  }
  for result in methods:
    values = result.rows[-1]['hare_test_accuracy']
    row = rows[result.name]
    if result.name in published:
      expected = statistics.mean(values) - row['paper']
      assert row['difference'] == pytest.approx(expected)
    else:
      assert math.isnan(row['difference'])


def test_the_paper_is_beside_the_best_setting_of_a_method(make):
  rng = np.random.default_rng(0)
  accuracies = {'L2 0.01': 0.70, 'L2 0.1': 0.75, 'L2 1': 0.6, 'S&P 0.8': 0.7}
  swept = [
    make(rng, name, x, weight_decay=float(name[3:]))
    if name[:2] == 'L2'
    else make(rng, name, x)
    for name, x in accuracies.items()
  ]
  swept.append(make(rng, 'L2 10', 0.9, ended=1))
  rows = by_name(tables.method_table(swept))
  found = {
    name: row['paper']
    for name, row in rows.items()
    if not math.isnan(row['paper'])
  }
  assert found == {'L2 0.1': 0.735, 'S&P 0.8': 0.771}
  difference = rows['L2 0.1']['hare test accuracy'] - 0.735
  assert rows['L2 0.1']['difference'] == difference
  assert math.isnan(rows['L2 1']['difference'])


@pytest.mark.parametrize(
  ('name', 'method'),
  [
    ('L2 0.1', 'L2'),
    ('Spectral 1e-05', 'Spectral'),
    ('H&T steps 240', 'H&T steps'),
    ('L2', 'L2'),
    ('fresh + Aug', 'fresh + Aug'),
    ('0.1', '0.1'),
  ],
)
def test_method(name, method):
  assert selection.method(name) == method


@pytest.mark.parametrize(
  'setting',
  [
    {'model': 'vgg16'},
    {'dataset': 'fashion_mnist'},
    {'width': 0.25},
    {'train_size': 5000},
    {'validation_size': 5000},
    {'ratios': (0.2, 1.0)},
    {'noises': (0.4, 0.0)},
    {'ratios': (0.1, 0.9)},
    {'noises': (0.5, 0.5)},
    {'ratios': (0.1, 0.5, 1.0), 'noises': (0.5, 0.0, 0.0)},
    {'ratios': (0.5,), 'noises': (0.0,)},
    {'epochs': (2, 1)},
    {'augment': True},
    {'batch_size': 128},
    {'learning_rate': 1e-4},
    {'learning_rate': (1e-4, 1e-3)},
    {'weight_decay': 1e-2},
    {'noise_mode': 'uniform'},
    {'buffer_size': 5000},
    {'b1': 0.5},
    {'warmup': 0.0},
    {'max_grad_norm': 1.0},
    {'dtype': 'bfloat16'},
    {'shrink': 0.8},
    {'reset_epochs': 10},
    {'reported': 'tortoise'},
  ],
)
def test_only_what_can_be_compared_is(make, setting):
  result = make(np.random.default_rng(0), 'WS', 0.7, **setting)
  row = by_name(tables.method_table([result]))['WS']
  assert math.isnan(row['paper'])
  assert math.isnan(row['difference'])
  assert math.isnan(row['paper train'])
  if len(setting.get('ratios', (0.1, 1.0))) == 2:
    table = tables.grid_table([result])
    for cell in table.rows:
      entry = dict(zip(table.columns, cell, strict=True))
      is_cell = setting.keys() <= {'ratios', 'noises'}
      is_cell &= entry['ratio'] != 0.1 or entry['noise'] != 0.5
      assert math.isnan(entry['difference']) != is_cell
  assert row[f'{result.reported} test accuracy'] == pytest.approx(
    results.final_accuracy(result).mean()
  )


def test_continual_table(make):
  rng = np.random.default_rng(0)
  tenths = [i / 10 for i in range(1, 11)]
  phases = {'ratios': tenths, 'noises': (0.0,) * 10}
  settings = [
    make(rng, 'H&T', 0.8, reported='tortoise', **phases),
    make(rng, 'HR', 0.8, ended=4, **phases),
  ]
  table = tables.continual_table(settings)
  row = by_name(table)['H&T']
  figure = 'tortoise_test_accuracy'
  at_ends = [r for r in settings[0].rows if r['moment'] == 'end']
  ends = [r[figure] for r in at_ends]
  starts = [r[figure] for r in settings[0].rows if r['moment'] == 'start']
  final = row['tortoise test accuracy']
  assert final == pytest.approx(statistics.mean(ends[-1]))
  hare = [r['hare_test_accuracy'] for r in settings[0].rows][-1]
  assert row['hare test accuracy'] == pytest.approx(statistics.mean(hare))
  for network in ('hare', 'tortoise'):
    accuracies = [r[f'{network}_test_accuracy'] for r in at_ends]
    over_seeds = [statistics.mean(x) for x in zip(*accuracies, strict=True)]
    column = f'{network} mean over phase ends'
    assert row[column] == pytest.approx(statistics.mean(over_seeds))
    assert row[f'{column} std'] == pytest.approx(statistics.stdev(over_seeds))
  expected = np.mean(np.array(ends[:-1]) - np.array(starts[1:]))
  assert row['drop at phase starts'] == pytest.approx(expected)
  half = by_name(table)['HR']
  assert math.isnan(half['hare mean over phase ends'])
  assert math.isnan(half['drop at phase starts'])


def test_differences_are_paired_by_seed(make):
  rng = np.random.default_rng(0)
  first = make(rng, 'WS', 0.7, seeds=4)
  second = make(rng, 'H&T', 0.8, seeds=5, reported='tortoise')
  # Its seeds are in another order, and one more.
  second = dataclasses.replace(second, seeds=(3, 9, 0, 1, 2))
  half = make(rng, 'HR', 0.8, ended=1)
  table = tables.paired_table([first, second, half])
  rows = {(row[0], row[1]): row[2:] for row in table.rows}
  assert rows.keys() == {('H&T', 'WS')}
  count, mean, low, high = rows['H&T', 'WS']
  ours = second.rows[-1]['tortoise_test_accuracy']
  theirs = first.rows[-1]['hare_test_accuracy']
  by_seed = dict(zip(second.seeds, ours, strict=True))
  test = stats.ttest_rel([by_seed[seed] for seed in range(4)], theirs)
  expected = test.confidence_interval(0.95)
  assert count == 4
  assert (low, high) == pytest.approx((expected.low, expected.high))
  assert mean == pytest.approx((expected.low + expected.high) / 2)
  text = tables.markdown(table)
  assert f'{mean:+.3f}' in text
  # Of one seed there is no interval.
  alone = [make(rng, name, 0.7, seeds=1) for name in ('fresh', 'L2 0.1')]
  (row,) = tables.paired_table(alone).rows
  assert row[:3] == ['L2 0.1', 'fresh', 1]
  assert math.isnan(row[-1])


def test_grid_table(cells):
  table = tables.grid_table(cells[::-1])
  assert table.columns[:3] == ('ratio', 'noise', 'seeds')
  levels = [(row[0], row[1]) for row in table.rows]
  assert levels == [(r, n) for r in paper.RATIOS for n in paper.NOISES]
  for row, result in zip(table.rows, cells, strict=True):
    entry = dict(zip(table.columns, row, strict=True))
    values = result.rows[-1]['hare_test_accuracy']
    mean = statistics.mean(values)
    assert entry['test accuracy'] == pytest.approx(mean)
    assert entry['test accuracy std'] == pytest.approx(statistics.stdev(values))
    train = result.rows[-1]['train_accuracy']
    assert entry['train accuracy'] == pytest.approx(statistics.mean(train))
  first = dict(zip(table.columns, table.rows[0], strict=True))
  assert first['paper test accuracy'] == 0.74
  assert first['paper test accuracy std'] == 0.0023
  assert first['paper train accuracy'] == 1.0
  assert first['paper train accuracy std'] == 0.0006
  assert first['difference'] == pytest.approx(first['test accuracy'] - 0.74)


def test_numbers_of_another_dataset_are_shown_only_if_asked_for(some_cells):
  table = tables.grid_table(some_cells)
  for row in table.rows:
    entry = dict(zip(table.columns, row, strict=True))
    assert math.isnan(entry['paper test accuracy'])
    assert math.isnan(entry['difference'])
  table = tables.grid_table(some_cells, beside='mnist')
  assert 'paper test accuracy' not in table.columns
  first = dict(zip(table.columns, table.rows[0], strict=True))
  assert first['paper, MNIST: test accuracy'] == 0.98
  assert first['paper, MNIST: train accuracy std'] == 0.0003
  assert math.isnan(first['difference'])
  with pytest.raises(ValueError, match="no numbers of 'mnits'; it has those"):
    tables.grid_table(some_cells, beside='mnits')


def test_what_is_no_warm_start_has_no_cell(cells, make):
  rng = np.random.default_rng(0)
  others = [
    make(rng, 'fresh', 0.8, ratios=(1.0,), noises=(0.0,)),
    make(rng, 'unfinished', 0.8, ended=1),
  ]
  assert selection.cells([*others, *cells[6:8]]) == {
    (0.2, 0.0): cells[6],
    (0.2, 0.1): cells[7],
  }
  twice = make(rng, 'H&T', 0.8, ratios=(0.2, 1.0), noises=(0.1, 0.0))
  message = "at ratio 0.2 and noise 0.1 there must not be both 'ratio 0.2, "
  with pytest.raises(ValueError, match=message):
    selection.cells([*cells, twice])


def test_one_dataset_and_model_at_a_time(make):
  rng = np.random.default_rng(0)
  mine = [make(rng, 'a', 0.8), make(rng, 'b', 0.8, model='vgg16')]
  message = 'make one for each of CIFAR-10, ResNet-18; CIFAR-10, VGG-16'
  for table in (
    tables.method_table,
    tables.grid_table,
    tables.continual_table,
  ):
    with pytest.raises(ValueError, match=message):
      table(mine)
  assert selection.subject(mine[:1] * 2) == 'CIFAR-10, ResNet-18'
  assert selection.subject([]) == ''
  other = make(rng, 'c', 0.8)
  own = other.setting | {'dataset': 'my_images', 'model': 'my_net'}
  other = dataclasses.replace(other, setting=own)
  assert selection.subject([other]) == 'my_images, my_net'


def test_markdown(methods, make):
  odd = make(np.random.default_rng(0), 'a|b', 0.7, seeds=1)
  half = make(np.random.default_rng(0), 'half', 0.7, ended=1)
  table = tables.method_table([*methods, odd, half])
  header, *rows = lines(tables.markdown(table))
  assert header == [
    *('setting', 'seeds', 'hare test accuracy', 'tortoise test accuracy'),
    *('reported', 'paper', 'difference', 'train accuracy', 'paper train'),
  ]
  assert len(rows) == len(methods) + 2
  row = by_name(table)['WS']
  assert rows[0] == [
    'WS',
    '3',
    f'{row["hare test accuracy"]:.3f} ± {row["hare test accuracy std"]:.3f}',
    f'{row["tortoise test accuracy"]:.3f}'
    f' ± {row["tortoise test accuracy std"]:.3f}',
    'hare',
    '0.704',
    f'{row["hare test accuracy"] - 0.704:+.3f}',
    f'{row["train accuracy"]:.3f} ± {row["train accuracy std"]:.3f}',
    '0.998',
  ]
  assert rows[-2][0] == r'a\|b'
  # Of one seed there is no deviation.
  assert rows[-2][2] == f'{by_name(table)["a|b"]["hare test accuracy"]:.3f}'
  dash = tables.UNKNOWN
  assert rows[-1] == ['half', '3', dash, dash, 'hare', *[dash] * 4]


def test_the_paper_is_shown_as_it_prints_its_numbers(cells, some_cells):
  for table, column in (
    (tables.grid_table(cells), 'paper test accuracy'),
    (
      tables.grid_table(some_cells, 'cifar10'),
      'paper, CIFAR-10: test accuracy',
    ),
  ):
    header, first, *_ = lines(tables.markdown(table))
    assert first[header.index(column)] == '0.74 ± 0.0023'
    assert first[:3] == ['0.1', '0', '3']


def test_csv_has_all_digits(methods, make):
  half = make(np.random.default_rng(0), 'a, "b"', 0.7, ended=1)
  table = tables.method_table([*methods, half])
  header, *rows = csv.reader(io.StringIO(tables.csv_text(table)))
  assert tuple(header) == METHOD_COLUMNS
  for read, row in zip(rows, table.rows, strict=True):
    for text, entry in zip(read, row, strict=True):
      if isinstance(entry, str):
        assert text == entry
      elif math.isnan(entry):
        assert text == ''
      else:
        assert float(text) == entry
  assert rows[-1] == ['a, "b"', '3', *[''] * 4, 'hare', *[''] * 5]


def test_nothing_gives_a_header(tmp_path):
  for table in (tables.method_table([]), tables.grid_table([])):
    assert table.rows == []
    assert len(lines(tables.markdown(table))) == 1
    assert tables.csv_text(table) == ','.join(table.columns) + '\n'


def test_tables_are_written_whole_or_not_at_all(methods, cells, tmp_path):
  two = {
    'figure 4.1': tables.method_table(methods),
    'grid': tables.grid_table(cells),
  }
  written = tables.write_tables(two, tmp_path / 'a' / 'b')
  assert [path.name for path in written] == [
    *('figure 4.1.md', 'figure 4.1.csv', 'grid.md', 'grid.csv'),
  ]
  for name, table in two.items():
    folder = tmp_path / 'a' / 'b'
    text = (folder / f'{name}.md').read_text('utf-8')
    assert text == tables.markdown(table)
    assert (folder / f'{name}.csv').read_text() == tables.csv_text(table)

  # The third of the files cannot be written.
  folder = tmp_path / 'c'
  (folder / 'grid.md').mkdir(parents=True)
  with pytest.raises(OSError, match='no file'):
    tables.write_tables(two, folder)
  assert [path.name for path in folder.iterdir()] == ['grid.md']


def test_without_tabulate_it_says_what_to_install(cells, monkeypatch):
  monkeypatch.setitem(sys.modules, 'tabulate', None)
  with pytest.raises(ModuleNotFoundError, match=r'pip install tabulate$'):
    tables.markdown(tables.grid_table(cells))


def test_correlations_of_metrics_with_the_final_accuracy(some_cells):
  table = correlation_table(some_cells)
  assert table.columns == ('metric', 'correlation', 'points')
  accuracy = np.concatenate([results.final_accuracy(r) for r in some_cells])
  names = [str(row[0]) for row in table.rows]
  assert names[0] == 'weight magnitude'
  assert len(names) == 5
  for name, (_, r, points) in zip(names, table.rows, strict=True):
    metric = np.concatenate(
      [results.at_phase_end(r, 0, name.replace(' ', '_')) for r in some_cells]
    )
    assert r == pytest.approx(stats.pearsonr(metric, accuracy).statistic)
    assert points == len(metric) == 36
  assert lines(tables.markdown(table))[1][2] == '36'


def test_correlations_of_nothing():
  table = correlation_table([])
  assert [row[2] for row in table.rows] == [0] * 5
  assert all(math.isnan(row[1]) for row in table.rows)
