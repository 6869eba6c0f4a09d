"""Writes files of scores, and reads them."""

import json
import pathlib

import pytest

from ht_rl.atari100k import runs as runs_lib
from ht_rl.atari100k import score_files

PROTOCOL = {
  'training_steps': 100_000,
  'eval_episodes': 100,
  'sticky_actions': 0.0,
  'frames': 400_000,
}
RESULT = {
  'config': 'drq',
  'game': 'Pong',
  'seed': 0,
  'score': -7.5,
  'human_normalized_score': 0.37,
  'returns': [-7.0, -8.0],
  'protocol': PROTOCOL,
}


def write(path, content):
  """Writes text or bytes as they are, anything else as JSON."""
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  if isinstance(content, bytes):
    path.write_bytes(content)
  else:
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding='utf-8', newline='')
  return path


def write_run(folder, **changes):
  """Writes the files of a finished run, as they differ from RESULT."""
  write(f'{folder}/config.gin', 'Atari100kRunner.training_steps = 100000\n')
  write(f'{folder}/result.json', RESULT | changes)


def scores_of(*paths):
  """Returns the scores as plain lists, and the notes."""
  read = score_files.read(paths)
  scores = {
    method: {game: column.tolist() for game, column in columns.items()}
    for method, columns in runs_lib.by_method(read.runs).items()
  }
  return scores, read.notes


def problems_of(*paths):
  """Returns the problems that the paths are refused for."""
  with pytest.raises(runs_lib.ScoreFileError) as caught:
    score_files.read(paths)
  assert str(caught.value) == '\n'.join(caught.value.problems)
  return list(caught.value.problems)
