"""Measures environment steps per second: our DrQ and Dopamine's labs DrQ.

    python -m benchmarks.training_loop

Both train DrQ on the same game with the same network, batch 32 and one gradient
step per environment step, alternating in one process. The full network shows
the cost of the network, the tiny one that of the loop around it. The side
`network` does gradient steps alone, on a prepared batch: the lower bound.

XLA and the C library are asked for what `experiments.train` asks for. If other
programs run, pin it to one core (`taskset -c 0 python -m ...`) and read the
ratio of the processor times.
"""

from collections.abc import Callable
import functools
import time
from typing import Any

import agents.dopamine  # noqa: F401

from absl import app, flags, logging
from dopamine.discrete_domains import atari_lib
from dopamine.jax.agents.full_rainbow import full_rainbow_agent
from dopamine.jax.replay_memory import replay_buffer
from dopamine.labs.atari_100k import atari_100k_rainbow_agent
from flax import linen as nn
import gin
import jax
import numpy as np

from agents import configurables
from agents.core import networks
from agents.core.loop import Loop
from benchmarks import network_alone, playing
from experiments import heap, xla_flags

del full_rainbow_agent, replay_buffer  # Imported to register with gin.

_GAME = flags.DEFINE_string('game', 'Breakout', 'The game.')
_ROUNDS = flags.DEFINE_integer('rounds', 5, 'Rounds of measurements.')
_NETWORKS = flags.DEFINE_list('networks', ['full', 'tiny'], 'Networks to run.')

WARM_UP = 300
# Reads only nine patches of 4x4 pixels, so its cost is negligible.
TINY = {'channels': (4,), 'kernels': (4,), 'strides': (28,), 'hidden': 16}
NETWORKS: dict[str, dict[str, Any]] = {'full': {}, 'tiny': TINY}
STEPS = {'full': 60, 'tiny': 600}  # In one measurement: some seconds.


class ForDopamine(nn.Module):
  """Our network with the interface that Dopamine's labs agent calls."""

  num_actions: int
  settings: tuple[tuple[str, Any], ...]
  num_atoms: int = 1
  noisy: bool = False
  dueling: bool = True
  distributional: bool = False
  inputs_preprocessed: bool = True

  @nn.compact
  def __call__(
    self, x: Any, support: Any, eval_mode: bool = False, key: Any = None
  ) -> Any:
    """Returns Q-values of one observation, in Dopamine's type."""
    del support, eval_mode, key
    network = networks.DuelingQNetwork(self.num_actions, **dict(self.settings))
    return atari_lib.DQNNetworkType(network(x[None])[0])


def drq(game: str, settings: dict[str, Any]) -> Loop:
  """Returns our agent."""
  return configurables.drq_agent(
    num_actions=playing.num_actions(game),
    network=functools.partial(configurables.dueling_q_network, **settings),
    replay_ratio=1,
    replay_capacity=20_000,
    min_replay_history=WARM_UP // 2,
  )


def ours(game: str, settings: dict[str, Any]) -> Callable[[int], None]:
  """Returns a function that trains our agent for a number of steps."""
  return playing.training(game, drq(game, settings))[1]


def dopamines(game: str, settings: dict[str, Any]) -> Callable[[int], None]:
  """Returns a function that trains Dopamine's labs DrQ, as its runner does."""
  gin.clear_config()
  gin.parse_config(
    f"""
    create_atari_environment.game_name = '{game}'
    create_atari_environment.sticky_actions = False
    AtariPreprocessing.terminal_on_life_loss = True
    JaxDQNAgent.gamma = 0.99
    JaxDQNAgent.update_horizon = 10
    JaxDQNAgent.min_replay_history = {WARM_UP // 2}
    JaxDQNAgent.update_period = 1
    JaxDQNAgent.target_update_period = 1
    JaxDQNAgent.epsilon_train = 0.01
    JaxDQNAgent.epsilon_decay_period = 5000
    JaxFullRainbowAgent.noisy = False
    JaxFullRainbowAgent.distributional = False
    JaxFullRainbowAgent.num_atoms = 1
    JaxFullRainbowAgent.replay_scheme = 'uniform'
    Atari100kRainbowAgent.data_augmentation = True
    ReplayBuffer.batch_size = 32
    ReplayBuffer.max_capacity = 20_000
    PrioritizedSamplingDistribution.max_capacity = 20_000
    create_optimizer.learning_rate = 0.0001
    create_optimizer.eps = 0.00015
    """
  )
  environment = atari_lib.create_atari_environment()
  agent = atari_100k_rainbow_agent.Atari100kRainbowAgent(
    environment.action_space.n,
    network=functools.partial(ForDopamine, settings=tuple(settings.items())),
    seed=0,
  )
  agent.eval_mode = False
  agent.reset_all(environment.reset()[None])

  def train(steps: int) -> None:
    for _ in range(steps):
      action = agent.step()
      observation, reward, terminal, _ = environment.step(action[0])
      if environment.game_over:
        agent.reset_one(0)
        observation = environment.reset()
      elif terminal:
        agent.reset_one(0)
      agent.log_transition(
        observation[None],
        action,
        np.clip([reward], -1, 1),
        np.array([terminal]),
        np.array([environment.game_over]),
      )

  return train


def network_only(game: str, settings: dict[str, Any]) -> Callable[[int], None]:
  """Returns a function that does gradient steps on one prepared batch."""
  driver, train = playing.training(game, drq(game, settings))
  train(WARM_UP // 2 + 20)
  return network_alone.gradient_steps(driver)[0]


def main(argv: list[str]) -> None:
  """Prints a table."""
  del argv
  xla_flags.order_operations_for_memory()
  heap.keep_freed_memory()
  logging.set_verbosity(logging.WARNING)
  sides = {'ours': ours, 'dopamine': dopamines, 'network': network_only}
  device = jax.devices()[0]
  print(f'{_GAME.value}, batch 32, replay ratio 1, on {device.device_kind}')
  print(
    f'{"network":8}{"side":10}{"ms per step":>12}{"processor ms":>14}'
    f'{"steps/s":>10}'
  )
  for name in _NETWORKS.value:
    settings, steps = NETWORKS[name], STEPS[name]
    train = {side: make(_GAME.value, settings) for side, make in sides.items()}
    for side in sides:
      train[side](WARM_UP)
    turns: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
    for _ in range(_ROUNDS.value):
      for side in sides:
        begun, processor = time.perf_counter(), time.process_time()
        train[side](steps)
        taken = time.perf_counter() - begun, time.process_time() - processor
        turns[side].append(taken)
    seconds = {side: np.array(of_one) / steps for side, of_one in turns.items()}
    for side in sides:
      median, own = np.median(seconds[side], axis=0)
      print(
        f'{name:8}{side:10}{1e3 * median:12.2f}{1e3 * own:14.2f}'
        f'{1 / median:10.1f}'
      )
    ratios = (seconds['dopamine'] / seconds['ours']).T
    for what, of_rounds in zip(('time', 'processor time'), ratios, strict=True):
      print(
        f'{name:8}by {what}, ours is {np.median(of_rounds):.2f} times as fast '
        f'(in each round: {of_rounds.min():.2f} to {of_rounds.max():.2f})',
        flush=True,
      )


if __name__ == '__main__':
  app.run(main)
