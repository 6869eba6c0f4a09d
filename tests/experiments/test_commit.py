"""The commit that a record names."""

import pathlib
import shutil
import subprocess

import pytest

from experiments import commit

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.skipif(
  not (shutil.which('git') and (ROOT / '.git').exists()),
  reason='no checkout of git',
)
def test_it_is_that_of_the_checkout():
  words = ['git', 'rev-parse', 'HEAD']
  head = subprocess.check_output(words, cwd=ROOT, text=True)
  assert commit.commit().removesuffix('-dirty') == head[:10]


def test_without_git(monkeypatch, tmp_path):
  monkeypatch.setenv('PATH', str(tmp_path))
  assert commit.commit() == 'unknown'
