"""The gin configurables: agents, networks and optimizers.

The core does not know gin. This module defines the names that gin files use.
The settings of an agent and their defaults are the fields of its learner.
"""

from collections.abc import Callable, Iterator, Mapping
import dataclasses
import functools
import inspect
from typing import Any

import gin
import jax
import jax.numpy as jnp
import optax

from agents.core import bbf_networks, networks
from agents.core.bbf_learner import BBFLearner
from agents.core.drq_learner import DrQLearner
from agents.core.learner import Learner
from agents.core.loop import Loop
from agents.run_settings import RunSettings
import ht_rl
from ht_rl.arguments import check_bool, check_choice, check_float, check_int

run_settings = gin.external_configurable(RunSettings, 'Atari100kRunner')


class HareTortoise(optax.GradientTransformationExtraArgs):
  """The transform `ht_rl.hare_tortoise`, which can be asked for its settings.

  Attributes:
    settings: its arguments by name, defaults included.
  """

  settings: Mapping[str, Any]


# Settings that only a reset of a learner or a restart of the hare reads.
_OF_RESETS = (
  'no_resets_after',
  'keep_encoder',
  'keep_head',
  'separate_target_draw',
  'released_counting',
  'reset_mask',
  'reset_strength',
  'reset_inner_state',
)
_OF_HARE_TORTOISE = inspect.signature(ht_rl.hare_tortoise)


def _hare_tortoise(*arguments: Any, **settings: Any) -> HareTortoise:
  transform = HareTortoise(*ht_rl.hare_tortoise(*arguments, **settings))
  bound = _OF_HARE_TORTOISE.bind(*arguments, **settings)
  bound.apply_defaults()
  transform.settings = bound.arguments
  return transform


_hare_tortoise.__signature__ = _OF_HARE_TORTOISE  # type: ignore[attr-defined]
hare_tortoise = gin.external_configurable(_hare_tortoise, 'hare_tortoise')


def restart_interval(loop: Loop) -> int | None:
  """Returns the gradient steps between two restarts of Hare & Tortoise.

  Args:
    loop: the agent.

  Returns:
    None if there are no restarts, if their interval is not a number, or if the
    optimizer is not from the `hare_tortoise` of this module.
  """
  return _interval(loop, 'reset_every')


def _interval(loop: Loop, name: str) -> int | None:
  optimizer = loop.learner.optimizer
  if not isinstance(optimizer, HareTortoise):
    return None
  interval = optimizer.settings[name]
  return interval if isinstance(interval, int) else None


def warnings(loop: Loop, training_steps: int) -> list[str]:
  """Returns a line for each setting that changes nothing in a run.

  Args:
    loop: the agent.
    training_steps: environment steps of the run.
  """
  return [*_never_reached(loop, training_steps), *_without_resets(loop)]


def _never_reached(loop: Loop, training_steps: int) -> Iterator[str]:
  """Yields a line for each interval of Hare & Tortoise that is too long."""
  cycles = loop.cycles(training_steps)
  why = f'the run has only {max(cycles):,}'
  if len(cycles) > 1:
    why = (
      'each reset starts its count anew, and no two are more than '
      f'{max(cycles):,} apart'
    )
  for name, what in (
    ('reset_every', 'Hare & Tortoise never restarts'),
    ('update_every', 'the tortoise is never updated'),
  ):
    interval = _interval(loop, name)
    # Without any gradient step, an interval of 1 is not the reason.
    if interval is not None and interval > max(1, *cycles):
      yield (
        f'warning: {what} in this run: hare_tortoise.{name} is {interval:,} '
        f'gradient steps, but {why}'
      )


def _without_resets(loop: Loop) -> Iterator[str]:
  """Yields a line for each setting of resets or restarts if there are none."""
  learner = loop.learner
  owners: list[tuple[str, Any, Any]] = [
    (learner.name, type(learner), vars(learner))
  ]
  if isinstance(learner.optimizer, HareTortoise):
    settings = learner.optimizer.settings
    owners.append(('hare_tortoise', hare_tortoise, settings))
  for owner, make, settings in owners:
    parameters = inspect.signature(make).parameters
    if settings['reset_every'] is not None:
      continue
    for name in _OF_RESETS:
      if name in settings and settings[name] != parameters[name].default:
        yield (
          f'warning: {owner}.{name} has no effect, because '
          f'{owner}.reset_every is None'
        )


@gin.configurable
def adam(
  learning_rate: float = 1e-4,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1.5e-4,
  weight_decay: float = 0.0,
) -> optax.GradientTransformation:
  """Returns Adam with checked settings and DrQ's defaults.

  Args:
    learning_rate: step size.
    b1: decay of the first moment.
    b2: decay of the second moment.
    eps: added to the root of the second moment.
    weight_decay: decoupled weight decay (AdamW) of all parameters but vectors,
      as in BBF.

  Returns:
    The optimizer.
  """
  check_float('adam.learning_rate', learning_rate, 0.0, 1.0)
  # At 1, Adam's bias correction divides by zero.
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
  """Returns DrQ's network, after checking its settings; see `networks`."""
  for name, values in (
    ('channels', channels),
    ('kernels', kernels),
    ('strides', strides),
  ):
    if not isinstance(values, (tuple, list)) or len(values) != len(channels):
      raise ValueError(
        f'DuelingQNetwork.{name} must be a tuple with one number for each '
        f'convolution, as many as in the other tuples, not {values!r}'
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
  noise_sigma: float = 0.5,
  noisy_glorot: bool = False,
  dtype: str = 'float32',
) -> bbf_networks.BBFNetwork:
  """Returns the network of BBF or a relative, after checking its settings.

  Args:
    num_actions: number of actions.
    encoder: 'impala', a ResNet, or 'nature', three convolutions.
    channels: output channels of the encoder's three stages; by default BBF's
      (64, 128, 128) or the Nature network's (32, 64, 64).
    hidden: width of the projection.
    num_atoms: number of atoms of a value distribution.
    v_max: value of the last atom; the first atom is ``-v_max``.
    renormalize: whether latents are scaled to [0, 1].
    noisy: whether projection and head are noisy layers.
    noise_sigma: initial scale of their noise, times the root of the number of
      inputs.
    noisy_glorot: whether their mean kernels have Glorot's initialisation, as in
      BBF's release, instead of that of the noisy networks' paper.
    dtype: dtype of the encoder's computation, 'float32' or 'bfloat16'.

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
  check_float('BBFNetwork.noise_sigma', noise_sigma, 0.0, 100.0)
  check_bool('BBFNetwork.noisy_glorot', noisy_glorot)
  unless_noisy: dict[str, tuple[float, float]] = {
    'noise_sigma': (noise_sigma, 0.5),
    'noisy_glorot': (noisy_glorot, False),
  }
  for name, (given, default) in unless_noisy.items():
    if given != default and not noisy:
      raise ValueError(
        f'BBFNetwork.{name} must be {default}, its default, unless '
        'BBFNetwork.noisy is True'
      )
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
    noise_sigma=noise_sigma,
    noisy_glorot=noisy_glorot,
  )


def _configurable_agent(
  learner_class: type[Learner],
  network: Callable[..., Any],
  default_optimizer: Callable[[], optax.GradientTransformation],
) -> Callable[..., Loop]:
  """Returns a gin configurable that makes a `Loop` with a learner class.

  Its name is the learner's `name`. Its parameters are the fields of the learner
  and of `Loop`, so a new field needs no change here. Two parameters differ from
  the fields: `network` is a function from `num_actions` to the network, and
  `optimizer` may be omitted.
  """
  name = learner_class.name
  of_loop = [f for f in dataclasses.fields(Loop) if f.name != 'learner']

  def make(**settings: Any) -> Loop:
    if 'num_actions' not in settings:  # It was called by a gin file.
      raise ValueError(f'{name} must be named without parentheses: @{name}')
    make_network = settings.get('network', network)
    if not callable(make_network):
      raise ValueError(
        f'{name}.network must make a network when called, such as '
        f'@DuelingQNetwork, not {make_network!r}'
      )
    optimizer = settings.get('optimizer')
    if optimizer is None:
      optimizer = default_optimizer()
    settings |= {
      'network': make_network(settings['num_actions']),
      'optimizer': optimizer,
    }
    loop = {f.name: settings.pop(f.name) for f in of_loop if f.name in settings}
    if 'observation_shape' in settings:
      settings['observation_shape'] = tuple(settings['observation_shape'])
    return Loop(learner_class(**settings), **loop)

  defaults = {'network': network, 'optimizer': None}
  parameters = [
    inspect.Parameter(
      field.name,
      inspect.Parameter.KEYWORD_ONLY,
      default=inspect.Parameter.empty
      if field.name == 'num_actions'
      else defaults.get(field.name, field.default),
    )
    for field in (*dataclasses.fields(learner_class), *of_loop)
  ]
  make.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
  make.__name__ = make.__qualname__ = name
  make.__doc__ = f"""Makes the agent {name} from its settings.

  Args:
    **settings: `num_actions`, and any field of `{learner_class.__name__}` and
      `Loop`; `network` is called with `num_actions`.

  Returns:
    The agent, for a `Driver` or a `DeviceAgent`.

  Raises:
    ValueError: a setting is out of its range.
  """
  return gin.configurable(name)(make)


def _default_optimizer(**of_adam: Any) -> HareTortoise:
  """Returns Adam with a tortoise of momentum 0.995 and without restarts.

  Args:
    **of_adam: defaults of Adam's settings. What gin sets comes before them.
  """

  def unset(name: str, **defaults: Any) -> dict[str, Any]:
    given = gin.get_bindings(name, resolve_references=False)
    return {key: x for key, x in defaults.items() if key not in given}

  make = unset('hare_tortoise', inner=adam, momentum=0.995)
  if 'inner' in make:
    make['inner'] = adam(**unset('adam', **of_adam))
  return hare_tortoise(**make)


drq_agent = _configurable_agent(
  DrQLearner, dueling_q_network, _default_optimizer
)
bbf_agent = _configurable_agent(
  BBFLearner,
  bbf_network,
  functools.partial(_default_optimizer, weight_decay=0.1),
)

# The agents that `train.agent` can name.
AGENTS = {'DrQAgent': drq_agent, 'BBFAgent': bbf_agent}
