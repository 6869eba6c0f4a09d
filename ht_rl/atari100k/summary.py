"""Comparison of methods: estimates, profiles, curves and notes."""

from collections.abc import Mapping, Sequence
import dataclasses
import itertools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ht_rl import arguments
from ht_rl.atari100k.aggregates import (
  METRICS,
  Estimate,
  aggregate,
  aggregate_means,
  bootstrap_counts,
  format_number,
  interval,
  performance_profile,
  probability_of_improvement,
)
from ht_rl.atari100k.games import GAMES, human_normalized_score
from ht_rl.atari100k.inputs import means_of, methods_of
from ht_rl.atari100k.suspicions import suspicions

METRIC_TITLES: dict[str, str] = {
  'iqm': 'IQM',
  'median': 'median',
  'mean': 'mean',
  'optimality_gap': 'optimality gap',
}

THRESHOLDS: np.ndarray = np.linspace(0, 8, 161)

# Fewer replicates where there is much to compute: pairs of methods, of which
# there may be many, and bands of profiles, which have many points.
PAIR_REPLICATES = 10_000
BAND_REPLICATES = 2000

# With fewer games, intervals mean little.
_FEW_GAMES = 10


class Curve(NamedTuple):
  """The score of a method over its agent steps.

  Attributes:
    steps: agent steps of the points, int [points].
    iqm: interquartile mean of the normalised scores there, arrays [points].
    source: the episodes that were scored, for a caption: 'evaluation episodes'
      or 'training episodes'.
  """

  steps: np.ndarray
  iqm: Estimate
  source: str


@dataclasses.dataclass(frozen=True)
class Method:
  """The scores of one method and its aggregates.

  Attributes:
    name: of the method.
    scores: for each game the scores of its runs in game points, float64 [runs];
      one mean where only means are known.
    normalized: the same, human-normalised.
    estimates: by the names of `aggregates.METRICS`; the ends of an interval are
      NaN if there are no runs to resample; aggregates that don't follow from
      means are missing.
    profile: share of runs above each of the summary's thresholds, arrays
      [thresholds]; None without runs.
    curve: None if the runs have none.
    is_published: the numbers come from a paper.
  """

  name: str
  scores: Mapping[str, np.ndarray]
  normalized: Mapping[str, np.ndarray]
  estimates: Mapping[str, Estimate]
  profile: Estimate | None = None
  curve: Curve | None = None
  is_published: bool = False

  def __str__(self) -> str:
    """Returns the aggregates in one line."""
    parts = [
      f'{METRIC_TITLES[metric]} {format_estimate(estimate)}'
      for metric, estimate in self.estimates.items()
    ]
    return f'{self.name}: {", ".join(parts)}'

  @property
  def has_runs(self) -> bool:
    """Whether the scores of single runs are known, not only means."""
    return self.profile is not None


@dataclasses.dataclass(frozen=True)
class Summary:
  """A comparison of methods.

  Attributes:
    methods: in the order in which they are shown.
    games: the games that all methods have, in the order of `games.GAMES`.
    thresholds: normalised scores of the profiles, [thresholds].
    improvement: the probability that a run of the first method beats one of the
      second, for each ordered pair of methods with runs.
    notes: sentences about the data that a reader must know.
    replicates: of the bootstrap; improvements use at most `PAIR_REPLICATES` of
      them, profiles and curves at most `BAND_REPLICATES`.
    confidence: of the intervals.
    seed: of the bootstrap.
    with_published: whether to show the published systems of `published` beside
      the methods.
  """

  methods: tuple[Method, ...]
  games: tuple[str, ...]
  thresholds: np.ndarray
  improvement: Mapping[tuple[str, str], Estimate]
  notes: tuple[str, ...]
  replicates: int
  confidence: float
  seed: int
  with_published: bool = False

  def __str__(self) -> str:
    """Returns the heading, and a line of aggregates for each method."""
    return '\n'.join([self.heading, *map(str, self.methods)])

  @property
  def extent(self) -> str:
    """The number of games, such as '2 of 26 games'."""
    part = '' if len(self.games) == len(GAMES) else f'{len(self.games)} of '
    return f'{part}{len(GAMES)} games'

  @property
  def has_intervals(self) -> bool:
    """Returns whether an aggregate has an interval."""
    ends = [e.low for m in self.methods for e in m.estimates.values()]
    return bool(np.isfinite(ends).any())

  @property
  def heading(self) -> str:
    """The games, and how the intervals were computed."""
    title = f'Atari-100k, {self.extent}: human-normalised scores'
    if not self.has_intervals:
      return title
    return (
      f'{title} with {100 * self.confidence:g}% intervals (stratified '
      f'bootstrap, {self.replicates:,} replicates, seed {self.seed})'
    )


class MissingGamesError(ValueError):
  """A method has no score of some of the 26 games."""


def summarize(
  scores: Any,
  *,
  means: Mapping[str, Mapping[str, float]] | None = None,
  published: Mapping[str, Mapping[str, float]] | None = None,
  partial: bool = False,
  notes: Sequence[str] = (),
  seed: int = 0,
  replicates: int = 50_000,
  confidence: float = 0.95,
) -> Summary:
  """Compares methods by the scores of their runs.

  Each method has its own bootstrap, seeded by `seed` and its name, so its
  intervals don't depend on what it is compared with.

  >>> scores = {'Pong': [12.0, 14.5, 9.0], 'Breakout': [20.1, 31.0, 18.2]}
  >>> summary = summarize({'mine': scores}, partial=True)
  >>> print(summary)
  Atari-100k, 2 of 26 games: human-normalised scores with 95% intervals \
(stratified bootstrap, 50,000 replicates, seed 0)
  mine: IQM 0.851 [0.724, 0.990], median 0.832 [0.732, 0.958], \
mean 0.832 [0.732, 0.958], optimality gap 0.171 [0.051, 0.268]

  Args:
    scores: for each method the scores of its runs, in game points:
      ``{game: [score of each run]}``, ``{game: {seed: score}}``, or a data
      frame (pandas, polars) with the columns game, seed and score or with a
      column for each game; or an array [runs, 26] of human-normalised scores.
      Instead of a dictionary of methods, a data frame with the columns config,
      game, seed and score. See `inputs.scores_of`.
    means: for methods with known means only, the mean of each game, in game
      points.
    published: for those of `means` that come from a paper, the aggregates of
      `METRICS` that it gives for all 26 games.
    partial: whether games may be missing; the common games are compared.
    notes: sentences to show with the numbers.
    seed: of the bootstrap, 0 or more.
    replicates: of the bootstrap.
    confidence: of the intervals, in (0, 1).

  Returns:
    The comparison.

  Raises:
    MissingGamesError: a game is missing and `partial` is not set.
    ValueError: no game is left, a method is among both `scores` and `means`, or
      a value is wrong.
  """
  arguments.check_float('confidence', confidence, 0, 1, below=True, above=True)
  arguments.check_int('replicates', replicates, 1)
  arguments.check_int('seed', seed, 0)
  scores, notes = methods_of(scores), [*notes]
  means, published = means_of(means or {}), published or {}
  twice = [name for name in scores if name in means]
  if twice:
    raise ValueError(f'{twice[0]} has both runs and means')
  games, left_out = _common_games({**scores, **means}, partial)
  raw = {
    name: {game: np.asarray(of[game], np.float64).ravel() for game in games}
    for name, of in {**scores, **means}.items()
  }
  normalized = {name: _normalized(of) for name, of in raw.items()}
  # By method with intervals, what the improvements need.
  pair_counts: dict[str, np.ndarray] = {}

  def estimate(value: ArrayLike, replicates: ArrayLike | None) -> Estimate:
    if replicates is None:
      unknown = np.full_like(value, np.nan)
      return Estimate(np.asarray(value), unknown, unknown)
    return Estimate(np.asarray(value), *interval(replicates, confidence))

  def of_runs(name: str) -> Method:
    values = aggregate(normalized[name])
    replicated, profiles = {}, None
    # One run a game can't be resampled: no intervals.
    if max(map(len, raw[name].values())) > 1:
      rng = np.random.default_rng([seed, *name.encode()])
      counts = bootstrap_counts(raw[name], rng, replicates)
      replicated = aggregate(normalized[name], counts)
      profiles = performance_profile(
        normalized[name], THRESHOLDS, counts[:BAND_REPLICATES]
      )
      # A copy, so that the others need no memory.
      pair_counts[name] = counts[:PAIR_REPLICATES].copy()
    return Method(
      name=name,
      scores=raw[name],
      normalized=normalized[name],
      estimates={
        metric: estimate(values[metric], replicated.get(metric))
        for metric in METRICS
      },
      profile=estimate(
        performance_profile(normalized[name], THRESHOLDS), profiles
      ),
    )

  def of_means(name: str) -> Method:
    values = aggregate_means({g: x[0] for g, x in normalized[name].items()})
    if len(games) == len(GAMES):
      values |= published.get(name, {})
    return Method(
      name=name,
      scores=raw[name],
      normalized=normalized[name],
      estimates={
        metric: estimate(values[metric], None)
        for metric in METRICS
        if metric in values
      },
      is_published=name in published and len(games) == len(GAMES),
    )

  def improvement(x: str, y: str) -> Estimate:
    drawn = None
    if x in pair_counts and y in pair_counts:
      drawn = probability_of_improvement(
        raw[x], raw[y], pair_counts[x], pair_counts[y]
      )
    return estimate(probability_of_improvement(raw[x], raw[y]), drawn)

  methods = (*map(of_runs, scores), *map(of_means, means))
  improvements = {}
  for x, y in itertools.combinations(scores, 2):
    value, low, high = improvements[x, y] = improvement(x, y)
    improvements[y, x] = Estimate(1 - value, 1 - high, 1 - low)
  few_games = []
  if pair_counts and len(games) < _FEW_GAMES:
    few_games = ['Intervals over so few games are not reliable.']
  return Summary(
    methods=methods,
    games=games,
    thresholds=THRESHOLDS,
    improvement=improvements,
    notes=(
      *notes,
      *left_out,
      *few_games,
      *suspicions(raw),
      *(note for name in scores for note in _notes_on_runs(name, raw[name])),
    ),
    replicates=replicates,
    confidence=confidence,
    seed=seed,
  )


def format_estimate(estimate: Estimate, digits: int = 3) -> str:
  """Formats a value and its interval, if it has one.

  >>> format_estimate(Estimate(np.array(0.5), np.array(0.4), np.array(0.625)))
  '0.500 [0.400, 0.625]'
  """
  value, low, high = (format_number(number, digits) for number in estimate)
  return value if np.isnan(estimate.low) else f'{value} [{low}, {high}]'


def _common_games(
  scores: Mapping[str, Mapping[str, ArrayLike]], partial: bool
) -> tuple[tuple[str, ...], list[str]]:
  """Returns the common games, and notes on the games that are left out."""
  missing = {
    name: [game for game in GAMES if game not in of]
    for name, of in scores.items()
  }
  lacking: dict[tuple[str, ...], list[str]] = {}
  for name, absent in missing.items():
    if absent:
      lacking.setdefault(tuple(absent), []).append(name)
  gaps = [
    f'{", ".join(names)} {"has" if len(names) == 1 else "have"} no score of '
    f'{", ".join(absent)}'
    for absent, names in lacking.items()
  ]
  if gaps and not partial:
    raise MissingGamesError('; '.join(gaps))
  left_out = set().union(*missing.values())
  games = tuple(game for game in GAMES if game not in left_out)
  if not scores or not games:
    raise ValueError('there is no game of which all methods have a score')
  notes = [f'{gap}: left out for all methods.' for gap in gaps]
  return games, notes


def _notes_on_runs(name: str, scores: Mapping[str, np.ndarray]) -> list[str]:
  """Returns notes on methods with uneven or few runs."""
  sizes = {game: len(of) for game, of in scores.items()}
  fewest, most = min(sizes.values()), max(sizes.values())
  if most == 1:
    return [f'{name} has one run of each game, so it has no intervals.']
  notes = []
  of_fewest = [game for game, size in sizes.items() if size == fewest]
  if fewest != most:
    notes.append(
      f'{name} has {fewest} to {most} runs of a game (fewest of '
      f'{", ".join(of_fewest)}); every game weighs the same.'
    )
  if fewest == 1:
    notes.append(
      f'The intervals of {name} are too narrow: with one run the spread of '
      f'{", ".join(of_fewest)} is unknown.'
    )
  elif fewest == 2:
    notes.append(
      f'{name} has games with two runs only: its intervals are too narrow.'
    )
  return notes


def _normalized(scores: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  return {game: human_normalized_score(game, x) for game, x in scores.items()}
