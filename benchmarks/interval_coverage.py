"""Measures the coverage of 95% intervals for normal and for real scores.

    python -m benchmarks.interval_coverage --scores=RR2_BBF.csv

Draws a few runs of each game, many times: normal scores, and runs from a file
of scores (see `ht_rl.atari100k.score_files`), whose aggregates are the truth.
"""

from collections.abc import Callable

from absl import app, flags
import numpy as np

from ht_rl import atari100k
from ht_rl.atari100k import score_files
from ht_rl.atari100k.runs import by_method

_SCORES = flags.DEFINE_string('scores', None, 'A file with many runs a game.')
_SIMULATIONS = flags.DEFINE_integer('simulations', 1000, 'Of each kind.')

Draw = Callable[[np.random.Generator, int], dict[str, np.ndarray]]


def normal_scores(rng: np.random.Generator, runs: int) -> dict[str, np.ndarray]:
  """Draws normal scores of games at levels around 0."""
  levels = np.linspace(-1, 1, len(atari100k.GAMES))
  return {
    game: level + rng.normal(size=runs)
    for game, level in zip(atari100k.GAMES, levels, strict=True)
  }


def coverage(
  draw: Draw, truth: dict[str, float], runs: int
) -> dict[str, float]:
  """Returns the share of simulations whose intervals contain the truth."""
  rng = np.random.default_rng(runs)
  held = dict.fromkeys(truth, 0)
  for _ in range(_SIMULATIONS.value):
    estimates = atari100k.aggregate_estimates(draw(rng, runs), rng, 1000)
    for name in held:
      low, high = estimates[name].low, estimates[name].high
      held[name] += bool(low <= truth[name] <= high)
  return {name: count / _SIMULATIONS.value for name, count in held.items()}


def main(argv: list[str]) -> None:
  """Prints a table."""
  del argv
  kinds: dict[str, tuple[Draw, dict[str, float]]] = {
    'normal': (normal_scores, {'iqm': 0.0, 'median': 0.0, 'mean': 0.0})
  }
  if _SCORES.value:
    runs = score_files.read([_SCORES.value]).runs
    [scores] = by_method(runs).values()
    known = {
      game: atari100k.human_normalized_score(game, x)
      for game, x in scores.items()
    }
    truth = {n: float(x) for n, x in atari100k.aggregate(known).items()}
    kinds[_SCORES.value] = (
      lambda rng, size: {g: rng.choice(x, size) for g, x in known.items()},
      truth,
    )
  for kind, (draw, truth) in kinds.items():
    for runs_of_a_game in (3, 5, 10):
      shares = coverage(draw, truth, runs_of_a_game)
      shown = ', '.join(f'{name} {share:.2f}' for name, share in shares.items())
      print(f'{kind}, {runs_of_a_game} runs a game: {shown}', flush=True)


if __name__ == '__main__':
  app.run(main)
