"""The networks of the supervised experiments (Flax modules)."""

from collections.abc import Callable
import difflib
import functools

import jax.numpy as jnp
from jax.typing import DTypeLike

from experiments.supervised.models.layers import (
  Classifier,
  HiddenLayer,
  Outputs,
)
from experiments.supervised.models.mlp import mlp
from experiments.supervised.models.resnet import resnet18
from experiments.supervised.models.vgg import vgg16
from experiments.supervised.models.vit import vit_tiny

__all__ = ['Classifier', 'HiddenLayer', 'Outputs', 'make_model']

_MODELS: dict[str, Callable[..., Classifier]] = {
  'mlp': functools.partial(mlp, widths=(100, 100)),
  'mlp_released': functools.partial(mlp, widths=(512, 256)),
  'resnet18': resnet18,
  'vit_tiny': vit_tiny,
  'vgg16': vgg16,
}


def make_model(
  name: str,
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
        as the paper writes;
      - 'mlp_released', with 512 and 256 as in the code that was released;
      - 'resnet18', for images of any size;
      - 'vit_tiny', for images with sides that are multiples of 4;
      - 'vgg16', of 32.
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
    ValueError: there is none of that name; near names are proposed. Or `width`
      is not positive.

  References:
    Lee et al., 2024, appendix A, and the code they released.
  """
  if name not in _MODELS:
    near = difflib.get_close_matches(name, _MODELS)
    advice = (
      f'did you mean {" or ".join(near)}?'
      if near
      else f'there are {", ".join(_MODELS)}'
    )
    raise ValueError(f'unknown model {name!r}: {advice}')
  if not width > 0:
    raise ValueError(f'width must be positive, but it is {width}.')
  return _MODELS[name](num_classes, width=width, crelu=crelu, dtype=dtype)
