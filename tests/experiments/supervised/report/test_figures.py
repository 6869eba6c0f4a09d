import io
import statistics
import subprocess
import sys
from unittest import mock

from matplotlib.colors import to_rgb
from matplotlib.text import Text
import numpy as np
from PIL import Image
import pytest
from scipy import stats

from experiments.supervised import paper
from experiments.supervised.report import figures
from ht_rl import drawing

RATIOS = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
NOISES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
TENTHS = [i / 10 for i in range(1, 11)]


def final(result, figure='hare_test_accuracy'):
  """The numbers of the seeds, straight from the last row of the run."""
  assert result.rows[-1]['moment'] == 'end'
  return result.rows[-1][figure]


def texts(artist):
  return [
    text.get_text()
    for text in artist.findobj(Text)
    if text.get_visible() and text.get_text()
  ]


def subtitle(figure):
  return figure.texts[1].get_text()


def drawn_texts(figure):
  """The texts that are really drawn: not the ticks beyond a panel's ends."""
  draw, drawn = Text.draw, []

  def recorded(text, renderer):
    if text.get_visible() and text.get_text():
      drawn.append(text)
    draw(text, renderer)

  with mock.patch.object(Text, 'draw', recorded):
    figure.draw_without_rendering()
  return drawn


def error_bars(container):
  """Centers and half lengths of an errorbar's vertical lines."""
  _, _, (bars,) = container
  ends = np.array(bars.get_segments())[..., 1]
  return ends.mean(axis=1), np.diff(ends, axis=1)[:, 0] / 2


@pytest.fixture(scope='module')
def ablation(make):
  """Momenta of Hare & Tortoise, with what they are compared to."""
  rng = np.random.default_rng(3)
  alone = {'ratios': (1.0,), 'noises': (0.0,)}
  return [
    make(rng, 'fresh', 0.83, momentum=0.999, reset_epochs=None, **alone),
    *(
      make(
        rng,
        f'momentum {momentum}',
        0.75 + 0.02 * i,
        reported='tortoise',
        momentum=momentum,
        reset_epochs=10,
      )
      for i, momentum in enumerate((0.9999, 0.9, 0.999, 0.99))
    ),
    make(rng, 'WS', 0.7, momentum=0.999, reset_epochs=None),
  ]


@pytest.fixture(scope='module')
def continual(make):
  rng = np.random.default_rng(4)
  phases = {'ratios': TENTHS, 'noises': (0.0,) * 10}
  return [
    make(rng, 'WS', 0.7, **phases),
    make(rng, 'S&P', 0.75, ended=4, **phases),
    make(rng, 'H&T', 0.8, reported='tortoise', seeds=1, **phases),
  ]


@pytest.fixture(scope='module')
def all_figures(cells, some_cells, methods, groups, ablation, continual, make):
  rng = np.random.default_rng(5)
  long = 'Shrink & perturb with a very long name_and_more 0.8'
  return {
    'grid': figures.grid(cells),
    'grid, partial': figures.grid(some_cells),
    'grid, empty': figures.grid([]),
    'bars': figures.bars(methods, groups),
    'bars, partial': figures.bars(
      [methods[3], make(rng, 'S&P', 0.7, ended=1), make(rng, long, 0.8)],
      {**groups, long: 'My own group'},
    ),
    'bars, empty': figures.bars([], groups),
    'curves': figures.curves(continual),
    'curves, empty': figures.curves([]),
    'metrics': figures.metrics(cells),
    'metrics, empty': figures.metrics([]),
    'lines': figures.lines(ablation, 'momentum', 'one minus'),
    'lines, empty': figures.lines([], 'eps'),
  }


def test_type_is_neither_cut_nor_overlapping(all_figures):
  for name, figure in all_figures.items():
    drawn = drawn_texts(figure)
    written = np.array([text.get_text() for text in drawn])
    boxes = [text.get_window_extent().extents for text in drawn]
    left, bottom, right, top = np.transpose(boxes)
    is_inside = (left >= 0) & (bottom >= 0)
    is_inside &= (right <= figure.bbox.width) & (top <= figure.bbox.height)
    assert is_inside.all(), (name, written[~is_inside])
    # The boxes have some room above and below the letters.
    is_apart = (left[:, None] >= right) | (bottom[:, None] >= top - 3)
    overlaps = np.argwhere(np.triu(~(is_apart | is_apart.T), 1))
    assert not len(overlaps), (name, written[overlaps])
    assert min(text.get_fontsize() for text in drawn) * 96 / 72 >= 11


@pytest.mark.filterwarnings('error')
def test_as_wide_as_a_page_and_says_what_it_is_of(all_figures):
  for name, figure in all_figures.items():
    figure.draw_without_rendering()
    assert 6 <= figure.get_size_inches()[0] <= 8.6, name
    title = figure.texts[0].get_text()
    if 'empty' in name:
      assert 'no results' in texts(figure)
      assert subtitle(figure).startswith('0 of ')
      assert ':' not in title
    elif name == 'grid, partial':
      assert title.endswith(': Fashion-MNIST, MLP')
    else:
      assert title.endswith(': CIFAR-10, ResNet-18')
    assert not any('nan' in text for text in texts(figure))


def test_grid_lines(cells, all_figures):
  by_ratio, by_noise, _ = all_figures['grid'].axes
  for axes, levels, x in (
    (by_ratio, [(r, 0.0) for r in RATIOS], RATIOS),
    (by_noise, [(1.0, n) for n in NOISES], NOISES),
  ):
    chosen = [
      result
      for level in levels
      for result in cells
      if (result.setting['ratios'][0], result.setting['noises'][0]) == level
    ]
    assert len(chosen) == 6
    own, published = axes.containers
    means = [statistics.mean(final(result)) for result in chosen]
    stds = [statistics.stdev(final(result)) for result in chosen]
    np.testing.assert_allclose(own[0].get_xdata(orig=False), x)
    np.testing.assert_allclose(own[0].get_ydata(orig=False), means)
    np.testing.assert_allclose(error_bars(own), [means, stds], atol=1e-12)
    of_paper = [paper.final_test_accuracy('cifar10', *x) for x in levels]
    np.testing.assert_allclose(published[0].get_xdata(orig=False), x)
    np.testing.assert_allclose(
      error_bars(published), np.transpose(of_paper), atol=1e-12
    )
    assert published[0].get_markerfacecolor() == 'white'
    assert own[0].get_markerfacecolor() != 'white'


def test_grid_map(cells, all_figures):
  axes = all_figures['grid'].axes[2]
  (mesh,) = axes.collections
  shades = mesh.get_array().reshape(6, 6)
  shown = {}
  for text in axes.texts:
    x, y = np.round(text.get_position()).astype(int)
    shown.setdefault((RATIOS[x], NOISES[y]), []).append(text)
  assert len(shown) == 36
  for result in cells:
    level = result.setting['ratios'][0], result.setting['noises'][0]
    mean = statistics.mean(final(result))
    y, x = NOISES.index(level[1]), RATIOS.index(level[0])
    assert shades[y, x] == pytest.approx(mean)
    own, published = shown[level]
    assert own.get_text() == f'{100 * mean:.1f}'
    expected = paper.final_test_accuracy('cifar10', *level).mean
    assert published.get_text() == f'{100 * expected:.0f}'
    assert (own.get_style(), published.get_style()) == ('normal', 'italic')
  percent = [tick.get_text() for tick in axes.get_xticklabels()]
  assert percent == ['10', '20', '40', '60', '80', '100']
  percent = [tick.get_text() for tick in axes.get_yticklabels()]
  assert percent == ['0', '10', '20', '30', '40', '50']
  # Without labels that are wrong at the top.
  assert axes.get_ylim()[0] > axes.get_ylim()[1]


def test_missing_cells_are_empty(all_figures):
  by_ratio, by_noise, map_ = all_figures['grid, partial'].axes
  assert subtitle(all_figures['grid, partial']).startswith('12 of 36 cells.')
  mask = map_.collections[0].get_array().mask.reshape(6, 6)
  np.testing.assert_array_equal(mask, np.tile([0, 0, 1, 1, 1, 1], (6, 1)))
  assert len(map_.texts) == 12
  assert len(by_ratio.containers[0][0].get_xdata()) == 2
  assert 'no results' in texts(by_noise)
  assert 'no results' not in texts(by_ratio)
  # The paper has no such data.
  assert len(by_ratio.containers[1][0].get_xdata()) == 0
  assert 'the paper' not in subtitle(all_figures['grid, partial'])
  assert subtitle(all_figures['grid']).startswith('All 36 cells.')


def test_a_grid_takes_other_levels_too(cells, make):
  rng = np.random.default_rng(0)
  more = make(rng, 'more', 0.7, ratios=(0.3, 1.0), noises=(0.0, 0.0))
  figure = figures.grid([*cells[:3], more])
  assert subtitle(figure).startswith('4 of 42 cells.')
  own, published = figure.axes[0].containers
  assert list(own[0].get_xdata(orig=False)) == [0.1, 0.3]
  assert list(published[0].get_xdata(orig=False)) == [0.1]


def test_bars(methods, groups, all_figures):
  (axes,) = all_figures['bars'].axes
  named = {result.name: result for result in methods}
  base = statistics.mean(final(named['WS']))
  labels = {
    text.get_text(): text.get_position()[1]
    for text in axes.texts
    if text.get_ha() == 'right'
  }
  shown = sorted(
    (bar.get_y() + bar.get_height() / 2, bar)
    for bar in axes.patches[: len(groups) + 2]
  )
  rows = {
    name: next(bar for y, bar in shown if y == pytest.approx(labels[name]))
    for name in (*groups, 'WS', 'fresh')
  }
  dots, hollow = [], []
  for line in axes.get_lines():
    if line.get_marker() == 'o':
      dots.append(line)
    elif line.get_marker() in 'D^':
      hollow.append(line)
  errors = axes.containers
  deviations = {}
  for container in errors:
    if hasattr(container, 'has_xerr') and container.has_xerr:
      (segments,) = container[2][0].get_segments()
      deviations[segments[0, 1]] = segments[:, 0]
  references = {'WS': 'References', 'fresh': 'References'}
  for name, group in (references | groups).items():
    result, bar = named[name], rows[name]
    values = final(result, f'{result.reported}_test_accuracy')
    mean, std = statistics.mean(values), statistics.stdev(values)
    ends = sorted([bar.get_x(), bar.get_x() + bar.get_width()])
    assert ends == pytest.approx(sorted([base, mean]))
    color = to_rgb(figures.GROUP_COLORS.get(group, drawing.MUTED))
    assert bar.get_edgecolor()[:3] == pytest.approx(color)
    row = labels[name]
    (seeds,) = [x for x in dots if abs(x.get_ydata()[0] - row) < 0.1]
    assert sorted(seeds.get_xdata()) == sorted(values)
    (line,) = [x for y, x in deviations.items() if abs(y - row) < 0.1]
    assert list(line) == pytest.approx([mean - std, mean + std])
    (other,) = [x for x in hollow if x.get_ydata()[0] == pytest.approx(row)]
    # The network that is not reported.
    is_hare = result.reported == 'tortoise'
    figure = f'{"hare" if is_hare else "tortoise"}_test_accuracy'
    expected = statistics.mean(final(result, figure))
    assert other.get_xdata()[0] == pytest.approx(expected)
    assert other.get_marker() == ('D' if is_hare else '^')
    assert f'{mean:.3f}' in texts(axes)
  # Groups keep together, and each is named above its bars.
  for group in ('References', *figures.GROUP_COLORS):
    assert labels[group] < min(
      labels[n] for n, g in (references | groups).items() if g == group
    )
  assert axes.get_ylim()[0] > axes.get_ylim()[1]


def test_bars_are_compared_to_dashed_lines(methods, all_figures):
  (axes,) = all_figures['bars'].axes
  dashed = {
    line.get_xdata()[0]
    for line in axes.get_lines()
    if len(set(line.get_xdata())) == 1 and len(line.get_ydata()) == 2
    and list(line.get_ydata()) == [0, 1]
  }  # fmt: skip
  means = [statistics.mean(final(result)) for result in methods[:2]]
  assert sorted(dashed) == pytest.approx(sorted(means))
  for result, mean in zip(methods, means, strict=False):
    assert f'{result.name} {mean:.3f}' in texts(axes)


def test_bars_of_what_is_there(all_figures):
  figure = all_figures['bars, partial']
  assert subtitle(figure).startswith('2 of 3 settings.')
  (axes,) = figure.axes
  # Without a warm start they begin at zero.
  assert [bar.get_x() for bar in axes.patches] == [0, 0]
  assert 'unfinished' in texts(axes)
  assert 'Trainability' not in texts(axes)
  assert 'My own group' in texts(axes)


def test_settings_of_a_method_stand_by_their_numbers(make):
  rng = np.random.default_rng(0)
  names = ['S&P 0.8', 'L2 0.1', 'H&T', 'L2 1e-3', 'H&T 0.9', 'L2', 'WS', 'X 1']
  names += ['fresh + Aug', 'fresh']
  figure = figures.bars(
    [make(rng, name, 0.7) for name in names],
    {'L2': 'first', 'H&T 0.9': 'alone', 'S&P': 'first', 'H&T': 'last'},
  )
  (axes,) = figure.axes
  is_below = axes.get_yaxis_transform()
  labels = [
    text
    for text in axes.texts
    if text.get_ha() == 'right' and text.get_transform() == is_below
  ]
  labels.sort(key=lambda text: text.get_position()[1])
  assert [text.get_text() for text in labels] == [
    *('References', 'WS', 'fresh', 'fresh + Aug'),
    *('first', 'L2', 'L2 1e-3', 'L2 0.1', 'S&P 0.8'),
    *('alone', 'H&T 0.9'),
    *('last', 'H&T'),
    *('Other settings', 'X 1'),
  ]
  assert subtitle(figure).startswith('All 10 settings.')


def test_names_are_not_there_twice(methods, groups):
  with pytest.raises(ValueError, match="a name of its own, not 'L2'"):
    figures.bars([*methods, methods[2]], groups)


def test_curves(continual, all_figures):
  figure = all_figures['curves']
  (axes,) = figure.axes
  legend = [text.get_text() for text in axes.get_legend().get_texts()]
  named = {result.name: result for result in continual}
  # From top to bottom, as they end.
  assert legend == ['H&T', 'WS', 'S&P']
  lines, dotted = axes.get_lines()[:3], axes.get_lines()[3:]
  for name, line, band in zip(legend, lines, axes.collections, strict=True):
    result = named[name]
    measured = [row[f'{result.reported}_test_accuracy'] for row in result.rows]
    steps = [row['step'] for row in result.rows]
    np.testing.assert_array_equal(line.get_xdata(), steps)
    means = [statistics.mean(values) for values in measured]
    np.testing.assert_allclose(line.get_ydata(), means)
    if name == 'H&T':  # Of one seed.
      assert not any(np.isfinite(p.vertices).any() for p in band.get_paths())
      continue
    stds = [statistics.stdev(values) for values in measured]
    corners = {tuple(x) for x in band.get_paths()[0].vertices.round(9)}
    for sign in (-1, 1):
      ends = np.add(means, np.multiply(sign, stds)).round(9)
      assert set(zip(map(float, steps), ends, strict=True)) <= corners
  # No boundary at the end of the last phase.
  at = [line.get_xdata()[0] for line in dotted]
  assert at == [2000 * i for i in range(1, 10)]
  assert subtitle(figure).startswith('All 3 settings.')


def test_curves_of_another_figure(continual):
  figure = figures.curves(continual, 'train_accuracy')
  (axes,) = figure.axes
  assert axes.get_ylabel() == 'Train accuracy'
  legend = [text.get_text() for text in axes.get_legend().get_texts()]
  named = {result.name: result for result in continual}
  for name, line in zip(legend, axes.get_lines(), strict=False):
    values = [row['train_accuracy'] for row in named[name].rows]
    means = [statistics.mean(x) for x in values]
    np.testing.assert_allclose(line.get_ydata(), means)


def test_curves_of_no_figure(continual):
  with pytest.raises(ValueError, match="no figure 'train_acuracy' in the resu"):
    figures.curves(continual, 'train_acuracy')


def test_metrics_are_those_of_phase_1(cells, all_figures):
  panels = all_figures['metrics'].axes
  assert len(panels) == 5
  y = np.concatenate([final(result) for result in cells])
  for axes, name in zip(panels, figures.METRICS, strict=True):
    ends = [
      next(row for row in result.rows if row['moment'] == 'end')
      for result in cells
    ]
    x = np.concatenate([end[name] for end in ends])
    (points,) = axes.get_lines()
    np.testing.assert_allclose(points.get_xydata(), np.transpose([x, y]))
    r = stats.pearsonr(x, y).statistic
    assert f'r = {r:.2f} (n = 108)' in texts(axes)
  title = panels[0].get_title(loc='left')
  assert title == 'Weight magnitude'


def test_correlations_below_zero_and_of_nothing(make):
  rng = np.random.default_rng(0)
  results = [make(rng, f'{i}', 0.5 + 0.05 * i, spread=0.0) for i in range(4)]
  for i, result in enumerate(results):
    end = next(row for row in result.rows if row['moment'] == 'end')
    end['falling'] = [-1.0 * i] * 3
    end['constant'] = [0.3] * 3
    end['unknown in part'] = [1.0 * i, float('nan'), float('nan')]
  results.append(make(rng, 'fresh', 0.9, ratios=(1.0,), noises=(0.0,)))
  figure = figures.metrics(results, ['falling', 'constant', 'unknown in part'])
  falling, constant, in_part = figure.axes
  assert 'r = \N{MINUS SIGN}1.00 (n = 12)' in texts(falling)
  assert 'r unknown (n = 12)' in texts(constant)
  assert 'r = 1.00 (n = 4)' in texts(in_part)
  # What has but one phase is no warm start.
  assert subtitle(figure).startswith('All 4 settings.')


def test_lines(ablation, all_figures):
  (axes,) = all_figures['lines'].axes
  swept = sorted(ablation[1:5], key=lambda result: result.setting['momentum'])
  values = [result.setting['momentum'] for result in swept]
  assert values == [0.9, 0.99, 0.999, 0.9999]
  (own,) = axes.containers
  measured = [final(result, 'tortoise_test_accuracy') for result in swept]
  means = [statistics.mean(x) for x in measured]
  stds = [statistics.stdev(x) for x in measured]
  np.testing.assert_allclose(
    own[0].get_xdata(orig=False), [0.1, 0.01, 1e-3, 1e-4]
  )
  np.testing.assert_allclose(own[0].get_ydata(orig=False), means)
  np.testing.assert_allclose(error_bars(own), [means, stds], atol=1e-12)
  assert axes.get_xscale() == 'log'
  # Nearer to one is further to the right.
  assert axes.get_xlim()[0] > axes.get_xlim()[1]
  labels = [tick.get_text() for tick in axes.get_xticklabels()]
  assert labels == ['0.9', '0.99', '0.999', '0.9999']
  (hares,) = [
    line
    for line in axes.get_lines()
    if line.get_marker() == 'D' and len(line.get_xdata())
  ]
  expected = [statistics.mean(final(result)) for result in swept]
  np.testing.assert_allclose(hares.get_ydata(), expected)
  for result in (ablation[0], ablation[-1]):
    mean = statistics.mean(final(result))
    assert f'{result.name} {mean:.3f}' in texts(axes)
    assert any(
      line.get_linestyle() == '--' and np.allclose(line.get_ydata(), mean)
      for line in axes.get_lines()
    )


@pytest.mark.parametrize('scale', ['log', 'linear'])
def test_lines_on_other_scales(make, scale):
  rng = np.random.default_rng(0)
  results = [
    make(rng, f'every {n}', 0.7, reset_epochs=n, ended=1 if n == 20 else None)
    for n in (50, 1, 20, 5)
  ]
  results.append(make(rng, 'never', 0.7, reset_epochs=None))
  figure = figures.lines(results, 'reset_epochs', scale)
  (axes,) = figure.axes
  assert list(axes.containers[0][0].get_xdata()) == [1, 5, 50]
  assert axes.get_xscale() == scale
  assert axes.get_xlabel() == 'Reset epochs'
  assert subtitle(figure).startswith('3 of 4 settings.')
  assert 'the hare' not in subtitle(figure)


@pytest.mark.parametrize(
  ('value', 'scale', 'message'),
  [
    (0, 'log', "x of 'a' must be above 0 to have a place on a logarithmic"),
    (1.0, 'one minus', "x of 'a' must be below 1 to have a place on this axis"),
    ([1, 2], 'log', r"x of 'a' must be one number .* not \[1, 2\]"),
    (True, 'log', "x of 'a' must be one number"),
    (0.5, 'log', "'b' and 'a' both have x 0.5: a line is of settings that"),
    (0.5, 'lin', "must be one of log, one minus, linear, not 'lin'"),
  ],
)
def test_values_without_a_place(make, value, scale, message):
  rng = np.random.default_rng(0)
  results = [make(rng, 'b', 0.7, x=0.5), make(rng, 'a', 0.7, x=value)]
  with pytest.raises(ValueError, match=message):
    figures.lines(results, 'x', scale)


def test_one_dataset_and_model_at_a_time(make):
  rng = np.random.default_rng(0)
  mixed = [make(rng, 'a', 0.8), make(rng, 'b', 0.8, dataset='cifar100')]
  for draw in (
    figures.grid,
    lambda results: figures.bars(results, {}),
    figures.curves,
    figures.metrics,
    lambda results: figures.lines(results, 'width'),
  ):
    with pytest.raises(ValueError, match='one dataset and one model'):
      draw(mixed)


def test_written_as_svg_and_png(all_figures, tmp_path):
  drawn = {'lines': all_figures['lines']}
  written = drawing.write_figures(drawn, tmp_path)
  assert [path.name for path in written] == ['lines.svg', 'lines.png']
  content = drawing.png(all_figures['lines'])
  assert written[1].read_bytes() == content
  with Image.open(io.BytesIO(content)) as image:
    width, height = all_figures['lines'].get_size_inches()
    assert image.size == pytest.approx((200 * width, 200 * height), abs=1)


SCRIPT = """
import sys
import experiments.supervised.results, experiments.supervised.paper
import experiments.supervised.report.tables
assert 'matplotlib' not in sys.modules
assert 'tabulate' not in sys.modules
sys.modules['matplotlib'] = None
try:
  import experiments.supervised.report.figures
except ModuleNotFoundError as error:
  print(error)
"""


def test_without_matplotlib_it_says_what_to_install():
  done = subprocess.run(
    [sys.executable, '-c', SCRIPT], capture_output=True, text=True, check=True
  )
  message = 'pictures need matplotlib: pip install matplotlib\n'
  assert done.stdout == message


def test_a_field_that_no_setting_has(make):
  result = make(np.random.default_rng(0), 'H&T', 0.8)
  with pytest.raises(ValueError, match="a setting has no field 'momentun'"):
    figures.lines([result], 'momentun')
