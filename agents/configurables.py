"""What gin files can set beside the agents, since the core knows no gin."""

import gin
import jax.numpy as jnp
import optax

from agents.core import networks
from agents.settings import check_choice, check_float, check_int
import ht_rl

hare_tortoise = gin.external_configurable(ht_rl.hare_tortoise, 'hare_tortoise')


@gin.configurable
def adam(
  learning_rate: float = 1e-4,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1.5e-4,
) -> optax.GradientTransformation:
  """Adam with DrQ's defaults, its settings checked."""
  check_float('adam.learning_rate', learning_rate, 0.0, 1.0)
  # At 1, Adam's correction of the bias divides by zero.
  check_float('adam.b1', b1, 0.0, 1.0, below=True)
  check_float('adam.b2', b2, 0.0, 1.0, below=True)
  check_float('adam.eps', eps, 0.0, 1.0)
  return optax.adam(learning_rate, b1=b1, b2=b2, eps=eps)


@gin.configurable('DuelingQNetwork')
def dueling_q_network(
  num_actions: int,
  channels: tuple[int, ...] = (32, 64, 64),
  kernels: tuple[int, ...] = (8, 4, 3),
  strides: tuple[int, ...] = (4, 2, 1),
  hidden: int = 512,
  dtype: str = 'float32',
) -> networks.DuelingQNetwork:
  """Makes DrQ's network, its settings checked; see `networks`."""
  for name, values in (
    ('channels', channels),
    ('kernels', kernels),
    ('strides', strides),
  ):
    if not isinstance(values, (tuple, list)) or len(values) != len(channels):
      raise ValueError(
        f'DuelingQNetwork.{name} must be a tuple with a number for each of the '
        f'convolutions, as many as in the other tuples, not {values!r}'
      )
    for value in values:
      check_int(f'DuelingQNetwork.{name}', value, minimum=1)
  check_int('DuelingQNetwork.hidden', hidden, minimum=1)
  check_choice('DuelingQNetwork.dtype', dtype, ('float32', 'bfloat16'))
  return networks.DuelingQNetwork(
    num_actions=num_actions,
    channels=tuple(channels),
    kernels=tuple(kernels),
    strides=tuple(strides),
    hidden=hidden,
    dtype=jnp.dtype(dtype),
  )
