"""Runs every example as a reader does: with the wheel and its dependencies."""

from collections.abc import Callable
import os
import pathlib
import re
import subprocess
import tomllib
from typing import Any

import pytest

EXAMPLES = pathlib.Path(__file__).parents[2] / 'docs' / 'examples'
LIMIT = 600  # Seconds, in case an example hangs.
# Conditions on the numbers in the last line of each example.
CHECKS: dict[str, Callable[..., bool]] = {
  'batchnorm.py': lambda update, hare, tortoise: min(hare, tortoise) > 0.95,
  'dqn_equinox.py': lambda score: score >= 400,
  'dqn_flax.py': lambda score: score >= 400,
  'dqn_nnx.py': lambda score: score >= 400,
  'drq_jax.py': lambda fraction: fraction > 0.9,
  'head_reset_nnx.py': lambda before, reset, end: (
    max(before, end) < 0.01 < reset
  ),
  'quickstart.py': lambda hare, tortoise: tortoise < 0.05 < hare,
  'resume.py': lambda number: number == 10,
  # The last line is Elastic Reset, whose tortoise is thrown back.
  'slow_weights.py': lambda hare, tortoise: hare < tortoise,
  'sharded.py': lambda difference: difference < 1e-5,
  'td3.py': lambda score: score > -250,
  'warm_start.py': lambda gain, error: gain > error > 0,
}
PICTURES = ('slow_weights.py', 'warm_start.py')
SMALL_ABLATION = """
import sys
sys.path.insert(0, sys.argv[1])
import ablation, warm_start
warm_start.STEPS = 40
warm_start.NEVER = (41, 41)
ablation.SEEDS = 2
ablation.MOMENTA = (0.9, 0.99)
accuracies = ablation.main()
assert accuracies.shape == (2 + 2 * 12, 2)
assert accuracies[1].mean() > 30
"""


def metadata(script: pathlib.Path) -> dict[str, Any]:
  """Returns the metadata in the first lines of a script (PEP 723)."""
  block = re.match(r'# /// script\n((?:#.*\n)*?)# ///\n', script.read_text())
  assert block, f'{script.name} must begin with its inline metadata.'
  lines = [line[2:] for line in block[1].splitlines()]
  return tomllib.loads('\n'.join(lines))


def run(python: pathlib.Path, *arguments: str | pathlib.Path, cwd) -> str:
  clean = {k: v for k, v in os.environ.items() if not k.startswith('PYTHON')}
  done = subprocess.run(
    [python, *arguments],
    cwd=cwd,
    env=clean,
    capture_output=True,
    text=True,
    timeout=LIMIT,
  )
  assert done.returncode == 0, done.stderr
  return done.stdout


def test_every_example_is_run():
  scripts = {path.name for path in EXAMPLES.glob('*.py')}
  assert scripts == {*CHECKS, 'ablation.py'}


def test_uv_finds_ht_rl_beside_every_example():
  for script in EXAMPLES.glob('*.py'):
    folder = metadata(script)['tool']['uv']['sources']['ht_rl']['path']
    assert (EXAMPLES / folder / 'setup.py').exists(), script.name


@pytest.mark.slow
@pytest.mark.parametrize('name', sorted(CHECKS))
def test_example_runs_from_the_wheel(name, environments, tmp_path):
  script = EXAMPLES / name
  python = environments.make(script.stem, *metadata(script)['dependencies'])
  last = run(python, script, cwd=tmp_path).splitlines()[-1]
  numbers = [float(x) for x in re.findall(r'-?\d+\.?\d*(?:e-?\d+)?', last)]
  assert CHECKS[name](*numbers), last
  drawn = {script.stem} if name in PICTURES else set()
  assert {path.stem for path in tmp_path.glob('*.png')} == drawn


@pytest.mark.slow
def test_ablation_runs_in_small(environments, tmp_path):
  script = EXAMPLES / 'ablation.py'
  python = environments.make('ablation', *metadata(script)['dependencies'])
  printed = run(python, '-c', SMALL_ABLATION, EXAMPLES, cwd=tmp_path)
  assert 'restart every ... epochs' in printed
  assert (tmp_path / 'momentum_and_interval.png').exists()
