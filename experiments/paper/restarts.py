"""Tabulates committed scores of small networks by momentum and interval."""

from collections.abc import Mapping

import numpy as np

from experiments.paper.rendered import NOT_RUN, RESULTS, ROOT, Rows
from experiments.paper.small import mean
from ht_rl.atari100k import score_files
from ht_rl.atari100k.games import human_normalized_score
from ht_rl.atari100k.runs import by_method
from ht_rl.text_tables import markdown

GRID = RESULTS / 'restarts_small.csv'

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


def table() -> str:
  """Returns a row for each momentum and interval, as Markdown.

  A score is the mean over seeds, in game points; their number n follows where
  there are several. The last column is the mean of the human-normalised scores
  of all games, with its standard error where each game has several seeds.

  Raises:
    ScoreFileError: the committed scores are damaged.
  """
  file = ROOT / GRID
  scores = by_method(score_files.read([file]).runs) if file.exists() else {}
  rows: Rows = [['momentum', 'interval', *GAMES, 'mean, normalised']]
  for momentum in MOMENTA:
    for interval in INTERVALS:
      of_game = scores.get(config(momentum, interval), {})
      normalised = NOT_RUN
      if set(GAMES) <= set(of_game):
        normalised = _normalised(of_game)
      rows.append(
        [
          f'{momentum:g}',
          str(interval or 'none'),
          *(mean(of_game.get(game)) for game in GAMES),
          normalised,
        ]
      )
  return markdown(rows)


def _normalised(of_game: Mapping[str, np.ndarray]) -> str:
  """Returns the mean over games, and its standard error over seeds."""
  games = [human_normalized_score(game, of_game[game]) for game in GAMES]
  shown = f'{np.mean([of.mean() for of in games]):.2f}'
  if min(len(of) for of in games) < 2:
    return shown
  variances = [of.var(ddof=1) / len(of) for of in games]
  return f'{shown} ± {np.sqrt(np.sum(variances)) / len(games):.2f}'
