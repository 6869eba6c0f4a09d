"""The gradient steps of one phase: their number, restarts and optimizer."""

from collections.abc import Callable, Mapping
import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import optax

from experiments.supervised import optimizer as optimizer_lib
from experiments.supervised.methods import Method
from experiments.supervised.settings import PER_PHASE, Setting
import ht_rl


@dataclasses.dataclass(frozen=True)
class Schedule:
  """The gradient steps of one phase of a setting.

  Attributes:
    setting: the setting.
    phase: number of the phase, from 0.
    num_samples: number of samples of the phase.
    num_train: number of samples of the whole training set.
  """

  setting: Setting
  phase: int
  num_samples: int
  num_train: int

  @property
  def epochs(self) -> int:
    """Number of epochs."""
    return self.setting.epochs[self.phase]

  @property
  def steps_per_epoch(self) -> int:
    """Number of gradient steps of an epoch, with that of the smaller batch."""
    return math.ceil(self.num_samples / self.setting.batch_size)

  @property
  def steps(self) -> int:
    """Number of gradient steps."""
    return self.epochs * self.steps_per_epoch

  @property
  def program(self) -> tuple[Any, ...]:
    """What bears on the program of an epoch: equal phases share one."""
    of_phase = [self.setting.of_phase(name, self.phase) for name in PER_PHASE]
    return self.num_samples, self.epochs, *of_phase

  def as_long_as(self, epochs: int) -> int:
    """Returns how many epochs of the phase are as long as some of all data.

    Args:
      epochs: number of epochs of the whole training set.

    Returns:
      Number of epochs of the phase, at least 1.
    """
    return max(1, round(epochs * self.num_train / self.num_samples))

  def renews(self, method: Method, epoch: int) -> bool:
    """Returns whether a method renews weights before an epoch of the phase."""
    if not method.has('renew') or (self.phase == 0 and epoch == 0):
      return False
    every = method.renew_every
    if not method.renews_by_phase:
      every = self.as_long_as(every)
    return epoch % every == 0

  @property
  def reset_every(self) -> Callable[[ArrayLike], Any] | None:
    """The `reset_every` of `ht_rl.hare_tortoise`."""
    names = ('reset_epochs', 'reset_steps')
    given = [self.setting.of_phase(name, self.phase) for name in names]
    return None if given == [None, None] else self.restarts

  def restarts(self, count: ArrayLike) -> Any:
    """Returns whether the hare restarts after a gradient step.

    Args:
      count: number of steps of the phase that are done, int32 scalar.

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
    """Returns the momentum of a step.

    Args:
      count: number of steps of the phase before it, int32 scalar.

    Returns:
      float scalar.
    """
    momentum = self.setting.momentum
    if not self.setting.reset_alias:
      return momentum
    # The networks share one memory until the average is taken: after that step
    # the tortoise is the hare.
    return jnp.where(self.restarts(count), 0.0, momentum)

  def optimizer(
    self,
    init: Callable[[jax.Array], Any],
    layers: Mapping[str, ht_rl.Units],
  ) -> optax.GradientTransformationExtraArgs:
    """Returns AdamW with what the methods add, inside of Hare & Tortoise.

    Args:
      init: a function from a random key to newly drawn weights.
      layers: where the units of each hidden layer are in the weights.
    """
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
    for method in setting.all_methods:
      if method.has('wrap_optimizer'):
        inner = method.wrap_optimizer(inner)
    for method in setting.all_methods:
      if method.has('wrap_units'):
        inner = method.wrap_units(inner, init, layers)
    return ht_rl.hare_tortoise(
      inner, momentum=self.momentum, reset_every=self.reset_every
    )
