import dataclasses
import os
import re
import subprocess
import sys
from unittest import mock
from xml.etree import ElementTree

import matplotlib
from matplotlib import colors
from matplotlib.text import Text
import numpy as np
from PIL import Image
import pytest

from ht_rl import atari100k, drawing
from ht_rl.atari100k import figures
from ht_rl.atari100k.aggregates import METRICS

ALL = ['intervals', 'profiles', 'curves', 'improvement', 'games']


def texts(artist):
  """What is written anywhere in an artist, line breaks taken out."""
  return [
    text.get_text().replace('\n', '')
    for text in artist.findobj(Text)
    if text.get_visible() and text.get_text()
  ]


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


@pytest.fixture(scope='module')
def all_figures(nine, single, published, partial):
  return {
    'nine': figures.all_figures(nine),
    'single': figures.all_figures(single),
    'published': figures.all_figures(published),
    'partial': figures.all_figures(partial),
  }


def without_spaces(text):
  return re.sub(r'\s', '', text)


def luminance(color):
  """Relative luminance, as WCAG 2 defines it."""
  channels = np.array(colors.to_rgb(color))
  linear = np.where(
    channels <= 0.03928, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4
  )
  return linear @ [0.2126, 0.7152, 0.0722]


def contrast(color, other):
  lighter, darker = sorted(map(luminance, (color, other)), reverse=True)
  return (lighter + 0.05) / (darker + 0.05)


def test_a_figure_with_nothing_to_show_is_left_out(all_figures):
  assert list(all_figures['nine']) == ALL
  assert list(all_figures['partial']) == ALL
  assert list(all_figures['single']) == ['intervals', 'profiles', 'games']
  assert list(all_figures['published']) == ['intervals', 'games']


def test_it_says_of_how_many_games(all_figures):
  for name, figure in all_figures['partial'].items():
    assert any('2 of 26 games' in text for text in texts(figure)), name
  for name, figure in all_figures['nine'].items():
    assert any('26 games' in text for text in texts(figure)), name
    assert not any('of 26' in text for text in texts(figure)), name


def test_every_name_is_there_in_full(partial, all_figures):
  for name, figure in all_figures['partial'].items():
    shown = [without_spaces(text) for text in texts(figure)]
    for method in partial.methods:
      if method.has_runs or name in ('intervals', 'games'):
        whole = without_spaces(method.name)
        assert any(text.startswith(whole) for text in shown), (name, whole)


@pytest.mark.parametrize('of', ['nine', 'single', 'published', 'partial'])
def test_type_is_large_and_neither_cut_nor_overlapping(all_figures, of):
  for name, figure in all_figures[of].items():
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
    # A page shows 72 points as 96 pixels: on a phone 11 can be read.
    assert min(text.get_fontsize() for text in drawn) * 96 / 72 >= 11


def test_a_dollar_sign_is_one(all_figures):
  for name, figure in all_figures['partial'].items():
    dollars = [text for text in drawn_texts(figure) if '$' in text.get_text()]
    assert dollars, name
    assert not any(text.get_parse_math() for text in dollars)


def test_interval_plot(nine, all_figures):
  panels = all_figures['nine']['intervals'].axes
  assert len(panels) == 4
  for axes, metric in zip(panels, METRICS, strict=True):
    estimates = [method.estimates[metric] for method in nine.methods]
    bars = [
      segment for bar in axes.collections for segment in bar.get_segments()
    ]
    np.testing.assert_allclose(
      bars,
      [
        [[float(e.low), row], [float(e.high), row]]
        for row, e in enumerate(estimates)
        if row < 9
      ],
    )
    marks = axes.get_lines()
    np.testing.assert_allclose(
      [mark.get_xydata()[0] for mark in marks],
      [[float(e.value), row] for row, e in enumerate(estimates)],
    )
    assert {mark.get_marker() for mark in marks[:9]} == {'|'}
    assert {mark.get_marker() for mark in marks[9:]} == {'D'}
    assert {mark.get_markerfacecolor() for mark in marks[9:]} == {'white'}
    lower, upper = axes.get_xlim()
    assert upper - lower >= 0.2 - 1e-9
  names = [tick.get_text() for tick in panels[0].get_yticklabels()]
  assert names == [method.name for method in nine.methods]
  # The first row is at the top.
  assert panels[0].get_ylim()[0] > panels[0].get_ylim()[1]
  directions = [
    text
    for axes in panels
    for text in texts(axes)
    if text.endswith('is better')
  ]
  up, down = '↑ higher is better', '↓ lower is better'
  assert directions == [up, up, up, down]
  assert panels[3].get_title(loc='left') == 'Optimality gap'


def test_interval_plot_says_what_is_unknown(all_figures):
  panels = all_figures['partial']['intervals'].axes
  for axes, is_known in zip(panels, [False, True, True, False], strict=True):
    unknown = [text for text in axes.texts if text.get_text() == 'unknown']
    assert [text.get_position()[1] for text in unknown] == [2] * (not is_known)
    rows = [mark.get_ydata()[0] for mark in axes.get_lines()]
    assert rows == [0, 1, 2][: 3 if is_known else 2]


@pytest.mark.filterwarnings('error')
def test_where_there_are_no_intervals_none_is_shown(without_intervals):
  drawn = figures.all_figures(without_intervals)
  assert list(drawn) == ['intervals', 'profiles', 'improvement', 'games']
  for figure in drawn.values():
    figure.draw_without_rendering()
    assert not any(
      word in text
      for text in texts(figure)
      for word in ('nan', 'interval', '90%')
    )
  panels = drawn['intervals'].axes
  assert not any(axes.collections for axes in panels)
  assert all(len(axes.get_lines()) == 2 for axes in panels)
  (axes,) = drawn['improvement'].axes
  assert len(axes.texts) == 2


def test_profile_plot(nine, all_figures):
  (axes,) = all_figures['nine']['profiles'].axes
  with_runs = nine.methods[:9]
  # Behind the curves, the lines of random and human level.
  lines = [line for line in axes.get_lines() if len(line.get_xdata()) > 2]
  by_height = sorted(with_runs, key=lambda m: -np.sum(m.profile.value))
  for line, band, method in zip(
    lines, axes.collections, by_height, strict=True
  ):
    np.testing.assert_array_equal(line.get_xdata(), nine.thresholds)
    np.testing.assert_array_equal(line.get_ydata(), method.profile.value)
    (outline,) = band.get_paths()
    corners = {tuple(corner) for corner in outline.vertices.round(9)}
    for end in (method.profile.low, method.profile.high):
      expected = zip(nine.thresholds.round(9), end.round(9), strict=True)
      assert set(expected) <= corners
  legend = [text.get_text() for text in axes.get_legend().get_texts()]
  assert legend == [method.name for method in by_height]


@pytest.mark.parametrize('name', ['profiles', 'curves'])
def test_curves_differ_in_more_than_colour(nine, all_figures, name):
  (axes,) = all_figures['nine'][name].axes
  lines = [line for line in axes.get_lines() if len(line.get_xdata()) > 2]
  assert len(lines) == 9
  assert len({line.get_marker() for line in lines}) == 9
  assert {line.get_linestyle() for line in lines} == {'-', '--'}
  legend = [text.get_text() for text in axes.get_legend().get_texts()]
  shown = dict(zip(legend, lines, strict=True))
  shades = [
    luminance(shown[method.name].get_color()) for method in nine.methods[:9]
  ]
  assert (np.diff(shades) > 0.005).all()
  for line in lines:
    assert contrast(line.get_color(), 'white') > 2


def test_curves_plot(nine, all_figures):
  figure = all_figures['nine']['curves']
  (axes,) = figure.axes
  by_height = sorted(nine.methods[:9], key=lambda m: -m.curve.iqm.value[-1])
  for line, method in zip(axes.get_lines(), by_height, strict=True):
    np.testing.assert_array_equal(line.get_xdata(), method.curve.steps)
    np.testing.assert_array_equal(line.get_ydata(), method.curve.iqm.value)
  legend = [text.get_text() for text in axes.get_legend().get_texts()]
  assert legend == [method.name for method in by_height]
  assert 'IQM of evaluation episodes, with 90% bands.' in texts(figure)


def test_curves_of_different_sources_say_which(all_figures):
  (axes,) = all_figures['partial']['curves'].axes
  legend = [text.get_text() for text in axes.get_legend().get_texts()]
  ends = {label.splitlines()[-1] for label in legend}
  assert ends == {'(evaluation episodes)', '(training episodes)'}


def test_improvement_plot(nine, all_figures):
  (axes,) = all_figures['nine']['improvement'].axes
  names = [method.name for method in nine.methods[:9]]
  cells = axes.collections[0].get_array().reshape(9, 9)
  shown = {}
  for text in axes.texts:
    x, y = np.round(text.get_position()).astype(int)
    shown.setdefault((names[y], names[x]), []).append(text)
  assert set(shown) == set(nine.improvement)
  for (row, column), estimate in nine.improvement.items():
    value, low, high = map(float, estimate)
    assert cells[names.index(row), names.index(column)] == value
    number, interval = shown[row, column]
    assert number.get_text() == f'{value:.2f}'
    assert interval.get_text() == f'{low:.2f}–{high:.2f}'  # noqa: RUF001
    is_decided = not low <= 0.5 <= high
    assert number.get_weight() == ('bold' if is_decided else 'normal')
  assert cells.mask.sum() == 9
  assert {text.get_weight() for text in axes.texts} == {'bold', 'normal'}
  assert [x.get_text() for x in axes.get_yticklabels()] == names
  columns = [x.get_text().replace('\n', '') for x in axes.get_xticklabels()]
  assert columns == names


def test_numbers_can_be_read_on_every_shade(all_figures):
  (axes,) = all_figures['nine']['improvement'].axes
  (cells,) = axes.collections
  shades = [cells.to_rgba(value) for value in np.linspace(0, 1, 11)]
  assert all(contrast(axes.texts[0].get_color(), x) >= 4.5 for x in shades)
  # And the better is the darker, in greyscale too.
  assert (np.diff([luminance(shade) for shade in shades]) < 0).all()


@pytest.mark.parametrize(
  ('games', 'expected'), [(5, [2, 2, 1]), (6, [2, 2, 2]), (9, [3, 3, 3])]
)
def test_games_fill_their_panels(games, expected):
  scores = {game: [1.0, 2.0] for game in atari100k.GAMES[:games]}
  summary = atari100k.summarize(
    {'a': scores, 'b': scores}, partial=True, replicates=100
  )
  panels = figures.games_plot(summary).axes
  assert [len(axes.patches) // 2 for axes in panels] == expected


def test_games_plot(nine, all_figures):
  panels = all_figures['nine']['games'].axes
  bars = [bar for axes in panels for bar in axes.patches]
  means = [
    sum(method.normalized[game]) / len(method.normalized[game])
    for game in nine.games
    for method in nine.methods
  ]
  np.testing.assert_allclose([bar.get_width() for bar in bars], means)
  hollow = [bar.get_facecolor()[3] == 0 for bar in bars]
  assert hollow == ([False] * 9 + [True] * 3) * 26
  dots = np.concatenate(
    [
      line.get_xdata()
      for axes in panels
      for line in axes.get_lines()
      if line.get_marker() == 'o'
    ]
  )
  runs = [
    method.normalized[game]
    for game in nine.games
    for method in nine.methods[:9]
  ]
  np.testing.assert_array_equal(dots, np.concatenate(runs))
  # Every run and every bar is within the panel.
  for axes in panels:
    low, high = axes.get_xlim()
    assert low < min(0, *dots, *means)
    assert high > max(1, *dots, *means)
    assert axes.get_xlim() == panels[0].get_xlim()
  titles = [t for axes in panels for t in texts(axes) if t in nine.games]
  assert titles == list(nine.games)


def test_published_methods_take_no_shade_from_the_others(nine, all_figures):
  first, *_ = all_figures['nine']['games'].axes
  shades = [bar.get_facecolor() for bar in first.patches[:9]]
  alone = dataclasses.replace(nine, methods=nine.methods[:9])
  first, *_ = figures.games_plot(alone).axes
  assert [bar.get_facecolor() for bar in first.patches[:9]] == shades
  assert (np.diff([luminance(shade) for shade in shades]) > 0.005).all()


def test_dots_are_on_the_bars_of_their_method(partial, all_figures):
  for axes, game in zip(
    all_figures['partial']['games'].axes, partial.games, strict=True
  ):
    middles = [bar.get_y() + bar.get_height() / 2 for bar in axes.patches]
    (dots,) = [x for x in axes.get_lines() if x.get_marker() == 'o']
    x, y = dots.get_data()
    for middle, method in zip(middles, partial.methods, strict=True):
      of_method = x[np.isclose(y, middle)]
      expected = method.normalized[game] if method.has_runs else []
      np.testing.assert_array_equal(of_method, expected)


def test_of_one_method_the_games_are_the_rows(single, all_figures):
  (axes,) = all_figures['single']['games'].axes
  (method,) = single.methods
  widths = [bar.get_width() for bar in axes.patches]
  np.testing.assert_allclose(
    widths, [np.mean(method.normalized[game]) for game in single.games]
  )
  assert [text.get_text() for text in axes.texts] == list(single.games)
  heights = [bar.get_y() for bar in axes.patches]
  assert heights == sorted(heights)
  assert axes.get_ylim()[0] > axes.get_ylim()[1]


@pytest.fixture(scope='module')
def written(partial, tmp_path_factory):
  return drawing.write_figures(
    figures.all_figures(partial), tmp_path_factory.mktemp('x') / 'a' / 'b'
  )


def test_write_figures(all_figures, written):
  assert sorted(written) == sorted(written[0].parent.iterdir())
  assert [path.name for path in written] == [
    f'{name}.{suffix}' for name in ALL for suffix in ('svg', 'png')
  ]
  for path in written:
    width, height = all_figures['partial'][path.stem].get_size_inches()
    if path.suffix == '.svg':
      root = ElementTree.parse(path).getroot()
      assert root.tag == '{http://www.w3.org/2000/svg}svg'
      assert float(root.get('width')[:-2]) == pytest.approx(72 * width)
    else:
      with Image.open(path) as image:
        assert image.size == pytest.approx((200 * width, 200 * height), abs=1)
        assert np.asarray(image.convert('L')).std() > 5


def test_the_same_summary_gives_the_same_bytes(partial, written, tmp_path):
  with matplotlib.rc_context({'font.size': 20, 'axes.facecolor': 'red'}):
    again = drawing.write_figures(figures.all_figures(partial), tmp_path)
  for first, second in zip(written, again, strict=True):
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()


def test_a_full_disk_leaves_what_was_there(partial, tmp_path, monkeypatch):
  (tmp_path / 'intervals.svg').write_text('older')
  synced = []

  def refuse(number):
    synced.append(number)
    if len(synced) == 4:
      raise OSError(28, 'No space left on device')

  monkeypatch.setattr(os, 'fsync', refuse)
  with pytest.raises(OSError, match='No space left'):
    drawing.write_figures(figures.all_figures(partial), tmp_path)
  assert len(synced) == 4
  assert [path.name for path in tmp_path.iterdir()] == ['intervals.svg']
  assert (tmp_path / 'intervals.svg').read_text() == 'older'


def test_no_display_is_asked_for_and_the_library_stays_light():
  script = (
    'import sys, ht_rl.atari100k; assert "matplotlib" not in sys.modules; '
    'import ht_rl.atari100k.figures; print("matplotlib.pyplot" in sys.modules)'
  )
  done = subprocess.run(
    [sys.executable, '-c', script], capture_output=True, text=True, check=True
  )
  assert done.stdout.split() == ['False']


@pytest.fixture(scope='module')
def two():
  """A summary of two methods with runs, and its comparison."""
  rng = np.random.default_rng(0)
  scores = {
    name: {
      game: skill * rng.gamma(2, (human - random) / 2, 4) + random
      for game, (random, human) in atari100k.REFERENCE_SCORES.items()
    }
    for name, skill in {'drq_ht': 0.6, 'drq': 0.5}.items()
  }
  summary = atari100k.summarize(scores, replicates=100)
  return summary, atari100k.compare(summary, 'drq_ht', 'drq')


def test_a_comparison(two):
  summary, comparison = two
  assert list(figures.all_figures(summary, comparison))[:2] == [
    'intervals',
    'comparison',
  ]
  figure = figures.comparison_plot(comparison)
  written = texts(figure)
  assert 'drq_ht minus drq' in written
  assert '26 games, 4 runs a game or more. ' in ''.join(written)
  left, right = figure.axes
  ends = [c.get_segments()[0][:, 0] for c in left.collections]
  expected = [comparison.differences[name][1:] for name in METRICS]
  np.testing.assert_allclose(ends, expected)
  values = [line.get_xdata()[0] for line in left.lines[:4]]
  np.testing.assert_allclose(
    values, [comparison.differences[name].value for name in METRICS]
  )
  curve = right.lines[0]
  np.testing.assert_array_equal(curve.get_xdata(), comparison.power_runs)
  np.testing.assert_array_equal(curve.get_ydata(), comparison.power)


def test_a_comparison_without_intervals(without_intervals):
  comparison = atari100k.compare(without_intervals, 'one', 'other')
  figure = figures.comparison_plot(comparison)
  assert 'unknown' in texts(figure.axes[1])
  assert not figure.axes[0].collections
  written = ''.join(texts(figure))
  assert '26 games, one run of a game: no intervals.' in written
  assert 'intervals, corrected' not in written
