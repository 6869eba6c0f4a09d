"""Units of work: who takes which, and what waits for what."""

import dataclasses
import errno
import multiprocessing
import pathlib
import threading

import pytest

from agents.errors import CheckpointError, DivergedError, StoppedError
from experiments import locks, runs
from experiments.command import MachineError, SettingsError


@dataclasses.dataclass
class Unit:
  """Writes its name when it is executed; `acts` says how it ends."""

  folder: pathlib.Path
  needs: tuple = ()
  error: Exception | None = None

  @property
  def parts(self):
    return (self,)

  @property
  def is_finished(self):
    return (self.folder / 'finished').exists()

  def execute(self, should_stop):
    if should_stop():
      raise StoppedError('stopped; there is a checkpoint')
    if self.error is not None:
      raise self.error
    (self.folder / 'finished').touch()


class Log:
  """What the loop says of its units."""

  def __init__(self, *units, stop_after=None):
    self.lines = []
    self.stop_after = stop_after
    self.after = {}
    self.errors = None
    self.units = units

  def should_stop(self):
    return self.stop_after is not None and len(self.lines) >= self.stop_after

  def run(self):
    def say(word):
      def add(unit, *_):
        self.lines.append(f'{word} {unit.folder.name}')
        self.after.get(self.lines[-1], lambda: None)()

      return add

    self.errors = runs.execute_all(
      self.units,
      should_stop=self.should_stop,
      started=say('started'),
      finished=say('finished'),
      failed=say('failed'),
      poll_seconds=0.01,
    )
    return self.lines


def test_units_run_once_and_after_what_they_need(tmp_path):
  first = Unit(tmp_path / 'first')
  second = Unit(tmp_path / 'second', needs=(first,))
  again = Unit(tmp_path / 'first', error=AssertionError('executed twice'))
  log = Log(second, first, again)
  assert log.run() == [
    'started first',
    'finished first',
    'started second',
    'finished second',
  ]
  assert log.errors == {}
  # Another time there is nothing to do.
  assert Log(second, first).run() == []


def test_what_needs_a_failure_is_left_out_and_the_others_go_on(tmp_path):
  error = DivergedError('the loss was NaN')
  bad = Unit(tmp_path / 'bad', error=error)
  next_ = Unit(tmp_path / 'next', needs=(bad,))
  last = Unit(tmp_path / 'last', needs=(next_,))
  good = Unit(tmp_path / 'good')
  log = Log(bad, next_, last, good)
  assert log.run() == [
    'started bad',
    'failed bad',
    'started good',
    'finished good',
  ]
  folders = {unit.folder for unit in (bad, next_, last)}
  assert log.errors == dict.fromkeys(folders, error)
  assert not last.folder.exists()


class Several(Unit):
  """Brings all of its parts to their ends."""

  def __init__(self, *parts, needs=(), error=None):
    super().__init__(parts[0].folder, needs, error)
    self._parts = parts

  @property
  def parts(self):
    return self._parts

  def execute(self, should_stop):
    super().execute(should_stop)
    for part in self._parts:
      part.execute(should_stop)


def test_a_unit_of_several_parts(tmp_path, other_process):
  a, b, c, taken = (Unit(tmp_path / name) for name in ('a', 'b', 'c', 'taken'))
  # It waits for the part that another process holds, and holds none meanwhile.
  both = Several(a, taken)
  after = Several(c, needs=(b, taken))
  log = Log(both, after, b)
  free = []

  def look():
    with runs.claim(a.folder) as held:
      free.append(held)
    other_process.set()

  log.after = {'finished b': look}
  assert log.run() == [
    *('started b', 'finished b'),
    *('started a', 'finished a', 'started c', 'finished c'),
  ]
  assert free == [True]
  # All parts are left out where one fails.
  error = DivergedError('the loss was NaN')
  d, e = Unit(tmp_path / 'd'), Unit(tmp_path / 'e')
  last = Several(Unit(tmp_path / 'f'), Unit(tmp_path / 'g'), needs=(e,))
  log = Log(Several(d, e, error=error), last)
  assert log.run() == ['started d', 'failed d']
  assert log.errors == {tmp_path / name: error for name in 'defg'}


def test_an_error_of_another_kind_ends_the_loop(tmp_path):
  bad = Unit(tmp_path / 'bad', error=CheckpointError('the disk is full'))
  good = Unit(tmp_path / 'good')
  with pytest.raises(CheckpointError):
    Log(bad, good).run()
  assert not good.is_finished
  with runs.claim(bad.folder) as held:  # It is not held any more.
    assert held


def test_a_signal_stops_before_the_next_unit(tmp_path):
  units = [Unit(tmp_path / name) for name in 'abc']
  with pytest.raises(StoppedError, match=r'stopped before .*/b$'):
    Log(*units, stop_after=2).run()
  assert [unit.is_finished for unit in units] == [True, False, False]


def hold(folder, held, release):
  with runs.claim(folder) as is_held:
    assert is_held
    held.set()
    assert release.wait(60)
    (folder / 'finished').touch()


@pytest.fixture
def other_process(tmp_path):
  """Another process that holds the folder `taken`, and finishes it."""
  context = multiprocessing.get_context('spawn')
  held, release = context.Event(), context.Event()
  process = context.Process(
    target=hold, args=(tmp_path / 'taken', held, release)
  )
  process.start()
  assert held.wait(60)
  yield release
  release.set()
  process.join(60)
  assert process.exitcode == 0


def test_what_another_process_holds_is_waited_for(tmp_path, other_process):
  taken = Unit(tmp_path / 'taken', error=AssertionError('it is held'))
  after = Unit(tmp_path / 'after', needs=(taken,))
  free = Unit(tmp_path / 'free')
  log = Log(taken, after, free)
  # It is given back when all that is free is done.
  log.after = {'finished free': other_process.set}
  assert log.run() == [
    'started free',
    'finished free',
    'started after',
    'finished after',
  ]


def test_a_signal_ends_the_waiting(tmp_path, other_process):
  taken = Unit(tmp_path / 'taken')
  with pytest.raises(StoppedError, match='while other processes work'):
    Log(taken, stop_after=0).run()


def test_a_claim_cleans_up_only_what_no_live_process_writes(
  tmp_path, other_process
):
  folder = tmp_path / 'taken'
  half = folder / 'rows.json.4711.unfinished'
  half.write_text('{')
  with runs.claim(folder) as held:
    assert not held
  assert half.exists()  # The other process may be writing it.
  other_process.set()
  with runs.claim(folder, wait=True) as held:
    assert held
    assert (folder / 'finished').exists()  # It was waited for.
    assert not half.exists()


def test_a_folder_that_can_not_be_written(tmp_path):
  (tmp_path / 'file').write_text('')
  with (
    pytest.raises(SettingsError, match='file/run cannot be written') as raised,
    runs.claim(tmp_path / 'file' / 'run'),
  ):
    pass
  assert not isinstance(raised.value, MachineError)


def test_a_trouble_that_may_pass_is_not_the_fault_of_the_path(
  tmp_path, monkeypatch
):
  def full(path):
    raise OSError(errno.ENOSPC, 'No space left on device', str(path))

  monkeypatch.setattr(locks, 'hold', full)
  with (
    pytest.raises(MachineError, match=r'run cannot be written \(No space left'),
    runs.claim(tmp_path / 'run'),
  ):
    pass


@pytest.mark.parametrize('there', ['', 'runs', 'runs/drq'])
def test_a_refused_setting_leaves_no_folder(tmp_path, there):
  (tmp_path / there).mkdir(parents=True, exist_ok=True)
  before = set(tmp_path.rglob('*'))
  folder = tmp_path / 'runs' / 'drq' / 'Pong'

  def refuse():
    with runs.claim(folder) as held:
      assert held
      (folder / 'checkpoints').mkdir()
      raise SettingsError('no')

  with pytest.raises(SettingsError):
    refuse()
  assert set(tmp_path.rglob('*')) == before


def test_a_refused_setting_leaves_what_was_there(tmp_path):
  folder, other = tmp_path / 'runs' / 'Pong', tmp_path / 'runs' / 'Qbert'
  with runs.claim(folder):
    (folder / 'run.json').touch()
  with pytest.raises(SettingsError), runs.claim(folder):
    raise SettingsError('no')
  with pytest.raises(SettingsError), runs.claim(other):
    raise SettingsError('no')
  assert {path.name for path in folder.iterdir()} == {'lock', 'run.json'}
  assert not other.exists()


def test_a_lock_that_its_holder_removed_is_not_held(tmp_path):
  """Who waited for it holds the file that is there now."""
  path = tmp_path / 'lock'
  seen = []

  def wait():
    with locks.wait_for(path), locks.hold(path) as again:
      seen.append((path.exists(), again))

  with locks.hold(path):
    waiting = threading.Thread(target=wait)
    waiting.start()
    path.unlink()
  waiting.join()
  assert seen == [(True, False)]
