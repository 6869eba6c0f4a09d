"""What `list` and the items show from committed results alone."""

import csv
import html.parser
import pathlib
import re
import shlex

import pytest

from experiments.paper.items import ITEMS
from experiments.paper.rendered import NONE

ROOT = pathlib.Path(__file__).parents[3]
RESULTS = ROOT / 'docs' / 'results'

# Settings, cells or games, times seeds, counted by hand from the paper; of the
# methods 10 settings more, which are not in it.
NEEDED = {
  'table1': 9 * 26 * 5,
  'table2': 0,
  'table3': 0,
  'table4': 36 * (5 + 5 + 5 + 3),
  'table5': 36 * (5 + 5 + 5 + 3),
  'table6': (36 + 10 + 3) * (5 + 5 + 3),
  'table7': (36 + 10 + 3) * (5 + 5 + 3),
  'table8': 9 * 26 * 5,
  'figure1': 0,
  'figure2': 36 * (5 + 5 + 5 + 3),
  'figure3': 12 * (5 + 5 + 3),
  'figure4': (36 + 10 + 3) * (5 + 5 + 3),
  'figure5': 9 * (5 + 5 + 3),
  'figure6': 2 * 4 * (5 + 5 + 3),
  'figure7': 36 * 2 * 2,
  'figure8': 36 * (5 + 5 + 5 + 3),
  'figure9': (6 + 7) * (5 + 5 + 3),
}
# Stand-ins whose results are committed.
ON_FASHION = {'table4', 'table5', 'table6', 'table7'} | {
  f'figure{number}' for number in (2, 3, 4, 5, 6, 8, 9)
}


def committed(name):
  """The rows of a committed table."""
  with (RESULTS / f'{name}.csv').open(newline='') as file:
    return list(csv.DictReader(file))


def test_list_names_all_tables_and_figures(type_command, rows, tmp_path):
  code, out, _ = type_command('list', f'--base_dir={tmp_path}')
  assert code == 0
  shown = rows(out)
  header = shown.pop('item')
  assert list(shown) == list(NEEDED) == list(ITEMS)
  assert len(shown) == 17
  # DrQ(eps) is not in the paper.
  full = sum(x['algorithm'] != 'drq_eps' for x in committed('atari100k_full'))
  for name, needed in NEEDED.items():
    row = dict(zip(header, shown[name], strict=True))
    assert row['runs needed'] == (f'{needed:,}' if needed else 'none')
    state = 'not run' if needed else 'nothing to run'
    if name in ('table1', 'table8') and full:
      state = f'{full} of {needed} runs'
    assert row['state'] == state
    if name in ON_FASHION:
      assert re.search(r'Fashion-MNIST, MLP: \d+ of \d+ runs', row['stand-ins'])


@pytest.mark.parametrize('name', ['figure3', 'figure5', 'figure9'])
def test_settings_are_those_of_the_committed_tables(
  name, type_command, rows, tmp_path
):
  tables = {
    'figure3': ['optimizer'],
    'figure5': ['methods'],
    'figure9': ['ablation_momentum', 'ablation_interval'],
  }
  code, out, _ = type_command(name, f'--base_dir={tmp_path}')
  assert code == 0
  shown = rows(out)
  at = shown['setting'].index('Fashion-MNIST, MLP: here')
  found = {row['setting']: row for x in tables[name] for row in committed(x)}
  compared = 0
  for setting, cells in shown.items():
    if setting == 'setting':
      continue
    row = found[setting]
    network = row['reported']
    mean = float(row[f'{network} test accuracy'])
    std = float(row[f'{network} test accuracy std'])
    assert cells[at] == f'{mean:.4f} ± {std:.4f}'
    assert set(cells[:at]) == {'not run'}
    compared += 1
  assert compared >= 9
  for table in tables[name]:
    assert f'picture: docs/results/{table}.png' in out


@pytest.mark.parametrize(
  ('name', 'column', 'sums'),
  [
    # Sums over the paper's columns, of MNIST to Tiny ImageNet.
    ('table4', 'train accuracy', (36.00, 36.00, 32.94, 35.41)),
    ('table5', 'test accuracy', (34.98, 26.46, 16.29, 10.32)),
    ('figure2', 'test accuracy', (34.98, 26.46, 16.29, 10.32)),
  ],
)
def test_a_grid_has_all_cells(name, column, sums, type_command, tmp_path):
  code, out, _ = type_command(name, f'--base_dir={tmp_path}')
  assert code == 0
  lines = [line for line in out.splitlines() if line.startswith('| ')]
  header, *cells = [
    [cell.strip() for cell in line.strip('|').split(' | ')] for line in lines
  ]
  assert len(cells) == 36
  papers = [i for i, title in enumerate(header) if title.endswith(': paper')]
  found = [sum(float(row[i].split(' ')[0]) for row in cells) for i in papers]
  assert found == pytest.approx(sums)
  ours = {(float(row[0]), float(row[1])): row[-1] for row in cells}
  for row in committed('warm_start'):
    mean, std = float(row[column]), float(row[f'{column} std'])
    cell = ours.pop((float(row['ratio']), float(row['noise'])))
    assert cell == f'{mean:.4f} ± {std:.4f}'
  assert not ours


def test_methods_stand_beside_the_papers(type_command, rows, tmp_path):
  code, out, _ = type_command('table7', f'--base_dir={tmp_path}')
  assert code == 0
  shown = rows(out)
  # As the paper prints them.
  assert shown['S&P + L2 + Aug'][::2] == ['0.910', '0.536', '0.376', NONE]
  assert shown['S&P + L2 + Aug'][1::2] == ['not run'] * 3
  best = max(
    (row for row in committed('methods') if row['setting'].startswith('S&P')),
    key=lambda row: float(row['hare test accuracy']),
  )
  accuracy = float(best['hare test accuracy'])
  assert shown['S&P'][-1].startswith(f'{accuracy:.4f} ± ')
  assert shown['S&P'][-1].endswith(f', {best["setting"]}')


def test_train_accuracy_of_the_setting_with_the_best_test_accuracy(
  type_command, rows, tmp_path
):
  _, out, _ = type_command('table6', f'--base_dir={tmp_path}')
  best = max(
    (row for row in committed('methods') if row['setting'].startswith('L2')),
    key=lambda row: float(row['hare test accuracy']),
  )
  cell = rows(out)['L2'][-1]
  assert cell.startswith(f'{float(best["train accuracy"]):.4f} ± ')
  assert cell.endswith(best['setting'])


def test_the_papers_aggregates_without_a_run(type_command, rows, tmp_path):
  code, out, _ = type_command('table1', f'--base_dir={tmp_path}')
  assert code == 0
  shown = rows(out)
  assert shown['drq_ht: paper'] == [
    'published', '0.287', '0.260', '0.471', '0.617'
  ]  # fmt: skip
  assert shown['bbf: here'][0] == 'not run'
  assert sum(name.endswith(': paper') for name in shown) == 9


def test_what_needs_no_runs(type_command, rows, tmp_path):
  base_dir = f'--base_dir={tmp_path}'
  assert 'reset_every' in type_command('figure1', base_dir)[1]
  shown = rows(type_command('table3', base_dir)[1])
  for name, (theirs, ours) in shown.items():
    if name != 'hyperparameter':
      assert theirs == ours
  out = type_command('table2', base_dir)[1]
  assert '| Tiny ImageNet' in out
  assert '100000' in out


def test_commands_run_what_is_missing(type_command, tmp_path):
  base_dir = tmp_path / 'my runs'
  base_dir.mkdir()
  _, out, _ = type_command('table5', f'--base_dir={base_dir}')
  commands = [x.strip() for x in out.splitlines() if x.startswith('    ')]
  # The grid of Fashion-MNIST is whole.
  assert len(commands) == 4
  assert shlex.split(commands[0]) == [
    *('python', '-m', 'experiments.supervised'),
    f'--base_dir={base_dir}',
    '--gin_files=gin_configs/supervised/warm_start.gin',
    '--gin_files=gin_configs/supervised/mnist.gin',
    "--gin_bindings=Setting.dataset = 'mnist'",
  ]
  _, out, _ = type_command('table8', f'--base_dir={base_dir}')
  command = next(x.strip() for x in out.splitlines() if x.startswith('    '))
  start = 'python -m experiments.sweep run --games=all --seeds=0-4 '
  assert command.startswith(start)
  files = command.partition('--gin_files=')[2].split(',')
  assert len(files) == 9
  # One seed in small is 26 runs, as the state says.
  (in_small,) = (x for x in out.splitlines() if '/small/' in x)
  assert ' --games=all --seeds=0 ' in in_small
  for file in files:
    assert (ROOT / file).exists()


class Reader(html.parser.HTMLParser):
  """Collects tags, the ends of items and the sources of pictures."""

  def __init__(self):
    super().__init__()
    self.open, self.items, self.sources = [], [], []

  def handle_starttag(self, tag, attrs):
    found = dict(attrs)
    if tag == 'h2':
      self.items.append(found['id'])
    if 'src' in found:
      self.sources.append(found['src'])
    assert 'href' not in found
    if tag not in ('meta', 'img'):
      self.open.append(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag


def test_one_page_has_everything(type_command, tmp_path):
  file = tmp_path / 'new' / 'paper.html'
  code, _, err = type_command(
    'list', f'--base_dir={tmp_path}', f'--html={file}'
  )
  assert code == 0
  assert str(file) in err
  reader = Reader()
  reader.feed(file.read_text('utf-8'))
  assert not reader.open
  assert reader.items == list(NEEDED)
  assert len(reader.sources) >= 9
  for source in reader.sources:
    assert source.startswith('data:image/png;base64,iVBORw0KGgo')
  assert 'S&amp;P 0.8' in file.read_text('utf-8')


def test_the_page_of_one_item(type_command, tmp_path):
  file = tmp_path / 'page.html'
  code, out, _ = type_command(
    'figure3', f'--base_dir={tmp_path}', f'--html={file}'
  )
  assert code == 0
  assert out.startswith("# figure3: Adam's parameters\n")
  reader = Reader()
  reader.feed(file.read_text('utf-8'))
  assert reader.items == ['figure3']


@pytest.mark.parametrize(
  ('words', 'line'),
  [
    (
      [],
      'name an item, or list: for example python -m experiments.paper list',
    ),
    (['figure55'], "no item 'figure55': did you mean figure5?"),
    (['nothing'], "no item 'nothing'; `list` names them all"),
    (['table1', 'table8'], "unexpected argument 'table8'"),
    (['list', '--base_dir=nowhere'], "--base_dir: no folder 'nowhere'"),
    (
      ['list', '--gin_files=gin_configs/drq.gin'],
      '--gin_files has no effect on experiments.paper',
    ),
    (['claims', '--html=a.html'], '--html has no effect on `claims`'),
    (['claims', '--base_dir=.'], '--base_dir has no effect on `claims`'),
    (['list', '--html='], '--html needs the name of a file'),
  ],
)
def test_what_is_wrong_is_one_line(
  words, line, type_command, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  assert type_command(*words) == (2, '', f'error: {line}\n')


def test_a_page_that_cannot_be_written(type_command, tmp_path):
  code, _, err = type_command(
    'figure1', f'--base_dir={tmp_path}', f'--html={tmp_path}'
  )
  assert code == 1
  assert err.count('\n') == 1
  assert str(tmp_path) in err
