"""Tabulates committed scores of small networks by momentum and interval."""

import numpy as np

from experiments.paper.atari import SMALL
from experiments.paper.rendered import NOT_RUN, RESULTS, ROOT, Rows, markdown
from experiments.paper.small import mean
from ht_rl.atari100k import score_files
from ht_rl.atari100k.games import human_normalized_score
from ht_rl.atari100k.runs import by_method

# Scores of the grid, without those cells that are rows of Table 1 in small.
GRID = RESULTS / 'restarts_small.csv'

MOMENTA = (0.995, 0.999, 0.9995)
# In gradient steps; None is no restart.
INTERVALS = (4000, 1000, 400, None)
# The first games that were run in small; chosen before any run of the grid.
GAMES = ('Assault', 'Boxing', 'Krull', 'RoadRunner')

_ROWS = {(0.995, 4000): 'small_drq_ht', (0.995, None): 'small_drq'}


def config(momentum: float, interval: int | None) -> str:
  """Returns the name of the gin file of a cell.

  >>> config(0.9995, None)
  'small_ht_9995_none'
  """
  name = f'small_ht_{str(momentum)[2:]}_{interval or "none"}'
  return _ROWS.get((momentum, interval), name)


def configs() -> list[str]:
  """Returns the names of the gin files in `gin_configs/small/restarts`."""
  names = [config(m, i) for m in MOMENTA for i in INTERVALS]
  return [name for name in names if name not in _ROWS.values()]


def table() -> str:
  """Returns a row for each momentum and interval, as Markdown.

  A score is the mean over seeds, in game points; their number n follows where
  there are several. The last column is the mean of the human-normalised scores
  of all games.

  Raises:
    ScoreFileError: the committed scores are damaged.
  """
  files = [ROOT / SMALL, ROOT / GRID]
  runs = score_files.read([file for file in files if file.exists()]).runs
  scores = by_method(runs)
  rows: Rows = [['momentum', 'interval', *GAMES, 'mean, normalised']]
  for momentum in MOMENTA:
    for interval in INTERVALS:
      of_game = scores.get(config(momentum, interval), {})
      normalised = NOT_RUN
      if set(GAMES) <= set(of_game):
        normalised = f'{np.mean([_normalised(of_game, x) for x in GAMES]):.2f}'
      rows.append(
        [
          f'{momentum:g}',
          str(interval or 'none'),
          *(mean(of_game.get(game)) for game in GAMES),
          normalised,
        ]
      )
  return markdown(rows)


def _normalised(of_game: dict[str, np.ndarray], game: str) -> float:
  return float(human_normalized_score(game, of_game[game]).mean())
