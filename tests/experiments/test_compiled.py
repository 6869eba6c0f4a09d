"""Where compiled programs are kept, and what is said where they can't be."""

import jax
import pytest

from experiments import compiled
from experiments.command import MachineError


@pytest.fixture
def updates(monkeypatch):
  """What JAX is told, and not told."""
  found = {}
  monkeypatch.setattr(jax.config, 'update', found.__setitem__)
  return found


def test_each_host_has_its_own_unless_one_is_named(
  monkeypatch, tmp_path, updates
):
  monkeypatch.setattr(compiled.socket, 'gethostname', lambda: 'node7')
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  monkeypatch.delenv(compiled.VARIABLE)
  own = str(tmp_path / 'ht_rl' / 'xla-node7')
  assert compiled.folder() == own
  compiled.keep_programs()
  assert updates == {'jax_compilation_cache_dir': own}
  assert list((tmp_path / 'ht_rl' / 'xla-node7').iterdir()) == []
  monkeypatch.delenv('XDG_CACHE_HOME')
  monkeypatch.setenv('HOME', '/home/me')
  assert compiled.folder() == '/home/me/.cache/ht_rl/xla-node7'
  named = str(tmp_path / 'named')
  monkeypatch.setenv(compiled.VARIABLE, named)
  compiled.keep_programs()
  assert updates == {'jax_compilation_cache_dir': named}


def test_none_is_kept_where_the_variable_is_empty(monkeypatch, updates):
  monkeypatch.setenv(compiled.VARIABLE, '')
  compiled.keep_programs()
  assert updates == {'jax_enable_compilation_cache': False}


def test_a_folder_that_can_not_be_written(
  monkeypatch, tmp_path, updates, capsys
):
  file = tmp_path / 'file'
  file.touch()
  monkeypatch.setenv(compiled.VARIABLE, str(file / 'programs'))
  with pytest.raises(MachineError) as error:
    compiled.keep_programs()
  assert str(error.value) == (
    f'JAX_COMPILATION_CACHE_DIR: {file}/programs cannot be written (Not a '
    'directory)'
  )
  # Nobody named it, so it is no error.
  monkeypatch.delenv(compiled.VARIABLE)
  monkeypatch.setenv('XDG_CACHE_HOME', str(file))
  compiled.keep_programs()
  line = capsys.readouterr().err
  assert line.startswith(f'compiled programs are not kept, since {file}/ht_rl/')
  assert line.count('\n') == 1
  assert updates == {}
