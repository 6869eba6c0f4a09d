"""Which build of JAX `make install` installs."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not shutil.which('make'), reason='no make')

NVIDIA_SMI = "#!/bin/sh\necho '580.65.06, 9.0'\n"


@pytest.fixture
def checkout(tmp_path):
  """A checkout without an environment, on a machine without a GPU."""
  for path in [ROOT / 'Makefile', *ROOT.glob('requirements*.lock')]:
    shutil.copy(path, tmp_path)
  (tmp_path / 'experiments').mkdir()
  for name in ('__init__.py', 'accelerators.py'):
    shutil.copy(ROOT / 'experiments' / name, tmp_path / 'experiments')
  (tmp_path / 'bin').mkdir()
  return tmp_path


def make(checkout, *words, gpu=False, run='--dry-run'):
  """Returns the exit code and what is printed, by default by a dry run."""
  smi = checkout / 'bin' / 'nvidia-smi'
  smi.write_text(NVIDIA_SMI if gpu else '#!/bin/sh\nexit 1\n')
  smi.chmod(0o755)
  drop = ('JAX', 'MAKEFLAGS', 'MAKELEVEL', 'MFLAGS', 'CUDA_VISIBLE_DEVICES')
  environ = {k: v for k, v in os.environ.items() if k not in drop}
  result = subprocess.run(
    ['make', run, '--no-print-directory', *words],
    cwd=checkout,
    env=environ
    | {'LC_ALL': 'C', 'PATH': f'{checkout / "bin"}:{environ["PATH"]}'},
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    check=False,
  )
  return result.returncode, result.stdout


def locks(printed):
  """Returns the lock files that uv, and pip in its place, would install."""
  uv, pip = re.findall(r'--no-deps (.*?)(?: \|\| \\)?\n', printed)
  assert uv == pip
  return uv.replace('-r ', '').split()


@pytest.mark.parametrize('build', ['cuda12', 'cuda13', 'tpu'])
def test_the_build_that_was_asked_for(checkout, build):
  code, printed = make(checkout, 'install', f'JAX={build}')
  assert code == 0
  assert locks(printed) == ['requirements.lock', f'requirements-{build}.lock']
  assert f'touch .venv/installed-{build}\n' in printed


def test_the_build_of_the_machine(checkout):
  _, printed = make(checkout, 'install', gpu=True)
  assert locks(printed) == ['requirements.lock', 'requirements-cuda13.lock']
  _, printed = make(checkout, 'install', 'JAX=cpu', gpu=True)
  assert locks(printed) == ['requirements.lock']


def test_an_environment_stays_until_another_build_is_asked_for(checkout):
  (checkout / '.venv').mkdir()
  (checkout / '.venv' / 'installed-cpu').touch()
  for words in ((), ('JAX=cpu',)):
    code, printed = make(checkout, 'install', *words, gpu=True)
    assert code == 0
    assert 'Nothing to be done' in printed
  _, printed = make(checkout, 'install', 'JAX=cuda12')
  assert locks(printed) == ['requirements.lock', 'requirements-cuda12.lock']


def python(path, version):
  """Writes a program that answers like a Python of this version."""
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(f'#!/bin/sh\necho "{version}"\n')
  path.chmod(0o755)


@pytest.mark.parametrize('is_same', [True, False])
def test_another_python_makes_another_environment(checkout, is_same):
  python(checkout / '.venv' / 'bin' / 'python', (3, 12))
  (checkout / '.venv' / 'installed-cpu').touch()
  python(checkout / 'asked', (3, 12) if is_same else (3, 13))
  _, printed = make(checkout, 'install', 'PYTHON=./asked', 'JAX=cpu')
  assert ('Nothing to be done' in printed) == is_same
  assert ('./asked -m venv --clear .venv' in printed) == (not is_same)
  _, printed = make(checkout, 'install', 'JAX=cpu')  # Whatever is there.
  assert 'Nothing to be done' in printed


def test_the_environment_of_another_checkout_is_not_cleared(checkout):
  (checkout / 'other').mkdir()
  (checkout / 'other' / 'file').touch()
  (checkout / '.venv').symlink_to('other')
  # It ends where the new environment would be made.
  python(checkout / 'asked', (3, 12))
  with (checkout / 'asked').open('a') as file:
    file.write('[ "$2" != venv ]\n')
  words = ('install', 'PYTHON=./asked', 'JAX=cpu')
  code, _ = make(checkout, *words, run='--silent')
  assert code == 2
  assert not (checkout / '.venv').exists()
  assert (checkout / 'other' / 'file').exists()


def test_a_build_that_there_is_not(checkout):
  code, printed = make(checkout, 'install', 'JAX=cuda14')
  assert code == 2
  (line,) = printed.splitlines()
  assert "JAX must be one of cpu cuda12 cuda13 tpu, not 'cuda14'" in line


def test_lock_files_hold_nothing_twice():
  def pinned(path):
    return set(re.findall(r'^([a-z0-9-]+)==', path.read_text(), re.M))

  common = pinned(ROOT / 'requirements.lock')
  assert not any(name.startswith('nvidia-') for name in common)
  for build, module in (
    ('cuda12', 'jax-cuda12-plugin'),
    ('cuda13', 'jax-cuda13-plugin'),
    ('tpu', 'libtpu'),
  ):
    own = pinned(ROOT / f'requirements-{build}.lock')
    assert module in own
    assert not own & common


def test_the_builds_have_the_version_of_jax():
  def versions(path, name):
    lines = re.findall(rf'^{name}==(\S+) ; (.*?) \\$', path.read_text(), re.M)
    return sorted(lines)

  jax = versions(ROOT / 'requirements.lock', 'jax')
  assert jax
  for build in ('cuda12', 'cuda13'):
    lock = ROOT / f'requirements-{build}.lock'
    assert versions(lock, f'jax-{build}-plugin') == jax
    assert versions(lock, f'jax-{build}-pjrt') == jax
