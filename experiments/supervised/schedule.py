"""The steps of one phase of a run: how many, and what happens at which."""

from collections.abc import Callable
import dataclasses
import math
from typing import Any

import jax.numpy as jnp
from jax.typing import ArrayLike
import optax

from experiments.supervised import optimizer as optimizer_lib
from experiments.supervised.settings import Setting
import ht_rl


@dataclasses.dataclass(frozen=True)
class Schedule:
  """The steps of one phase of a setting, and what happens at which of them.

  Attributes:
    setting: the setting.
    phase: which of its phases, from 0.
    num_samples: how many samples the phase has.
    num_train: how many there are in the whole training set.
  """

  setting: Setting
  phase: int
  num_samples: int
  num_train: int

  @property
  def epochs(self) -> int:
    """How many epochs there are."""
    return self.setting.epochs[self.phase]

  @property
  def steps_per_epoch(self) -> int:
    """How many gradient steps an epoch has, the one of the rest included."""
    return math.ceil(self.num_samples / self.setting.batch_size)

  @property
  def steps(self) -> int:
    """How many gradient steps there are."""
    return self.epochs * self.steps_per_epoch

  def as_long_as(self, epochs: int) -> int:
    """How many epochs of the phase take as long as some of all data.

    Args:
      epochs: number of epochs of the whole training set.

    Returns:
      Number of epochs of the phase, at least 1.
    """
    return max(1, round(epochs * self.num_train / self.num_samples))

  def recycles(self, epoch: int) -> bool:
    """Whether dormant units are recycled before an epoch of the phase."""
    if self.setting.redo is None or (self.phase == 0 and epoch == 0):
      return False
    return epoch % self.as_long_as(self.setting.redo_every) == 0

  @property
  def reset_every(self) -> Callable[[ArrayLike], Any] | None:
    """What `hare_tortoise` is given to know when to restart."""
    names = ('reset_epochs', 'reset_steps')
    given = [self.setting.of_phase(name, self.phase) for name in names]
    return None if given == [None, None] else self.restarts

  def restarts(self, count: ArrayLike) -> Any:
    """Whether the hare restarts after a gradient step.

    Args:
      count: the number of steps of the phase done, int32 scalar.

    Returns:
      bool scalar.
    """
    every = self.setting.of_phase('reset_epochs', self.phase)
    if every is not None:
      epoch, step = jnp.divmod(count, self.steps_per_epoch)
      return (step == 0) & (epoch >= 1) & ((epoch - 1) % every == 0)
    every = self.setting.of_phase('reset_steps', self.phase)
    if every is not None:
      return (jnp.asarray(count) % every == 0) & (jnp.asarray(count) > 0)
    return jnp.asarray(False)

  def momentum(self, count: ArrayLike) -> Any:
    """The momentum of a step.

    Args:
      count: the number of steps of the phase done before it, int32 scalar.

    Returns:
      float scalar.
    """
    momentum = self.setting.momentum
    if not self.setting.reset_alias:
      return momentum
    # Two networks in one memory, which the average then takes apart: after that
    # step the tortoise is the hare.
    return jnp.where(self.restarts(count), 0.0, momentum)

  def optimizer(self) -> optax.GradientTransformation:
    """AdamW with what the setting adds to it, inside of Hare & Tortoise."""
    setting = self.setting
    inner = optimizer_lib.adamw(
      setting.of_phase('learning_rate', self.phase),
      warmup_steps=int(setting.warmup * self.steps),
      weight_decay=setting.weight_decay,
      b1=setting.b1,
      b2=setting.b2,
      eps=setting.eps,
      max_grad_norm=setting.max_grad_norm,
    )
    if setting.regenerate:
      inner = optax.chain(ht_rl.regenerate(setting.regenerate), inner)
    return ht_rl.hare_tortoise(
      inner, momentum=self.momentum, reset_every=self.reset_every
    )
