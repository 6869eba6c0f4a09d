"""Changes the code between two commands."""

import json
import shutil

import pytest

from experiments.supervised import code
from experiments.supervised.settings import Setting
from tests.experiments.supervised.command.typed import (
  FIRST_PHASE,
  ROOT,
  arguments,
  by_hand,
  seed_folders,
  type_command,
  type_until_an_epoch,
)

pytest.importorskip('mlxtend')
pytestmark = pytest.mark.usefixtures('compile_fast', '_trace_once')


def a_model(num_classes):
  """Stands for a network of a user's module."""
  raise NotImplementedError(num_classes)


def test_results_of_other_code_are_named(
  finished, tmp_path, capfd, monkeypatch
):
  copy = tmp_path / 'copy'
  shutil.copytree(finished[0], copy)
  own = code._of_this_repository()
  first, second = (seed_folders(copy, phase) for phase in (0, 1))
  for folder in (*first, *second):
    assert json.loads((folder / 'code.json').read_text()) == own
  # Code changes, and a file is new; then a phase is trained anew. Whether the
  # new file bears on the others is not known: records did not hold it.
  steps = 'experiments/supervised/training/steps.py'
  changed = own | {steps: 'other', 'experiments/supervised/new.py': 'new'}
  monkeypatch.setattr(code, '_of_this_repository', lambda: changed)
  shutil.rmtree(second[0].parent)
  capfd.readouterr()
  assert type_command(*arguments(copy)) == 0
  assert capfd.readouterr().err.splitlines()[-1] == (
    '2 of 4 finished phases were trained by other code than this '
    f'({steps} differ); to train them again, remove {first[0]}, {first[1]}'
  )
  assert json.loads((second[0] / 'code.json').read_text()) == changed
  # Nothing is said of phases without a record.
  for folder in first:
    (folder / 'code.json').unlink()
  assert type_command(*arguments(copy), '--draw_only') == 0
  err = capfd.readouterr().err
  assert err.startswith('written: ')
  assert 'other code' not in err


def test_a_phase_that_goes_on_keeps_the_record_of_its_beginning(
  tmp_path, capfd, monkeypatch
):
  typed = by_hand(tmp_path, {'shorter': FIRST_PHASE})
  began = {'a.py': '1'}
  monkeypatch.setattr(code, '_of_this_repository', lambda: began)
  type_until_an_epoch(monkeypatch, typed)
  monkeypatch.setattr(code, '_of_this_repository', dict)
  capfd.readouterr()
  assert type_command(*typed) == 0
  for folder in seed_folders(tmp_path):
    assert json.loads((folder / 'code.json').read_text()) == began
  assert 'other code than this (a.py differ)' in capfd.readouterr().err


def test_what_counts_as_other_code():
  plain = 'def f(x):\n  return x + 1\n'
  alike = (
    '"""A module."""\n\n# Why.\ndef f( x ):\n  """Adds."""\n'
    '  return (x+1)  # One.\n'
  )
  assert code.digest(plain) == code.digest(alike)
  assert code.digest(plain) != code.digest(plain.replace('1', '2'))
  files = code.digests_of(Setting())
  for part in (
    'experiments/supervised/training/steps.py',
    'experiments/supervised/methods/penalties.py',
    'experiments/supervised/models/resnet.py',
    'experiments/supervised/data/splits.py',
    'experiments/supervised/phases.py',
    'experiments/supervised/settings.py',
    'experiments/supervised/groups.py',
    'ht_rl/dtypes.py',
    'ht_rl/transforms/hare_tortoise.py',
  ):
    assert files[part] == code.digest((ROOT / part).read_text())
  assert not any('report' in name or 'test' in name for name in files)
  own = code.digests_of(Setting(model=a_model))
  assert set(code.differing(own, files)) == {f'{__name__}.py'}
