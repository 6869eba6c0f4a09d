import functools

from agents.dopamine.agent import DeviceAgent

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents import atari, configurables
from agents.errors import CheckpointError, DivergedError
import ht_rl

pytestmark = pytest.mark.usefixtures('compile_fast')

WARM_UP = 12
TINY = functools.partial(
  configurables.bbf_network,
  encoder='nature',
  channels=(2, 2, 2),
  hidden=8,
  num_atoms=11,
)


def make_agent(**settings):
  loop = configurables.bbf_agent(
    **{
      'num_actions': 6,
      'network': TINY,
      'optimizer': ht_rl.hare_tortoise(
        configurables.adam(3e-4), momentum=0.9, reset_every=6
      ),
      'update_horizon': 2,
      'max_update_horizon': 4,
      'cycle_steps': 12,
      'jumps': 1,
      'min_replay_history': WARM_UP,
      'replay_capacity': 100,
      'batch_size': 4,
      'epsilon_decay_period': 20,
      'reset_every': 8,
      'no_resets_after': 32,
      **settings,
    }
  )
  return DeviceAgent(loop, seed=0)


def same(one, other):
  return all(jax.tree.leaves(jax.tree.map(np.array_equal, one, other)))


def counts(agent):
  """Returns stored steps, gradient steps, and those since a reset."""
  state = agent.driver.state
  assert state.train.opt_state.count == state.train.cycle_steps
  return (
    int(state.replay.replay.cursor),
    int(state.train.gradient_steps),
    int(state.train.cycle_steps),
  )


def networks_of(agent):
  """Returns the parameters of hare and tortoise."""
  train = agent.driver.state.train
  return train.params, ht_rl.tortoise_params(train.opt_state)


@pytest.fixture(scope='module')
def played():
  """Returns an agent that played Pong, and its state after each step."""
  agent, environment = make_agent(), atari.AtariEnvironment('Pong', seed=0)
  action = agent.begin_episode(environment.reset())
  seen = []
  for _ in range(40):
    observation, reward, terminal, _ = environment.step(int(action))
    assert not terminal
    action = agent.step(reward, observation)
    seen.append((*counts(agent), *jax.tree.map(np.array, networks_of(agent))))
  return agent, seen


@pytest.fixture(scope='module')
def learning(played):
  """Returns a shared agent that learns; do not rely on its step."""
  return played[0]


# --- A run ---


def test_resets_and_restarts_of_a_run(played):
  # Two gradient steps in each environment step after the twelfth; a reset right
  # before those of steps 17 and 25, but not of 9 (too early) or 33 (too late).
  expected = [(step, 0, 0) for step in range(1, 13)]
  expected += [(step, 2 * step - 24, 2 * step - 24) for step in range(13, 17)]
  expected += [(step, 2 * step - 24, 2 * step - 32) for step in range(17, 25)]
  expected += [(step, 2 * step - 24, 2 * step - 48) for step in range(25, 41)]
  _, seen = played
  assert [counts for *counts, _, _ in seen] == list(map(list, expected))
  assert same(seen[0][-2], seen[11][-2])  # Nothing is learned yet.
  # A restart every six gradient steps since the last reset.
  in_step = [step for step, *_, hare, tortoise in seen if same(hare, tortoise)]
  assert in_step == [*range(1, 13), 15, 19, 22, 27, 30, 33, 36, 39]
  # No step ends between a reset and the gradient steps after it.
  for step, *_, hare, tortoise in seen[12:]:
    heads = [params['params']['head'] for params in (hare, tortoise)]
    assert same(*heads) == (step in in_step)


def test_figures_of_a_gradient_step(learning):
  names = {'loss', 'spr_loss', 'q', 'gradient_norm', 'gradient_steps'}
  learning.step(0.0, np.zeros((84, 84, 1), np.uint8))  # A state holds none.
  figures = learning.driver.metrics()
  assert figures.keys() == names
  assert figures['gradient_steps'] == counts(learning)[1] > 0
  assert figures['spr_loss'] > 0


def test_the_tortoise_plays_the_evaluation_without_noise():
  agent = make_agent(
    network=functools.partial(TINY, noisy=True), jumps=0, epsilon_eval=0.0
  )
  rng = np.random.default_rng(0)

  def draw(path, leaf):
    # Noise large enough to decide the action, if it were used.
    size = 10.0 if 'sigma' in str(path[-1]) else 0.5
    return jnp.asarray(size * rng.normal(size=leaf.shape), jnp.float32)

  hare, tortoise = (
    jax.tree_util.tree_map_with_path(draw, networks_of(agent)[0])
    for _ in range(2)
  )
  train = agent.driver.state.train
  train = train._replace(
    params=hare,
    opt_state=ht_rl.replace_tortoise(train.opt_state, tortoise),
  )
  agent.driver.state = agent.driver.state._replace(train=train)
  blocks = rng.integers(2, size=(30, 7, 7), dtype=np.uint8)
  frames = np.kron(255 * blocks, np.ones((1, 12, 12), np.uint8))
  stacks = np.pad(frames[..., None], ((0, 0), (0, 0), (0, 0), (3, 0)))
  q_values = jax.jit(agent.driver.loop.learner.network.apply)
  by_hare, by_tortoise = (
    np.argmax(q_values(params, np.float32(stacks / 255)), axis=-1).tolist()
    for params in (hare, tortoise)
  )
  assert len(set(by_tortoise)) > 1
  assert by_hare != by_tortoise
  policy = agent.driver.policy(30, seed=0)
  for _ in range(3):
    assert policy(frames, np.ones(30, bool)).tolist() == by_tortoise


# --- Checkpoints ---


def snapshot(agent):
  """Returns copies of all arrays of an agent."""
  paths, _ = jax.tree_util.tree_flatten_with_path(agent.get_state())
  return {
    jax.tree_util.keystr(path, simple=True, separator='.'): np.array(leaf)
    for path, leaf in paths
  }


def assert_bitwise(one, other):
  assert one.keys() == other.keys()
  for name, array in one.items():
    assert array.dtype == other[name].dtype
    assert array.tobytes() == other[name].tobytes(), name


def play(agent, steps, seed=0):
  """Plays noise, with terminals and truncations."""
  rng = np.random.default_rng(seed)

  def frame():
    return rng.integers(256, size=(84, 84, 1), dtype=np.uint8)

  actions = []
  for t in range(steps):
    if t % 9 == 0:
      agent.end_episode(1.0, terminal=t % 2 == 0)
      actions.append(agent.begin_episode(frame()))
    else:
      actions.append(agent.step(float(t % 3 - 1), frame()))
  return [int(action) for action in actions]


def test_going_back_to_a_state_repeats_what_followed(learning):
  learning.end_episode(-1.0, terminal=False)  # Pending in the checkpoint.
  before = snapshot(learning)
  actions = play(learning, 20, seed=6)
  after = snapshot(learning)
  name = 'run.replay.priorities'
  assert len(np.unique(before[name])) > 5
  assert not np.isin(after[name], before[name]).all()
  learning.set_state({name: array.copy() for name, array in before.items()})
  assert_bitwise(snapshot(learning), before)
  assert play(learning, 20, seed=6) == actions
  assert_bitwise(snapshot(learning), after)


def test_a_full_ring_is_restored(learning):
  play(learning, 110 - len(learning.get_state()['run'].replay.priorities))
  before = snapshot(learning)
  assert len(before['run.replay.priorities']) == 100
  actions = play(learning, 12, seed=2)
  learning.set_state(before)
  assert play(learning, 12, seed=2) == actions


def test_a_state_of_another_agent_is_refused(learning):
  with pytest.raises(CheckpointError, match='does not fit this program'):
    make_agent(jumps=0).set_state(snapshot(learning))


# --- Settings ---

WRONG = {
  'update_horizon': [0, 2.0],
  'max_update_horizon': [0, 1, None],  # With a final n of 2.
  'cycle_steps': [0, 10.5],
  'jumps': [-1, 2.0, None],
  'spr_weight': [-1.0, '5', float('nan')],
  'priorities': ['per-sample', None, True],
  'reset_every': [0, 1.0],
  'no_resets_after': [-1, None],
  'gamma': [1.0, -0.1, 'a'],  # 1 only without `min_gamma`.
  'min_gamma': [1.0, -0.1, 'a'],
  'bootstrap_early': [1, None],
  'batches_by_age': ['yes'],
  'separate_target_draw': [0],
  'exclusive_shift': ['no'],
  'released_counting': [1.0],
  'noisy_evaluation': ['yes', True],  # The network is not noisy.
  'replay_ratio': [0],
  'keep_encoder': [1.5],
  'keep_head': [True],
  'min_replay_history': [4],  # With a horizon of 4 steps.
  'replay_capacity': [7],  # With a horizon of 4 and 4 frames.
  'network': [None, configurables.dueling_q_network],
  'optimizer': ['adam'],
}


@pytest.mark.parametrize(
  ('name', 'value'), [(name, v) for name in WRONG for v in WRONG[name]]
)
def test_a_wrong_setting_is_named(name, value):
  with pytest.raises(ValueError, match=f'^BBFAgent.{name} must '):
    make_agent(**{name: value})


def test_drq_refuses_bbfs_network():
  """A reset would drop its projection."""
  loop = configurables.drq_agent(
    num_actions=6, network=TINY, replay_capacity=100
  )
  with pytest.raises(ValueError, match='groups encoder, head, not encoder, '):
    DeviceAgent(loop, seed=0)


def test_more_steps_are_predicted_than_bootstrapped_over():
  """The replay waits for the longer of the two."""
  with pytest.raises(ValueError, match='of at least 31, not 30'):
    make_agent(jumps=30, min_replay_history=30)


@pytest.mark.parametrize(
  ('name', 'value'),
  [
    ('encoder', 'resnet'),
    ('channels', (64, 128)),
    ('channels', (64, 128, 0)),
    ('channels', 64),
    ('hidden', 0),
    ('num_atoms', 1),
    ('v_max', 0.0),
    ('renormalize', 1),
    ('noisy', 'yes'),
    ('noise_sigma', 'small'),
    ('noise_sigma', -0.1),
    ('noise_sigma', 0.1),  # Without effect: no layer is noisy.
    ('noisy_glorot', 1.0),
    ('noisy_glorot', True),
    ('dtype', 'float16'),
  ],
)
def test_a_wrong_setting_of_the_network_is_named(name, value):
  with pytest.raises(ValueError, match=f'^BBFNetwork.{name} must be'):
    configurables.bbf_network(4, **{name: value})


@pytest.mark.parametrize('value', [-0.1, 1.5, 'x'])
def test_a_wrong_weight_decay_is_named(value):
  with pytest.raises(ValueError, match=r'^adam\.weight_decay must be'):
    configurables.adam(weight_decay=value)


def test_only_weights_of_rank_two_and_more_decay():
  optimizer = configurables.adam(learning_rate=0.5, weight_decay=0.1)
  params = {'kernel': jnp.full((2, 3), 4.0), 'bias': jnp.full((3,), 4.0)}
  updates, _ = optimizer.update(
    jax.tree.map(jnp.zeros_like, params), optimizer.init(params), params
  )
  np.testing.assert_allclose(updates['kernel'], -0.5 * 0.1 * 4.0, rtol=1e-6)
  assert not updates['bias'].any()


def test_a_bad_loss_stops_the_run(learning):
  frame = np.zeros((84, 84, 1), np.uint8)

  def learn():
    for _ in range(50):
      learning.step(np.nan, frame)
      learning.driver.metrics()

  before = snapshot(learning)
  try:
    with pytest.raises(DivergedError) as error:
      learn()
    bad = int(learning.driver.state.train.first_bad_step)
    done = counts(learning)[1]
    assert done - 2 < bad <= done
    assert f'gradient step {bad} ' in str(error.value)
  finally:  # Other tests use it, too.
    learning.set_state(before)
