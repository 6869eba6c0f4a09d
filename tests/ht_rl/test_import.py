"""What importing ht_rl brings with it."""

from pathlib import Path
import subprocess
import sys

import ht_rl

SCRIPT = """
import sys
import jax, optax
before = set(sys.modules)
import ht_rl
print(*sorted(set(sys.modules) - before))
"""


def test_importing_brings_nothing_but_jax_numpy_and_optax():
  done = subprocess.run(
    [sys.executable, '-c', SCRIPT],
    cwd=Path(ht_rl.__file__).parents[1],
    capture_output=True,
    text=True,
    check=True,
  )
  brought = {name.partition('.')[0] for name in done.stdout.split()}
  assert 'ht_rl' in brought
  light = {'ht_rl', 'jax', 'jaxlib', 'numpy', 'optax'}
  assert brought - light - sys.stdlib_module_names == set()


def test_jax_and_optax_are_as_light_as_that():
  # What the test above takes as given.
  script = 'import sys, jax, optax; print(*sys.modules)'
  done = subprocess.run(
    [sys.executable, '-c', script], capture_output=True, text=True, check=True
  )
  brought = {name.partition('.')[0] for name in done.stdout.split()}
  heavy = {
    'chex',
    'dopamine',
    'flax',
    'gin',
    'gym',
    'gymnasium',
    'tensorflow',
    'torch',
  }
  assert not brought & heavy


def test_public_names():
  for name in ht_rl.__all__:
    public = getattr(ht_rl, name)
    is_module = public in (ht_rl.atari100k, ht_rl.plasticity)
    assert callable(public) or is_module
    assert public.__doc__
