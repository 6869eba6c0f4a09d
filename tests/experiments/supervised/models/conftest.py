"""Small networks, and variables for them that need no compilation."""

import jax
import numpy as np
import pytest

from experiments.supervised.models import vit


@pytest.fixture(scope='module')
def shallow_vit():
  """ViTs of two layers, not twelve."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(vit, '_DEPTH', 2)
    yield


@pytest.fixture(scope='session')
def draw_variables():
  """Returns a function that draws variables as after some training.

  Its arguments are those of the module's `init` but for the key.
  """

  def draw(module, *args):
    rng = np.random.default_rng(1)

    def leaf(path, shape):
      kind = path[-1].key
      if kind == 'kernel':
        # Of inputs with mean square one, outputs are so too.
        values = rng.normal(0, np.prod(shape.shape[:-1]) ** -0.5, shape.shape)
      elif kind in ('scale', 'var'):
        values = rng.uniform(0.7, 1.4, shape.shape)
      elif kind in ('class_token', 'positions'):
        values = rng.normal(size=shape.shape)
      else:
        values = rng.normal(0, 0.1, shape.shape)
      return values.astype(np.float32)

    shapes = jax.eval_shape(lambda key: module.init(key, *args), KEY)
    return jax.tree.map_with_path(leaf, shapes)

  return draw


KEY = jax.ShapeDtypeStruct((), jax.random.key(0).dtype)
