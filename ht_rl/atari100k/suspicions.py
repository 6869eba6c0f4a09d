"""Questions about scores that look like something else than scores of runs."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from ht_rl.atari100k.games import REFERENCE_SCORES, human_normalized_score

# So many scores of a game are episodes rather than runs if they are integers.
_MANY = 20

# Games in which no agent scores less than this share of the random policy.
_CLEAR_GAMES = tuple(
  game for game, of in REFERENCE_SCORES.items() if of.random >= 50
)
_LOW_SHARE = 0.3

# Scores beyond which a game has none.
_LIMITS = {'Boxing': 100, 'Freeway': 40, 'Pong': 21}


def suspicions(scores: Mapping[str, Mapping[str, ArrayLike]]) -> list[str]:
  """Returns a question for each thing that looks wrong.

  >>> scores = {'Alien': [0.2, 0.3], 'Hero': [0.5, 0.1], 'Krull': [3.0, 2.0]}
  >>> print(*suspicions({'mine': scores}))
  mine: are these game points? 3 of 3 games are far below the random policy, \
such as 0.25 on Alien (random: 227.8), as human-normalised scores would be.

  Args:
    scores: for each method and game the scores of its runs, or their mean, in
      game points.

  Returns:
    One sentence or two each, which begin with the name of the method.
  """
  columns = {
    name: {game: np.asarray(x, np.float64).ravel() for game, x in of.items()}
    for name, of in scores.items()
  }
  runs = {
    name: int(np.median([len(x) for x in of.values()])) if of else 0
    for name, of in columns.items()
  }
  questions = []
  for name, of in columns.items():
    others = [number for other, number in runs.items() if other != name]
    for question in (
      _episodes(of, max(others, default=0)),
      _copies(of),
      _spreads(of),
      _seeds(of),
      _units(of) or _swapped_games(of),
    ):
      if question:
        questions.append(f'{name}: {question}')
  return questions


def looks_transposed(matrix: np.ndarray) -> bool:
  """Whether the rows of a [runs, games] array look like games.

  Scores differ more between games than between runs. Only a square array needs
  to be asked: others have one side of the right length.

  >>> games = np.arange(3.0)
  >>> looks_transposed(np.stack([games, games + 0.1, games + 0.2]))
  False
  >>> looks_transposed(np.stack([games, games + 0.1, games + 0.2], axis=1))
  True
  """
  return bool(np.var(matrix.mean(axis=1)) > np.var(matrix.mean(axis=0)))


def _episodes(scores: Mapping[str, np.ndarray], others: int) -> str | None:
  """Asks whether the scores are episodes; the others have so many runs.

  Returns of episodes are integers; scores of runs are means over episodes.
  """
  sizes = {len(x) for x in scores.values()}
  fewest = min(sizes, default=0)
  is_round = sizes == {fewest} and fewest % 10 == 0
  is_many = fewest >= _MANY or (is_round and 1 < others < fewest)
  values = np.concatenate([*scores.values(), []])
  if not is_many or np.any(values != np.round(values)):
    return None
  return (
    f'are these runs? {fewest} whole numbers a game look like episodes. A run '
    'has one score, the mean of its episodes.'
  )


def _copies(scores: Mapping[str, np.ndarray]) -> str | None:
  several = [x for x in scores.values() if len(x) > 1]
  equal = sum(bool(np.all(x == x[0])) for x in several)
  if len(several) < 5 or equal < 0.5 * len(several):
    return None
  return (
    f'are these different runs? All runs of {equal} of {len(several)} games '
    'have the same score.'
  )


def _spreads(scores: Mapping[str, np.ndarray]) -> str | None:
  """Asks whether the runs were made from means, with one spread for all."""
  several = {game: x for game, x in scores.items() if len(set(x)) > 1}
  if len(several) < 5:
    return None
  units = {
    'game points': [1.0] * len(several),
    'of the mean': [abs(np.mean(x)) for x in several.values()],
    'of the human score less the random one': [
      REFERENCE_SCORES[game].human - REFERENCE_SCORES[game].random
      for game in several
    ],
  }
  with np.errstate(over='ignore'):
    deviations = np.array([np.std(x, ddof=1) for x in several.values()])
  if not np.isfinite(deviations).all():  # Scores near the largest float.
    return None
  for unit, sizes in units.items():
    spreads = deviations / np.maximum(sizes, 1e-9)
    typical = float(np.median(spreads))
    equal = int(np.sum(np.abs(spreads - typical) <= 0.01 * typical))
    if equal >= 0.8 * len(several):
      number = f'{typical:.3g}' if unit == 'game points' else f'{typical:.1%}'
      return (
        f'are these runs? Their standard deviation is {number} {unit} in '
        f'{equal} of {len(several)} games. Runs differ more from game to game.'
      )
  return None


def _seeds(scores: Mapping[str, np.ndarray]) -> str | None:
  """Asks whether the columns of seeds and scores are swapped."""
  games = [np.sort(x) for x in scores.values()]
  if len(games) < 3 or len(games[0]) < 2:
    return None
  first = games[0]
  counts = np.arange(len(first)) + first[0]
  if first[0] not in (0, 1) or any(
    not np.array_equal(x, counts) for x in games
  ):
    return None
  return (
    f'are the columns of seeds and scores swapped? All {len(games)} games have '
    f'the scores {first[0]:.0f} to {first[-1]:.0f}, as seeds do.'
  )


def _swapped_games(scores: Mapping[str, np.ndarray]) -> str | None:
  """Asks about an impossible score where another game has a possible one."""
  means = {game: float(np.mean(x)) for game, x in scores.items() if len(x)}
  for game, limit in _LIMITS.items():
    if abs(means.get(game, 0)) <= limit:
      continue
    for other in _CLEAR_GAMES:
      mean, random = means.get(other, np.inf), REFERENCE_SCORES[other].random
      if abs(mean) <= limit and mean < _LOW_SHARE * random:
        return (
          f'are the games in the right columns? No score of {game} is beyond '
          f'{limit}, but its mean here is {means[game]:,.1f}; that of {other} '
          f'is {mean:.1f}, far below the random policy ({random:g}).'
        )
  return None


def _units(scores: Mapping[str, np.ndarray]) -> str | None:
  """Asks whether the scores are in another unit than game points."""
  normalized = [
    float(np.mean(human_normalized_score(game, x)))
    for game, x in scores.items()
  ]
  typical = float(np.median(normalized)) if normalized else 0.0
  if len(normalized) >= 3 and typical > 20:
    shown = f'{typical:,.0f}' if typical < 1e9 else f'{typical:.3g}'
    return (
      f'are these scores in the right unit? Half of the games are above '
      f'{shown} times human level. If game points were given as '
      'human-normalised scores, give them as game points.'
    )
  clear = [game for game in scores if game in _CLEAR_GAMES]
  means = {game: float(np.mean(scores[game])) for game in clear}
  low = [
    game
    for game, mean in means.items()
    if mean < _LOW_SHARE * REFERENCE_SCORES[game].random
  ]
  if len(clear) < 3 or len(low) < 0.8 * len(clear):
    return None
  is_small = np.median(np.abs(list(means.values()))) < 5
  kind = 'human-normalised scores' if is_small else 'sums of clipped rewards'
  return (
    f'are these game points? {len(low)} of {len(clear)} games are far below '
    f'the random policy, such as {means[low[0]]:.3g} on {low[0]} (random: '
    f'{REFERENCE_SCORES[low[0]].random:g}), as {kind} would be.'
  )
