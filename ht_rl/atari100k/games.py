"""The 26 games of Atari-100k: names and reference scores."""

from collections.abc import Iterable, Sequence
import difflib
import re
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class UnknownGameError(ValueError):
  """A name is not that of a game.

  Attributes:
    name: the name.
    near: games with a similar name.
  """

  def __init__(self, name: str, near: Sequence[str], games: Iterable[str]):
    if near:
      advice = f'did you mean {" or ".join(near)}?'
    else:
      games = sorted(games)
      advice = f'the {len(games)} games are {", ".join(games)}'
    super().__init__(f'unknown game {name!r}: {advice}')
    self.name, self.near = name, tuple(near)


class ReferenceScore(NamedTuple):
  """The scores that are 0 and 1 on a game's human-normalised scale.

  Attributes:
    random: mean score of the uniformly random policy, in game points.
    human: mean score of a human tester, in game points.
  """

  random: float
  human: float


# Wang et al. (2016), "Dueling Network Architectures for Deep Reinforcement
# Learning", Table 2 (starts with up to 30 no-ops). Several human columns exist
# in the literature; this is the one behind the published Atari-100k aggregates.
REFERENCE_SCORES: dict[str, ReferenceScore] = {
  'Alien': ReferenceScore(227.8, 7127.7),
  'Amidar': ReferenceScore(5.8, 1719.5),
  'Assault': ReferenceScore(222.4, 742.0),
  'Asterix': ReferenceScore(210.0, 8503.3),
  'BankHeist': ReferenceScore(14.2, 753.1),
  'BattleZone': ReferenceScore(2360.0, 37187.5),
  'Boxing': ReferenceScore(0.1, 12.1),
  'Breakout': ReferenceScore(1.7, 30.5),
  'ChopperCommand': ReferenceScore(811.0, 7387.8),
  'CrazyClimber': ReferenceScore(10780.5, 35829.4),
  'DemonAttack': ReferenceScore(152.1, 1971.0),
  'Freeway': ReferenceScore(0.0, 29.6),
  'Frostbite': ReferenceScore(65.2, 4334.7),
  'Gopher': ReferenceScore(257.6, 2412.5),
  'Hero': ReferenceScore(1027.0, 30826.4),
  'Jamesbond': ReferenceScore(29.0, 302.8),
  'Kangaroo': ReferenceScore(52.0, 3035.0),
  'Krull': ReferenceScore(1598.0, 2665.5),
  'KungFuMaster': ReferenceScore(258.5, 22736.3),
  'MsPacman': ReferenceScore(307.3, 6951.6),
  'Pong': ReferenceScore(-20.7, 14.6),
  'PrivateEye': ReferenceScore(24.9, 69571.3),
  'Qbert': ReferenceScore(163.9, 13455.0),
  'RoadRunner': ReferenceScore(11.5, 7845.0),
  'Seaquest': ReferenceScore(68.4, 42054.7),
  'UpNDown': ReferenceScore(533.4, 11693.2),
}

GAMES: tuple[str, ...] = tuple(REFERENCE_SCORES)

# Together with the 26: the 57 games of longer Atari benchmarks.
OTHER_GAMES: tuple[str, ...] = (
  'Asteroids',
  'Atlantis',
  'BeamRider',
  'Berzerk',
  'Bowling',
  'Centipede',
  'Defender',
  'DoubleDunk',
  'Enduro',
  'FishingDerby',
  'Gravitar',
  'IceHockey',
  'MontezumaRevenge',
  'NameThisGame',
  'Phoenix',
  'Pitfall',
  'Riverraid',
  'Robotank',
  'Skiing',
  'Solaris',
  'SpaceInvaders',
  'StarGunner',
  'Surround',
  'Tennis',
  'TimePilot',
  'Tutankham',
  'Venture',
  'VideoPinball',
  'WizardOfWor',
  'YarsRevenge',
  'Zaxxon',
)

# Names in papers that differ in more than spelling.
_OTHER_NAMES: dict[str, str] = {
  'jamesbond007': 'jamesbond',
  'montezumasrevenge': 'montezumarevenge',
  'robottank': 'robotank',
  'upanddown': 'upndown',
}


# Modules, namespaces and suites before a name: `ale_py:ALE/`, `atari_`.
_PREFIX = re.compile(
  r'^(ale_py:)?(ALE/|atari([ _-]?100k)?[ _/:-])?', re.IGNORECASE
)


def canonical_game(name: str, games: Iterable[str] = GAMES) -> str:
  """Returns a game's name as Gymnasium writes it.

  Case, spaces, underscores and punctuation are ignored, and so are the module,
  namespace, variant and version of Gymnasium and the name of the suite.

  >>> canonical_game('ale_py:ALE/MsPacman-v5')
  'MsPacman'
  >>> canonical_game('atari_ms_pacman')
  'MsPacman'
  >>> canonical_game('Breakot')
  Traceback (most recent call last):
    ...
  ht_rl.atari100k.games.UnknownGameError: unknown game 'Breakot': did you mean \
Breakout?

  Args:
    name: the game, in any usual spelling.
    games: canonical names to choose from.

  Returns:
    The matching element of `games`.

  Raises:
    UnknownGameError: `name` is none of `games`; near names are proposed.
  """
  known = {_key(game): game for game in games}
  key = _key(name)
  if key in known:
    return known[key]
  near = difflib.get_close_matches(key, known, cutoff=0.75)
  raise UnknownGameError(name, [known[k] for k in near], known.values())


def human_normalized_score(game: str, score: ArrayLike) -> np.ndarray:
  """Returns scores on the scale where random is 0 and human is 1.

  ``(score - random) / (human - random)``

  >>> float(human_normalized_score('Breakout', 30.5))
  1.0

  Args:
    game: one of the 26 games, in any spelling.
    score: game points, any shape.

  Returns:
    Normalised scores, float64 of the same shape.

  Raises:
    ValueError: `game` is none of the 26.
  """
  reference = REFERENCE_SCORES[canonical_game(game)]
  score = np.asarray(score, np.float64)
  return (score - reference.random) / (reference.human - reference.random)


def _key(name: str) -> str:
  """Reduces a name to the letters and digits that identify the game."""
  name = _PREFIX.sub('', name.strip())
  name = re.sub(r'(-ram)?(NoFrameskip|Deterministic)?-v\d+$', '', name)
  key = re.sub(r'[^a-z0-9]', '', name.lower())
  return _OTHER_NAMES.get(key, key)
