import base64
import html.parser
import json
import shutil
import subprocess

import numpy as np
import pytest

from ht_rl import atari100k, drawing
from ht_rl.atari100k import figures, report
from ht_rl.atari100k.aggregates import METRICS
from ht_rl.atari100k.games import GAMES, REFERENCE_SCORES

DASH = '\N{EN DASH}'
BROWSER = shutil.which('chromium') or shutil.which('google-chrome')
WITHOUT_INTERVALS = {'published'}
WITHOUT_END = {'img', 'meta', 'wbr'}


class Page(html.parser.HTMLParser):
  """What is in a page; fails where its elements are not well nested.

  Attributes:
    elements: name and attributes of each.
    words: the text, spaces and line breaks as one space.
    tables: of each table the rows, of each row the cells' texts.
    bold: whether each of these cells is.
  """

  def __init__(self, source):
    super().__init__()
    self.elements, self.tables, self.bold = [], [], []
    self._open, self._text = [], []
    self.feed(source)
    assert not self._open
    self.words = ' '.join(' '.join(self._text).split())

  def handle_starttag(self, tag, attrs):
    self.elements.append((tag, dict(attrs)))
    if tag not in WITHOUT_END:
      self._open.append(tag)
    if tag == 'table':
      self.tables.append([])
      self.bold.append([])
    elif tag == 'tr':
      self.tables[-1].append([])
      self.bold[-1].append([])
    elif tag in ('td', 'th'):
      self.tables[-1][-1].append('')
      self.bold[-1][-1].append(False)

  def handle_endtag(self, tag):
    assert self._open.pop() == tag

  def handle_data(self, data):
    if 'style' in self._open:
      return
    self._text.append(data)
    if {'td', 'th'} & set(self._open):
      self.tables[-1][-1][-1] += data
      self.bold[-1][-1][-1] |= 'strong' in self._open

  def all(self, tag):
    """The attributes of all elements of a kind."""
    return [attributes for name, attributes in self.elements if name == tag]


def render(summary):
  return report.render(summary, figures.all_figures(summary))


@pytest.fixture(scope='module')
def pages(nine, single, published, partial):
  return {
    'nine': render(nine),
    'single': render(single),
    'published': render(published),
    'partial': render(partial),
  }


def test_aggregates_are_those_of_the_summary(nine, pages):
  header, *rows = Page(pages['nine']).tables[0]
  assert [cell.split()[0] for cell in header[2:]] == [
    'IQM',
    'Median',
    'Mean',
    'Optimality',
  ]
  for row, method in zip(rows, nine.methods, strict=True):
    expected = [method.name, 'published' if method.is_published else '5']
    for metric in METRICS:
      value, low, high = map(float, method.estimates[metric])
      interval = f' [{low:.3f}, {high:.3f}]' if method.has_runs else ''
      expected.append(f'{value:.3f}{interval}')
    assert row == expected


def test_scores_are_means_in_game_points(nine, pages):
  page = Page(pages['nine'])
  header, runs, *rows = page.tables[-1]
  assert header == ['Game', 'Random', 'Human', *(m.name for m in nine.methods)]
  assert runs[3:] == ['5'] * 9 + ['published'] * 3
  assert [row[0] for row in rows] == list(GAMES)
  for row, bold in zip(rows, page.bold[-1][2:], strict=True):
    game = row[0]
    means = [sum(m.scores[game]) / len(m.scores[game]) for m in nine.methods]
    numbers = [float(cell) for cell in row[1:]]
    np.testing.assert_allclose(numbers[:2], REFERENCE_SCORES[game], atol=0.5)
    np.testing.assert_allclose(numbers[2:], means, rtol=5e-4, atol=0.05)
    assert np.flatnonzero(bold).tolist() == [3 + np.argmax(means)]


def test_probabilities_of_improvement_are_those_of_the_summary(nine, pages):
  page = Page(pages['nine'])
  header, *rows = page.tables[1]
  assert len(page.tables) == 3
  names = [method.name for method in nine.methods if method.has_runs]
  assert header[1:] == names
  for (name, *cells), (_, *bold) in zip(rows, page.bold[1][1:], strict=True):
    for other, cell, is_bold in zip(names, cells, bold, strict=True):
      if name == other:
        assert not cell
        continue
      value, low, high = map(float, nine.improvement[name, other])
      assert cell == f'{value:.2f} [{low:.2f}, {high:.2f}]'
      assert is_bold == (not low <= 0.5 <= high)


def test_the_numbers_of_runs_are_said(pages):
  page = Page(pages['partial'])
  assert [row[1] for row in page.tables[0][1:]] == ['3-5', '2', 'means']
  _, runs, *rows = page.tables[-1]
  assert runs == ['Runs a game', '', '', '3-5', '2', 'means']
  sizes = [[cell.partition(' ')[2] for cell in row[3:]] for row in rows]
  assert sizes == [['n=3', '', ''], ['n=5', '', '']]


def test_the_unknown_is_a_dash(partial, pages):
  page = Page(pages['partial'])
  median, mean = (
    f'{partial.methods[2].estimates[x].value:.3f}' for x in ('median', 'mean')
  )
  last = page.tables[0][-1]
  assert last == ['only means', 'means', DASH, median, mean, DASH]
  assert f'{DASH}: unknown' in page.words
  assert 'nan' not in page.words
  assert f'{DASH}: unknown' not in Page(pages['nine']).words


def test_where_there_are_no_intervals_none_is_shown(without_intervals):
  page = Page(render(without_intervals))
  for row, method in zip(
    page.tables[0][1:], without_intervals.methods, strict=True
  ):
    values = [f'{method.estimates[metric].value:.3f}' for metric in METRICS]
    assert row == [method.name, '1', *values]
  assert 'nan' not in page.words


def test_a_part_of_the_games_is_called_one(pages):
  for of, heading in (
    ('partial', 'Atari-100k, 2 of 26 games'),
    ('nine', 'Atari-100k, 26 games'),
  ):
    assert f'<h1>{heading}</h1>' in pages[of]
    assert f'<title>{heading.replace(",", ":")}</title>' in pages[of]
  assert 'Only Breakout, Pong.' in Page(pages['partial']).words


def test_names_and_notes_are_text(partial, pages):
  page = Page(pages['partial'])
  names = [method.name for method in partial.methods]
  assert [row[0] for row in page.tables[0][1:]] == names
  assert page.tables[1][0][1:] == names[:2]
  assert page.tables[-1][0][3:] == names
  for note in partial.notes:
    assert note in page.words
  tags = {tag for tag, _ in page.elements}
  assert not tags & {'script', 'b', 'iframe', 'object', 'embed', 'link'}


def test_nothing_is_fetched(pages):
  for source in pages.values():
    page = Page(source)
    (policy,) = [
      x['content']
      for x in page.all('meta')
      if x.get('http-equiv') == 'Content-Security-Policy'
    ]
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert all(x['src'].startswith('data:') for x in page.all('img'))
    assert not any('src' in x for tag, x in page.elements if tag != 'img')
    assert 'url(' not in source
    assert '@import' not in source


def test_the_figures_are_there(partial, pages):
  images = Page(pages['partial']).all('img')
  drawn = figures.all_figures(partial)
  assert [image['class'] for image in images] == list(drawn)
  for image in images:
    kind, _, data = image['src'].partition(';base64,')
    assert kind == 'data:image/svg+xml'
    figure = drawn[image['class']]
    assert base64.b64decode(data) == drawing.svg(figure)
    assert len(image['alt'].split()) > 5
    size = [int(image['width']), int(image['height'])]
    np.testing.assert_allclose(size, figure.get_size_inches() * 96, atol=0.5)
  shown = {
    of: [image['class'] for image in Page(page).all('img')]
    for of, page in pages.items()
  }
  assert shown['single'] == ['intervals', 'profiles', 'games']
  assert shown['published'] == ['intervals', 'games']


def test_how_the_numbers_were_made_is_said(pages):
  without = set()
  for name, source in pages.items():
    words = Page(source).words
    assert 'Agarwal' in words
    if '90%' in words:
      assert '90% percentile intervals' in words
      assert '12,345 times' in words
      assert 'Seed 67' in words
    else:
      without.add(name)
      assert 'interval' not in words.replace('have no intervals', '')
  assert without == WITHOUT_INTERVALS
  assert 'of evaluation episodes.' in Page(pages['nine']).words
  assert 'training episodes ($x_1$' in Page(pages['partial']).words


def test_the_same_summary_gives_the_same_page(single, pages):
  assert render(single) == pages['single']


def look(page, folder):
  """Opens a page in a phone's and in a desktop's width, without a network.

  Returns:
    For both widths, the width that the page takes, whether each image shows
    anything, and what was asked for; then what the network log says that the
    page asked for.
  """
  (folder / 'page.html').write_text(page, 'utf-8')
  (folder / 'frames.html').write_text(
    """<!DOCTYPE html>
    <iframe src="page.html" style="width: 390px; height: 800px"></iframe>
    <iframe src="page.html" style="width: 1280px; height: 800px"></iframe>
    <pre></pre>
    <script>
      const seen = ({contentWindow: view, contentDocument: page}) => ({
        view: view.innerWidth,
        page: page.documentElement.scrollWidth,
        images: [...page.images].map(image => image.naturalWidth > 0),
        asked: view.performance.getEntriesByType('resource').map(x => x.name),
      });
      onload = () => document.querySelector('pre').textContent =
        JSON.stringify([...document.querySelectorAll('iframe')].map(seen));
    </script>""",
    'utf-8',
  )
  log = folder / 'log.json'
  done = subprocess.run(
    [
      BROWSER,
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--allow-file-access-from-files',
      '--host-resolver-rules=MAP * ~NOTFOUND',
      f'--user-data-dir={folder / "profile"}',
      f'--log-net-log={log}',
      '--dump-dom',
      (folder / 'frames.html').as_uri(),
    ],
    capture_output=True,
    text=True,
    check=True,
    timeout=120,
  )
  seen = json.loads(done.stdout.partition('<pre>')[2].partition('</pre>')[0])
  requests = [
    event['params']
    for event in json.loads(log.read_text())['events']
    if 'initiator' in event.get('params', {})
  ]
  # The browser's own errands have no page as their initiator.
  asked = {
    request['url']
    for request in requests
    if request['initiator'] != 'not an origin'
    and not request['url'].startswith(('data:', 'file:'))
  }
  return seen, asked


@pytest.mark.skipif(BROWSER is None, reason='needs Chromium')
@pytest.mark.parametrize('of', ['nine', 'partial'])
def test_in_a_browser(pages, of, tmp_path):
  seen, asked = look(pages[of], tmp_path)
  assert [x['view'] for x in seen] == [390, 1280]
  for x in seen:
    assert x['page'] <= x['view']  # Else the page scrolls sideways.
    assert x['images'] == [True] * 5
    assert not x['asked']
  assert not asked


@pytest.mark.skipif(BROWSER is None, reason='needs Chromium')
def test_the_browser_would_notice(pages, tmp_path):
  page = pages['single'].replace('http-equiv', 'data-was')
  remote = 'http://elsewhere.invalid/picture.png'
  page = page.replace(
    '</main>',
    f'<img src="{remote}"><p style="width: 500px">wide</p></main>',
  )
  seen, asked = look(page, tmp_path)
  assert [x['page'] > x['view'] for x in seen] == [True, False]
  for x in seen:
    assert x['images'] == [True] * 3 + [False]
    assert x['asked'] == [remote]
  assert asked == {remote}


def test_a_comparison():
  scores = {
    name: {game: [base, base + 9.0] for game in GAMES}
    for name, base in {'a<b': 100, 'c': 50}.items()
  }
  summary = atari100k.summarize(scores, replicates=100)
  comparison = atari100k.compare(summary, 'a<b', 'c')
  drawn = {'comparison': figures.comparison_plot(comparison)}
  page = Page(report.render(summary, drawn, comparison))
  assert 'a<b has the higher IQM' in page.words
  rows = page.tables[1]
  assert rows[0] == ['', 'a<b', 'c', 'difference']
  assert rows[5] == ['games won (sign test)', '26', '0', 'p < 0.001']
  assert 'comparison' in [image['class'] for image in page.all('img')]
