"""The data and the schedule of a setting, and the check that it can be run."""

from collections.abc import Callable
import functools

import jax
import jax.numpy as jnp

from agents.core.memory import available_memory
from experiments.supervised import data, models, phases
from experiments.supervised.methods import SelfNormalizedResets
from experiments.supervised.schedule import Schedule
from experiments.supervised.settings import Setting


def load_dataset(setting: Setting) -> data.Dataset:
  """Returns the data of a setting, read once for all settings with the same."""
  load = _load if isinstance(setting.dataset, str) else _load_own
  return load(
    setting.dataset,
    setting.folder,
    setting.train_size,
    setting.validation_size,
  )


def forget_own_data() -> None:
  """Lets users' functions make their data anew, with the present gin settings.

  Call it for each experiment: gin must see that the functions are called.
  """
  _load_own.cache_clear()


def make_schedule(setting: Setting, phase: int) -> Schedule:
  """Returns the steps of a phase, which follow from the size of the data."""
  num_train = _num_train(setting)
  size = setting.num_samples(phase, num_train)
  return Schedule(setting, phase, size, num_train)


def check_setting(setting: Setting) -> None:
  """Raises ValueError where a setting can't be run, before anything is."""
  dataset = load_dataset(setting)
  model = models.make_model(
    setting.model,
    dataset.num_classes,
    width=setting.width,
    crelu=setting.crelu,
    dtype=setting.dtype,
  )
  images = jnp.zeros((1, *dataset.train_images.shape[1:]))
  outputs, variables = jax.eval_shape(
    model.init_with_output, jax.random.key(0), images
  )
  models.check_outputs(model, outputs, variables['params'])
  for method in setting.all_methods:
    if method.renews_units and not model.hidden_layers:
      raise ValueError(
        f'{type(method).__name__} renews the units of hidden layers, but the '
        'network names none: leave it off, or name them in its Classifier'
      )
  leaves = jax.tree.leaves(variables)
  weights = sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
  if weights > (available := available_memory()):
    raise ValueError(
      f'width must leave the network in memory: its weights take {weights:,} '
      f'bytes, and this machine has {available:,}'
    )
  if setting.tasks == 'classes':
    phases.check_whole_classes(setting.ratios, dataset.num_classes)
  steps = sum(_steps(setting))
  if steps >= 2**31:  # The optimizer counts in int32.
    raise ValueError(
      f'epochs must give fewer than 2**31 gradient steps in all, not {steps:,}'
    )


def holds_everything(setting: Setting) -> bool:
  """Returns whether a setting's buffer has room for all that is ever old."""
  if setting.buffer_size is None or setting.num_phases == 1:
    return False
  num_train = _num_train(setting)
  return round(num_train * setting.ratios[-2]) <= setting.buffer_size


def sets_no_limit(setting: Setting) -> bool:
  """Returns whether SNR is on, and all phases are over before it is refreshed.

  Then it compares each silence with its largest limit, whatever `snr` is.
  """
  longest = max(_steps(setting))
  return any(
    isinstance(method, SelfNormalizedResets) and longest <= method.refresh_every
    for method in setting.all_methods
  )


def _steps(setting: Setting) -> list[int]:
  """Returns the number of gradient steps of each phase."""
  phases_ = range(setting.num_phases)
  return [make_schedule(setting, phase).steps for phase in phases_]


def _num_train(setting: Setting) -> int:
  dataset = load_dataset(setting)
  return phases.num_in_all(
    dataset.train_labels, dataset.num_classes, setting.tasks
  )


def _read(
  name: str | Callable[..., data.Dataset],
  folder: str | None,
  train_size: int | None,
  validation_size: int | None,
) -> data.Dataset:
  return data.load(
    name, folder, train_size=train_size, validation_size=validation_size
  )


_load, _load_own = functools.cache(_read), functools.cache(_read)
