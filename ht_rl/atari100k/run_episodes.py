"""The `episodes.jsonl` of a run: the episodes that its evaluation has finished.

It is there while the final evaluation plays, so that one that is killed goes on
with the episodes that are left.
"""

import json
import math
import pathlib
from typing import Any, NamedTuple

from ht_rl import files


class Episode(NamedTuple):
  """A finished episode of an evaluation.

  Attributes:
    episode_return: sum of its rewards, in game points.
    length: agent steps, without its no-ops.
  """

  episode_return: float
  length: int


class EpisodesFile:
  """A file with a finished episode a line.

  Attributes:
    episodes: those of the policy, by their numbers.
  """

  def __init__(self, path: pathlib.Path, policy: str, num_episodes: int):
    """Reads the file; drops what is damaged or of another policy.

    Args:
      path: the file, which need not exist.
      policy: what tells the policy from others, such as a digest of its
        weights.
      num_episodes: of the evaluation.
    """
    self._path = path
    self._policy = policy
    self._num_episodes = num_episodes
    self.episodes: dict[int, Episode] = {}
    if not path.exists():
      return
    for line in path.read_bytes().decode(errors='replace').splitlines():
      if (found := self._parse(line)) is not None:
        self.episodes[found[0]] = found[1]
    # A kill can leave half a line at the end, to which nothing can be added.
    lines = [self._line(i, episode) for i, episode in self.episodes.items()]
    files.write_text(path, ''.join(lines))

  def add(self, index: int, episode: Episode) -> None:
    """Adds an episode that is finished."""
    self.episodes[index] = episode
    with self._path.open('a', encoding='utf-8') as file:
      file.write(self._line(index, episode))

  def remove(self) -> None:
    """Removes the file, when all of its episodes are in a result."""
    self._path.unlink(missing_ok=True)

  def _line(self, index: int, episode: Episode) -> str:
    row = {
      'policy': self._policy,
      'episode': index,
      'return': episode.episode_return,
      'length': episode.length,
    }
    return json.dumps(row) + '\n'

  def _parse(self, line: str) -> tuple[int, Episode] | None:
    """Returns the episode of a line; None if it is no good."""
    try:
      row: Any = json.loads(line)
      index, score, length = row['episode'], row['return'], row['length']
      is_good = (
        row['policy'] == self._policy
        and index in range(self._num_episodes)
        and isinstance(length, int)
        and math.isfinite(score)
      )
    except (ValueError, TypeError, KeyError, OverflowError):
      return None
    return (index, Episode(float(score), length)) if is_good else None
