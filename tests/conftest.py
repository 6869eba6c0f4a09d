import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

# Tests and their subprocesses often compile the same program. (Set before the
# import of JAX, which reads these variables once.)
_COMPILED = tempfile.TemporaryDirectory(prefix='ht_rl-compiled-')
os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', _COMPILED.name)
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.2')

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402

REPOSITORY = pathlib.Path(__file__).parents[1]

# Subprocesses find the packages from any folder, as pytest itself does.
os.environ['PYTHONPATH'] = os.pathsep.join(
  filter(None, [str(REPOSITORY), os.environ.get('PYTHONPATH')])
)

# The same examples everywhere, on loaded machines and read-only checkouts too.
hypothesis.settings.register_profile(
  'everywhere', deadline=None, derandomize=True, database=None
)
hypothesis.settings.load_profile('everywhere')


@pytest.fixture(scope='module')
def compile_fast():
  """Halves the time of tests that compile far more than they compute."""
  name = 'jax_disable_most_optimizations'
  before = jax.config.read(name)
  jax.config.update(name, True)
  yield
  jax.config.update(name, before)


class Environments:
  """Makes virtual environments with the wheel of `ht_rl`."""

  def __init__(self, folder: pathlib.Path):
    self._folder = folder
    # Build a copy: a build writes into its source, and several may run at once.
    source = folder / 'source'
    shutil.copytree(
      REPOSITORY / 'ht_rl',
      source / 'ht_rl',
      ignore=shutil.ignore_patterns('__pycache__'),
    )
    for name in ('setup.py', 'pyproject.toml', 'README.md', 'LICENSE'):
      shutil.copy(REPOSITORY / name, source)
    self._run('build', '--quiet', '--wheel', '--out-dir', folder, source)
    (self._wheel,) = folder.glob('*.whl')

  def make(self, name: str, *requirements: str) -> pathlib.Path:
    """Returns the Python of a new environment with these requirements.

    Args:
      name: name of the environment.
      *requirements: requirements for pip; `ht_rl` is the wheel. All versions
        are those of the lock file.
    """
    ours = {'ht_rl': f'ht_rl @ {self._wheel.as_uri()}'}
    wanted = [
      ours.get(requirement, requirement) for requirement in requirements
    ]
    python = self._folder / name / 'bin' / 'python'
    self._run(
      'venv', '--quiet', '--python', sys.executable, self._folder / name
    )
    self._run(
      *('pip', 'install', '--quiet', '--python', python),
      *('--constraints', REPOSITORY / 'requirements.lock', *wanted),
    )
    return python

  def _run(self, *arguments: str | pathlib.Path) -> None:
    subprocess.run([sys.executable, '-m', 'uv', *arguments], check=True)


@pytest.fixture(scope='session')
def environments(tmp_path_factory) -> Environments:
  """Returns a maker of environments as a user would install them."""
  return Environments(tmp_path_factory.mktemp('environments'))
