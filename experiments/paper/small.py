"""The committed scores of small networks on Atari-100k, beside the paper's."""

import numpy as np

from experiments.paper.atari import committed_scores
from experiments.paper.items import ATARI
from experiments.paper.rendered import NOT_RUN, Rows, markdown
from ht_rl.atari100k import paper
from ht_rl.atari100k.games import GAMES, REFERENCE_SCORES
from ht_rl.atari100k.tables import points


def table() -> str:
  """Returns a row for each game of which there is a run, as Markdown.

  A score is the mean over seeds, in game points; their number n follows where
  there are several.

  Raises:
    ScoreFileError: the committed scores are damaged.
  """
  scores = committed_scores(ATARI)
  head = ['game', 'random', 'human']
  for method in ATARI.small:
    head += [f'{method}: paper', f'{method}: in small']
  rows: Rows = [head]
  for game in GAMES:
    if any(game in of_method for of_method in scores.values()):
      reference = REFERENCE_SCORES[game]
      row = [game, points(reference.random), points(reference.human)]
      for method in ATARI.small:
        row.append(points(paper.SCORES[method][game]))
        row.append(mean(scores.get(method, {}).get(game)))
      rows.append(row)
  return markdown(rows)


def mean(scores: np.ndarray | None) -> str:
  """Returns the mean over seeds, with their number where there are several."""
  if scores is None:
    return NOT_RUN
  number = f' (n = {len(scores)})' if len(scores) > 1 else ''
  return points(float(scores.mean())) + number
