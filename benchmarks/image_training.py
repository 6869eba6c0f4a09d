"""Supervised training on random images, as an experiment does it."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from experiments.supervised import training
from experiments.supervised.data import Dataset
from experiments.supervised.settings import Setting

BATCH = 256


def random_images(side: int, channels: int, batches: int) -> Dataset:
  """As many random images as an epoch has."""
  rng = np.random.default_rng(0)
  shape = (batches * BATCH, side, side, channels)
  images = rng.integers(0, 256, shape, np.uint8)
  labels = np.sort(rng.integers(0, 10, len(images))).astype(np.int32)
  return Dataset(
    'random',
    images,
    labels,
    images[:BATCH],
    labels[:BATCH],
    10,
    (0.5,) * channels,
    (0.25,) * channels,
  )


def ours(
  dataset: Dataset, model: str, width: float, seeds: int
) -> Callable[[int], None]:
  """Returns a function that trains for a number of epochs."""
  return training_and_state(dataset, model, width, seeds)[0]


def training_and_state(
  dataset: Dataset, model: str, width: float, seeds: int
) -> tuple[Callable[[int], None], Callable[[], Any]]:
  """Returns a function that trains, and one that returns the state of now."""
  setting = Setting(
    model=model, width=width, ratios=(1.0,), noises=(0.0,), epochs=(10_000,)
  )
  trainer = training.Trainer(setting, range(seeds), dataset)
  state, epoch = trainer.begin_phase(0), 0

  def train(epochs: int) -> None:
    nonlocal state, epoch
    for _ in range(epochs):
      state, _ = trainer.epoch(0, epoch, state)
      epoch += 1
    jax.block_until_ready(state)

  return train, lambda: state
