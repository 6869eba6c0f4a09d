import os

import pytest

from ht_rl import files


def test_a_text_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
  path = tmp_path / 'folder' / 'result.json'
  files.write_text(path, 'größer')
  assert path.read_bytes() == 'größer'.encode()

  def fail(descriptor):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(os, 'fsync', fail)
  with pytest.raises(OSError, match='No space'):
    files.write_text(path, 'other')
  assert path.read_bytes() == 'größer'.encode()
  assert os.listdir(path.parent) == ['result.json']


def test_of_several_files_all_are_written_or_none(tmp_path):
  first, second = tmp_path / 'a', tmp_path / 'b'
  first.write_text('before')
  second.mkdir()
  with pytest.raises(OSError, match='no file'):
    files.write_files({first: b'new', second: b'new'})
  assert first.read_text() == 'before'
  assert sorted(os.listdir(tmp_path)) == ['a', 'b']


def test_what_a_killed_process_left_is_removed(tmp_path):
  path = tmp_path / 'result.json'
  (tmp_path / 'result.json.4711.unfinished').write_text('{"sco')
  files.write_text(path, '{}')
  files.remove_unfinished(tmp_path)
  assert os.listdir(tmp_path) == ['result.json']
