"""The images of a phase: the same for all seeds, or permuted for each."""

from collections.abc import Sequence

import numpy as np

from experiments.supervised.data import Dataset
from experiments.supervised.phases import class_order, pixel_order
from experiments.supervised.settings import Setting


class Inputs:
  """The images of the phases of some seeds.

  Attributes:
    image_axis: the axis of the seeds in images; None if all have the same.
    label_axis: the axis of the seeds in labels of the test set, likewise.
  """

  def __init__(self, setting: Setting, seeds: Sequence[int], dataset: Dataset):
    """Takes the images.

    Args:
      setting: its tasks say what changes from phase to phase.
      seeds: of the runs.
      dataset: the data.
    """
    self._setting, self._seeds, self._dataset = setting, seeds, dataset
    self.image_axis = 0 if setting.tasks == 'permuted' else None
    self.label_axis = 0 if setting.tasks == 'classes' else None

  def train_images(self, phase: int) -> np.ndarray:
    """Returns uint8 [train, height, width, channels], or such for each seed."""
    return self._of_seeds(phase, self._dataset.train_images)

  def test_set(self, phase: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns images and labels that a phase is tested on.

    Args:
      phase: which one, from 0.

    Returns:
      Images, uint8 [test, height, width, channels], or such for each seed; and
      labels, int32 [test], or such for each seed with -1 where a class has not
      been seen by the end of the phase.
    """
    labels = self._dataset.test_labels
    if self._setting.tasks == 'classes':
      num_classes = self._dataset.num_classes
      seen = round(self._setting.ratios[phase] * num_classes)
      classes = [class_order(num_classes, seed)[:seen] for seed in self._seeds]
      labels = np.stack(
        [np.where(np.isin(labels, own), labels, -1) for own in classes]
      )
    return self._of_seeds(phase, self._dataset.test_images), labels

  def _of_seeds(self, phase: int, images: np.ndarray) -> np.ndarray:
    if self._setting.tasks != 'permuted':
      return images
    count, height, width, channels = images.shape
    pixels = images.reshape(count, height * width, channels)
    orders = [pixel_order(height * width, x, phase) for x in self._seeds]
    permuted = np.stack([pixels[:, order] for order in orders])
    return permuted.reshape(len(orders), *images.shape)
