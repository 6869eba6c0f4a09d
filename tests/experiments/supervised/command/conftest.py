import functools

import pytest

from experiments.supervised import groups
from tests.experiments.supervised.command.typed import arguments, type_command


@pytest.fixture(scope='module')
def _trace_once():
  """Traces a phase of a setting once for all tests."""
  with pytest.MonkeyPatch.context() as patch:
    trainer = functools.cache(groups._trainer.__wrapped__)
    patch.setattr(groups, '_trainer', trainer)
    yield


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  """The base_dir of a finished experiment, and what was typed for it."""
  base_dir = tmp_path_factory.mktemp('finished')
  typed = arguments(base_dir)
  assert type_command(*typed) == 0
  return base_dir, typed
