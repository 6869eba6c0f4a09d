"""The file of an evaluation's finished episodes, and what is left of it."""

import pytest

from ht_rl.atari100k.run_episodes import Episode, EpisodesFile

FIRST, SECOND = Episode(-3.25, 812), Episode(1e5 / 3, 27_000)


@pytest.fixture
def path(tmp_path):
  path = tmp_path / 'episodes.jsonl'
  file = EpisodesFile(path, 'mine', 10)
  file.add(7, FIRST)
  file.add(0, SECOND)
  assert file.episodes == {7: FIRST, 0: SECOND}
  return path


def test_what_was_added_is_read(path):
  file = EpisodesFile(path, 'mine', 10)
  assert file.episodes == {7: FIRST, 0: SECOND}
  assert all(type(x.length) is int for x in file.episodes.values())
  file.remove()
  file.remove()
  assert EpisodesFile(path, 'mine', 10).episodes == {}


@pytest.mark.parametrize('cut', [1, 2, 20, 60])
def test_after_a_line_that_a_kill_has_cut_episodes_can_be_added(path, cut):
  path.write_bytes(path.read_bytes()[:-cut])
  file = EpisodesFile(path, 'mine', 10)
  # Without its end the line is still whole.
  left = {7: FIRST, 0: SECOND} if cut == 1 else {7: FIRST}
  assert file.episodes == left
  file.add(3, SECOND)
  assert EpisodesFile(path, 'mine', 10).episodes == left | {3: SECOND}


def test_episodes_of_another_policy_are_dropped(path):
  assert EpisodesFile(path, 'other', 10).episodes == {}
  assert EpisodesFile(path, 'mine', 10).episodes == {}


@pytest.mark.parametrize(
  'line',
  [
    b'\xff\xfe\x00',
    b'[]',
    b'7',
    b'{"policy": "mine", "episode": 1}',
    b'{"policy": "mine", "episode": 10, "return": 1, "length": 1}',
    b'{"policy": "mine", "episode": -1, "return": 1, "length": 1}',
    b'{"policy": "mine", "episode": [1], "return": 1, "length": 1}',
    b'{"policy": "mine", "episode": 1, "return": NaN, "length": 1}',
    b'{"policy": "mine", "episode": 1, "return": "1", "length": 1}',
    b'{"policy": "mine", "episode": 1, "return": 1, "length": 1.5}',
  ],
)
def test_a_damaged_line_is_dropped(path, line):
  path.write_bytes(line + b'\n' + path.read_bytes())
  assert EpisodesFile(path, 'mine', 10).episodes == {7: FIRST, 0: SECOND}
