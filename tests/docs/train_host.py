"""Trains a host with and without the transform; writes the weights.

    python train_host.py HOST weights.npz alone=dqn.py off=off.py on=on.py

Each source is the module of the host that its diff changes: as it was, patched
with restarts off, and patched with a restart every 50 updates. It runs in a
process of its own, because hosts have packages of their own and one is a
script. The function of a host returns its weights and its target network.
"""

from collections.abc import Callable
import importlib.util
import pathlib
import random
import runpy
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np


def cleanrl_dqn(source: str, restarts: bool) -> tuple[Any, Any]:
  """Makes 250 updates or 255; the target is copied every 10 of them."""
  _register_stand_ins()
  sys.argv = [
    source,
    f'--total-timesteps={602 if restarts else 612}',
    '--learning-starts=100',
    '--train-frequency=2',
    '--learning-rate=0.01',
    *(
      ('--tau=0.1', '--target-network-frequency=2')
      if restarts
      else ('--tau=1', '--target-network-frequency=20')
    ),
  ]
  random.seed(0)
  state = runpy.run_path(source, run_name='__main__')['q_state']
  return state.params, state.target_params


def rejax_dqn(source: str, restarts: bool) -> tuple[Any, Any]:
  """Makes 500 updates or 506; the target is copied every 10 of them."""
  state = _train_rejax(
    _load(source).DQN,
    num_epochs=2,
    eval_freq=1200 if restarts else 1212,
    total_timesteps=1200 if restarts else 1212,
    fill_buffer=196,
    buffer_size=1000,
    batch_size=32,
    **({'polyak': 0.9} if restarts else {}),
    **({} if restarts else {'polyak': 0.0, 'target_update_freq': 20}),
  )
  return state.q_ts.params, state.q_target_params


def rejax_pqn(source: str, restarts: bool) -> tuple[Any, Any]:
  """Makes 200 updates. PQN has no target network; this is the tortoise."""
  state = _train_rejax(
    _load(source).PQN,
    num_steps=8,
    num_minibatches=2,
    num_epochs=2,
    eval_freq=1600,
    total_timesteps=1600,
  )
  slow = getattr(state.q_ts.opt_state, 'tortoise', state.q_ts.params)
  return state.q_ts.params, slow


def dopamine_dqn(source: str, restarts: bool) -> tuple[Any, Any]:
  """Makes about 100 updates; the target is copied every 4 of them."""
  from agents.dopamine import repair

  from flax import linen as nn

  repair.apply()
  from dopamine.discrete_domains import atari_lib
  import gin

  class Network(nn.Module):
    num_actions: int

    @nn.compact
    def __call__(self, x: Any) -> Any:
      x = nn.relu(nn.Dense(32)(x.reshape(-1)))
      return atari_lib.DQNNetworkType(nn.Dense(self.num_actions)(x))

  module = _load(source)
  gin.bind_parameter('ReplayBuffer.batch_size', 32)
  gin.bind_parameter('ReplayBuffer.max_capacity', 1000)
  agent = module.JaxDQNAgent(
    num_actions=3,
    observation_shape=(5,),
    observation_dtype=np.float32,
    stack_size=1,
    network=Network,
    min_replay_history=50,
    update_period=4,
    target_update_period=4 if restarts else 16,
    epsilon_decay_period=100,
    seed=0,
  )
  rng = np.random.default_rng(0)

  def observe() -> np.ndarray:
    return rng.normal(size=5).astype(np.float32)

  while True:
    action = agent.begin_episode(observe())
    for _ in range(20):
      observation = observe()
      action = agent.step(float(action == 1) + observation[0], observation)
      done = (
        agent.optimizer_state.count == 100
        if restarts
        else (agent.training_steps == 446)
      )
      if done:
        return agent.online_params, agent.target_network_params
    agent.end_episode(0.0)


def _train_rejax(algorithm: Any, **settings: Any) -> Any:
  import jax

  agent = algorithm.create(
    env='CartPole-v1',
    num_envs=4,
    learning_rate=0.01,
    skip_initial_evaluation=True,
    **settings,
  ).replace(eval_callback=lambda *_: ())
  state, _ = jax.jit(algorithm.train)(agent, jax.random.key(0))
  return state


def _load(source: str) -> Any:
  """Returns the module in a file. Hosts import their modules by full names."""
  name = f'host_{pathlib.Path(source).stem}'
  spec = importlib.util.spec_from_file_location(name, source)
  module = importlib.util.module_from_spec(spec)
  sys.modules[name] = module
  spec.loader.exec_module(module)
  return module


class _ReplayBuffer:
  """Stands in for that of Stable-Baselines3, which needs PyTorch."""

  def __init__(self, *_: Any, **__: Any):
    self._rows: list[tuple[Any, ...]] = []

  def add(self, *row: Any) -> None:
    self._rows.append(row[:-1])

  def sample(self, batch_size: int) -> SimpleNamespace:
    rows = random.choices(self._rows, k=batch_size)
    names = ('observations', 'next_observations', 'actions', 'rewards', 'dones')
    columns = map(np.stack, zip(*rows, strict=True))
    types = (np.float32, np.float32, np.int64, np.float32, np.float32)
    return SimpleNamespace(
      **{
        name: _Tensor(column.reshape(batch_size, -1).astype(dtype))
        for name, column, dtype in zip(names, columns, types, strict=True)
      }
    )


class _Tensor:
  def __init__(self, array: np.ndarray):
    self._array = array

  def flatten(self) -> '_Tensor':
    return _Tensor(self._array.flatten())

  def numpy(self) -> np.ndarray:
    return self._array


class _Writer:
  """Stands in for TensorBoard's writer in PyTorch, and writes nothing."""

  def __init__(self, *_: Any):
    pass

  def add_text(self, *_: Any) -> None:
    pass

  add_scalar = close = add_text


def _register_stand_ins() -> None:
  content: dict[str, dict[str, Any]] = {
    'stable_baselines3': {'__version__': '2.0'},
    'stable_baselines3.common': {},
    'stable_baselines3.common.buffers': {'ReplayBuffer': _ReplayBuffer},
    'torch': {},
    'torch.utils': {},
    'torch.utils.tensorboard': {'SummaryWriter': _Writer},
    'distutils': {},  # Python 3.12 has none.
    'distutils.util': {'strtobool': None},
  }
  for name, values in content.items():
    module = ModuleType(name)
    vars(module).update(values)
    sys.modules[name] = module


HOSTS: dict[str, Callable[[str, bool], tuple[Any, Any]]] = {
  'cleanrl_dqn': cleanrl_dqn,
  'dopamine_dqn': dopamine_dqn,
  'rejax_dqn': rejax_dqn,
  'rejax_pqn': rejax_pqn,
}


def main(host: str, target: str, *sources: str) -> None:
  import jax.flatten_util

  weights = {}
  for item in sources:
    name, source = item.split('=')
    trees = HOSTS[host](source, name == 'on')
    for kind, tree in zip(('hare', 'slow'), trees, strict=True):
      weights[f'{name}_{kind}'], _ = jax.flatten_util.ravel_pytree(tree)
  np.savez(target, **weights)


if __name__ == '__main__':
  main(*sys.argv[1:])
