"""Measures the parts of an environment step of DrQ, each as its own program.

    python -m benchmarks.step_parts

Prints the milliseconds and the processor milliseconds of a whole environment
step at replay ratio 1, and of what it consists of: the emulator; sampling a
batch; augmenting it; loss and gradient, the network alone; Adam and the average
of Hare & Tortoise; acting; appending to the replay. `rest` is what the parts
leave of the whole: calls, copies, Python, and what XLA does less well in one
program, so it may be negative. The parts take turns.

Two lines more are beside these. `bfloat16` is the network alone with bfloat16
activations. `floor` is that of Adam and the average by memory: they must read
gradient, two moments, hare and tortoise and write all but the gradient, nine
times the bytes of the weights. The bandwidth is that of adding 1 in place to an
array of the size of the weights, which reads and writes it once.
"""

from collections.abc import Callable
import dataclasses
import functools
import time
from typing import Any

from absl import app, flags, logging
import numpy as np

from experiments import heap, xla_flags

_GAME = flags.DEFINE_string('game', 'RoadRunner', 'The game.')
_NETWORKS = flags.DEFINE_list('networks', ['full', 'small'], 'The networks.')
_ROUNDS = flags.DEFINE_integer('rounds', 7, 'Turns of each part.')
_CALLS = flags.DEFINE_integer('calls', 10, 'Calls in one turn.')

WARM_UP = 150


def parts(network: str) -> dict[str, Callable[[], Any]]:
  """Returns functions that do each part once, and what to wait for."""
  import agents.dopamine  # noqa: F401

  import jax
  import jax.numpy as jnp

  from agents import atari, configurables
  from agents.core import replay as replay_lib
  from agents.core import streams
  from agents.core.state import Outcome
  from benchmarks import playing
  import ht_rl

  game = _GAME.value
  driver, train = playing.training(
    game,
    configurables.drq_agent(
      num_actions=playing.num_actions(game),
      network=functools.partial(
        configurables.dueling_q_network, **playing.NETWORKS[network]
      ),
      replay_ratio=1,
      replay_capacity=20_000,
      min_replay_history=WARM_UP,
    ),
  )
  train(WARM_UP + 20)
  learner: Any = driver.loop.learner
  # Copies, since the run donates its own.
  state = jax.tree.map(jnp.copy, driver.state)
  key = streams.gradient_step(state.train.key, state.train.gradient_steps)
  environment = atari.AtariEnvironment(game, seed=1)
  environment.reset()
  action = 0
  frame = np.asarray(state.actor.frames[-1])
  outcome = Outcome(np.float32(0), np.bool_(False), np.bool_(False))

  def stacks(replay: Any, key: Any) -> Any:
    starts = replay_lib.sample_starts(replay, key, learner.batch_size)
    return replay_lib.transitions(
      replay,
      starts,
      horizon=learner.update_horizon,
      gamma=learner.gamma,
      stack=learner.stack_size,
      bootstrap_early=learner.bootstrap_early,
    )

  def inputs(batch: Any, key: Any) -> Any:
    keys = jax.random.split(key)
    return (
      learner.network_input(batch.s_tm1, keys[0]),
      learner.network_input(batch.s_t, keys[1]),
    )

  sample, augment = jax.jit(stacks), jax.jit(inputs)
  gradient = jax.jit(jax.value_and_grad(learner.loss, has_aux=True))
  narrow = dataclasses.replace(
    learner, network=learner.network.clone(dtype=jnp.bfloat16)
  )
  narrow_gradient = jax.jit(jax.value_and_grad(narrow.loss, has_aux=True))
  descend = jax.jit(learner.descend, donate_argnums=0)
  act = jax.jit(learner.act, donate_argnums=1)
  append = jax.jit(
    functools.partial(
      learner.storage.append, horizon=learner.horizon, stack=learner.stack_size
    ),
    donate_argnums=0,
  )
  batch = sample(state.replay, key)
  ready = learner.sample(state.replay, key)
  tortoise = ht_rl.tortoise_params(state.train.opt_state)
  (loss, _), gradients = gradient(state.train.params, tortoise, ready)
  trained = jax.tree.map(jnp.copy, state.train)
  stored = jax.tree.map(jnp.copy, state.replay)
  stack = jax.tree.map(jnp.copy, state.actor)
  padded = np.zeros(learner.stored_shape, np.uint8)
  moved = jnp.zeros(_bytes(state.train.params) // 4, jnp.float32)
  add_one = jax.jit(lambda x: x + 1, donate_argnums=0)

  def whole() -> None:
    train(1)

  def emulator() -> None:
    nonlocal action
    environment.advance(action)
    action = (action + 1) % learner.num_actions

  def optimizer() -> Any:
    nonlocal trained
    trained = descend(trained, gradients, loss)
    return trained

  def acting() -> Any:
    nonlocal stack
    stack = act(state.train, stack, frame, False)
    return np.asarray(stack.action)

  def appending() -> Any:
    nonlocal stored
    stored = append(stored, padded, 0, *outcome)
    return stored

  def memory() -> Any:
    nonlocal moved
    moved = add_one(moved)
    return moved

  print(
    f'{network} network: {_bytes(state.train.params) / 1e6:.1f} MB of weights'
  )
  return {
    'whole': whole,
    'emulator': emulator,
    'sampling': lambda: sample(state.replay, key),
    'augmentation': lambda: augment(batch, key),
    'network': lambda: gradient(state.train.params, tortoise, ready),
    'optimizer': optimizer,
    'acting': acting,
    'appending': appending,
    'bfloat16': lambda: narrow_gradient(state.train.params, tortoise, ready),
    'memory': memory,
  }


def _bytes(tree: Any) -> int:
  """Returns the number of bytes of a tree of arrays."""
  import jax

  return sum(x.nbytes for x in jax.tree.leaves(tree))


def measure(network: str) -> dict[str, np.ndarray]:
  """Returns milliseconds and processor milliseconds of a call, [rounds, 2]."""
  import jax

  functions = parts(network)
  times: dict[str, list[tuple[float, float]]] = {name: [] for name in functions}
  for turn in range(_ROUNDS.value + 1):
    for name, function in functions.items():
      begun, processor = time.perf_counter(), time.process_time()
      for _ in range(_CALLS.value):
        jax.block_until_ready(function())
      taken = time.perf_counter() - begun, time.process_time() - processor
      if turn:  # The first compiles.
        times[name].append(taken)
  return {
    name: 1e3 * np.array(of_one) / _CALLS.value
    for name, of_one in times.items()
  }


def main(argv: list[str]) -> None:
  """Prints a table."""
  del argv
  xla_flags.order_operations_for_memory()
  heap.keep_freed_memory()
  logging.set_verbosity(logging.WARNING)
  for network in _NETWORKS.value:
    times = measure(network)
    medians = {name: np.median(x, axis=0) for name, x in times.items()}
    whole, narrow, memory = (
      medians.pop(name) for name in ('whole', 'bfloat16', 'memory')
    )
    medians['rest'] = whole - sum(medians.values())
    print(f'{network + " network":16}{"ms":>10}{"processor ms":>16}')
    lines = {'whole step': whole, **medians}
    lines |= {'bfloat16': narrow, 'floor': memory * 9 / 2}
    for name, (ms, processor) in lines.items():
      print(f'{name:16}{ms:10.2f}{processor:16.2f}', flush=True)
    ratios = times['bfloat16'][:, 1] / times['network'][:, 1]
    print(
      f'bfloat16 takes {np.median(ratios):.2f} times the processor time of '
      f'float32 (in each turn: {ratios.min():.2f} to {ratios.max():.2f})',
      flush=True,
    )


if __name__ == '__main__':
  app.run(main)
