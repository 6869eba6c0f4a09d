"""Tabulates committed runs of small networks by momentum and interval."""

import collections
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.paper import permutation
from experiments.paper.csv_files import csv_rows, number
from experiments.paper.rendered import NOT_RUN, RESULTS, ROOT, Rows
from experiments.paper.small import mean
from ht_rl.atari100k import score_files
from ht_rl.atari100k.comparison import format_p
from ht_rl.atari100k.games import human_normalized_score
from ht_rl.atari100k.runs import by_method
from ht_rl.atari100k.tables import points
from ht_rl.text_tables import markdown

GRID = RESULTS / 'restarts_small.csv'
GAPS = RESULTS / 'restart_gap.csv'

MOMENTA = (0.995, 0.999, 0.9995)
# In gradient steps; None is no restart.
INTERVALS = (4000, 1000, 400, None)
# Games on which the small network without restarts learns most of what it ever
# learns within the 40,000 agent steps; chosen before any run of the grid.
GAMES = ('Assault', 'Krull', 'RoadRunner')


def config(momentum: float, interval: int | None) -> str:
  """Returns the name of the gin file of a cell.

  >>> config(0.9995, None)
  'small_ht_9995_none'
  """
  return f'small_ht_{str(momentum)[2:]}_{interval or "none"}'


def gin_files() -> list[str]:
  """Returns the paths of the gin files, below the repository's root."""
  return [
    f'gin_configs/small/restarts/{config(momentum, interval)}.gin'
    for momentum in MOMENTA
    for interval in INTERVALS
  ]


def text() -> str:
  """Returns scores, their comparison and what restarts take back, as Markdown.

  Raises:
    ScoreFileError: the committed scores are damaged.
    SettingsError: the committed gaps are damaged.
  """
  return '\n\n'.join([table(), comparison_table(), gap_table()])


def table() -> str:
  """Returns a row for each momentum and interval, as Markdown.

  A score is the mean over seeds, in game points; their number n follows where
  there are several. The last column is the mean of the human-normalised scores
  of all games, with its standard error where each game has several seeds. The
  rows "all" have the means of the rows above with their momentum or interval.

  Raises:
    ScoreFileError: the committed scores are damaged.
  """
  scores = _scores()
  rows: Rows = [['momentum', 'interval', *GAMES, 'mean, normalised']]
  for momentum in MOMENTA:
    for interval in INTERVALS:
      cell = scores.get(config(momentum, interval), {})
      of_games = (mean(cell.get(game)) for game in GAMES)
      names = (f'{momentum:g}', str(interval or 'none'))
      rows.append([*names, *of_games, _normalised([cell])])
  for interval in INTERVALS:
    cells = [scores.get(config(x, interval), {}) for x in MOMENTA]
    rows.append(['all', str(interval or 'none'), *_means(cells)])
  for momentum in MOMENTA:
    cells = [scores.get(config(momentum, x), {}) for x in INTERVALS]
    rows.append([f'{momentum:g}', 'all', *_means(cells)])
  return markdown(rows)


def comparison_table() -> str:
  """Returns a row for each interval or momentum and its control, as Markdown.

  For each game the row has the share of pairs of runs in which the setting
  scores more than the control, the mean over what is equal in both: momenta
  for an interval, intervals for a momentum. Half is no difference. The last
  columns have the mean over games, and the exact p-value of all games.

  Raises:
    ScoreFileError: the committed scores are damaged.
  """
  rows: Rows = [['setting', 'control', *GAMES, 'all', 'p']]
  for interval in INTERVALS[:-1]:
    names = (f'interval {interval}', 'no restarts')
    pairs = [(config(x, interval), config(x, None)) for x in MOMENTA]
    rows.append([*names, *_compared(pairs)])
  for momentum in MOMENTA[1:]:
    names = (f'momentum {momentum:g}', f'momentum {MOMENTA[0]:g}')
    pairs = [(config(momentum, x), config(MOMENTA[0], x)) for x in INTERVALS]
    rows.append([*names, *_compared(pairs)])
  return markdown(rows)


def _compared(pairs: Sequence[tuple[str, str]]) -> list[str]:
  """Returns the shares of wins in each game and in all, and the p-value."""
  scores = _scores()
  strata: list[permutation.Stratum] = []
  shown = []
  for game in GAMES:
    cells = [
      tuple(scores.get(name, {}).get(game) for name in pair) for pair in pairs
    ]
    of_game = [
      (x.tolist(), y.tolist())
      for x, y in cells
      if x is not None and y is not None
    ]
    if len(of_game) < len(pairs):
      return [NOT_RUN] * (len(GAMES) + 2)
    strata += of_game
    shown.append(f'{float(permutation.mean_wins(of_game)):.2f}')
  wins, p = permutation.mean_wins(strata), permutation.p_value(strata)
  p_shown = format_p(p).removeprefix('p ').removeprefix('= ')
  return [*shown, f'{float(wins):.2f}', p_shown]


def _scores() -> Mapping[str, Mapping[str, np.ndarray]]:
  """Returns the committed scores of each gin file and game."""
  file = ROOT / GRID
  return by_method(score_files.read([file]).runs) if file.exists() else {}


def _means(cells: Sequence[Mapping[str, np.ndarray]]) -> list[str]:
  """Returns the mean score of each game over cells, and that of all games."""
  shown = []
  for game in GAMES:
    means = [cell[game].mean() for cell in cells if game in cell]
    whole = len(means) == len(cells)
    shown.append(points(float(np.mean(means))) if whole else NOT_RUN)
  return [*shown, _normalised(cells)]


def _normalised(cells: Sequence[Mapping[str, np.ndarray]]) -> str:
  """Returns the mean over games and cells, and its standard error."""
  if any(game not in cell for cell in cells for game in GAMES):
    return NOT_RUN
  scores = [human_normalized_score(x, cell[x]) for cell in cells for x in GAMES]
  shown = f'{np.mean([of_seeds.mean() for of_seeds in scores]):.2f}'
  if min(len(of_seeds) for of_seeds in scores) < 2:
    return shown
  variances = [of_seeds.var(ddof=1) / len(of_seeds) for of_seeds in scores]
  return f'{shown} ± {np.sqrt(np.sum(variances)) / len(scores):.2f}'


def gap_table() -> str:
  """Returns a row for each momentum and interval with restarts, as Markdown.

  The last column is the share of the hare's way that a restart takes back
  (`agents.core.restarts`): the mean over the last quarter of a run's restarts,
  the least and the greatest of all runs. The columns before it have the share
  of a hare that goes straight, and of one that walks randomly.

  Raises:
    SettingsError: the committed gaps are damaged.
  """
  gaps = _last_gaps()
  rows: Rows = [
    ['momentum', 'interval', 'in horizons', 'straight', 'random', 'measured']
  ]
  for momentum in MOMENTA:
    for interval in INTERVALS:
      if interval is None:
        continue
      measured = NOT_RUN
      if of_cell := gaps[config(momentum, interval)]:
        measured = f'{min(of_cell):.2f} to {max(of_cell):.2f}'
      rows.append(
        [
          f'{momentum:g}',
          str(interval),
          f'{interval * (1 - momentum):.1f}',
          f'{straight_gap(momentum, interval):.2f}',
          f'{random_walk_gap(momentum, interval):.2f}',
          measured,
        ]
      )
  return markdown(rows)


def _last_gaps() -> Mapping[str, list[float]]:
  """Returns the gap at the end of each run with restarts, by gin file."""
  file = ROOT / GAPS
  gaps: dict[str, list[float]] = collections.defaultdict(list)
  for row in csv_rows(file) if file.exists() else []:
    gaps[row.get('algorithm', '')].append(number(row, 'quarter_4', file))
  return gaps


def straight_gap(momentum: float, interval: int) -> float:
  """Returns the share that a restart takes back of equal steps.

  If each of the hare's steps since a restart is x, it is n x away from where it
  was, and the tortoise is sum_i mu^i x behind it, i = 1 ... n. The ratio is::

      mu (1 - mu^n) / ((1 - mu) n)

  >>> round(straight_gap(0.995, 4000), 2)
  0.05
  >>> round(straight_gap(0.5, 1), 2)
  0.5

  Args:
    momentum: mu, of the tortoise.
    interval: n, in gradient steps.
  """
  return momentum * (1 - momentum**interval) / ((1 - momentum) * interval)


def random_walk_gap(momentum: float, interval: int) -> float:
  """Returns the share that a restart takes back of a random walk.

  If the hare's steps x_1 ... x_n since a restart are independent, with mean 0
  and the same variance, it is sum_i x_i away from where it was, and the
  tortoise is sum_i mu^(n-i+1) x_i behind it. The ratio of their root mean
  squares is::

      sqrt(mu^2 (1 - mu^(2n)) / ((1 - mu^2) n))

  >>> round(random_walk_gap(0.995, 4000), 2)
  0.16
  >>> round(random_walk_gap(0.5, 1), 2)
  0.5

  Args:
    momentum: mu, of the tortoise.
    interval: n, in gradient steps.
  """
  square = momentum**2
  steps = square * (1 - square**interval) / (1 - square)
  return float(np.sqrt(steps / interval))
