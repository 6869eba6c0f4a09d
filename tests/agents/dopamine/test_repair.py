"""Tests that import in a new interpreter, since imports cannot be undone."""

from pathlib import Path
import subprocess
import sys

import pytest

_DOPAMINE = """
import dopamine.discrete_domains.run_experiment
import dopamine.jax.agents.full_rainbow.full_rainbow_agent
import dopamine.labs.atari_100k.atari_100k_rainbow_agent
"""
_ERROR_WITHOUT = {
  'baselines.common': "No module named 'baselines'",
  'tensorflow_probability.substrates': 'pytype_aval_mappings',
}


def _run(code: str) -> subprocess.CompletedProcess[str]:
  return subprocess.run(
    [sys.executable, '-c', code],
    capture_output=True,
    text=True,
    timeout=300,
    cwd=Path(__file__).parents[3],
  )


def test_dopamine_imports_without_a_line_on_stderr():
  result = _run(
    'import agents.dopamine\n'
    f'{_DOPAMINE}\n'
    'print(list(agents.dopamine.repair.STAND_INS))'
  )
  assert result.stderr == ''
  assert result.stdout == f'{list(_ERROR_WITHOUT)}\n'  # Each has a test.


@pytest.mark.parametrize('name', _ERROR_WITHOUT)
def test_each_stand_in_is_still_needed(name):
  result = _run(
    'import sys, agents.dopamine\n'
    f'del sys.modules[{name!r}]\n'
    'print("repaired")\n'
    f'{_DOPAMINE}'
  )
  assert result.stdout == 'repaired\n'
  assert result.returncode == 1, f'Dopamine imports without {name}: drop it'
  assert _ERROR_WITHOUT[name] in result.stderr


def test_gym_still_writes_to_stderr():
  result = _run('import gym')
  assert result.stderr, 'gym is quiet now: import it as any other module'


def test_what_loading_tensorflow_writes_is_held_back():
  """TensorFlow itself writes only on some CPUs, so write in its place."""
  result = _run("""
import os, sys

class Loud:
  def find_spec(self, name, path=None, target=None):
    if name == 'tensorflow':
      os.write(2, b'said by C++')

sys.meta_path.insert(0, Loud())
import agents.dopamine
print('tensorflow' in sys.modules)
os.write(2, b'|')
Loud().find_spec('tensorflow')
""")
  assert result.stderr == '|said by C++'
  assert result.stdout == 'True\n'


def test_tensorflow_sees_no_gpu():
  """It would take the GPU memory that JAX needs."""
  result = _run("""
import tensorflow as tf
tf.config.set_visible_devices = lambda *args: print('visible', *args)
import agents.dopamine
""")
  assert result.stdout == 'visible [] GPU\n'


def test_stderr_works_after_the_import():
  result = _run("""
import logging, os, sys, warnings
from agents.dopamine import repair

print('printed', file=sys.stderr)
os.write(2, b'written\\n')
warnings.warn('warned')
logging.error('logged')
with repair._stderr_held_back():
  os.write(2, b'dropped\\n')
try:
  with repair._stderr_held_back():
    print('said by Python', file=sys.stderr)
    os.write(2, b'said by C++\\n')
    raise ImportError
except ImportError:
  print('raised')
""")
  assert result.stdout == 'raised\n'
  for text in ('printed', 'written', 'warned', 'logged', 'by Python', 'by C++'):
    assert text in result.stderr
  assert 'dropped' not in result.stderr
