"""The committed scores of small networks on Atari-100k, beside the paper's."""

import numpy as np

from experiments.paper import atari
from experiments.paper.csv_files import csv_rows, number
from experiments.paper.items import ATARI
from experiments.paper.rendered import NOT_RUN, ROOT, Rows
from ht_rl.atari100k import paper
from ht_rl.atari100k.comparison import compare
from ht_rl.atari100k.games import GAMES, REFERENCE_SCORES
from ht_rl.atari100k.summary import summarize
from ht_rl.atari100k.tables import comparison_rows, points
from ht_rl.text_tables import markdown

# The first method is claimed to be the better one.
PAIRS = (('drq_ht', 'drq'), ('drq_hr20k', 'drq_ht'))


def text() -> str:
  """Returns the scores and what they say, as Markdown.

  Raises:
    ScoreFileError: the committed scores are damaged.
  """
  parts = [table(), cost(), *(comparison(*pair) for pair in PAIRS)]
  return '\n\n'.join(part for part in parts if part)


def comparison(first: str, second: str) -> str:
  """Returns the differences of two methods on the games that both have.

  Args:
    first: name of a row of Table 1.
    second: name of another one.

  Returns:
    A title, a table and sentences, as Markdown; empty without such a game.
  """
  scores = atari.committed_small_scores(ATARI)
  found = {name: scores.get(name, {}) for name in (first, second)}
  if not found[first].keys() & found[second].keys():
    return ''
  summary = summarize(found, partial=True)
  compared = compare(summary, first, second)
  theirs = [paper.SCORES[name] for name in (first, second)]
  won = sum(theirs[0][game] > theirs[1][game] for game in summary.games)
  title = f'**{first} and {second} in small, on {summary.extent}**'
  sentences = [
    *compared.sentences,
    f"In the paper's Table 8 {first} has the higher mean on {won} of these "
    'games.',
    *(summary.notes if compared.has_intervals else ()),
  ]
  lines = [title, '', markdown(comparison_rows(summary, compared)), '']
  return '\n'.join([*lines, *(f'- {sentence}' for sentence in sentences)])


def table() -> str:
  """Returns a row for each game of which there is a run, as Markdown.

  A score is the mean over seeds, in game points; their number n follows where
  there are several.

  Raises:
    ScoreFileError: the committed scores are damaged.
  """
  scores = atari.committed_small_scores(ATARI)
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


def cost() -> str:
  """Returns how long the runs took, in a sentence; empty without runs."""
  path = ROOT / atari.SMALL
  rows = csv_rows(path) if path.exists() else []
  name = 'training_seconds'
  seconds = [number(row, name, path) for row in rows if row.get(name)]
  if not seconds:
    return ''
  low, middle, high = (round(x / 60) for x in np.quantile(seconds, (0, 0.5, 1)))
  return (
    f'Training took {low} to {high} minutes a run, {middle} in the middle, and '
    f'{sum(seconds) / 3600:.1f} hours of one core for all {len(seconds)} runs.'
  )


def mean(scores: np.ndarray | None) -> str:
  """Returns the mean over seeds, with their number where there are several."""
  if scores is None:
    return NOT_RUN
  number = f' (n = {len(scores)})' if len(scores) > 1 else ''
  return points(float(scores.mean())) + number
