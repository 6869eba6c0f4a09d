"""The command of the gallery page makes the pictures that the page shows."""

import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from tests import shared_data

REPOSITORY = pathlib.Path(__file__).parents[2]
PAGE = REPOSITORY / 'docs' / 'atari' / 'figures.md'
COMMAND = re.compile(r'^    python (-m (?:.+\\\n)*.+)$', re.MULTILINE)
SCORES = shared_data.FOLDER / 'scores'


def test_the_command_makes_the_pictures(tmp_path):
  text = PAGE.read_text()
  (command,) = COMMAND.findall(text)
  words = shlex.split(command.replace('\\\n', ''))
  for word in words:
    if word.endswith('.csv') and not (SCORES / word).exists():
      pytest.skip(f'{SCORES / word} is not here')
  assert words.pop() == '--plots=figures'
  done = subprocess.run(
    [sys.executable, *words, f'--plots={tmp_path}'],
    cwd=SCORES,
    env={**os.environ, 'PYTHONPATH': str(REPOSITORY)},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  shown = set(re.findall(r'images/atari/(\w+\.png)', text))
  assert len(shown) == 6
  assert shown == {path.name for path in tmp_path.glob('*.png')}
  for name in shown:
    assert (REPOSITORY / 'docs' / 'images' / 'atari' / name).exists()
