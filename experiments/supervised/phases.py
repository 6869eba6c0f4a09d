"""The samples and labels of each phase of a run.

Lee et al. (2024), sections 3.1 and 5.2: a network is trained on a part of the
data with noisy labels, then on more of it with cleaner ones.
"""

from collections.abc import Sequence
import itertools
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike

from ht_rl.arguments import check_choice, check_float, check_int

NoiseMode = Literal['exclude_true', 'uniform']
BufferPolicy = Literal['uniform', 'reservoir', 'lowest_index']
Tasks = Literal['same', 'permuted', 'classes']

# The streams of random numbers, by purpose.
_SUBSETS, _NOISE, _BUFFER, _CLASSES, _PIXELS = range(5)


class Phase(NamedTuple):
  """The training set of one phase.

  Attributes:
    indices: into the whole training set, int32 [n].
    labels: of the samples in this phase, int32 [n].
  """

  indices: np.ndarray
  labels: np.ndarray


def make_phases(
  labels: ArrayLike,
  num_classes: int,
  ratios: Sequence[float],
  noises: Sequence[float],
  seed: int,
  *,
  noise_mode: NoiseMode = 'exclude_true',
  buffer_size: int | None = None,
  buffer_policy: BufferPolicy = 'uniform',
  tasks: Tasks = 'same',
) -> list[Phase]:
  r"""Draws the samples and the labels of all phases.

  By the end of phase :math:`k` the run has seen :math:`\mathrm{round}(N r_k)`
  samples, drawn uniformly, not class by class. A phase trains on its new
  samples and on those seen before or, with a buffer, on a part of them. Of its
  :math:`n` samples, :math:`\mathrm{round}(n \eta_k)` get a random label for the
  whole phase, drawn anew in each phase.

  Subsets, noise and buffers have random streams of their own: the new samples
  of a phase depend on `seed` and `ratios` alone, and the smaller subset of a
  seed is a part of the larger.

  >>> warm, full = make_phases(np.arange(100) // 10, 10, (0.1, 1), (0.5, 0), 0)
  >>> len(warm.indices), len(full.indices)
  (10, 100)
  >>> int(np.sum(warm.labels != warm.indices // 10))
  5

  Args:
    labels: the true classes of the training set, integers [N].
    num_classes: how many classes there are.
    ratios: for each phase the share of the training set that has been seen by
      its end, in (0, 1], never less than in the phase before.
    noises: for each phase the share of its samples with a random label.
    seed: the source of all randomness, 0 or more.
    noise_mode: ``exclude_true`` draws among the wrong classes, so that every
      random label is wrong; ``uniform`` among all classes, so that one in
      `num_classes` is right by chance.
    buffer_size: number of samples seen before a phase that it trains on; None
      for all.
    buffer_policy: ``uniform`` draws them from all that was seen, anew in each
      phase, so that what was discarded can return; ``reservoir`` keeps a
      uniform sample of all that was seen, of what the phase before had, so that
      nothing returns; ``lowest_index`` takes those that come first in the
      training set. If that is sorted by class, they are of few classes, as in
      the code that the paper's authors released.
    tasks: ``classes`` shares out one class after the other, in the random order
      of `class_order`: with ten classes and ratios 0.2 and 0.4 the first phase
      has two classes, the second has two new ones. Of each class there are as
      many samples as the smallest class has (`num_in_all`). Otherwise samples
      are drawn from all classes. (``permuted`` bears on images alone, see
      `pixel_order`.)

  Returns:
    The phases in order.

  Raises:
    ValueError: an argument is out of its range; the message says which.
  """
  true = np.asarray(labels, np.int32)
  _check_labels(true, num_classes)
  _check_shares(ratios, noises)
  check_choice('noise_mode', noise_mode, get_args(NoiseMode))
  check_choice('buffer_policy', buffer_policy, get_args(BufferPolicy))
  if buffer_size is not None:
    check_int('buffer_size', buffer_size, 0)
  check_choice('tasks', tasks, get_args(Tasks))
  order = _rng(seed, _SUBSETS).permutation(len(true)).astype(np.int32)
  if tasks == 'classes':
    check_whole_classes(ratios, num_classes)
    size = num_in_all(true, num_classes, tasks) // num_classes
    classes = class_order(num_classes, seed)
    order = np.concatenate([order[true[order] == c][:size] for c in classes])
  phases: list[Phase] = []
  seen = 0
  for k, (ratio, noise) in enumerate(zip(ratios, noises, strict=True)):
    old, seen = order[:seen], round(len(order) * ratio)
    new = order[len(old) : seen]
    if buffer_size is not None and len(old) > buffer_size:
      if buffer_policy == 'uniform':
        rng = _rng(seed, _BUFFER, k)
        old = rng.choice(old, buffer_size, replace=False)
      elif buffer_policy == 'reservoir':
        old = _reservoir(old, buffer_size, _rng(seed, _BUFFER))
      else:
        old = np.sort(old)[:buffer_size]
    indices = np.concatenate([old, new])
    if not len(indices):
      raise ValueError(
        f'phase {k + 1} has no samples: {ratio} of {len(order)} is too little'
      )
    noisy = _with_noise(
      true[indices], num_classes, noise, noise_mode, _rng(seed, _NOISE, k)
    )
    phases.append(Phase(indices, noisy))
  return phases


def num_in_all(labels: ArrayLike, num_classes: int, tasks: Tasks) -> int:
  """Returns how many training samples the phases of a run share out.

  >>> [num_in_all([0, 1, 1, 1], 2, tasks) for tasks in ('same', 'classes')]
  [4, 2]

  Args:
    labels: of the whole training set, integers [N].
    num_classes: how many classes there are.
    tasks: see `make_phases`.
  """
  if tasks != 'classes':
    return len(np.asarray(labels))
  sizes = np.bincount(np.asarray(labels), minlength=num_classes)
  return num_classes * int(sizes.min())


def class_order(num_classes: int, seed: int) -> np.ndarray:
  """Returns the order in which a run sees the classes, int [num_classes]."""
  return _rng(seed, _CLASSES).permutation(num_classes)


def pixel_order(num_pixels: int, seed: int, phase: int) -> np.ndarray:
  """Returns the places of the pixels of permuted images, int [num_pixels].

  Each phase has another order, the first one too.
  """
  return _rng(seed, _PIXELS, phase).permutation(num_pixels)


def check_whole_classes(ratios: Sequence[float], num_classes: int) -> None:
  """Raises ValueError unless each phase ends with whole classes."""
  for ratio in ratios:
    if abs(ratio * num_classes - round(ratio * num_classes)) > 1e-6:
      raise ValueError(
        "ratios must be whole numbers of classes with tasks = 'classes': "
        f'multiples of 1/{num_classes}, not {ratio!r}'
      )


def _reservoir(
  stream: np.ndarray, size: int, rng: np.random.Generator
) -> np.ndarray:
  """Returns a uniform sample of a stream that was read once (algorithm R).

  With the same random numbers that of a longer stream has nothing that this one
  has discarded.

  Args:
    stream: int32 [n].
    size: how many are kept, at most n.
    rng: is used in the same way for any n.

  Returns:
    int32 [size].

  References:
    Vitter, 1985, "Random Sampling with a Reservoir".
  """
  places = rng.integers(0, np.arange(1, len(stream) + 1))[size:]
  enters = places < size
  kept = stream[:size].copy()
  # Of several that come to one place the last one stays.
  kept[places[enters]] = stream[size:][enters]
  return kept


def _with_noise(
  labels: np.ndarray,
  num_classes: int,
  noise: float,
  mode: NoiseMode,
  rng: np.random.Generator,
) -> np.ndarray:
  """Returns the labels with a share of them replaced, int32 [n]."""
  replaced = rng.permutation(len(labels))[: round(len(labels) * noise)]
  result = labels.copy()
  if mode == 'exclude_true':
    step = rng.integers(1, num_classes, len(replaced))
    result[replaced] = (labels[replaced] + step) % num_classes
  else:
    result[replaced] = rng.integers(num_classes, size=len(replaced))
  return result


def _rng(seed: int, *purpose: int) -> np.random.Generator:
  sequence = np.random.SeedSequence(seed, spawn_key=purpose)
  return np.random.default_rng(sequence)


def _check_labels(labels: np.ndarray, num_classes: int) -> None:
  check_int('num_classes', num_classes, 2)
  if labels.ndim != 1 or not labels.size:
    raise ValueError(
      f'labels must be of shape [samples], not {list(labels.shape)}'
    )
  if labels.min() < 0 or labels.max() >= num_classes:
    raise ValueError(
      f'labels must be from 0 to {num_classes - 1}, '
      f'not from {labels.min()} to {labels.max()}'
    )


def _check_shares(ratios: Sequence[float], noises: Sequence[float]) -> None:
  if not ratios or len(ratios) != len(noises):
    raise ValueError(
      'ratios and noises must have a number for each phase, '
      f'not {len(ratios)} and {len(noises)}'
    )
  for ratio in ratios:
    check_float('ratios', ratio, 0, 1, above=True)
  if any(b < a for a, b in itertools.pairwise(ratios)):
    raise ValueError(
      'ratios must never decrease, since they say how much has been seen: '
      f'not {tuple(ratios)}'
    )
  for noise in noises:
    check_float('noises', noise, 0, 1)
