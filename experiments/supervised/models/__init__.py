"""The networks of the supervised experiments (Flax modules)."""

from collections.abc import Callable, Mapping
import functools
import inspect
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from experiments.supervised import named
from experiments.supervised.models.layers import (
  Classifier,
  HiddenLayer,
  Outputs,
  units_of,
)
from experiments.supervised.models.mlp import mlp
from experiments.supervised.models.resnet import resnet18
from experiments.supervised.models.vgg import vgg16
from experiments.supervised.models.vit import vit_tiny
from ht_rl.arguments import check_float
from ht_rl.transforms import units

__all__ = [
  'Classifier',
  'HiddenLayer',
  'MakeModel',
  'Outputs',
  'check_outputs',
  'make_model',
  'name_of',
  'title',
  'units_of',
]

# From the number of classes, and from those of the options `width`, `crelu` and
# `dtype` that it has, to a network.
MakeModel: TypeAlias = Callable[..., Classifier]


class _Model(NamedTuple):
  title: str
  make: MakeModel


# The registered networks; a new one is one more entry here.
_MODELS = {
  'mlp': _Model('MLP', functools.partial(mlp, widths=(100, 100))),
  'mlp_released': _Model(
    'MLP (512, 256)', functools.partial(mlp, widths=(512, 256))
  ),
  'resnet18': _Model('ResNet-18', resnet18),
  'vit_tiny': _Model('ViT-Tiny', vit_tiny),
  'vgg16': _Model('VGG-16', vgg16),
}

# The options of a network, and what they are if nobody sets them.
_OPTIONS = {'width': 1.0, 'crelu': False, 'dtype': 'float32'}


def make_model(
  name: str | MakeModel,
  num_classes: int,
  *,
  width: float = 1.0,
  crelu: bool = False,
  dtype: DTypeLike = jnp.float32,
) -> Classifier:
  """Makes a network by its name.

  >>> import jax
  >>> model = make_model('mlp', 10)
  >>> images = jnp.zeros((256, 28, 28, 1))
  >>> variables = jax.jit(model.init)(jax.random.key(0), images)
  >>> sorted(variables['params'])
  ['backbone', 'head']
  >>> model.apply(variables, images).logits.shape
  (256, 10)

  Args:
    name: one of

      - 'mlp', a multilayer perceptron with hidden layers of 100 and 100 units,
        as in the paper;
      - 'mlp_released', with 512 and 256 as in the released code;
      - 'resnet18', for images of any size;
      - 'vit_tiny', for images with sides that are multiples of 4;
      - 'vgg16', of 32;

      or a function that makes a `Classifier` of `num_classes` and of those of
      the options below that it has.
    num_classes: number of outputs.
    width: factor of all hidden widths, each of which is rounded to an even
      number and is at least 2.
    crelu: whether activations are CReLU, each with half as many units: those of
      the heads' hidden layers, and all those of the MLP. (ViT has neither; it
      stays as it is.)
    dtype: dtype of the computation, float32 or bfloat16. Parameters, statistics
      and logits are float32 in both.

  Returns:
    The network.

  Raises:
    ValueError: there is no network of that name, it does not have an option
      that is set, or `width` is not positive.

  References:
    Lee et al., 2024, appendix A, and the code they released.
  """
  check_float('width', width, 0, float('inf'), above=True)
  options = {'width': width, 'crelu': crelu, 'dtype': dtype}
  if not isinstance(name, str):
    return _own(name, num_classes, options)
  if name not in _MODELS:
    raise named.unknown('model', name, list(_MODELS))
  return _MODELS[name].make(num_classes, **options)


def check_outputs(
  model: Classifier, outputs: Outputs, params: Mapping[str, Any]
) -> None:
  """Raises ValueError where a network is not what training needs.

  Args:
    model: the network.
    outputs: its outputs for one image, or their shapes.
    params: its weights, or their shapes.
  """
  found = len(outputs.activations)
  if found != len(model.hidden_layers):
    raise ValueError(
      f'the network names {len(model.hidden_layers)} hidden layers, but puts '
      f'out the activations of {found}'
    )
  places = units_of(model.hidden_layers)
  try:
    activations = dict(zip(places, outputs.activations, strict=True))
    jax.eval_shape(
      functools.partial(units.by_unit, places), activations, params
    )
  except ValueError as error:
    raise ValueError(
      f'the hidden layers that the network names do not fit it: {error}'
    ) from error


def name_of(model: str | MakeModel) -> str:
  """Returns the name by which results with a network are kept."""
  return named.describe(model, supplied=_OPTIONS)


def title(name: str) -> str:
  """Returns the title of a network for tables and figures.

  >>> title('resnet18'), title('my_module.wide(depth=3)')
  ('ResNet-18', 'wide(depth=3)')

  Args:
    name: as `name_of` returns it.
  """
  return _MODELS[name].title if name in _MODELS else named.title(name)


def _own(
  make: MakeModel, num_classes: int, options: dict[str, Any]
) -> Classifier:
  """Makes a network that is a user's function."""
  name = name_of(make)
  options = {**options, 'dtype': jnp.dtype(options['dtype']).name}
  taken = inspect.signature(make).parameters
  for option, default in _OPTIONS.items():
    if option not in taken and options[option] != default:
      raise ValueError(
        f'{name} has no {option}: leave Setting.{option} at {default!r}'
      )
  model = make(num_classes, **{k: options[k] for k in options if k in taken})
  if not isinstance(model, Classifier):
    raise ValueError(
      f'{name} must return a Classifier of experiments.supervised.models, not '
      f'{type(model).__name__}'
    )
  return model
