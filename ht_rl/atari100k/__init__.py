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
from ht_rl.atari100k.games import (
  GAMES,
  OTHER_GAMES,
  REFERENCE_SCORES,
  ReferenceScore,
  canonical_game,
  human_normalized_score,
)
from ht_rl.atari100k.summary import Summary, summarize

__all__ = [
  'GAMES',
  'METRICS',
  'OTHER_GAMES',
  'REFERENCE_SCORES',
  'Estimate',
  'ReferenceScore',
  'Summary',
  'aggregate',
  'aggregate_estimates',
  'aggregate_means',
  'bootstrap_counts',
  'canonical_game',
  'human_normalized_score',
  'interval',
  'performance_profile',
  'probability_of_improvement',
  'summarize',
]
