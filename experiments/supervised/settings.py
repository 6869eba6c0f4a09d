"""What a run is: its data, its network, its optimizer and its methods.

Every method is off by default. Each is switched on by one field, so that any of
them can be combined.
"""

from collections.abc import Callable, Sequence
import dataclasses
import hashlib
import itertools
import json
from typing import Any

import jax

from experiments.supervised import data, models, named, phases, ranges
from experiments.supervised import methods as methods_lib
from ht_rl.arguments import check_float

# A value for each phase, or one for all.
PerPhase = Sequence[Any] | float | int | None


@dataclasses.dataclass(frozen=True)
class Setting:
  """One row of an experiment, for any number of seeds.

  The defaults are those of the paper's warm start of the MLP (tables 3 and A.2)
  on the digits that need no download.

  Attributes:
    dataset: the data: a name that `data.load` knows, or a function that returns
      a `data.Dataset`.
    folder: where the data lie; None for where `data.load` looks by itself.
    train_size: number of training images; None for all.
    validation_size: number of training images that take the place of the test
      set; None to test on the test set, as the paper does.
    ratios: the share of the training set that has been seen by the end of each
      phase, numbers in (0, 1] that never fall.
    noises: the share of wrong labels in each phase, numbers in [0, 1].
    epochs: the number of epochs of each phase.
    noise_mode: 'exclude_true' or 'uniform', see `phases.make_phases`.
    buffer_size: how many old samples a phase keeps; None for all.
    buffer_policy: 'uniform', 'reservoir' or 'lowest_index', see
      `phases.make_phases`.
    tasks: what changes from phase to phase beside the samples: 'same', nothing;
      'permuted', the pixels of all images have another order in each phase;
      'classes', the samples come class by class, and a phase is tested on the
      classes seen by its end. See `phases.make_phases`.
    model: the network: a name that `models.make_model` knows, or a function
      that it takes.
    width: factor of the hidden widths.
    crelu: whether hidden layers put out both halves, relu(x) and relu(-x).
    dtype: dtype of the network's computation, 'float32' or 'bfloat16'. Weights
      and averages are always float32.
    batch_size: samples of a gradient step. The last batch of an epoch is
      smaller.
    learning_rate: of AdamW; one number, or one for each phase.
    warmup: the share of a phase's steps in which the learning rate rises.
    weight_decay: of AdamW, the L2 of the paper.
    b1: of AdamW.
    b2: of AdamW.
    eps: of AdamW.
    max_grad_norm: the norm of all gradients together is clipped to it.
    augment: whether images are cropped and flipped at random.
    spectral_decoupling: weight of the mean square of the logits, over batch and
      classes. Pezeshki et al. (2021) have one logit, and half of its square.
    regenerate: weight of the squared distance from the initial weights (Kumar
      et al., 2023).
    redo: the score up to which a unit is dormant and is recycled (Sokar et al.,
      2023); None for never.
    redo_every: how many epochs lie between two recyclings.
    redo_counts: 'phase' if these are epochs of the phase; 'whole' if they are
      epochs of the whole training set, so that a phase that has a part of it
      counts in proportion.
    head_reset: whether the head gets its initial weights after each phase.
    shrink: the share of the initial weights that is mixed into all weights
      after each phase (0.8 in the paper).
    perturb: standard deviation of the noise that is added after shrinking. If
      given, weights shrink to zero and not to their initial values, as in Ash &
      Adams (2020): their lambda is `1 - shrink`.
    momentum: of the tortoise, a number in [0, 1).
    reset_epochs: the hare restarts after the first epoch of a phase and then
      every so many epochs, as in the paper; None for never. One for all phases
      or one for each.
    reset_steps: the hare restarts every so many gradient steps of a phase,
      likewise.
    reset_alias: whether the first step after a restart moves both networks, as
      in the released code, where they share their memory then.
    parseval: weight of the penalty on kernels that are not orthogonal (Chung et
      al., 2024).
    fire: whether kernels become the nearest orthogonal ones after each phase
      (Han et al., 2026).
    snr: the probability of a longer silence at which a unit starts over, above
      0 and below 1 (Farias & Jozefiak, 2025); None for never. It is used first
      after 2000 gradient steps of a phase, when the limits are set.
    continual_backprop: share of the old units that starts over in a gradient
      step, the least useful ones (Dohare et al., 2024); 0 for none.
    self_distillation: weight of the divergence of the hare's predictions from
      the tortoise's, averaged over batch and classes (a mean over the batch
      alone is this times the number of classes).
    methods: further methods, objects of `methods.Method`.
    reported: the network whose accuracy stands for the method.
  """

  dataset: str | Callable[..., data.Dataset] = 'mnist5k'
  folder: str | None = None
  train_size: int | None = None
  validation_size: int | None = None
  ratios: Sequence[float] = (0.1, 1.0)
  noises: Sequence[float] = (0.5, 0.0)
  epochs: Sequence[int] = (1000, 100)
  noise_mode: phases.NoiseMode = 'exclude_true'
  buffer_size: int | None = None
  buffer_policy: phases.BufferPolicy = 'uniform'
  tasks: phases.Tasks = 'same'
  model: str | models.MakeModel = 'mlp'
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
  redo_counts: str = 'phase'
  head_reset: bool = False
  shrink: float = 0.0
  perturb: float | None = None
  momentum: float = 0.999
  reset_epochs: PerPhase = None
  reset_steps: PerPhase = None
  reset_alias: bool = False
  self_distillation: float = 0.0
  parseval: float = 0.0
  fire: bool = False
  snr: float | None = None
  continual_backprop: float = 0.0
  methods: Sequence[methods_lib.Method] = ()
  reported: str = 'hare'

  def __post_init__(self) -> None:
    """Raises ValueError where a value is outside its range."""
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      if isinstance(value, list):
        object.__setattr__(self, field.name, tuple(value))
    for name in _LISTS:
      value = getattr(self, name)
      if not isinstance(value, tuple):
        raise ValueError(
          f'{name} must have a value for each phase, such as (0.5, 1.0), not '
          f'{value!r}'
        )
      if len(value) != len(self.ratios):
        raise ValueError(
          f'{name} must have a value for each phase, as ratios has '
          f'({self.ratios!r}); got {value!r}'
        )
    if not self.ratios:
      raise ValueError('ratios must name at least one phase')
    for ratio in self.ratios:
      check_float('ratios', ratio, 0, 1, above=True)
    if any(b < a for a, b in itertools.pairwise(self.ratios)):
      raise ValueError(
        'ratios must never fall: each is the share of the training set that '
        f'has been seen by the end of its phase; got {self.ratios!r}'
      )
    for noise in self.noises:
      check_float('noises', noise, 0, 1)
    for name in PER_PHASE:
      value = getattr(self, name)
      if isinstance(value, tuple) and len(value) != len(self.ratios):
        raise ValueError(
          f'{name} must be one value or have one for each of the '
          f'{len(self.ratios)} phases; got {value!r}'
        )
    for name, check in ranges.CHECKS.items():
      value = getattr(self, name)
      for x in value if isinstance(value, tuple) else (value,):
        if x is not None or name not in ranges.OPTIONAL:
          check(name, x)
    self._check_named()
    if self.tasks == 'permuted' and self.augment:
      raise ValueError(
        "augment must be False with tasks = 'permuted': an image whose pixels "
        'have another order cannot be shifted'
      )
    for phase in range(self.num_phases):
      if None not in (
        self.of_phase('reset_epochs', phase),
        self.of_phase('reset_steps', phase),
      ):
        raise ValueError(
          'reset_epochs and reset_steps must not both be given for one phase'
        )

  def _check_named(self) -> None:
    """Raises ValueError where what a user names cannot be used."""
    for name in ('dataset', 'model'):
      value = getattr(self, name)
      if not isinstance(value, str) and not callable(value):
        raise ValueError(
          f'{name} must be a name or a function such as @my_{name}, not '
          f'{value!r}'
        )
    data.name_of(self.dataset)
    models.name_of(self.model)
    if not isinstance(self.folder, str | None):
      raise ValueError(f'folder must be a text, not {self.folder!r}')
    if not isinstance(self.methods, tuple):
      raise ValueError(
        'methods must be a list of methods, such as (@my_method(),), not '
        f'{self.methods!r}'
      )
    for method in self.methods:
      if not isinstance(method, methods_lib.Method):
        raise ValueError(
          'methods must be instances of experiments.supervised.methods.Method, '
          f'such as @my_method(), not {method!r}'
        )
      named.describe(method)

  @property
  def num_phases(self) -> int:
    """How many phases a run has."""
    return len(self.ratios)

  def of_phase(self, name: str, phase: int) -> Any:
    """A value that may differ between phases, in one of them."""
    value = getattr(self, name)
    return value[phase] if isinstance(value, tuple) else value

  @property
  def all_methods(self) -> tuple[methods_lib.Method, ...]:
    """The methods that are switched on: the paper's first, then `methods`."""
    found: list[methods_lib.Method] = []
    if self.spectral_decoupling:
      found.append(methods_lib.SpectralDecoupling(self.spectral_decoupling))
    if self.self_distillation:
      found.append(methods_lib.SelfDistillation(self.self_distillation))
    if self.shrink or self.perturb is not None:
      found.append(methods_lib.ShrinkAndPerturb(self.shrink, self.perturb))
    if self.head_reset:
      found.append(methods_lib.HeadReset())
    if self.regenerate:
      found.append(methods_lib.Regenerate(self.regenerate))
    if self.redo is not None:
      found.append(
        methods_lib.ReDo(
          self.redo, self.redo_every, self.redo_counts == 'phase'
        )
      )
    if self.parseval:
      found.append(methods_lib.Parseval(self.parseval))
    if self.fire:
      found.append(methods_lib.FIRE())
    if self.snr is not None:
      found.append(methods_lib.SelfNormalizedResets(self.snr))
    if self.continual_backprop:
      found.append(methods_lib.ContinualBackprop(self.continual_backprop))
    return (*found, *self.methods)

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
    """Returns the fields as values that JSON has.

    What a user's module brings is there by its name (see `named`). `methods` is
    left out where there are none, and so are `tasks`, `parseval`, `fire`, `snr`
    and `continual_backprop` where they are off: results from before there were
    such fields stay comparable.
    """
    fields = {
      field.name: getattr(self, field.name)
      for field in dataclasses.fields(self)
    }
    fields['dataset'] = data.name_of(self.dataset)
    fields['model'] = models.name_of(self.model)
    fields['methods'] = [named.describe(method) for method in self.methods]
    for name in ('methods', 'parseval', 'fire', 'continual_backprop'):
      if not fields[name]:
        del fields[name]
    if self.snr is None:
      del fields['snr']
    if self.tasks == 'same':
      del fields['tasks']
    return json.loads(json.dumps(fields))

  def digest(self, phase: int) -> str:
    """Returns a name for all that bears on what a phase leaves, but the seed.

    Two settings that differ only in what comes after this phase have the digest
    in common: they can go on from the same weights.

    Args:
      phase: the last phase that counts, from 0.

    Returns:
      A hexadecimal number, as text.
    """
    fields = self.to_json()
    del fields['reported']
    for name in _LISTS:
      fields[name] = fields[name][: phase + 1]
    for name in PER_PHASE:
      fields[name] = [self.of_phase(name, k) for k in range(phase + 1)]
    without_effect = []
    if phase == 0:  # What comes between two phases.
      without_effect += ['head_reset', 'shrink', 'perturb', 'buffer_size']
      fields.pop('fire', None)
    if phase == 0 or self.buffer_size is None:
      without_effect += ['buffer_policy']
    if self.redo is None:
      without_effect += ['redo_every']
    if self.redo is None or self.redo_counts == 'whole':  # It was the only way.
      without_effect += ['redo_counts']
    for name in without_effect:
      del fields[name]
    if self.methods:
      fields['methods'] = [
        named.describe(method)
        for method in self.methods
        if phase or method.acts_within_phases
      ]
      if not fields['methods']:
        del fields['methods']
    # 1 and 1.0 are one value; None has no leaves in a tree.
    fields = jax.tree.map(
      lambda x: x if isinstance(x, str) else float(x), fields
    )
    text = json.dumps([_VERSION, fields], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# Bump when a setting changes meaning: it invalidates all phases on disk.
_VERSION = 1

_LISTS = ('ratios', 'noises', 'epochs')
# What may be one value, or one for each phase.
PER_PHASE = ('learning_rate', 'reset_epochs', 'reset_steps')
