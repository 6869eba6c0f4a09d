"""Each gin file makes the agent of its row, and repeats no setting."""

import ast
import pathlib
import re

import gin
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents import configurables
from agents.core import bbf_networks, networks
from experiments import atari_run, config
from experiments.paper import restarts
import ht_rl

pytestmark = pytest.mark.usefixtures('compile_fast')

FOLDER = pathlib.Path(__file__).parents[1] / 'gin_configs'
FILES = sorted(
  file for file in FOLDER.rglob('*.gin') if 'supervised' not in file.parts
)

# Momentum of the tortoise, gradient steps between restarts, replay ratio,
# gradient steps between resets, and the kept fractions of encoder and head;
# from the paper's section 5.3 and Table 1, and Dopamine's DrQ(eps).
ROWS = {
  'drq': (0.995, None, 2, None, 1.0, 0.0),
  'drq_ht': (0.995, 4000, 2, None, 1.0, 0.0),
  'drq_sp': (0.995, None, 2, 20_000, 0.5, 0.5),
  'drq_hr20k': (0.995, None, 2, 20_000, 1.0, 0.0),
  'drq_hr40k': (0.995, None, 2, 40_000, 1.0, 0.0),
  'drq_hr40k_ht': (0.995, 4000, 2, 40_000, 1.0, 0.0),
  'drq_hr40k_env': (0.995, None, 2, 80_000, 1.0, 0.0),
  'drq_eps': (0.0, None, 1, None, 1.0, 0.0),
  'drq_original': (0.0, None, 1, None, 1.0, 0.0),
  'drq_released': (0.995, None, 2, None, 1.0, 0.0),
}
# What differs from (0.01, 0.001, 2500): the exploration rate in training and
# evaluation and the steps over which it falls; from Dopamine's labs.
EXPLORATION = {
  'drq_eps': (0.01, 0.001, 5000),
  'drq_original': (0.1, 0.05, 5000),
}

# BBF as in its paper and its release; the steps of the resets are environment
# steps, as documented.
BBF = {
  'replay_ratio': 2,
  'encoder': bbf_networks.ImpalaEncoder((64, 128, 128)),
  'hidden': 2048,
  'renormalize': True,
  'noisy': False,
  'n': (10, 3),
  'gamma': (0.97, 0.997),
  'data_augmentation': True,
  'jumps': 5,
  'momentum': 0.995,
  'update_every': 1,
  'restart': None,
  'target_action_selection': True,
  'resets': tuple(range(20_000, 100_000, 20_000)),
  'keep': (0.5, 0.0),
  'weight_decay': 0.1,
  'epsilon': (0.0, 2001, 2000),
  'released': False,
}
NATURE = networks.NatureEncoder((32, 64, 64), flatten=False)
EVERY_5000 = tuple(range(5000, 100_000, 5000))

# The differences of BBF's relatives, as its release configures them, and of the
# two other rows of the paper's Table 1 (section 5.3).
BBF_ROWS = {
  'bbf': {},
  'bbf_no_ssl': {'jumps': 0},
  'bbf_ht': {'jumps': 0, 'restart': 4000},
  'bbf_rr8': {'replay_ratio': 8, 'resets': EVERY_5000},
  'bbf_released': {'released': True, 'resets': (20_002, 40_003, 60_004)},
  'sr_spr': {
    'replay_ratio': 8,
    'encoder': NATURE,
    'hidden': 512,
    'n': (10, 10),
    'gamma': (0.99, 0.99),
    'resets': EVERY_5000,
    'keep': (0.8, 0.0),
    'weight_decay': 0.0,
  },
  'spr': {
    'encoder': NATURE,
    'hidden': 512,
    'noisy': True,
    'n': (10, 10),
    'gamma': (0.99, 0.99),
    'momentum': 0.0,
    'target_action_selection': False,
    'resets': (),
    'weight_decay': 0.0,
  },
  'der': {
    'replay_ratio': 1,
    'encoder': NATURE,
    'hidden': 512,
    'renormalize': False,
    'noisy': True,
    'n': (10, 10),
    'gamma': (0.99, 0.99),
    'data_augmentation': False,
    'jumps': 0,
    'momentum': 0.0,
    'update_every': 8000,
    'target_action_selection': False,
    'resets': (),
    'weight_decay': 0.0,
    'epsilon': (0.01, 2000, 1600),
  },
}

# Small sizes: what the rows have in common does not depend on them.
SMALL = (
  'DuelingQNetwork.channels = (2,)',
  'DuelingQNetwork.kernels = (12,)',
  'DuelingQNetwork.strides = (12,)',
  'DuelingQNetwork.hidden = 4',
  'DrQAgent.replay_capacity = 100',
  "BBFNetwork.encoder = 'nature'",
  'BBFNetwork.channels = (2, 2, 2)',
  'BBFNetwork.hidden = 4',
  'BBFNetwork.num_atoms = 5',
  'BBFAgent.replay_capacity = 100',
)


@pytest.fixture(autouse=True)
def _no_settings_left():
  yield
  gin.clear_config()


def make_agent(file, run_dir):
  """Returns the agent of a run, after checking that all settings matter."""
  config.load_config([str(file)], SMALL)
  run = atari_run.AtariRun(run_dir, file.stem, 'Pong', 0)
  loop = run._make_runner(lambda: False)._agent.driver.loop
  steps = configurables.run_settings().training_steps
  assert configurables.warnings(loop, steps) == []
  return loop


def update_number(count, optimizer):
  """Returns hare and tortoise after one update of [1, -2] and [0.5, 4]."""
  params = {'w': jnp.array([1.0, -2.0])}
  state = optimizer.init(params)
  state = ht_rl.replace_tortoise(state, {'w': jnp.array([0.5, 4.0])})
  state = state._replace(count=jnp.asarray(count - 1, jnp.int32))
  updates, state = optimizer.update({'w': jnp.array([0.3, 0.1])}, state, params)
  hare = jax.tree.map(lambda p, u: p + u, params, updates)
  return np.array(hare['w']), np.array(ht_rl.tortoise_params(state)['w'])


def test_every_row_has_its_file():
  assert ROWS.keys() | BBF_ROWS.keys() <= {file.stem for file in FILES}


@pytest.mark.parametrize('name', ROWS)
def test_the_agent_of_a_row(name, tmp_path):
  momentum, restart, ratio, reset, keep_encoder, keep_head = ROWS[name]
  agent = make_agent(FOLDER / f'{name}.gin', tmp_path)
  learner = agent.learner
  assert gin.query_parameter('hare_tortoise.momentum') == momentum
  assert gin.query_parameter('hare_tortoise.reset_every') == restart

  hare, tortoise = update_number(3999, learner.optimizer)
  # Adam's first step is the learning rate, 1e-4, up to its epsilon.
  np.testing.assert_allclose(
    hare,
    np.array([1.0, -2.0])
    - 1e-4 * np.array([0.3, 0.1]) / (np.array([0.3, 0.1]) + 1.5e-4),
    rtol=1e-6,
  )
  np.testing.assert_allclose(
    tortoise,
    momentum * np.array([0.5, 4.0]) + (1 - momentum) * hare,
    rtol=1e-6,
  )
  hare, tortoise = update_number(4000, learner.optimizer)
  if restart == 4000 or momentum == 0.0:
    np.testing.assert_array_equal(hare, tortoise)
  else:
    assert (np.abs(hare - tortoise) > 0.1).all()

  assert gin.query_parameter('DrQAgent.replay_ratio') == ratio
  assert agent.replay_ratio == ratio
  assert learner.reset_every == reset
  assert (learner.keep_encoder, learner.keep_head) == (keep_encoder, keep_head)
  released = name == 'drq_released'
  assert learner.bootstrap_early == learner.exclusive_shift == released
  online_acts = released or momentum == 0.0
  assert learner.target_action_selection == (not online_acts)
  assert EXPLORATION.get(name, (0.01, 0.001, 2500)) == (
    learner.epsilon_train,
    learner.epsilon_eval,
    learner.epsilon_decay_period,
  )
  # The settings of all rows.
  assert (learner.gamma, learner.update_horizon) == (0.99, 10)
  assert (learner.batch_size, learner.min_replay_history) == (32, 1600)
  assert learner.data_augmentation
  config.load_config([str(FOLDER / f'{name}.gin')], [])
  assert gin.query_parameter('DrQAgent.replay_capacity') == 100_000
  assert gin.query_parameter('Atari100kRunner.training_steps') == 100_000
  assert gin.query_parameter('Atari100kRunner.num_eval_episodes') == 100


@pytest.mark.parametrize('name', BBF_ROWS)
def test_the_agent_of_a_row_of_bbf(name, tmp_path):
  row = BBF | BBF_ROWS[name]
  file = FOLDER / f'{name}.gin'
  agent = make_agent(file, tmp_path)
  assert_optimizer(agent.learner.optimizer, row)
  assert_settings(agent, row)

  # All resets of a run: the environment and gradient steps done before each.
  done, resets = 0, {}
  for step in range(1, 100_001):
    due = agent.due(step, done)
    if due.reset:
      resets[step - 1] = done
    done += due.num_updates
  assert tuple(resets) == row['resets']
  gradient_steps = list(resets.values())
  if name == 'bbf':
    assert gradient_steps == [36_000, 76_000, 116_000, 156_000]
  if name == 'bbf_released':
    assert gradient_steps == [36_004, 76_006, 116_008]
  if name == 'bbf_rr8':  # 40k between two resets, as at replay ratio 2.
    assert set(np.diff(gradient_steps)) == {40_000}

  # The sizes that were small above.
  config.load_config([str(file)], [])
  assert gin.query_parameter('BBFAgent.replay_capacity') == 100_000
  assert gin.query_parameter('Atari100kRunner.training_steps') == 100_000
  assert gin.query_parameter('Atari100kRunner.num_eval_episodes') == 100
  assert configurables.bbf_network(6) == bbf_networks.BBFNetwork(
    6,
    encoder=row['encoder'],
    hidden=row['hidden'],
    num_atoms=51,
    v_max=10.0,
    renormalize=row['renormalize'],
    noisy=row['noisy'],
  )


def assert_settings(agent, row):
  learner = agent.learner
  assert agent.replay_ratio == row['replay_ratio']
  n, gamma = jax.jit(jax.vmap(learner.schedule))(jnp.array([0, 10_000]))
  assert tuple(n.tolist()) == row['n']
  np.testing.assert_allclose(gamma, row['gamma'], rtol=1e-7)
  if row['n'] == (10, 3):
    # n falls to 9 after 426 gradient steps, to 3 after 8719 (by its formula).
    n, gamma = jax.jit(jax.vmap(learner.schedule))(
      jnp.array([426, 427, 5000, 8719, 8720])
    )
    assert n.tolist() == [10, 9, 5, 4, 3]
    np.testing.assert_allclose(gamma[2], 0.99051, atol=1e-5)
  assert learner.jumps == row['jumps']
  assert learner.spr_weight == 5.0
  assert (learner.keep_encoder, learner.keep_head) == row['keep']
  assert row['epsilon'] == (
    learner.epsilon_train,
    learner.epsilon_decay_period,
    learner.min_replay_history,
  )
  assert (learner.batch_size, learner.epsilon_eval) == (32, 0.001)
  assert learner.data_augmentation == row['data_augmentation']
  assert learner.target_action_selection == row['target_action_selection']
  released = row['released']
  assert learner.priorities == ('batch_mean' if released else 'per_sample')
  assert learner.bootstrap_early == released
  assert learner.batches_by_age == released
  assert learner.separate_target_draw == released
  assert learner.exclusive_shift == released


def assert_optimizer(optimizer, row):
  # Adam's first step is 1e-4, up to its epsilon of 1.5e-4. No decay of vectors.
  gradient = np.array([0.3, 0.1])
  expected = np.array([1.0, -2.0]) - 1e-4 * gradient / (gradient + 1.5e-4)
  for count in (3999, 4000, 8000):
    hare, tortoise = update_number(count, optimizer)
    averaged = np.array([0.5, 4.0])
    if count % row['update_every'] == 0:
      momentum = row['momentum']
      averaged = momentum * averaged + (1 - momentum) * expected
    np.testing.assert_allclose(tortoise, averaged, rtol=1e-6)
    if row['restart'] and count % row['restart'] == 0:
      np.testing.assert_array_equal(hare, tortoise)
    else:
      np.testing.assert_allclose(hare, expected, rtol=1e-6)
  matrix = {'w': jnp.ones((2, 2))}
  updates, _ = optimizer.update(
    {'w': jnp.zeros((2, 2))}, optimizer.init(matrix), matrix
  )
  decay = -1e-4 * row['weight_decay']
  np.testing.assert_allclose(updates['w'], decay, rtol=1e-6)


@pytest.mark.parametrize('file', FILES, ids=lambda file: file.stem)
def test_a_file_says_only_what_differs(file):
  text = file.read_text()
  assert text.startswith('# ')  # A first line that says what it is.
  includes = re.findall(r"^include '(.+)'$", text, re.MULTILINE)
  bindings = re.findall(r'^([\w.]+) = (.+)$', text, re.MULTILINE)
  assert bindings or includes
  names = [name for name, _ in bindings]
  assert len(set(names)) == len(names)
  if not includes:
    return
  config.load_config([str(FOLDER.parent / name) for name in includes], [])
  for name, value in bindings:
    try:
      base = gin.query_parameter(name)
    except ValueError:  # The included file leaves it at its default.
      continue
    assert ast.literal_eval(value) != base, name


@pytest.mark.parametrize(
  'file',
  [
    file
    for file in FILES
    # base.gin is a network without an agent.
    if file.stem not in {*ROWS, *BBF_ROWS, 'base'}
  ],
  ids=lambda file: file.stem,
)
def test_the_other_files_make_an_agent(file, tmp_path):
  assert make_agent(file, tmp_path).learner.num_actions == 6


def bindings(file):
  config.load_config([str(FOLDER / file)], [])
  lines = gin.config_str().splitlines()
  return {line for line in lines if ' = ' in line}


@pytest.mark.parametrize('row', ['drq', 'drq_ht', 'drq_hr20k'])
def test_a_row_in_small_differs_in_the_network_alone(row):
  small = bindings(f'small/small_{row}.gin')
  difference = small ^ bindings(f'{row}.gin')
  assert difference
  assert all(x.startswith('DuelingQNetwork.') for x in difference)


def test_the_grid_of_restarts_is_whole():
  files = {str(file) for file in (FOLDER / 'small/restarts').glob('*.gin')}
  assert files == {str(FOLDER.parent / file) for file in restarts.gin_files()}
  assert len(files) == 3 * 4


@pytest.mark.parametrize('momentum', restarts.MOMENTA)
@pytest.mark.parametrize('interval', restarts.INTERVALS)
def test_a_cell_of_the_grid_differs_in_its_numbers_and_its_length(
  momentum, interval
):
  cell = bindings(f'small/restarts/{restarts.config(momentum, interval)}.gin')
  own = {
    f'hare_tortoise.momentum = {momentum}',
    f'hare_tortoise.reset_every = {interval}',
    'Atari100kRunner.training_steps = 40000',
  }
  assert own <= cell
  assert cell - bindings('small/small_drq_ht.gin') <= own
