"""The diffs of docs/examples/hosts, in the hosts that they are for.

The hosts come from the package registry, except Dopamine, which is installed.
With restarts off each trains exactly as it does on its own. Stand-ins replace
what needs PyTorch: see `train_host.py`.
"""

from importlib.util import find_spec
import os
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

REPOSITORY = pathlib.Path(__file__).parents[2]
PAGES = REPOSITORY / 'docs' / 'examples' / 'hosts'
TRAIN = pathlib.Path(__file__).with_name('train_host.py')
HOSTS = ['cleanrl_dqn', 'dopamine_dqn', 'rejax_dqn', 'rejax_pqn']
REQUIREMENTS = [
  'cleanrl==1.2.0',
  'rejax==0.1.3',
  'gymnax==0.0.9',
  'distrax==0.1.9',
  'tfp-nightly==0.26.0.dev20261027',  # What distrax asks for.
]
# A rule, and what it becomes with restarts off: a copy, as the hosts take one.
OFF = {
  'dopamine_dqn': ('momentum=0.995, reset_every=4000', 'momentum=0.0'),
  'cleanrl_dqn': ('reset_every=4000', 'reset_every=None'),
  'rejax_dqn': ('reset_every=4000', 'reset_every=None'),
  'rejax_pqn': ('reset_every=500', 'reset_every=None'),
}


@pytest.fixture(scope='module')
def registry(tmp_path_factory):
  """Returns a folder with the hosts, without what they depend on."""
  folder = tmp_path_factory.mktemp('hosts')
  done = subprocess.run(
    [
      *(sys.executable, '-m', 'uv', 'pip', 'install', '--quiet', '--no-deps'),
      *('--python', sys.executable, '--target', folder, *REQUIREMENTS),
    ],
    capture_output=True,
    text=True,
  )
  if done.returncode:
    pytest.skip(f'the registry does not have the hosts: {done.stderr}')
  return folder


def changed_file(diff):
  return re.search(r'^\+\+\+ b/(\S+)$', diff.read_text(), re.MULTILINE)[1]


def patch(diff, original, folder):
  """Returns the text of a host's file with the diff applied."""
  target = folder / changed_file(diff)
  target.parent.mkdir(parents=True)
  shutil.copy(original, target)
  # The folder is no checkout, also if one is above it.
  env = {**os.environ, 'GIT_CEILING_DIRECTORIES': str(folder.parent)}
  subprocess.run(['git', 'apply', diff], cwd=folder, env=env, check=True)
  return target.read_text()


def replace_once(text, old, new):
  assert text.count(old) == 1
  return text.replace(old, new)


@pytest.mark.slow
@pytest.mark.parametrize('host', HOSTS)
def test_a_host_with_restarts_off_trains_as_it_does_alone(
  host, request, tmp_path
):
  diff = PAGES / f'{host}.diff'
  if host == 'dopamine_dqn':
    root = pathlib.Path(find_spec('dopamine').origin).parents[1]
    paths = [REPOSITORY]
  else:
    root = request.getfixturevalue('registry')
    paths = [root, REPOSITORY]
  original = root / changed_file(diff)
  patched = patch(diff, original, tmp_path / 'patched')
  every = re.search(r'reset_every=\d+', patched)[0]
  sources = {
    'alone': original.read_text(),
    'off': replace_once(patched, *OFF[host]),
    'on': replace_once(patched, every, 'reset_every=50'),
  }
  for name, text in sources.items():
    (tmp_path / f'{name}.py').write_text(text)
  # Without fused multiply-adds, sums and products round the same in every
  # program, whatever else it computes.
  env = {
    **os.environ,
    'PYTHONPATH': os.pathsep.join(map(str, paths)),
    'XLA_FLAGS': '--xla_cpu_max_isa=SSE4_2',
  }
  done = subprocess.run(
    [
      *(sys.executable, TRAIN, host, 'weights.npz'),
      *(f'{name}={name}.py' for name in sources),
    ],
    cwd=tmp_path,
    env=env,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  weights = np.load(tmp_path / 'weights.npz')
  alone, slow = weights['alone_hare'], weights['alone_slow']
  assert weights['off_hare'].tobytes() == alone.tobytes()
  if host == 'rejax_pqn':  # It has no target network.
    assert np.abs(weights['off_slow'] - alone).max() > 0.01
  else:
    assert weights['off_slow'].tobytes() == slow.tobytes()
    assert np.any(slow != alone)
  # The last of the updates was a restart.
  np.testing.assert_array_equal(weights['on_hare'], weights['on_slow'])
  assert np.abs(weights['on_hare'] - alone).max() > 1e-3


def test_every_diff_is_short_and_has_a_page():
  diffs = {path.stem: path.read_text() for path in PAGES.glob('*.diff')}
  assert sorted(diffs) == HOSTS
  for host, text in diffs.items():
    changed = re.findall(r'^[+-](?![+-]{2} )', text, re.MULTILINE)
    assert len(changed) <= 10
    pages = [p for p in PAGES.glob('*.md') if f'{host}.diff' in p.read_text()]
    assert pages, host
