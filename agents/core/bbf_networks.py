"""The network of BBF and its relatives SPR, SR-SPR and DER (Flax modules).

The parts of `BBFNetwork` are the groups of its parameters::

    images -> encoder -> latent -> projection -> relu -> head -> logits
                           |
                 transition_model, K times -> projection -> predictor

The upper row computes the values. The lower row is the self-supervised
objective (SPR); it has parameters only if it was run at initialisation.
"""

from collections.abc import Callable, Sequence
import functools

import chex
from flax import linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
import numpy as np

from agents.core import categorical
from agents.core.batching import convolve

_glorot = nn.initializers.xavier_uniform()
# A convolution with 3x3 kernels, from its number of outputs and its dtype.
_conv = functools.partial(
  nn.Conv,
  kernel_size=(3, 3),
  kernel_init=_glorot,
  conv_general_dilated=convolve,
)


class ImpalaEncoder(nn.Module):
  """The ResNet of Espeholt et al. (2018): 15 convolutions in three stages.

  A stage is a convolution, a pooling that halves the sides, and two residual
  blocks. BBF makes it four times as wide as the original (16, 32, 32).

  Attributes:
    channels: output channels of each stage.
    dtype: dtype of the computation; the parameters stay float32.
  """

  channels: Sequence[int] = (64, 128, 128)
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: chex.Array) -> chex.Array:
    """Maps [B, height, width, stack] to features [B, h, w, C]."""

    def conv(x: chex.Array, features: int) -> chex.Array:
      return _conv(features, dtype=self.dtype)(x)

    for features in self.channels:
      x = _max_pool(conv(x, features))
      for _ in range(2):
        inner = conv(nn.relu(x), features)
        x += conv(nn.relu(inner), features)
    return nn.relu(x)


def _max_pool(x: chex.Array) -> chex.Array:
  """Computes 3x3 max pooling with stride 2 and "SAME" padding.

  On XLA's CPU backend the gradient of `nn.max_pool` takes three times as long.
  Where pixels are equal, this gradient is divided between them; that of
  `nn.max_pool` goes to the first.
  """
  for axis in (1, 2):
    size = x.shape[axis]
    below = size % 2  # Even sides are padded only at the end.
    pads = [(0, 0)] * x.ndim
    pads[axis] = (below, 1)
    padded = jnp.pad(x, pads, constant_values=-jnp.inf)
    last = size + below - 1
    windows = [
      jax.lax.slice_in_dim(padded, i, last + i, stride=2, axis=axis)
      for i in range(3)
    ]
    x = functools.reduce(jnp.maximum, windows)
  return x


class TransitionModel(nn.Module):
  """Predicts the latent of the next step from a latent and an action.

  The action is appended to the latent as one-hot channels, constant over space.
  The computation has the dtype of the latents.

  Attributes:
    num_actions: number of actions A.
  """

  num_actions: int

  @nn.compact
  def __call__(self, latents: chex.Array, actions: chex.Array) -> chex.Array:
    """Maps latents [B, h, w, C] and actions, integers [B], to [B, h, w, C]."""
    batch, height, width, channels = latents.shape
    planes = jax.nn.one_hot(actions, self.num_actions, dtype=latents.dtype)
    planes = jnp.broadcast_to(
      planes[:, None, None], (batch, height, width, self.num_actions)
    )
    x = jnp.concatenate([latents, planes], axis=-1)
    for _ in range(2):
      x = _conv(channels, dtype=latents.dtype)(x)
      x = nn.relu(x)
    return x


class NoisyDense(nn.Module):
  r"""A linear layer with learned noise on its weights; float32.

  .. math::
    y_j = \sum_i (\mu_{ij} + \sigma_{ij} f(\epsilon_i) f(\eta_j)) x_i
      + \mu_j + \sigma_j f(\eta_j), \quad
    f(u) = \mathrm{sign}(u) \sqrt{|u|}

  with normal noise :math:`\epsilon, \eta`, drawn for each example from the
  random key ``noise``. Without that key there is no noise.

  With p inputs, the means are initialised uniformly in ``-p**-0.5 .. p**-0.5``
  and each sigma to ``sigma * p**-0.5``.

  Attributes:
    features: number of outputs.
    sigma: initial scale of the noise, times the root of the number of inputs.
    glorot: whether the mean kernel has Glorot's initialisation instead, as in
      BBF's release.

  References:
    Fortunato et al., "Noisy Networks for Exploration", 2018, section 3
    (factorised Gaussian noise) and its initialisation, section 3.2.
  """

  features: int
  sigma: float = 0.5
  glorot: bool = False

  @nn.compact
  def __call__(self, x: chex.Array, noise: bool = True) -> chex.Array:
    """Maps [B, inputs] to [B, features], float32.

    Args:
      x: inputs.
      noise: False uses the mean weights even if there is a key.
    """
    inputs = x.shape[-1]
    shape = (inputs, self.features)
    bound = inputs**-0.5

    def uniform(key: chex.PRNGKey, shape: tuple[int, ...]) -> chex.Array:
      return jax.random.uniform(key, shape, minval=-bound, maxval=bound)

    sigma = nn.initializers.constant(self.sigma * bound)
    kernel = self.param('kernel', _glorot if self.glorot else uniform, shape)
    bias = self.param('bias', uniform, shape[1:])
    kernel_sigma = self.param('kernel_sigma', sigma, shape)
    bias_sigma = self.param('bias_sigma', sigma, shape[1:])
    bias, bias_sigma = bias[None], bias_sigma[None]
    x = x.astype(jnp.float32)
    y = x @ kernel + bias
    if not noise or not self.has_rng('noise'):
      return y
    input_key, output_key = jax.random.split(self.make_rng('noise'))
    batch = x.shape[:-1]
    input_noise = _signed_sqrt(jax.random.normal(input_key, x.shape))
    output_noise = _signed_sqrt(
      jax.random.normal(output_key, (*batch, self.features))
    )
    # Each example has its own noise, of rank one: no weight matrix is formed.
    return y + ((x * input_noise) @ kernel_sigma + bias_sigma) * output_noise


def _signed_sqrt(x: chex.Array) -> chex.Array:
  return jnp.sign(x) * jnp.sqrt(jnp.abs(x))


def _dense(features: int, name: str | None = None) -> nn.Module:
  return nn.Dense(features, kernel_init=_glorot, dtype=jnp.float32, name=name)


class CategoricalHead(nn.Module):
  """Dueling head (Wang et al., 2016) that outputs logits of atoms.

  ``logits(s, a) = v(s) + adv(s, a) - mean_b adv(s, b)``, atom by atom.

  Attributes:
    num_actions: number of actions A.
    num_atoms: number of atoms N.
    dense: makes a linear layer from its number of outputs and its name.
  """

  num_actions: int
  num_atoms: int
  dense: Callable[..., nn.Module] = _dense

  @nn.compact
  def __call__(self, x: chex.Array) -> chex.Array:
    """Maps features [B, F] to logits, float32 [B, A, N]."""
    shape = (x.shape[0], self.num_actions, self.num_atoms)
    outputs = self.num_actions * self.num_atoms
    advantage = self.dense(outputs, name='advantage')(x).reshape(shape)
    value = self.dense(self.num_atoms, name='value')(x)[:, None]
    return value + advantage - jnp.mean(advantage, axis=1, keepdims=True)


class BBFNetwork(nn.Module):
  """Categorical Q-values and self-prediction (SPR) with a shared encoder.

  The groups of parameters are `encoder`, `projection` and `head`, and also
  `transition_model` and `predictor` if initialised by
  `logits_and_predictions`::

      network.init(key, observations)  # BBF without SPR, DER
      network.init(
          key, observations, actions, method='logits_and_predictions'
      )

  The transition model computes in the encoder's dtype. All linear layers and
  what follows them compute in float32, as in BBF's release: they are a
  twentieth of the operations, and logits and cosines need the precision.

  Attributes:
    num_actions: number of actions A.
    encoder: module from floats [B, height, width, stack] to [B, h, w, C].
    hidden: width of the projection D.
    num_atoms: number of atoms N of a value distribution.
    v_max: value of the last atom; the first atom is ``-v_max``.
    renormalize: whether latents are scaled to [0, 1].
    noisy: whether projection and head are `NoisyDense`. The noise of the logits
      is then drawn from ``rngs={'noise': key}``; predictions and projections
      have no noise.
    noise_sigma: `NoisyDense.sigma` of the noisy layers.
    noisy_glorot: `NoisyDense.glorot` of the noisy layers.

  References:
    Schwarzer et al., "Bigger, Better, Faster", 2023; the widths, the
    renormalisation and the initialisation are those of its release, but for
    noisy layers, whose default initialisation is that of their paper.
  """

  num_actions: int
  encoder: nn.Module = ImpalaEncoder()
  hidden: int = 2048
  num_atoms: int = 51
  v_max: float = 10.0
  renormalize: bool = True
  noisy: bool = False
  noise_sigma: float = 0.5
  noisy_glorot: bool = False

  def setup(self) -> None:
    """Creates the submodules; their names are the groups of parameters."""
    dense: Callable[..., nn.Module] = _dense
    if self.noisy:
      dense = functools.partial(
        NoisyDense, sigma=self.noise_sigma, glorot=self.noisy_glorot
      )
    self.projection = dense(self.hidden)
    self.head = CategoricalHead(self.num_actions, self.num_atoms, dense)
    self.transition_model = TransitionModel(self.num_actions)
    self.predictor = _dense(self.hidden)

  @property
  def support(self) -> np.ndarray:
    """The values of the atoms, float32 [N]."""
    return categorical.support(self.num_atoms, self.v_max)

  def __call__(self, observations: chex.Array) -> chex.Array:
    """Returns the Q-values.

    Args:
      observations: floats [B, height, width, stack], in [0, 1] for images.

    Returns:
      Q-values, float32 [B, A].
    """
    return categorical.q_values(self.logits(observations), self.support)

  def logits(self, observations: chex.Array) -> chex.Array:
    """Returns the logits of the value distributions, float32 [B, A, N]."""
    return self._logits(self.encode(observations))

  def logits_and_predictions(
    self, observations: chex.Array, actions: chex.Array
  ) -> tuple[chex.Array, chex.Array]:
    """Returns the online network's outputs, from one pass of the encoder.

    Args:
      observations: as in `__call__`.
      actions: actions taken from these observations on, integers [B, K].

    Returns:
      Logits, float32 [B, A, N]; and predicted projections of the state after
      each action, float32 [B, K, D].
    """
    latents = self.encode(observations)
    return self._logits(latents), self._rollout(latents, actions)

  def logits_and_projections(
    self, observations: chex.Array, futures: chex.Array
  ) -> tuple[chex.Array, chex.Array]:
    """Returns the target network's outputs, from one pass of the encoder.

    Args:
      observations: as in `__call__`: the states to bootstrap from.
      futures: the states to predict, [B, K, height, width, stack].

    Returns:
      Logits of the observations, float32 [B, A, N]; and the projections of the
      futures, float32 [B, K, D].
    """
    batch, jumps = futures.shape[:2]
    futures = futures.reshape((batch * jumps, *futures.shape[2:]))
    latents = self.encode(jnp.concatenate([observations, futures]))
    projections = self._project(latents[batch:])
    return (
      self._logits(latents[:batch]),
      projections.reshape((batch, jumps, self.hidden)),
    )

  def encode(self, observations: chex.Array) -> chex.Array:
    """Returns latents of observations, [B, h, w, C], in the encoder's dtype."""
    return self._normalized(self.encoder(observations))

  def _rollout(self, latents: chex.Array, actions: chex.Array) -> chex.Array:
    """Predicts projections [B, K, D] from latents and actions [B, K]."""
    predicted = []
    # Unrolled, since K is small; see `agents.core.repeat` for a loop's cost.
    for k in range(actions.shape[1]):
      latents = self._normalized(self.transition_model(latents, actions[:, k]))
      predicted.append(latents)
    projections = self._project(jnp.concatenate(predicted))
    predictions = self.predictor(projections)
    predictions = predictions.reshape((len(predicted), -1, self.hidden))
    return jnp.moveaxis(predictions, 0, 1)

  def _logits(self, latents: chex.Array) -> chex.Array:
    return self.head(nn.relu(self.projection(_flat(latents))))

  def _project(self, latents: chex.Array) -> chex.Array:
    flat = _flat(latents)
    if self.noisy:
      return self.projection(flat, noise=False)
    return self.projection(flat)

  def _normalized(self, latents: chex.Array) -> chex.Array:
    return renormalize(latents) if self.renormalize else latents


def renormalize(latents: chex.Array) -> chex.Array:
  """Scales each latent to [0, 1]: ``(x - min) / (max - min + 1e-5)``.

  Args:
    latents: [B, h, w, C]; minimum and maximum are over all axes but B.

  Returns:
    The same shape and dtype, computed in float32.
  """
  x = latents.astype(jnp.float32)
  low = jnp.min(x, axis=(1, 2, 3), keepdims=True)
  high = jnp.max(x, axis=(1, 2, 3), keepdims=True)
  return ((x - low) / (high - low + 1e-5)).astype(latents.dtype)


def _flat(latents: chex.Array) -> chex.Array:
  return latents.reshape((latents.shape[0], -1))
