"""Each gin file makes the agent of its row, and says no more than it must."""

import ast
import pathlib
import re

import gin
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import config, train
import ht_rl

FOLDER = pathlib.Path(__file__).parents[1] / 'gin_configs'
FILES = sorted(FOLDER.glob('*.gin'))

# Momentum of the tortoise, gradient steps between restarts, replay ratio,
# gradient steps between re-initialisations, and what these keep of encoder and
# head; from the paper's section 5.3 and Table 1, and Dopamine's DrQ(eps).
ROWS = {
  'drq': (0.995, None, 2, None, 1.0, 0.0),
  'drq_ht': (0.995, 4000, 2, None, 1.0, 0.0),
  'drq_sp': (0.995, None, 2, 20_000, 0.5, 0.5),
  'drq_hr20k': (0.995, None, 2, 20_000, 1.0, 0.0),
  'drq_hr40k': (0.995, None, 2, 40_000, 1.0, 0.0),
  'drq_hr40k_ht': (0.995, 4000, 2, 40_000, 1.0, 0.0),
  'drq_eps': (0.0, None, 1, None, 1.0, 0.0),
}

# What the rows have in common does not depend on the size of these.
SMALL = (
  'DuelingQNetwork.channels = (2,)',
  'DuelingQNetwork.kernels = (12,)',
  'DuelingQNetwork.strides = (12,)',
  'DuelingQNetwork.hidden = 4',
  'DrQAgent.replay_capacity = 100',
)


@pytest.fixture(autouse=True)
def _no_settings_left():
  yield
  gin.clear_config()


def make_agent(file, run_dir):
  """The agent of a run, in which each setting of the file has its effect."""
  config.load_config([str(file)], SMALL)
  runner = train._make_runner(run_dir, file.stem, 'Pong', 0)
  config.check_effects()
  return runner._agent


def update_number(count, optimizer):
  """Hare and tortoise before and after that update."""
  params = {'w': jnp.array([1.0, -2.0])}
  state = optimizer.init(params)
  state = ht_rl.replace_tortoise(state, {'w': jnp.array([0.5, 4.0])})
  state = state._replace(count=jnp.asarray(count - 1, jnp.int32))
  updates, state = optimizer.update({'w': jnp.array([0.3, 0.1])}, state, params)
  hare = jax.tree.map(lambda p, u: p + u, params, updates)
  return np.array(hare['w']), np.array(ht_rl.tortoise_params(state)['w'])


def test_every_row_has_its_file():
  assert ROWS.keys() <= {file.stem for file in FILES}


@pytest.mark.parametrize('name', ROWS)
def test_the_agent_of_a_row(name, tmp_path):
  momentum, restart, ratio, reset, keep_encoder, keep_head = ROWS[name]
  agent = make_agent(FOLDER / f'{name}.gin', tmp_path)
  learner = agent.learner
  assert gin.query_parameter('hare_tortoise.momentum') == momentum
  assert gin.query_parameter('hare_tortoise.reset_every') == restart

  hare, tortoise = update_number(3999, learner.optimizer)
  # Adam's first step is the learning rate, 1e-4, all but for its epsilon.
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
  assert agent._replay_ratio == ratio
  assert agent._reset_every == reset
  assert (learner.keep_encoder, learner.keep_head) == (keep_encoder, keep_head)
  assert learner.target_action_selection == (name != 'drq_eps')
  assert learner.epsilon_decay_period == (5000 if name == 'drq_eps' else 2500)
  # What all rows share.
  assert (learner.gamma, learner.update_horizon) == (0.99, 10)
  assert (learner.batch_size, learner.min_replay_history) == (32, 1600)
  assert (learner.epsilon_train, learner.epsilon_eval) == (0.01, 0.001)
  assert learner.data_augmentation
  config.load_config([str(FOLDER / f'{name}.gin')], [])
  assert gin.query_parameter('DrQAgent.replay_capacity') == 100_000
  assert gin.query_parameter('Atari100kRunner.training_steps') == 100_000
  assert gin.query_parameter('Atari100kRunner.num_eval_episodes') == 100


@pytest.mark.parametrize('file', FILES, ids=lambda file: file.stem)
def test_a_file_says_only_what_differs(file):
  text = file.read_text()
  assert text.startswith('# ')  # What it is.
  includes = re.findall(r"^include '(.+)'$", text, re.MULTILINE)
  bindings = re.findall(r'^([\w.]+) = (.+)$', text, re.MULTILINE)
  assert bindings
  names = [name for name, _ in bindings]
  assert len(set(names)) == len(names)
  if not includes:
    return
  (included,) = includes
  config.load_config([str(FOLDER.parent / included)], [])
  for name, value in bindings:
    try:
      base = gin.query_parameter(name)
    except ValueError:  # The included file leaves it at its default.
      continue
    assert ast.literal_eval(value) != base, name


@pytest.mark.parametrize(
  'file',
  [file for file in FILES if file.stem not in ROWS],
  ids=lambda file: file.stem,
)
def test_the_other_files_make_an_agent(file, tmp_path):
  assert make_agent(file, tmp_path).num_actions == 6
