"""The entry of a data set: its shape, its statistics and its reader."""

from collections.abc import Callable
import dataclasses
import importlib
import pathlib
from typing import Any, TypeAlias

import numpy as np

# Images, uint8 [n, height, width, channels], and their labels, int32 [n].
Split: TypeAlias = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Source:
  """A registered data set.

  Attributes:
    name: as `load` takes it.
    title: its name in tables and figures.
    num_classes: number of classes.
    shape: of an image, (height, width, channels).
    mean: of each channel, of pixels in [0, 1].
    std: what each channel is divided by, likewise: its standard deviation over
      the training set, except where the entry says otherwise.
    read: returns the training and the test split, given this source and the
      user's folder (None for none).
    hub: name in the Hugging Face hub.
    test_splits: names of the split that is the test set; the first that exists
      is taken.
  """

  name: str
  title: str
  num_classes: int
  shape: tuple[int, int, int]
  mean: tuple[float, ...]
  std: tuple[float, ...]
  read: Callable[['Source', pathlib.Path | None], tuple[Split, Split]]
  hub: str = ''
  test_splits: tuple[str, ...] = ('test',)

  def check_size(self, part: str, size: tuple[int, ...]) -> None:
    """Raises ValueError unless images have the right height and width."""
    if size != self.shape[:2]:
      raise ValueError(
        f'the {part} set has images of {"x".join(map(str, size))} pixels: '
        f'those of {self.name} are {"x".join(map(str, self.shape[:2]))}'
      )


def import_extra(module: str) -> Any:
  """Imports a module of the extra `supervised`.

  Raises:
    ImportError: it is missing; the message says how to install it.
  """
  try:
    return importlib.import_module(module)
  except ImportError as error:
    raise ImportError(missing(module)) from error


def missing(module: str) -> str:
  """Returns the message about a missing package."""
  return f"this needs {module}: pip install '.[supervised]'"
