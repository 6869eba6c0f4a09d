"""A sweep on a Ray cluster of several nodes, of which one is lost."""

import pathlib
import signal
import subprocess
import sys
import time

import pytest

from experiments.launchers.base import Command
from experiments.launchers.ray_launcher import RayLauncher
from experiments.launchers.sharing import SharedDevices
from experiments.sweep.driver import Driver
from experiments.sweep.monitor import Monitor

ray = pytest.importorskip('ray')
cluster_utils = pytest.importorskip('ray.cluster_utils')


def test_no_run_is_queued_for_a_gpu_before_one_is_measured():
  launcher = object.__new__(RayLauncher)
  SharedDevices.__init__(launcher, None, fit=8, has_gpus=True)
  launcher._num_gpus, launcher._running = 2, {}
  assert launcher.room(9) == 2
  launcher._running = {'first': 'a', 'second': 'b'}
  assert launcher.room(9) == 0
  launcher.fit(0.2)
  assert launcher.room(9) == 9


class FakeRay:
  """Ray and its only task, as far as a launcher asks them."""

  def __init__(self, *nodes):
    self._nodes = [{'Alive': True, 'Resources': node} for node in nodes]
    self.address = None
    self.needs = None
    self.canceled = []
    self.while_submitting = lambda: None
    self._count = 0

  def is_initialized(self):
    return False

  def init(self, address, **_):
    self.address = address

  def nodes(self):
    return self._nodes

  def remote(self, *_, max_retries=None):
    if max_retries is not None:  # Of `ray`: it makes a task of a function.
      return lambda function: self
    self.while_submitting()
    self._count += 1
    return self._count

  def options(self, **needs):
    self.needs = needs
    return self

  def cancel(self, ref):
    self.canceled.append(ref)


@pytest.fixture
def fake_ray(monkeypatch):
  def make(*nodes):
    made = FakeRay(*nodes)
    monkeypatch.setitem(sys.modules, 'ray', made)
    return made

  return make


def test_a_head_node_without_cores_is_not_counted(fake_ray):
  fake = fake_ray({'memory': 1e9}, {'CPU': 64.0, 'memory': 1e9})
  launcher = RayLauncher(4, 1)
  launcher.start([Command('a', ('true',))])
  assert fake.needs == {'num_cpus': 16.0}


@pytest.mark.parametrize(
  ('nodes', 'runs', 'needs'),
  [
    # 12 runs on two nodes of 64 cores: six on each.
    ([{'CPU': 64.0}, {'CPU': 64.0}, {}], 12, {'num_cpus': 64 / 6}),
    ([{'CPU': 64.0}], 1000, {'num_cpus': 1.0}),
    ([{'CPU': 8.0, 'GPU': 2.0}], 3, {'num_cpus': 1, 'num_gpus': 0.5}),
  ],
)
def test_few_runs_have_more_of_a_node_each(fake_ray, nodes, runs, needs):
  fake = fake_ray(*nodes)
  launcher = RayLauncher(None, 1, runs=runs)
  launcher.fit(0.01)
  launcher.start([Command('a', ('true',))])
  assert fake.needs == {**needs, 'memory': 1}


@pytest.mark.parametrize(
  ('asked', 'address'), [(None, 'local'), ('auto', 'auto')]
)
def test_only_a_named_cluster_is_joined(fake_ray, asked, address):
  fake = fake_ray({'CPU': 1.0})
  RayLauncher(1, 1, asked)
  assert fake.address == address


def test_what_is_submitted_during_a_stop_is_canceled(fake_ray):
  fake = fake_ray({'CPU': 2.0})
  launcher = RayLauncher(1, 1)
  launcher.start([Command('a', ('true',))])
  fake.while_submitting = launcher.stop  # As a signal handler does.
  launcher.start([Command('b', ('true',))])
  assert fake.canceled == [1, 2]


# As Ray executes and cancels it.
EXECUTE = """
import signal, sys
from experiments.launchers.ray_launcher import _execute
signal.signal(signal.SIGINT, signal.default_int_handler)
print(_execute([sys.executable, '-c', sys.argv[1]], '.', 1, False))
"""
TOLD = """
import pathlib, signal, time
seen = []
signal.signal(signal.SIGTERM, lambda *_: seen.append('term'))
signal.signal(signal.SIGINT, lambda *_: seen.append('int'))
file = pathlib.Path({path!r})
while len(seen) < 2:
  file.write_text(str(len(seen)))
  time.sleep(0.01)
print(seen)
"""


def is_asleep(number):
  """Whether a process waits for something."""
  status = pathlib.Path(f'/proc/{number}/status').read_text()
  return 'State:\tS' in status


def test_the_second_cancel_does_not_wait(tmp_path):
  path = tmp_path / 'told'
  process = subprocess.Popen(
    [sys.executable, '-c', EXECUTE, TOLD.format(path=str(path))],
    stdout=subprocess.PIPE,
    text=True,
  )
  deadline = time.monotonic() + 300
  for seen in range(2):
    while not (
      path.exists()
      and path.read_text() == str(seen)
      and is_asleep(process.pid)  # It waits for the end of the command.
    ):
      assert time.monotonic() < deadline
      time.sleep(0.01)
    process.send_signal(signal.SIGINT)
  out, _ = process.communicate(timeout=300)
  assert out.strip() == """(0, "['term', 'int']")"""


@pytest.fixture
def cluster(monkeypatch):
  monkeypatch.setenv('RAY_USAGE_STATS_ENABLED', '0')
  sizes = {'object_store_memory': 100 << 20, 'include_dashboard': False}
  made = cluster_utils.Cluster(
    initialize_head=True, head_node_args={'num_cpus': 0, **sizes}
  )
  ray.init(made.address, log_to_driver=False)
  yield made
  ray.shutdown()
  made.shutdown()


@pytest.mark.slow
def test_a_node_is_lost(stub_sweep, cluster):
  nodes = [
    cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
    for _ in range(2)
  ]
  cluster.wait_for_nodes()
  sweep = stub_sweep(['drq'], ['Pong', 'Qbert'], range(4))
  # The first on each node wait, so that one is at work on the lost one.
  sweep.behave(drq_Pong_0=['wait'], drq_Qbert_0=['wait'])
  monitor = Monitor(sweep.sweep, sorted(sweep.sweep.runs, key=lambda x: x.seed))
  launcher = RayLauncher(1, 1 << 20)
  said = []
  driver = Driver(monitor, launcher, said.append)
  deadline = time.monotonic() + 300

  def disturb(driver):
    del driver
    assert time.monotonic() < deadline
    waits = sweep.base_dir / 'waits'
    release = sweep.base_dir / 'release'
    if (
      not release.exists()
      and waits.exists()
      and len(waits.read_text().splitlines()) == 2
    ):
      cluster.remove_node(nodes[0], allow_graceful=False)
      release.touch()

  driver.run(disturb)
  assert (sweep.base_dir / 'release').exists()
  assert len(sweep.done()) == 8, said
  assert driver.lost == {}
  assert not (sweep.base_dir / 'twice').exists()
  for name in ('drq/Pong/0', 'drq/Qbert/0'):
    assert sweep.outcomes(name)[-1] == 'done'
    assert len(sweep.outcomes(name)) >= 2
