"""What a user gets who installs the wheel alone."""

import json
import os
import subprocess
import sys

import pytest

import ht_rl

USER_CODE = """
import jax
import jax.numpy as jnp
import optax  # type: ignore[import-untyped]

import ht_rl

optimizer: optax.GradientTransformationExtraArgs = ht_rl.hare_tortoise(
  optax.adam(1e-3), momentum=0.995, reset_every=lambda t: t == 7
)
params = {'w': jnp.ones(2)}
state: optax.OptState = optimizer.init(params)
target: optax.Params = ht_rl.tortoise_params(state)
"""
WRONG_CODE = """
import optax  # type: ignore[import-untyped]

import ht_rl

ht_rl.hare_tortoise(optax.adam(1e-3), momentum='fast')
ht_rl.hare_tortoise(optax.adam(1e-3), momentun=0.995)
"""
DOCTESTS = """
import doctest
import importlib
import json
import pkgutil

import ht_rl

# The extra analysis.
needs_more = ('drawing', 'figures', 'report', 'tables')
tried = {}
for module in pkgutil.walk_packages(ht_rl.__path__, 'ht_rl.'):
  if not set(needs_more) & set(module.name.split('.')):
    found = importlib.import_module(module.name)
    failed, tried[module.name] = doctest.testmod(
      found, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    )
    assert not failed, module.name
print(json.dumps([ht_rl.__file__, tried]))
"""


@pytest.fixture(scope='module')
def user(environments):
  """The Python of an environment in which the wheel was installed alone."""
  return environments.make('user', 'ht_rl')


def packages(python):
  listed = subprocess.run(
    [
      *(sys.executable, '-m', 'uv', 'pip', 'list'),
      *('--format=json', '--python', python),
    ],
    capture_output=True,
    check=True,
  )
  return {package['name'] for package in json.loads(listed.stdout)}


def test_wheel_brings_jax_optax_and_numpy_alone(user, environments):
  plain = environments.make('plain', 'jax', 'optax', 'numpy')
  assert packages(user) - packages(plain) == {'ht-rl'}


def test_wheel_holds_all_that_its_modules_need(user, tmp_path):
  done = subprocess.run(
    [user, '-c', DOCTESTS],
    cwd=tmp_path,
    env=without_python_variables(),
    capture_output=True,
    text=True,
    check=True,
  )
  path, tried = json.loads(done.stdout.splitlines()[-1])
  assert path.startswith(str(user.parents[1]))
  assert tried['ht_rl.transforms.hare_tortoise'] >= 2


def test_version_of_the_package_is_that_of_the_wheel(user, tmp_path):
  code = """
import importlib.metadata, ht_rl
print(ht_rl.__version__, importlib.metadata.version('ht_rl'))
"""
  done = subprocess.run(
    [user, '-c', code],
    cwd=tmp_path,
    env=without_python_variables(),
    capture_output=True,
    text=True,
    check=True,
  )
  assert done.stdout.split() == [ht_rl.__version__] * 2


def test_wheel_ships_its_types_and_the_report(user):
  folder = next(user.parents[1].glob('lib/python*/site-packages/ht_rl'))
  assert (folder / 'py.typed').exists()
  assert (folder / 'atari100k' / 'report.html.jinja').exists()


def test_wheel_leaves_the_experiments_to_the_checkout(user):
  (folder,) = user.parents[1].glob('lib/python*/site-packages/ht_rl')
  packages = {path.parent.name for path in folder.glob('*/__init__.py')}
  assert packages == {'atari100k', 'transforms'}
  assert not (folder.parent / 'experiments').exists()


def check_types(user, tmp_path, code):
  script = tmp_path / 'user.py'
  script.write_text(code)
  return subprocess.run(
    [
      *(sys.executable, '-m', 'mypy', '--strict', '--python-executable', user),
      *('--config-file', '', '--cache-dir', tmp_path / 'cache', script),
    ],
    cwd=tmp_path,
    env=without_python_variables(),
    capture_output=True,
    text=True,
  )


def test_type_checker_accepts_user_code(user, tmp_path):
  done = check_types(user, tmp_path, USER_CODE)
  assert done.returncode == 0, done.stdout


def test_type_checker_sees_what_is_wrong(user, tmp_path):
  done = check_types(user, tmp_path, WRONG_CODE)
  assert 'Argument "momentum"' in done.stdout
  assert 'Unexpected keyword argument "momentun"' in done.stdout
  assert 'Found 2 errors' in done.stdout


def without_python_variables():
  """The environment variables without PYTHONPATH and the like."""
  return {k: v for k, v in os.environ.items() if not k.startswith('PYTHON')}
