import os
import subprocess
import sys

import jax
import pytest

from experiments import xla_flags

FLAG = '--xla_cpu_enable_concurrency_optimized_scheduler'

# Two batches that are drawn inside the program, each needed once. The default
# order may hold both, the order for memory holds one.
PROGRAM = """
from experiments import xla_flags
xla_flags.order_operations_for_memory()
import jax, jax.numpy as jnp

def f(key):
  total = 0.0
  for k in jax.random.split(key, 8):
    x = jax.random.uniform(k, (256, 256))
    total += jnp.sum(jnp.tanh(x @ x) @ x)
  return total

compiled = jax.jit(f).lower(jax.random.PRNGKey(0)).compile()
print(compiled.memory_analysis().temp_size_in_bytes)
"""


def test_the_flag_is_added_to_those_of_the_user(monkeypatch):
  monkeypatch.setattr(jax, '__version_info__', (0, 10, 2))
  monkeypatch.setenv('XLA_FLAGS', '--xla_cpu_max_isa=AVX2')
  xla_flags.order_operations_for_memory()
  xla_flags.order_operations_for_memory()
  expected = f'--xla_cpu_max_isa=AVX2 {FLAG}=false'
  assert os.environ['XLA_FLAGS'] == expected


def test_the_users_choice_stays(monkeypatch):
  monkeypatch.setattr(jax, '__version_info__', (0, 10, 2))
  monkeypatch.setenv('XLA_FLAGS', f'{FLAG}=true')
  xla_flags.order_operations_for_memory()
  assert os.environ['XLA_FLAGS'] == f'{FLAG}=true'


def test_a_version_that_was_not_tried_gets_no_flag(monkeypatch):
  # XLA aborts the process at a flag that it does not know.
  monkeypatch.setattr(jax, '__version_info__', (0, 99, 0))
  monkeypatch.delenv('XLA_FLAGS', raising=False)
  xla_flags.order_operations_for_memory()
  assert 'XLA_FLAGS' not in os.environ


@pytest.mark.skipif(
  jax.__version_info__[:2] not in xla_flags._TRIED,
  reason='this version of JAX was not tried with the flag',
)
def test_a_program_holds_less_memory():
  def bytes_held(flags):
    result = subprocess.run(
      [sys.executable, '-c', PROGRAM],
      env=os.environ | {'XLA_FLAGS': flags, 'JAX_PLATFORMS': 'cpu'},
      capture_output=True,
      check=True,
      text=True,
    )
    return int(result.stdout)

  assert bytes_held('') < bytes_held(f'{FLAG}=true')
