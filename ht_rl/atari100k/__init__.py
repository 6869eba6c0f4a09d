"""Atari-100k: its 26 games and how a score is read."""

from ht_rl.atari100k.games import (
  GAMES,
  REFERENCE_SCORES,
  ReferenceScore,
  canonical_game,
  human_normalized_score,
)

__all__ = [
  'GAMES',
  'REFERENCE_SCORES',
  'ReferenceScore',
  'canonical_game',
  'human_normalized_score',
]
