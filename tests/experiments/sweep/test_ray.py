"""A sweep on a Ray cluster of several nodes, of which one is lost."""

import time

import pytest

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
