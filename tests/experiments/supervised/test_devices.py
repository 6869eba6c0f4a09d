"""Several devices share a batch, and train what one device trains."""

import os
import pathlib
import subprocess
import sys

import numpy as np

SETUP = """
import sys
import jax
import numpy as np
from experiments.supervised import data, settings, training
from experiments.supervised.training import orders

rng = np.random.default_rng(0)
def make_dataset(n):
  return data.Dataset(
    'noise',
    *(rng.integers(0, 256, (n, 4, 4, 1), np.uint8), np.arange(n) % 6),
    *(rng.integers(0, 256, (30, 4, 4, 1), np.uint8), np.arange(30) % 6),
    *(6, (0.4,), (0.3,)),
  )
"""
EPOCH = """
setting = settings.Setting(
  ratios=(1.0,), noises=(0.5,), epochs=(1,), batch_size=16, width=0.1,
  reset_steps=2, momentum=0.5, augment=True, eps=1e-2,
)
trainer = training.Trainer(setting, (1, 2), make_dataset(40))
state = trainer.begin_phase(0)
keys = jax.vmap(jax.random.key)(np.arange(2))
arguments = (
  keys, state, trainer._images(0), *map(np.asarray, trainer._phases[0]),
  orders.orders(keys, 40),
)
compiled = trainer._train_epoch(0).lower(*arguments).compile()
leaves = jax.tree.leaves(compiled(*arguments))
np.savez(sys.argv[1], 'all-reduce' in compiled.as_text(), *leaves)
"""
# Several seeds, and as many samples and features as a real network has: XLA's
# batched SVD of such matrices on two devices never ended.
MEASURE = """
setting = settings.Setting(ratios=(1.0,), noises=(0.5,), epochs=(1,))
trainer = training.Trainer(setting, (1, 2), make_dataset(600))
state = trainer.begin_phase(0)
for _ in range(2):
  figures = trainer.measure(0, state)
np.savez(sys.argv[1], **figures)
"""


def saved(folder, script, count):
  """The arrays that a script saves where there are so many devices."""
  root = pathlib.Path(__file__).parents[3]
  file = folder / f'{count}.npz'
  subprocess.run(
    [sys.executable, '-c', SETUP + script, file],
    env={
      **os.environ,
      'PYTHONPATH': str(root),
      'JAX_DISABLE_MOST_OPTIMIZATIONS': '1',
      'XLA_FLAGS': f'--xla_force_host_platform_device_count={count}',
    },
    check=True,
    timeout=600,  # Against a hang: it takes some seconds.
  )
  with np.load(file) as arrays:
    return {name: arrays[name] for name in arrays.files}


def test_two_devices_train_what_one_does(tmp_path):
  one, two = (list(saved(tmp_path, EPOCH, count).values()) for count in (1, 2))
  assert (one[0], two[0]) == (False, True)  # Gradients are summed over both.
  for a, b in zip(one[1:], two[1:], strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_two_devices_measure_what_one_does(tmp_path):
  one, two = (saved(tmp_path, MEASURE, count) for count in (1, 2))
  assert one.keys() == two.keys()
  for name, values in one.items():
    np.testing.assert_allclose(values, two[name], rtol=1e-5, err_msg=name)
  assert (one['feature_rank'] > 50).all()
