"""Measures coverage and power of intervals for scores with a known truth.

    python -m benchmarks.interval_coverage --scores=RR2_BBF.csv

Draws a few runs of each game, many times: normal scores, skewed scores, and
runs from a file of scores (see `ht_rl.atari100k.score_files`), whose aggregates
are the truth. Prints how often 95% intervals contain the truth: those of one
method's aggregates (as in a summary) and those of the difference of two (as
`--compare` gives them), and how often the difference that `plan` calls
detectable is detected, which should be 80%.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from absl import app, flags
import numpy as np

from ht_rl import atari100k
from ht_rl.atari100k import score_files
from ht_rl.atari100k.comparison import rescaled_counts
from ht_rl.atari100k.runs import by_method

_SCORES = flags.DEFINE_string('scores', None, 'File of many runs per game.')
_SIMULATIONS = flags.DEFINE_integer('simulations', 1000, 'Of each kind.')

_RUNS = (2, 3, 5, 10)
_REPLICATES = 1000

Scores = dict[str, np.ndarray]


class Kind(NamedTuple):
  """A distribution of scores.

  Attributes:
    name: of the kind.
    draw: draws runs of each game: (generator, runs) -> scores.
    truth: the aggregates of infinitely many runs that are known.
    pilot: many runs.
  """

  name: str
  draw: Callable[[np.random.Generator, int], Scores]
  truth: Mapping[str, float]
  pilot: Scores


def normal_scores(rng: np.random.Generator, runs: int) -> Scores:
  """Draws normal scores of games at levels around 0."""
  levels = np.linspace(-1, 1, len(atari100k.GAMES))
  return {
    game: level + rng.normal(size=runs)
    for game, level in zip(atari100k.GAMES, levels, strict=True)
  }


def skewed_scores(rng: np.random.Generator, runs: int) -> Scores:
  """Draws log-normal scores with heavy tails: one run in ten is above 3.6."""
  return {
    game: rng.lognormal(0, 1, size=runs) / (1 + i % 5)
    for i, game in enumerate(atari100k.GAMES)
  }


def kinds() -> list[Kind]:
  """Returns the kinds of scores; that of the file last."""
  rng = np.random.default_rng(0)
  skewed = skewed_scores(rng, 20_000)
  made = [
    Kind(
      'normal',
      normal_scores,
      {'iqm': 0.0, 'median': 0.0, 'mean': 0.0},
      normal_scores(rng, 1000),
    ),
    Kind(
      'log-normal',
      skewed_scores,
      {name: float(x) for name, x in atari100k.aggregate(skewed).items()},
      {game: x[:1000] for game, x in skewed.items()},
    ),
  ]
  if _SCORES.value:
    [scores] = by_method(score_files.read([_SCORES.value]).runs).values()
    known = {
      game: atari100k.human_normalized_score(game, x)
      for game, x in scores.items()
    }
    made.append(
      Kind(
        _SCORES.value,
        lambda rng, size: {g: rng.choice(x, size) for g, x in known.items()},
        {n: float(x) for n, x in atari100k.aggregate(known).items()},
        known,
      )
    )
  return made


def coverage(kind: Kind, runs: int) -> dict[str, float]:
  """Returns how often the intervals of a summary contain the truth."""
  rng = np.random.default_rng(runs)
  held = dict.fromkeys(kind.truth, 0)
  for _ in range(_SIMULATIONS.value):
    scores = kind.draw(rng, runs)
    estimates = atari100k.aggregate_estimates(scores, rng, _REPLICATES)
    for name, truth in kind.truth.items():
      held[name] += bool(estimates[name].low <= truth <= estimates[name].high)
  return {name: count / _SIMULATIONS.value for name, count in held.items()}


def difference_coverage(
  kind: Kind, runs: int, shift: float
) -> tuple[dict[str, float], float]:
  """Returns the coverage for two methods of which one is better.

  Args:
    kind: of the scores of both.
    runs: of each game and method.
    shift: added to each score of the first method, which moves IQM, median and
      mean by as much.

  Returns:
    How often the intervals of a comparison contain the true difference, and how
    often that of the IQM excludes 0 on the right side.
  """
  rng = np.random.default_rng(runs)
  held = dict.fromkeys(('iqm', 'median', 'mean'), 0)
  found = 0
  for _ in range(_SIMULATIONS.value):
    first = {game: x + shift for game, x in kind.draw(rng, runs).items()}
    second = kind.draw(rng, runs)
    drawn, other_drawn = (
      atari100k.aggregate(x, rescaled_counts(x, rng, _REPLICATES))
      for x in (first, second)
    )
    for name in held:
      low, high = atari100k.interval(drawn[name] - other_drawn[name])
      held[name] += bool(low <= shift <= high)
      found += name == 'iqm' and bool(low > 0)
  shares = {name: count / _SIMULATIONS.value for name, count in held.items()}
  return shares, found / _SIMULATIONS.value


def main(argv: list[str]) -> None:
  """Prints a table."""
  del argv

  def shown(shares: Mapping[str, float]) -> str:
    return ', '.join(f'{name} {share:.2f}' for name, share in shares.items())

  for kind in kinds():
    for runs in _RUNS:
      detectable = atari100k.plan(runs, kind.pilot).detectable
      shares, power = difference_coverage(kind, runs, detectable)
      print(
        f'{kind.name}, {runs} runs per game: summary: '
        f'{shown(coverage(kind, runs))}; difference: {shown(shares)}; '
        f'power at {detectable:.2f}: {power:.2f}',
        flush=True,
      )


if __name__ == '__main__':
  app.run(main)
