"""Atari-100k: games, reference scores, aggregates with intervals."""

from ht_rl.atari100k.aggregates import (
  METRICS,
  Estimate,
  aggregate,
  aggregate_estimates,
  aggregate_means,
  bootstrap_counts,
  interval,
  performance_profile,
  probability_of_improvement,
)
from ht_rl.atari100k.comparison import Comparison, compare
from ht_rl.atari100k.games import (
  GAMES,
  OTHER_GAMES,
  REFERENCE_SCORES,
  ReferenceScore,
  UnknownGameError,
  canonical_game,
  human_normalized_score,
)
from ht_rl.atari100k.power import Plan, plan
from ht_rl.atari100k.summary import MissingGamesError, Summary, summarize

__all__ = [
  'GAMES',
  'METRICS',
  'OTHER_GAMES',
  'REFERENCE_SCORES',
  'Comparison',
  'Estimate',
  'MissingGamesError',
  'Plan',
  'ReferenceScore',
  'Summary',
  'UnknownGameError',
  'aggregate',
  'aggregate_estimates',
  'aggregate_means',
  'bootstrap_counts',
  'canonical_game',
  'compare',
  'human_normalized_score',
  'interval',
  'performance_profile',
  'plan',
  'probability_of_improvement',
  'summarize',
]
