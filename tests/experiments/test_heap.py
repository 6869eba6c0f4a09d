"""What a process does with the memory that its programs free."""

import os
import platform
import subprocess
import sys

import pytest

from experiments import heap

glibc = pytest.mark.skipif(
  platform.libc_ver()[0] != 'glibc', reason='the C library is not glibc'
)

# Three arrays at once are more than glibc's own threshold lets a heap keep.
FAULTS = """
import ctypes, resource, sys
from experiments import heap
print(heap.keep_freed_memory() if sys.argv[1] == 'keep' else False)
c = ctypes.CDLL(None)
c.malloc.restype = ctypes.c_void_p
c.free.argtypes = [ctypes.c_void_p]
c.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
size = 30 << 20
for i in range(6):
  if i == 3:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
  arrays = [c.malloc(size) for _ in range(3)]
  for array in arrays:
    c.memset(array, 1, size)
  for array in arrays:
    c.free(array)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

# A few gradient steps of a network with some MB of temporary arrays.
TRAIN = """
import hashlib, sys
from experiments import heap
if sys.argv[1] == 'keep':
  assert heap.keep_freed_memory()
import jax, numpy as np, optax
from agents.core.drq_learner import DrQLearner
from agents.core.driver import Driver
from agents.core.loop import Loop
from agents.core.networks import DuelingQNetwork
from agents.core.state import Outcome
import ht_rl

learner = DrQLearner(
  DuelingQNetwork(3, channels=(8,), kernels=(8,), strides=(4,), hidden=64),
  num_actions=3,
  optimizer=ht_rl.hare_tortoise(
    optax.adam(1e-3), momentum=0.9, reset_every=5
  ),
  replay_capacity=100,
  min_replay_history=20,
)
driver = Driver(Loop(learner, replay_ratio=1), seed=0)
rng = np.random.default_rng(0)
frame = lambda: rng.integers(0, 256, (84, 84), np.uint8)
driver.begin(frame())
for i in range(32):
  driver.step(Outcome(float(i % 3 - 1), i % 7 == 6, False), frame())
digest = hashlib.sha256()
for leaf in jax.tree.leaves(driver.state):
  digest.update(np.asarray(leaf).tobytes())
print(driver.gradient_steps, digest.hexdigest())
"""


def lines(program, word, **environ):
  """The lines that a program prints, in a process of its own."""
  clean = {k: v for k, v in os.environ.items() if not k.startswith('MALLOC_')}
  clean.pop('GLIBC_TUNABLES', None)
  return subprocess.run(
    [sys.executable, '-c', program, word],
    env=clean | {'JAX_PLATFORMS': 'cpu'} | environ,
    capture_output=True,
    check=True,
    text=True,
  ).stdout.splitlines()


@glibc
def test_freed_memory_is_used_again():
  did, faults = lines(FAULTS, 'keep')
  assert did == 'True'
  _, own_faults = lines(FAULTS, 'own')
  assert int(faults) < int(own_faults) / 10


@glibc
@pytest.mark.parametrize('name', ['MALLOC_TOP_PAD_', 'GLIBC_TUNABLES'])
def test_the_users_choice_stays(name):
  value = {'MALLOC_TOP_PAD_': '131072'}.get(name, 'glibc.malloc.arena_max=8')
  did, _ = lines(FAULTS, 'keep', **{name: value})
  assert did == 'False'


@pytest.mark.parametrize('system', ['darwin', 'win32'])
def test_another_system_is_left_alone(monkeypatch, system):
  monkeypatch.setattr(heap.sys, 'platform', system)
  monkeypatch.setattr(heap.ctypes, 'CDLL', None)
  assert not heap.keep_freed_memory()


def test_another_c_library_is_left_alone(monkeypatch):
  for name in [*os.environ]:
    if name.startswith('MALLOC_') or name == 'GLIBC_TUNABLES':
      monkeypatch.delenv(name)
  monkeypatch.setattr(heap.sys, 'platform', 'linux')
  monkeypatch.setattr(heap.ctypes, 'CDLL', lambda name: object())
  assert not heap.keep_freed_memory()


@glibc
def test_a_run_has_the_same_bits():
  steps, digest = lines(TRAIN, 'keep')[0].split()
  assert int(steps) == 12
  assert lines(TRAIN, 'own') == [f'{steps} {digest}']
