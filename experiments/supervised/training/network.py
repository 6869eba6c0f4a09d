"""The network of a setting, and what it reads."""

from typing import Any, TypeAlias

from flax import traverse_util
import jax
import jax.numpy as jnp
import optax

from experiments.supervised import models, preprocessing
from experiments.supervised.data import Dataset
from experiments.supervised.schedule import Schedule
from experiments.supervised.settings import Setting
from experiments.supervised.training.state import Stream, stream
import ht_rl

PyTree: TypeAlias = Any

# How many samples the plasticity of a network is measured on.
ANALYSIS_SIZE = 512


class Network:
  """The network of a setting, with the images of its data set as inputs.

  Attributes:
    model: the Flax module.
    setting: the setting.
    dataset: its data.
  """

  def __init__(self, setting: Setting, dataset: Dataset):
    """Makes the network; see `models.make_model`."""
    self.setting = setting
    self.dataset = dataset
    self.model = models.make_model(
      setting.model,
      dataset.num_classes,
      width=setting.width,
      crelu=setting.crelu,
      dtype=setting.dtype,
    )

  def init(self, key: jax.Array) -> tuple[PyTree, PyTree]:
    """Returns new weights, and the first statistics of batch normalisation."""
    image = jnp.zeros((1, *self.dataset.train_images.shape[1:]))
    variables = self.model.init(stream(key, Stream.INIT), image)
    return variables['params'], variables.get('batch_stats', {})

  def optimizer(
    self, schedule: Schedule
  ) -> optax.GradientTransformationExtraArgs:
    """Returns the optimizer of a phase."""
    return schedule.optimizer(lambda key: self.init(key)[0], self.units)

  @property
  def units(self) -> dict[str, ht_rl.Units]:
    """Where the units of `Outputs.activations` are in the weights."""
    return models.units_of(self.model.hidden_layers)

  def normalize(self, images: jax.Array) -> jax.Array:
    """Returns stored images as the network reads them in a test."""
    return preprocessing.normalize(images, self.dataset.mean, self.dataset.std)

  def inputs(self, key: jax.Array, images: jax.Array) -> jax.Array:
    """Returns stored images as the network reads them in training."""
    if self.setting.augment:
      images = preprocessing.augment(key, images)
    return self.normalize(images)

  def apply(
    self, params: PyTree, stats: PyTree, inputs: jax.Array
  ) -> models.Outputs:
    """Returns the outputs of a network that is not in training."""
    return self.model.apply({'params': params, 'batch_stats': stats}, inputs)

  def sample(
    self,
    key: jax.Array,
    images: jax.Array,
    indices: jax.Array,
    labels: jax.Array,
  ) -> tuple[jax.Array, jax.Array]:
    """Returns inputs and labels of some training samples of a phase."""
    row_key, image_key = jax.random.split(stream(key, Stream.SAMPLE))
    size = min(ANALYSIS_SIZE, len(indices))
    rows = jax.random.choice(row_key, len(indices), (size,), replace=False)
    return self.inputs(image_key, images[indices[rows]]), labels[rows]


def kernels(params: PyTree) -> list[jax.Array]:
  """Returns the weights of linear layers and convolutions without biases."""
  flat = traverse_util.flatten_dict(params)
  return [w for path, w in flat.items() if path[-1] == 'kernel']
