"""No two uses of one seed share a key."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from agents.core import loop, streams
from agents.core.bbf_learner import BBFLearner
from agents.core.bbf_networks import BBFNetwork
from agents.core.driver import Driver
from agents.core.drq_learner import DrQLearner
from agents.core.networks import DuelingQNetwork, NatureEncoder
import ht_rl

NUMBERS = jnp.arange(3000)


def each(key_of_number):
  return jax.vmap(key_of_number)(NUMBERS)


def keys_of(seed):
  """Returns the keys of all uses of a seed, by name, [N, 2] each."""
  seed_key = jax.random.PRNGKey(seed)
  initial, learning, acting = streams.of_run(seed_key)

  def learn(stream):
    return each(functools.partial(streams.key_of, learning, stream))

  def evaluation(after):
    key = streams.key_of(seed_key, streams.EVALUATION, after)
    return each(functools.partial(streams.action, key))

  return {
    'initial weights': initial[None],
    'gradient steps': each(functools.partial(streams.gradient_step, learning)),
    'resets': learn(streams.RESET),
    'sampling': learn(streams.REPLAY),
    'actions': each(functools.partial(streams.action, acting)),
    **{
      f'evaluation after {t}': evaluation(t) for t in (0, 1, 2, 2999, 100_001)
    },
    # The first action of each of many evaluations.
    'evaluations': each(
      lambda t: streams.action(
        streams.key_of(seed_key, streams.EVALUATION, t + 3000), 1
      )
    ),
  }


def with_children(keys):
  """Returns keys and the keys that one split of each makes."""
  fold = jax.vmap(jax.random.fold_in, (0, None))
  return [keys, *(fold(keys, number) for number in range(4))]


def repeated(keys):
  """Returns the number of keys that are not the first of their kind."""
  return len(keys) - len(np.unique(np.asarray(keys), axis=0))


def test_no_two_keys_of_a_seed_are_equal():
  keys = [level for s in keys_of(3).values() for level in with_children(s)]
  assert repeated(np.concatenate(keys)) == 0
  assert sum(len(k) for k in keys) > 100_000


def test_neighbouring_seeds_share_no_key():
  keys = [k for s in range(5) for k in keys_of(s).values()]
  assert repeated(np.concatenate(keys)) == 0


DRQ = DrQLearner, DuelingQNetwork(3, (2,), (4,), (4,), hidden=4)
BBF = (
  BBFLearner,
  BBFNetwork(3, encoder=NatureEncoder((2, 2, 2), flatten=False), hidden=4),
)


def make_driver(learner_class, network):
  learner = learner_class(
    network=network,
    num_actions=3,
    optimizer=ht_rl.hare_tortoise(optax.sgd(0.01), momentum=0.9),
    observation_shape=(12, 12),
  )
  return Driver(loop.Loop(learner), seed=3)


def used_in_evaluation(driver, seed, steps, num_envs=1):
  """Returns the keys with which a driver's policy is called."""
  used = []

  def evaluate(params, frames, observations, first, key):
    used.append(np.asarray(key))
    return frames, np.zeros(num_envs, np.int32)

  driver.programs.evaluate = evaluate
  policy = driver.policy(num_envs, seed)
  for step in range(steps):
    policy(None, np.array([step == 0] * num_envs))
  return np.stack(used)


@pytest.mark.parametrize('agent', [DRQ, BBF])
def test_an_evaluation_draws_none_of_the_numbers_of_training(agent):
  """The keys are those in the state of a run, not those of `streams`."""
  driver = make_driver(*agent)
  evaluation = used_in_evaluation(driver, 3, 50)
  state = driver.state
  seed_key = jax.random.PRNGKey(3)
  training = [
    jax.random.split(seed_key, 3),
    *with_children(
      each(functools.partial(jax.random.fold_in, state.train.key))
    ),
    *with_children(
      each(functools.partial(jax.random.fold_in, state.actor.key))
    ),
  ]
  evaluation = np.concatenate(with_children(jnp.asarray(evaluation)))
  assert repeated(np.concatenate([*training, evaluation])) == 0


def test_each_evaluation_has_its_numbers_and_repeats_them():
  driver = make_driver(*DRQ)
  found = {}
  for steps in (0, 1, 40):
    driver.steps = steps
    found[steps] = used_in_evaluation(driver, 3, 30)
    again = used_in_evaluation(driver, 3, 30, num_envs=5)
    np.testing.assert_array_equal(found[steps], again)
  assert repeated(np.concatenate(list(found.values()))) == 0
  assert repeated([*found[40], *used_in_evaluation(driver, 4, 30)]) == 0
