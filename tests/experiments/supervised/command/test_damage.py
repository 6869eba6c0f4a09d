"""Damages the files of phases, and types the command again."""

import json
import shutil

import pytest

from tests.experiments.supervised.command.typed import (
  FIRST_PHASE,
  SEEDS,
  arguments,
  by_hand,
  contents,
  read_results,
  seed_folders,
  type_command,
  type_until_an_epoch,
)

pytest.importorskip('mlxtend')
pytestmark = pytest.mark.usefixtures('compile_fast', '_trace_once')


DAMAGES = {
  'cut': lambda whole: whole[: len(whole) // 2],
  'binary': lambda whole: bytes(range(256)),
  'empty': lambda whole: b'',
  'no list': lambda whole: b'{"phase": 0}',
  'no rows': lambda whole: b'[]',
  'of other keys': lambda whole: whole.replace(b'hare_test_acc', b'acc'),
  'of another phase': lambda whole: whole.replace(
    b'"phase": 1', b'"phase": 2'
  ).replace(b'"phase": 0', b'"phase": 2'),
  'of several seeds': lambda whole: json.dumps(
    [
      {k: [x] if isinstance(x, float) else x for k, x in row.items()}
      for row in json.loads(whole)
    ]
  ).encode(),
  'without an end': lambda whole: json.dumps(json.loads(whole)[:-1]).encode(),
  'without a start': lambda whole: json.dumps(json.loads(whole)[1:]).encode(),
  'of texts': lambda whole: whole.replace(b'[', b'["x", ', 2),
  'lost': lambda whole: None,
}


@pytest.mark.parametrize('damage', DAMAGES)
@pytest.mark.parametrize('phase', [0, 1])
def test_damaged_evaluations(finished, tmp_path, capfd, damage, phase):
  copy = tmp_path / 'copy'
  shutil.copytree(finished[0], copy)
  whole = contents(copy / 'warm_start_mnist')
  before = {}
  for folder in seed_folders(copy, phase):
    file = folder / 'rows.json'
    before[file] = file.read_bytes()
    damaged = DAMAGES[damage](before[file])
    if damaged is None:
      file.unlink()
    else:
      assert damaged != before[file]
      file.write_bytes(damaged)
  capfd.readouterr()
  assert type_command(*arguments(copy), '--draw_only') == 0
  out, err = capfd.readouterr()
  assert out == ''
  *lines, nothing = err.splitlines()
  for file, line in zip(before, lines, strict=True):
    assert line.startswith(f'{file} ')
    assert line.endswith(': this phase is left out')
  assert nothing == 'nothing is finished yet'
  assert read_results(copy) == []
  if damage not in ('cut', 'lost'):  # One of each kind is trained again.
    return
  assert type_command(*arguments(copy)) == 0
  device, *lines = capfd.readouterr().err.splitlines()
  assert device.startswith('devices: ')
  for line, (file, content) in zip(lines, before.items(), strict=False):
    assert line.startswith(f'{file} ')
    assert line.endswith(': this phase is trained again')
    assert file.read_bytes() == content
  shown = contents(copy / 'warm_start_mnist')
  assert {k: x for k, (x, _) in shown.items()} == {
    k: x for k, (x, _) in whole.items()
  }


def test_a_phase_that_goes_on_without_its_evaluations_begins_again(
  tmp_path, capfd, monkeypatch
):
  typed = by_hand(tmp_path, {'shorter': FIRST_PHASE})
  type_until_an_epoch(monkeypatch, typed)
  files = [folder / 'rows.json' for folder in seed_folders(tmp_path)]
  for file in files:
    file.write_bytes(b'\xff')
  capfd.readouterr()
  assert type_command(*typed) == 0
  device, *lines = capfd.readouterr().err.splitlines()
  assert device.startswith('devices: ')
  assert lines[: len(SEEDS)] == [
    f'{file} is damaged: this phase is trained again' for file in files
  ]
  (result,) = read_results(tmp_path)
  assert [row['epoch'] for row in result['rows']] == [0, 2, 4]


def make_checkpoints_odd(path, kind):
  """Puts what does not belong there where the checkpoints of a phase are."""
  if kind == 'file':
    path.touch()
  elif kind == 'dangling link':
    path.symlink_to(path.with_name('nothing'))
  else:
    path.mkdir()
    temporary = path / '3.orbax-checkpoint-tmp-1'
    if kind == 'temporary file':
      temporary.touch()
    else:
      temporary.symlink_to(path / 'nothing')


@pytest.mark.parametrize(
  'kind', ['file', 'dangling link', 'temporary file', 'temporary link']
)
def test_odd_folders_of_checkpoints(finished, tmp_path, capfd, kind):
  copy = tmp_path / 'copy'
  shutil.copytree(finished[0], copy)
  folder, other = seed_folders(copy, 1)
  before = (folder / 'rows.json').read_bytes()
  shutil.rmtree(other)
  for path in folder.iterdir():
    shutil.rmtree(path) if path.is_dir() else path.unlink()
  make_checkpoints_odd(folder / 'checkpoints', kind)
  capfd.readouterr()
  code = type_command(*arguments(copy))
  out, err = capfd.readouterr()
  if kind.startswith('temporary'):
    assert code == 0
    assert (folder / 'rows.json').read_bytes() == before
  else:
    assert (code, out) == (1, '')
    device, line = err.splitlines()
    assert device.startswith('devices: ')
    assert line == (
      f'error: {folder / "checkpoints"} must be a folder; move it away'
    )
    assert not (folder / 'setting.json').exists()
