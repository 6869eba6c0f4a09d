import pytest


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
  """Paths in messages are short: those that were given."""
  monkeypatch.chdir(tmp_path)
