"""What gin files can set beside the agents, since the core knows no gin."""

import gin
import jax
import jax.numpy as jnp
import optax

from agents.core import bbf_networks, networks
import ht_rl
from ht_rl.arguments import check_bool, check_choice, check_float, check_int

hare_tortoise = gin.external_configurable(ht_rl.hare_tortoise, 'hare_tortoise')


@gin.configurable
def adam(
  learning_rate: float = 1e-4,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1.5e-4,
  weight_decay: float = 0.0,
) -> optax.GradientTransformation:
  """Adam with DrQ's defaults, its settings checked.

  Args:
    learning_rate: step size.
    b1: decay of the first moment.
    b2: decay of the second moment.
    eps: added to the root of the second moment.
    weight_decay: decoupled (AdamW), of all but vectors, as in BBF.

  Returns:
    The optimizer.
  """
  check_float('adam.learning_rate', learning_rate, 0.0, 1.0)
  # At 1, Adam's correction of the bias divides by zero.
  check_float('adam.b1', b1, 0.0, 1.0, below=True)
  check_float('adam.b2', b2, 0.0, 1.0, below=True)
  check_float('adam.eps', eps, 0.0, 1.0)
  check_float('adam.weight_decay', weight_decay, 0.0, 1.0)
  if not weight_decay:
    return optax.adam(learning_rate, b1=b1, b2=b2, eps=eps)
  return optax.adamw(
    learning_rate,
    b1=b1,
    b2=b2,
    eps=eps,
    weight_decay=weight_decay,
    mask=lambda params: jax.tree.map(lambda x: x.ndim != 1, params),
  )


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


@gin.configurable('BBFNetwork')
def bbf_network(
  num_actions: int,
  encoder: str = 'impala',
  channels: tuple[int, int, int] | None = None,
  hidden: int = 2048,
  num_atoms: int = 51,
  v_max: float = 10.0,
  renormalize: bool = True,
  noisy: bool = False,
  dtype: str = 'float32',
) -> bbf_networks.BBFNetwork:
  """Makes the network of BBF or a relative, its settings checked.

  Args:
    num_actions: number of actions.
    encoder: 'impala', a ResNet, or 'nature', three convolutions.
    channels: output channels of its three stages; by default BBF's (64, 128,
      128) or the Nature network's (32, 64, 64).
    hidden: width of the projection.
    num_atoms: number of atoms of a value's distribution.
    v_max: value of the last atom; that of the first is its negative.
    renormalize: whether latents are scaled to [0, 1].
    noisy: whether projection and head are noisy.
    dtype: of the encoder's computation, 'float32' or 'bfloat16'.

  Returns:
    The network.
  """
  check_choice('BBFNetwork.encoder', encoder, ('impala', 'nature'))
  if channels is None:
    channels = (64, 128, 128) if encoder == 'impala' else (32, 64, 64)
  if not isinstance(channels, (tuple, list)) or len(channels) != 3:
    raise ValueError(
      f'BBFNetwork.channels must be a tuple of three numbers, not {channels!r}'
    )
  for value in channels:
    check_int('BBFNetwork.channels', value, minimum=1)
  check_int('BBFNetwork.hidden', hidden, minimum=1)
  check_int('BBFNetwork.num_atoms', num_atoms, minimum=2)
  check_float('BBFNetwork.v_max', v_max, 1e-3, 1e6)
  check_bool('BBFNetwork.renormalize', renormalize)
  check_bool('BBFNetwork.noisy', noisy)
  check_choice('BBFNetwork.dtype', dtype, ('float32', 'bfloat16'))
  if encoder == 'impala':
    module = bbf_networks.ImpalaEncoder(tuple(channels), dtype=jnp.dtype(dtype))
  else:
    module = networks.NatureEncoder(
      tuple(channels), dtype=jnp.dtype(dtype), flatten=False
    )
  return bbf_networks.BBFNetwork(
    num_actions=num_actions,
    encoder=module,
    hidden=hidden,
    num_atoms=num_atoms,
    v_max=v_max,
    renormalize=renormalize,
    noisy=noisy,
  )
