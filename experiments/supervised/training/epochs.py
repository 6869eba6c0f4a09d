"""The program of an epoch, for all seeds at once."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import numpy as np

from experiments.supervised.schedule import Schedule
from experiments.supervised.training.state import Stream, TrainState, stream
from experiments.supervised.training.steps import Step

PyTree: TypeAlias = Any
# From the keys, the state (donated), all images, and indices, labels and orders
# of the phase to the new state and the means of loss and accuracy.
Epoch: TypeAlias = Callable[..., tuple[TrainState, dict[str, jax.Array]]]


def make_epoch(
  step: Step,
  schedule: Schedule,
  num_seeds: int,
  *,
  image_axis: int | None,
  steps_alone: bool,
) -> Epoch:
  """Returns the function that trains all seeds for an epoch of a phase.

  Args:
    step: a gradient step of one seed.
    schedule: the steps of the phase.
    num_seeds: number of seeds.
    image_axis: the axis of the seeds in the images; None if all have the same.
    steps_alone: whether each step is a program of its own, and not the epoch.
  """
  batch_size, num_samples = schedule.setting.batch_size, schedule.num_samples
  full, rest = divmod(num_samples, batch_size)
  axes = (0, 0, image_axis, 0, 0, 0)

  def step_of(
    key: jax.Array,
    state: TrainState,
    images: jax.Array,
    indices: jax.Array,
    labels: jax.Array,
    rows: jax.Array,
    number: jax.Array,
  ) -> tuple[TrainState, dict[str, jax.Array]]:
    return step(
      stream(key, Stream.BATCH, number),
      state,
      images[indices[rows]],
      labels[rows],
    )

  def mean(sums: list[dict[str, jax.Array]]) -> dict[str, jax.Array]:
    total = jax.tree.map(lambda *x: sum(map(jnp.sum, x)), *sums)
    return {name: x / num_samples for name, x in total.items()}

  def scanned(
    key: jax.Array,
    state: TrainState,
    images: jax.Array,
    indices: jax.Array,
    labels: jax.Array,
    order: jax.Array,
  ) -> tuple[TrainState, dict[str, jax.Array]]:
    sums = []

    def body(state: TrainState, batch: tuple) -> tuple[TrainState, Any]:
      return step_of(key, state, images, indices, labels, *batch)

    if full:
      batches = order[: full * batch_size].reshape(full, batch_size)
      state, of_batches = jax.lax.scan(body, state, (batches, jnp.arange(full)))
      sums.append(of_batches)
    if rest:
      state, last = body(state, (order[full * batch_size :], full))
      sums.append(last)
    return state, mean(sums)

  if not steps_alone:
    of_all = side_by_side(scanned, axes, num_seeds)
    return jax.jit(of_all, donate_argnums=1)

  one_step = jax.jit(
    side_by_side(step_of, (*axes, None), num_seeds), donate_argnums=1
  )
  means = jax.jit(jax.vmap(lambda *sums: mean(list(sums))))

  def looped(
    keys: jax.Array,
    state: TrainState,
    images: jax.Array,
    indices: jax.Array,
    labels: jax.Array,
    orders: ArrayLike,
  ) -> tuple[TrainState, dict[str, jax.Array]]:
    rows = np.asarray(orders)
    sums = []
    for number in range(schedule.steps_per_epoch):
      batch = rows[:, number * batch_size : (number + 1) * batch_size]
      state, of_batch = one_step(
        keys, state, images, indices, labels, batch, number
      )
      sums.append(of_batch)
    return state, means(*sums)

  return looped


def side_by_side(
  function: Callable[..., PyTree], axes: Sequence[int | None], num_seeds: int
) -> Callable[..., PyTree]:
  """Maps a function of one seed over the leading axis of all seeds."""
  if num_seeds > 1:
    return jax.vmap(function, axes)

  # vmap over one seed makes convolutions on a CPU a quarter slower.
  def of_one(*arguments: PyTree) -> PyTree:
    alone = (
      x if axis is None else jax.tree.map(lambda leaf: leaf[0], x)
      for x, axis in zip(arguments, axes, strict=True)
    )
    return jax.tree.map(lambda leaf: leaf[None], function(*alone))

  return of_one
