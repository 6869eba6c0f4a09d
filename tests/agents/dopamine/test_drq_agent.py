import functools
import itertools
import types

from agents.dopamine.agent import DeviceAgent

from dopamine.discrete_domains import run_experiment
from dopamine.jax.agents.dqn import dqn_agent
import jax
import numpy as np
import optax
import pytest

from agents import atari, configurables
from agents.errors import CheckpointError, DivergedError
import ht_rl

WARM_UP = 12
TINY = functools.partial(
  configurables.dueling_q_network,
  channels=(4,),
  kernels=(12,),
  strides=(12,),
  hidden=16,
)


def make_agent(seed=0, summary_writer=None, **settings):
  loop = configurables.drq_agent(
    **{
      'num_actions': 4,
      'network': TINY,
      'optimizer': ht_rl.hare_tortoise(
        configurables.adam(3e-4), momentum=0.9, reset_every=5
      ),
      'update_horizon': 3,
      'min_replay_history': WARM_UP,
      'replay_capacity': 200,
      'batch_size': 4,
      'epsilon_decay_period': 20,
      **settings,
    }
  )
  return DeviceAgent(loop, seed, summary_writer)


def make_environment(**settings):
  return atari.AtariEnvironment('Breakout', seed=0, max_noops=5, **settings)


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


def params(agent):
  """Returns the parameters of hare and tortoise."""
  train = agent.driver.state.train
  return train.params, ht_rl.tortoise_params(train.opt_state)


def gradient_steps(agent):
  return int(agent.driver.state.train.gradient_steps)


def metrics(agent):
  return agent.driver.metrics()


def frames(seed):
  rng = np.random.default_rng(seed)
  while True:
    yield rng.integers(256, size=(84, 84, 1), dtype=np.uint8)


def play(agent, steps, seed=0):
  """Plays noise; returns the actions."""
  observations = frames(seed)
  actions = [agent.begin_episode(next(observations))]
  for t in range(1, steps):
    if t % 9 == 0:
      agent.end_episode(1.0, terminal=t % 2 == 0)
      actions.append(agent.begin_episode(next(observations)))
    else:
      actions.append(agent.step(float(t % 3 - 1), next(observations)))
  return [int(action) for action in actions]


@pytest.fixture(scope='module')
def beginning():
  """Returns an agent, and its counts after each of its first steps."""
  agent = make_agent(reset_every=4, summary_writing_frequency=10)
  observations = frames(0)
  agent.begin_episode(next(observations))
  counts = []
  for _ in range(WARM_UP + 3):
    agent.step(1.0, next(observations))
    records = int(agent.driver.state.replay.cursor)
    counts.append((records, gradient_steps(agent), len(metrics(agent))))
  return agent, counts


@pytest.fixture(scope='module')
def learning(beginning):
  """Returns a shared agent that learns; do not rely on its step."""
  return beginning[0]


# --- The interface of Dopamine ---


def test_it_is_a_dopamine_agent(learning):
  assert isinstance(learning, dqn_agent.JaxDQNAgent)


def test_records_are_what_the_loop_saw():
  """Across lost lives, ends, and truncations by environment and loop."""
  agent = make_agent(min_replay_history=2000, replay_capacity=2000)
  seen = []
  life_losses = 0
  for limit, loop_limit in [(27_000, 27_000), (60, 27_000), (27_000, 60)] * 2:
    environment = make_environment(max_episode_steps=limit)
    observation = environment.reset()
    action = agent.begin_episode(observation)
    for step in range(1, loop_limit + 1):
      after, reward, terminal, _ = environment.step(int(action))
      over = environment.game_over or step == loop_limit
      seen.append((observation, action, reward, terminal, over or terminal))
      observation = after
      if over:
        break
      if terminal:
        life_losses += 1
        agent.end_episode(reward, terminal)
        action = agent.begin_episode(observation)
      else:
        action = agent.step(reward, observation)
    agent.end_episode(reward, terminal)
    assert agent.training_steps == len(seen)
  assert life_losses > 0
  assert (
    agent.driver.state.replay.cursor == len(seen) - 1
  )  # The last one is pending.
  agent.begin_episode(observation)
  assert not agent.get_state()['has_pending']
  # A checkpoint has no slots that were never written.
  stored = agent.get_state()['run'].replay
  assert stored.cursor == len(stored.frames) == len(seen)
  observations, actions, rewards, terminals, ends = (
    np.array(column) for column in zip(*seen, strict=True)
  )
  padded = np.pad(observations[..., 0], ((0, 0), (4, 4), (4, 4)), 'edge')
  np.testing.assert_array_equal(stored.frames, padded)
  np.testing.assert_array_equal(stored.actions, actions)
  np.testing.assert_array_equal(stored.rewards, rewards)
  np.testing.assert_array_equal(stored.terminals, terminals)
  np.testing.assert_array_equal(stored.ends, ends)
  assert np.sum(ends & ~terminals) == 4
  assert len(np.unique(rewards)) > 1


def test_learning_begins_after_the_warm_up(beginning):
  _, counts = beginning
  expected = [(t, 0, 0) for t in range(1, WARM_UP + 1)]
  expected += [(WARM_UP + i, 2 * i, 4) for i in (1, 2, 3)]
  assert counts == expected


def test_evaluation_leaves_the_training_as_it_is(learning):
  learning.end_episode(1.0, terminal=True)
  before = snapshot(learning)
  assert before['has_pending']
  learning.eval_mode = True
  try:
    play(learning, 20, seed=3)
    learning.end_episode(5.0, terminal=False)
  finally:
    learning.eval_mode = False
  assert_bitwise(snapshot(learning), before)


def test_the_tortoise_plays_the_evaluation():
  agent = make_agent(epsilon_eval=0.0)
  learner = agent.driver.loop.learner
  tortoise = learner.init_params(jax.random.PRNGKey(8))
  train = agent.driver.state.train
  agent.driver.state = agent.driver.state._replace(
    train=train._replace(
      opt_state=ht_rl.replace_tortoise(train.opt_state, tortoise)
    )
  )
  # Blocks of the size of the network's kernels, so that its actions vary.
  blocks = np.random.default_rng(0).integers(2, size=(30, 7, 7), dtype=np.uint8)
  shown = np.kron(255 * blocks, np.ones((1, 12, 12), np.uint8))
  padded = np.concatenate([np.zeros((3, 84, 84), np.uint8), shown])
  images = np.stack([padded[i : i + 30] for i in range(4)], axis=-1) / 255
  by_hare, by_tortoise = (
    np.argmax(learner.network.apply(params, images), axis=-1).tolist()
    for params in (train.params, tortoise)
  )
  assert len(set(by_tortoise)) > 1
  assert by_hare != by_tortoise
  agent.eval_mode = True
  for _ in range(2):  # A second episode also begins with an empty stack.
    actions = [agent.begin_episode(shown[0][..., None])]
    actions += [agent.step(0.0, frame[..., None]) for frame in shown[1:]]
    agent.end_episode(0.0)
    assert actions == by_tortoise


def evaluate_randomly(agent, episodes, lives=1):
  """Returns the actions of random episodes of 20 steps in evaluation mode."""
  agent.eval_mode = True
  observations = frames(1)
  played = []
  for _ in range(episodes):
    actions = []
    for _ in range(lives):  # Dopamine ends an episode for the agent each time.
      actions.append(agent.begin_episode(next(observations)))
      actions += [agent.step(0.0, next(observations)) for _ in range(19)]
      agent.end_episode(0.0)
    played.append(tuple(int(action) for action in actions))
  agent.eval_mode = False
  return played


def test_no_episode_of_an_evaluation_repeats_the_numbers_of_another():
  agent = make_agent(epsilon_eval=1.0)
  agent.begin_episode(next(frames(0)))
  before = snapshot(agent)
  one = evaluate_randomly(agent, 3, lives=2)
  for frame in itertools.islice(frames(2), 5):
    agent.step(0.0, frame)
  between = snapshot(agent)
  other = evaluate_randomly(agent, 3, lives=2)
  # Of 4 actions, 20 agree in a row with a probability of 1e-12.
  halves = [half for e in one + other for half in (e[:20], e[20:])]
  assert len(set(halves)) == 12
  # A run that goes on from a checkpoint repeats its evaluation.
  for state, expected in ((before, one), (between, other)):
    agent.set_state(state)
    assert evaluate_randomly(agent, 3, lives=2) == expected
  resumed = make_agent(epsilon_eval=1.0)
  resumed.set_state(between)
  assert evaluate_randomly(resumed, 3, lives=2) == other


def test_figures_go_to_the_dispatcher_now_and_then(learning):
  written = []
  learning.set_collector_dispatcher(
    types.SimpleNamespace(
      write=lambda statistics, collector_allowlist: written.extend(statistics)
    )
  )
  try:
    first = learning.training_steps
    play(learning, 25)
  finally:
    del learning.collector_dispatcher
  steps = [t for t in range(first + 1, first + 26) if t % 10 == 0]
  assert [s.step for s in written if s.name == 'Train/loss'] == steps
  names = ('loss', 'q', 'gradient_norm', 'gradient_steps')
  assert {s.name for s in written} == {f'Train/{name}' for name in names}
  assert all(np.isfinite(s.value) for s in written)


# --- Re-initialisation ---


def test_the_networks_are_reset_when_due(learning):
  """Every 4 gradient steps, 2 per step; right before the next step's."""

  observations = frames(5)
  learning.begin_episode(next(observations))
  seen = set()
  for _ in range(6):
    learning.step(1.0, next(observations))
    assert metrics(learning)['gradient_norm'] > 0
    since_reset = int(learning.driver.state.train.opt_state.count)
    assert since_reset == (gradient_steps(learning) - 1) % 4 + 1
    seen.add(since_reset)
  assert seen == {2, 4}


# --- Checkpoints ---


def test_going_back_to_a_state_repeats_what_followed(learning):
  learning.end_episode(-1.0, terminal=False)  # Pending in the checkpoint.
  before = snapshot(learning)
  actions = play(learning, 15, seed=6)
  after = snapshot(learning)
  assert before['run.train.params.params.head.value.kernel'].tobytes() != (
    after['run.train.params.params.head.value.kernel'].tobytes()
  )
  learning.set_state({name: array.copy() for name, array in before.items()})
  assert_bitwise(snapshot(learning), before)
  assert play(learning, 15, seed=6) == actions
  assert_bitwise(snapshot(learning), after)


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'network': functools.partial(TINY, hidden=8)}, 'is of an agent with'),
    ({'replay_capacity': 100}, 'is of an agent with'),
    (
      {'optimizer': ht_rl.hare_tortoise(optax.sgd(0.1), momentum=0.9)},
      'does not fit this program: .* is in only one of the two',
    ),
  ],
)
def test_a_state_of_another_agent_is_refused(learning, settings, message):
  with pytest.raises(CheckpointError, match=f'^the checkpoint {message}'):
    make_agent(**settings).set_state(snapshot(learning))


def test_dopamines_hooks_write_and_read_a_checkpoint(learning, tmp_path):
  assert learning.bundle_and_checkpoint(str(tmp_path / 'none'), 0) is None
  assert not learning.unbundle(str(tmp_path), 0, {})
  bundle = learning.bundle_and_checkpoint(str(tmp_path), 3)
  assert bundle == {'training_steps': learning.training_steps}
  at_three = snapshot(learning)
  play(learning, 5)
  learning.bundle_and_checkpoint(str(tmp_path), 4)
  assert not learning.unbundle(str(tmp_path), 4, None)
  # If killed before its own file of iteration 4, Dopamine asks for 3.
  assert learning.unbundle(str(tmp_path), 3, bundle)
  assert_bitwise(snapshot(learning), at_three)
  play(learning, 7)
  at_four = snapshot(learning)
  learning.bundle_and_checkpoint(str(tmp_path), 4)
  play(learning, 5)
  assert learning.unbundle(str(tmp_path), 4, bundle)
  assert_bitwise(snapshot(learning), at_four)
  # If killed before its first file, Dopamine asks for none and begins anew.
  learning.bundle_and_checkpoint(str(tmp_path), 3)
  play(learning, 5)
  at_three = snapshot(learning)
  learning.bundle_and_checkpoint(str(tmp_path), 3)
  play(learning, 5)
  assert learning.unbundle(str(tmp_path), 3, bundle)
  assert_bitwise(snapshot(learning), at_three)
  learning.bundle_and_checkpoint(str(tmp_path), 4)
  # Another iteration does not replace an unreadable checkpoint.
  (tmp_path / 'agent' / '4' / 'sha256').write_text('')
  with pytest.raises(CheckpointError, match='of iteration 4'):
    learning.unbundle(str(tmp_path), 4, bundle)


def test_it_trains_and_resumes_under_dopamines_runner(tmp_path):
  agents = []

  def run(folder, environment, num_iterations):
    def create(sess, environment, summary_writer):
      agents.append(make_agent(summary_writer=summary_writer, replay_ratio=1))
      return agents[-1]

    runner = run_experiment.Runner(
      str(tmp_path / folder),
      create,
      create_environment_fn=lambda: environment,
      num_iterations=num_iterations,
      training_steps=30,
      evaluation_steps=10,
      max_steps_per_episode=40,
      fine_grained_print_to_console=False,
    )
    restored = snapshot(agents[-1])
    start = runner._start_iteration
    runner.run_experiment()
    assert metrics(agents[-1])['gradient_norm'] > 0
    return start, restored, snapshot(agents[-1])

  start, fresh, uninterrupted = run('one', make_environment(), 3)
  assert start == 0
  assert uninterrupted['run.train.gradient_steps'] > 50
  # Dopamine does not save the environment: keep it between the two runs.
  environment = make_environment()
  _, also_fresh, stopped = run('two', environment, 2)
  assert_bitwise(also_fresh, fresh)
  start, restored, resumed = run('two', environment, 3)
  assert start == 2
  assert_bitwise(restored, stopped)
  assert_bitwise(resumed, uninterrupted)
  assert list((tmp_path / 'two').glob('**/events.out.tfevents*'))


class Telling(atari.AtariEnvironment):
  """A game that tells of each step; one reward differs from the next."""

  def __init__(self, agents):
    super().__init__('Breakout', seed=0, max_noops=5, max_episode_steps=25)
    self._agents = agents
    self._frame, self._chosen_in_training = None, None
    self.told = []

  def reset(self):
    self._frame = super().reset()
    self._chosen_in_training = not self._agents[-1].eval_mode
    return self._frame

  def step(self, action):
    frame, reward = self._frame, len(self.told) % 7 / 8
    self._frame, _, terminal, info = super().step(action)
    training = not self._agents[-1].eval_mode
    if self._chosen_in_training:
      # An action of training that evaluation plays is the last of an episode.
      end = terminal or self.game_over or not training
      self.told.append((frame, reward, terminal, end))
    self._chosen_in_training = training
    return self._frame, reward, terminal, info


@pytest.mark.parametrize('training_steps', [12, 24])
def test_an_episode_goes_on_in_evaluation_and_back(tmp_path, training_steps):
  """The games have 25 steps: they end before, in, and after an evaluation."""
  agents, told = [], []

  def run(num_iterations):
    def create(sess, environment, summary_writer):
      agents.append(make_agent(summary_writer=summary_writer))
      return agents[-1]

    environment = Telling(agents)
    runner = run_experiment.Runner(
      str(tmp_path),
      create,
      create_environment_fn=lambda: environment,
      num_iterations=num_iterations,
      training_steps=training_steps,
      evaluation_steps=7,
      max_steps_per_episode=None,
      fine_grained_print_to_console=False,
    )
    runner.run_experiment()
    told.extend(environment.told)

  run(3)
  run(4)  # Resumed, with a new game.
  assert len(told) > 4 * training_steps
  del told[-1]  # It is pending.
  replay = jax.device_get(agents[-1].driver.state.replay)
  assert replay.cursor == len(told)
  seen, rewards, terminals, ends = map(np.array, zip(*told, strict=True))
  padded = np.pad(seen[..., 0], ((0, 0), (4, 4), (4, 4)), 'edge')
  np.testing.assert_array_equal(replay.frames[: len(told)], padded)
  np.testing.assert_array_equal(replay.rewards[: len(told)], rewards)
  np.testing.assert_array_equal(replay.terminals[: len(told)], terminals)
  np.testing.assert_array_equal(replay.ends[: len(told)], ends)
  assert np.sum(ends & ~terminals) >= 3


def test_a_run_that_goes_on_in_a_new_environment_begins_an_episode():
  agent, observations = make_agent(), frames(0)
  agent.begin_episode(next(observations))
  agent.step(1.0, next(observations))
  resumed = make_agent()
  resumed.set_state(snapshot(agent))
  resumed.begin_episode(next(observations))
  resumed.step(0.5, next(observations))
  replay = resumed.driver.state.replay
  assert replay.cursor == 3
  # The outcome of the second action is not known.
  assert replay.rewards[:3].tolist() == [1.0, 0.0, 0.5]
  assert replay.ends[:3].tolist() == [False, True, False]
  assert not replay.terminals.any()


# --- Settings ---


def test_another_seed_is_another_agent():
  one, other = (
    params(make_agent(seed))[0]['params']['head']['hidden']['kernel']
    for seed in (3, 4)
  )
  assert not np.isin(one, other).any()


WRONG = {
  'stack_size': [0, 1.5],
  'update_horizon': [0, None],
  'batch_size': [0, '32'],
  'replay_ratio': [0, 2.0],
  'epsilon_decay_period': [0],
  'summary_writing_frequency': [0],
  'gamma': [-0.1, 1.01, float('nan')],
  'epsilon_train': [2, 'a'],
  'epsilon_eval': [-1],
  'keep_encoder': [1.5],
  'keep_head': [-0.5, True],
  'data_augmentation': [1, 'yes'],
  'target_action_selection': [None],
  'bootstrap_early': [1],
  'exclusive_shift': ['no'],
  'min_replay_history': [3],  # With a horizon of 3 steps.
  'replay_capacity': [6],  # With a horizon of 3 and 4 frames.
  'reset_every': [0, 1.0],
  'seed': [-1, 0.5],
  'network': [None, 'DuelingQNetwork'],
  'optimizer': ['adam'],
}


@pytest.mark.parametrize(
  ('name', 'value'), [(name, v) for name in WRONG for v in WRONG[name]]
)
def test_a_wrong_setting_is_named(name, value):
  with pytest.raises(ValueError, match=f'^DrQAgent.{name} must '):
    make_agent(**{name: value})


@pytest.mark.parametrize(
  ('make', 'name', 'value'),
  [
    (configurables.adam, 'adam.learning_rate', -1e-4),
    (configurables.adam, 'adam.b1', 1.0),
    (configurables.adam, 'adam.b2', 1.0),
    (configurables.adam, 'adam.eps', -1),
    (TINY, 'DuelingQNetwork.hidden', 0),
    (TINY, 'DuelingQNetwork.channels', 32),
    (TINY, 'DuelingQNetwork.channels', (0,)),
    (TINY, 'DuelingQNetwork.kernels', (8, 4)),
    (TINY, 'DuelingQNetwork.strides', ('4',)),
    (TINY, 'DuelingQNetwork.dtype', 'float64'),
  ],
)
def test_a_wrong_setting_of_a_part_is_named(make, name, value):
  first = {'num_actions': 4} if make is TINY else {}
  with pytest.raises(ValueError, match=f'^{name} must be'):
    make(**first, **{name.split('.')[1]: value})


def test_only_images_can_be_shifted():
  with pytest.raises(ValueError, match=r'must be False .* is \(4,\)'):
    make_agent(observation_shape=(4,))


def test_an_optimizer_without_a_tortoise_is_refused_at_once():
  with pytest.raises(
    ValueError, match=r'^DrQAgent\.optimizer must hold exactly one @hare_torto'
  ):
    make_agent(optimizer=configurables.adam())


# --- A bad loss ---


def test_a_bad_loss_stops_the_run(learning):
  before = snapshot(learning)

  def learn():
    for frame in itertools.islice(frames(7), 100):
      learning.step(np.nan, frame)
      metrics(learning)

  try:
    with pytest.raises(DivergedError) as error:
      learn()
    step = int(learning.driver.state.train.first_bad_step)
    assert int(before['run.train.gradient_steps']) < step
    assert step <= gradient_steps(learning)
    assert f'gradient step {step} ' in str(error.value)
    with pytest.raises(DivergedError):
      learning.get_state()
  finally:
    learning.set_state(before)
