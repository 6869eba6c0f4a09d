"""Groups of runs, and what the module needs."""

import subprocess
import sys
from types import SimpleNamespace

from agents import population
from ht_rl import atari100k


def test_it_needs_neither_tensorflow_nor_dopamine():
  code = """
import sys
import agents.population
print(sorted({'tensorflow', 'dopamine', 'gym', 'gin'} & set(sys.modules)))
"""
  result = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  assert result.stdout == '[]\n'


def test_games_of_equally_many_actions_are_a_group():
  places = [
    SimpleNamespace(game=game, seed=seed)
    for game in atari100k.GAMES
    for seed in range(2)
  ]
  groups = population.group_by_size(places)
  assert sorted(id(place) for group in groups for place in group) == sorted(
    map(id, places)
  )
  # The numbers of games by their number of actions, as ale-py's manual has
  # them: 13 games have all 18.
  assert sorted(len(group) // 2 for group in groups) == [
    *[1] * 6,
    3,
    4,
    13,
  ]
  for group in groups:
    assert group == [place for place in places if place in group]
