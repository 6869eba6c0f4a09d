"""The commit that a record names."""

import pathlib
import shutil
import subprocess

import pytest

from agents import commit

ROOT = pathlib.Path(__file__).parents[2]
GIT = pytest.mark.skipif(not shutil.which('git'), reason='git is not installed')


@pytest.fixture(autouse=True)
def anew():
  commit.commit.cache_clear()
  yield
  commit.commit.cache_clear()


@GIT
@pytest.mark.skipif(not (ROOT / '.git').exists(), reason='no checkout of git')
def test_it_is_that_of_the_checkout():
  words = ['git', 'rev-parse', 'HEAD']
  head = subprocess.check_output(words, cwd=ROOT, text=True)
  assert commit.commit().removesuffix('-dirty') == head[:10]


@pytest.fixture
def checkout(tmp_path):
  """A checkout with one commit."""
  (tmp_path / 'file').write_text('1')
  # The user's own configuration may lack a name, or sign commits.
  who = ['-c', 'user.name=x', '-c', 'user.email=x@example.org']
  who += ['-c', 'commit.gpgsign=false']
  for words in (['init', '-q'], ['add', '.'], [*who, 'commit', '-qm', 'x']):
    subprocess.run(['git', *words], cwd=tmp_path, check=True)
  return tmp_path


@GIT
def test_it_stays_what_it_was_at_the_first_call(checkout):
  words = ['git', 'rev-parse', 'HEAD']
  head = subprocess.check_output(words, cwd=checkout, text=True)[:10]
  (checkout / 'file').write_text('2')
  assert commit.commit(checkout) == f'{head}-dirty'
  (checkout / 'file').write_text('1')
  assert commit.commit(checkout) == f'{head}-dirty'
  commit.commit.cache_clear()
  assert commit.commit(checkout) == head


@GIT
def test_a_package_below_another_checkout(checkout):
  (checkout / 'site-packages').mkdir()
  assert commit.commit(checkout / 'site-packages') == 'unknown'


def test_without_git(monkeypatch, tmp_path):
  monkeypatch.setenv('PATH', str(tmp_path))
  assert commit.commit() == 'unknown'
