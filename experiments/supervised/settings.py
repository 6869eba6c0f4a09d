"""What a run is: its data, its network, its optimizer and its method.

Every method is off by default, and each is switched on by one field, so that
any of them compose.
"""

from collections.abc import Sequence
import dataclasses
import hashlib
import json
import math
import numbers
from typing import Any, get_args

import jax

from experiments.supervised import phases, results

# A value for each phase, or one for all.
PerPhase = Sequence[Any] | float | int | None


@dataclasses.dataclass(frozen=True)
class Setting:
  """One row of an experiment, for any number of seeds.

  The defaults are those of the paper's warm start of the MLP (tables 3 and A.2)
  on the digits that need no download.

  Attributes:
    dataset: which data, a name that `data.load` knows.
    folder: where the data lie; None for where `data.load` looks by itself.
    train_size: how many training images there are; None for all.
    validation_size: how many training images stand in for the test set; None to
      test on the test set, as the paper does.
    ratios: the share of the training set that has been seen by the end of each
      phase, numbers in (0, 1] that never fall.
    noises: the share of wrong labels in each phase, numbers in [0, 1].
    epochs: the number of epochs of each phase.
    noise_mode: 'exclude_true' or 'uniform', see `phases.make_phases`.
    buffer_size: how many old samples a phase keeps; None for all.
    buffer_policy: 'uniform' or 'lowest_index', see `phases.make_phases`.
    model: a name that `models.make_model` knows.
    width: what the hidden widths are multiplied by.
    crelu: whether hidden layers put out both halves, relu(x) and relu(-x).
    dtype: in which dtype the network computes, 'float32' or 'bfloat16'. Weights
      and averages are float32 always.
    batch_size: samples of a gradient step. The last batch of an epoch is
      smaller.
    learning_rate: of AdamW; one number, or one for each phase.
    warmup: the share of a phase's steps in which the learning rate rises.
    weight_decay: of AdamW, the L2 of the paper.
    b1: of AdamW.
    b2: of AdamW.
    eps: of AdamW.
    max_grad_norm: to what the norm of all gradients together is clipped.
    augment: whether images are cropped and flipped at random.
    spectral_decoupling: weight of the mean square of the logits, over batch and
      classes (Pezeshki et al., 2021).
    regenerate: weight of the squared distance from the initial weights (Kumar
      et al., 2023).
    redo: the score up to which a unit is dormant and is recycled (Sokar et al.,
      2023); None for never.
    redo_every: how many epochs of the whole training set lie between two such
      recyclings; a phase that has a part of it counts epochs in proportion.
    head_reset: whether after each phase the head gets its initial weights.
    shrink: the share of the initial weights in what all weights become after
      each phase, the rest being the present ones (the paper's 0.8).
    perturb: standard deviation of the noise that is added after shrinking. If
      given, weights shrink to zero and not to their initial values, as Ash &
      Adams (2020) have it: their lambda is `1 - shrink`.
    momentum: of the tortoise, a number in [0, 1).
    reset_epochs: after which epochs the hare restarts: the first of a phase and
      from then on every so many, as in the paper; None for never. One for all
      phases or one for each.
    reset_steps: the same in gradient steps, the first after so many.
    reset_alias: whether the first step after a restart moves both networks, as
      in the released code, where they share their memory then.
    self_distillation: weight of the divergence of the hare's predictions from
      the tortoise's, averaged over batch and classes (a mean over the batch
      alone is this times the number of classes).
    reported: the network whose accuracy stands for the method.
  """

  dataset: str = 'mnist5k'
  folder: str | None = None
  train_size: int | None = None
  validation_size: int | None = None
  ratios: Sequence[float] = (0.1, 1.0)
  noises: Sequence[float] = (0.5, 0.0)
  epochs: Sequence[int] = (1000, 100)
  noise_mode: phases.NoiseMode = 'exclude_true'
  buffer_size: int | None = None
  buffer_policy: phases.BufferPolicy = 'uniform'
  model: str = 'mlp'
  width: float = 1.0
  crelu: bool = False
  dtype: str = 'float32'
  batch_size: int = 256
  learning_rate: PerPhase = 1e-3
  warmup: float = 0.1
  weight_decay: float = 1e-4
  b1: float = 0.9
  b2: float = 0.999
  eps: float = 1e-8
  max_grad_norm: float = 0.5
  augment: bool = False
  spectral_decoupling: float = 0.0
  regenerate: float = 0.0
  redo: float | None = None
  redo_every: int = 5
  head_reset: bool = False
  shrink: float = 0.0
  perturb: float | None = None
  momentum: float = 0.999
  reset_epochs: PerPhase = None
  reset_steps: PerPhase = None
  reset_alias: bool = False
  self_distillation: float = 0.0
  reported: str = 'hare'

  def __post_init__(self) -> None:
    """Raises ValueError where a value is outside its range."""
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      if isinstance(value, list):
        object.__setattr__(self, field.name, tuple(value))
    for name in _LISTS:
      value = getattr(self, name)
      if not isinstance(value, tuple) or len(value) != len(self.ratios):
        raise ValueError(
          f'{name} must have a value for each phase, as ratios has '
          f'({self.ratios!r}); got {value!r}'
        )
    if not self.ratios:
      raise ValueError('ratios must name at least one phase')
    for ratio in self.ratios:
      _number('ratios', ratio, 'numbers in (0, 1]', lambda x: 0 < x <= 1)
    if any(b < a for a, b in zip(self.ratios, self.ratios[1:], strict=False)):
      raise ValueError(
        'ratios must never fall: each is the share of the training set that '
        f'has been seen by the end of its phase; got {self.ratios!r}'
      )
    for noise in self.noises:
      _number('noises', noise, 'numbers in [0, 1]', lambda x: 0 <= x <= 1)
    for name in _PER_PHASE:
      value = getattr(self, name)
      if isinstance(value, tuple) and len(value) != len(self.ratios):
        raise ValueError(
          f'{name} must be one value or have one for each of the '
          f'{len(self.ratios)} phases; got {value!r}'
        )
    for name, (wanted, accepts, is_integer) in _RANGES.items():
      value = getattr(self, name)
      for x in value if isinstance(value, tuple) else (value,):
        if x is not None or name not in _OPTIONAL:
          _number(name, x, wanted, accepts, is_integer)
    for name, choices in _CHOICES.items():
      _choice(name, getattr(self, name), choices)
    for name in ('crelu', 'augment', 'head_reset', 'reset_alias'):
      if not isinstance(getattr(self, name), bool):
        raise ValueError(
          f'{name} must be True or False; got {getattr(self, name)!r}'
        )
    for phase in range(self.num_phases):
      if None not in (
        self.of_phase('reset_epochs', phase),
        self.of_phase('reset_steps', phase),
      ):
        raise ValueError(
          'reset_epochs and reset_steps must not both be given for one phase'
        )

  @property
  def num_phases(self) -> int:
    """How many phases a run has."""
    return len(self.ratios)

  def of_phase(self, name: str, phase: int) -> Any:
    """A value that may differ between phases, in one of them."""
    value = getattr(self, name)
    return value[phase] if isinstance(value, tuple) else value

  def num_samples(self, phase: int, num_train: int) -> int:
    """How many samples a phase has.

    Args:
      phase: which one, from 0.
      num_train: the size of the training set.

    Returns:
      The number of what is new in it and of what it keeps.

    Raises:
      ValueError: it has none.
    """
    old = round(num_train * self.ratios[phase - 1]) if phase else 0
    new = round(num_train * self.ratios[phase]) - old
    size = new + min(old, self.buffer_size or old)
    if not size:
      raise ValueError(
        f'ratios: phase {phase + 1} has no sample, {self.ratios[phase]} of '
        f'{num_train} is too little'
      )
    return size

  def to_json(self) -> dict[str, Any]:
    """The fields, in values that JSON has."""
    return json.loads(json.dumps(dataclasses.asdict(self)))

  def digest(self, phase: int, seeds: Sequence[int]) -> str:
    """A name for all that bears on what a phase and those before it leave.

    Two settings that differ only in what comes later, as in what is done after
    this phase, have it in common: they can go on from the same weights.

    Args:
      phase: the last phase that counts, from 0.
      seeds: of the runs.

    Returns:
      A hexadecimal number, as text.
    """
    fields = self.to_json()
    del fields['reported']
    for name in _LISTS:
      fields[name] = fields[name][: phase + 1]
    for name in _PER_PHASE:
      fields[name] = [self.of_phase(name, k) for k in range(phase + 1)]
    without_effect = []
    if phase == 0:  # What comes between two phases.
      without_effect += ['head_reset', 'shrink', 'perturb', 'buffer_size']
    if phase == 0 or self.buffer_size is None:
      without_effect += ['buffer_policy']
    if self.redo is None:
      without_effect += ['redo_every']
    for name in without_effect:
      del fields[name]
    # 1 and 1.0 are one value; None has no leaves in a tree.
    fields = jax.tree.map(
      lambda x: x if isinstance(x, str) else float(x), fields
    )
    text = json.dumps([_VERSION, fields, list(seeds)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# To be raised when a setting comes to mean another training.
_VERSION = 1

_LISTS = ('ratios', 'noises', 'epochs')
_PER_PHASE = ('learning_rate', 'reset_epochs', 'reset_steps')

_POSITIVE_INTEGER = ('integers of at least 1', lambda x: x >= 1, True)
_AT_LEAST_0 = ('a number of at least 0', lambda x: 0 <= x < math.inf, False)
_POSITIVE = ('a number above 0', lambda x: 0 < x < math.inf, False)
_BELOW_1 = ('a number in [0, 1)', lambda x: 0 <= x < 1, False)
_FRACTION = ('a number in [0, 1]', lambda x: 0 <= x <= 1, False)
_RANGES: dict[str, tuple] = {
  'train_size': _POSITIVE_INTEGER,
  'validation_size': _POSITIVE_INTEGER,
  'epochs': _POSITIVE_INTEGER,
  'buffer_size': _POSITIVE_INTEGER,
  'width': _POSITIVE,
  'batch_size': ('an integer of at least 2', lambda x: x >= 2, True),
  'learning_rate': _POSITIVE,
  'warmup': _FRACTION,
  'weight_decay': _AT_LEAST_0,
  'b1': _BELOW_1,
  'b2': _BELOW_1,
  'eps': _POSITIVE,
  'max_grad_norm': _POSITIVE,
  'spectral_decoupling': _AT_LEAST_0,
  'regenerate': _AT_LEAST_0,
  'redo': _AT_LEAST_0,
  'redo_every': _POSITIVE_INTEGER,
  'shrink': _FRACTION,
  'perturb': _AT_LEAST_0,
  'momentum': _BELOW_1,
  'reset_epochs': _POSITIVE_INTEGER,
  'reset_steps': _POSITIVE_INTEGER,
  'self_distillation': _AT_LEAST_0,
}
_OPTIONAL = (
  'train_size',
  'validation_size',
  'buffer_size',
  'redo',
  'perturb',
  'reset_epochs',
  'reset_steps',
)
_CHOICES = {
  'noise_mode': get_args(phases.NoiseMode),
  'buffer_policy': get_args(phases.BufferPolicy),
  'dtype': ('float32', 'bfloat16'),
  'reported': results.NETWORKS,
}


def _number(
  name: str, value: Any, wanted: str, accepts: Any, is_integer: bool = False
) -> None:
  kind = numbers.Integral if is_integer else numbers.Real
  if (
    not isinstance(value, kind) or isinstance(value, bool) or not accepts(value)
  ):
    raise ValueError(f'{name} must be {wanted}; got {value!r}')


def _choice(name: str, value: Any, choices: Sequence[str]) -> None:
  if value not in choices:
    shown = ' or '.join(repr(choice) for choice in choices)
    raise ValueError(f'{name} must be {shown}; got {value!r}')
