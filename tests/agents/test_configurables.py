"""The agents that gin files make: which settings have their effect."""

import gin
import jax.numpy as jnp
import optax
import pytest

from agents import configurables
import ht_rl


@pytest.fixture(autouse=True)
def _fresh():
  gin.clear_config()
  yield
  gin.clear_config()


def make(agent=configurables.drq_agent, *settings):
  gin.parse_config(settings)
  return agent(num_actions=2)


def train(optimizer, steps):
  """Returns hare and tortoise after some gradients of one."""
  hare = {'w': jnp.ones((2, 2))}
  state = optimizer.init(hare)
  for _ in range(steps):
    updates, state = optimizer.update({'w': jnp.ones((2, 2))}, state, hare)
    hare = optax.apply_updates(hare, updates)
  return hare['w'][0, 0], ht_rl.tortoise_params(state)['w'][0, 0]


@pytest.mark.parametrize('agent', list(configurables.AGENTS.values()))
def test_settings_of_the_optimizer_need_not_name_it(agent):
  loop = make(
    agent,
    'hare_tortoise.momentum = 0.5',
    'hare_tortoise.reset_every = 2',
    'adam.learning_rate = 0.25',
    'adam.weight_decay = 0.0',
  )
  # Adam's steps are as long as the learning rate.
  assert train(loop.learner.optimizer, 1) == (
    pytest.approx(0.75, abs=1e-3),
    pytest.approx(0.875, abs=1e-3),
  )
  hare, tortoise = train(loop.learner.optimizer, 2)
  assert hare == tortoise
  assert configurables.restart_interval(loop) == 2


def test_the_inner_optimizer_alone_can_be_set():
  loop = make(
    configurables.bbf_agent,
    'hare_tortoise.inner = @mine/adam()',
    'mine/adam.learning_rate = 0.5',
    'adam.learning_rate = 2.0',  # Out of range, and of no optimizer.
  )
  hare, tortoise = train(loop.learner.optimizer, 1)
  assert hare == pytest.approx(0.5, abs=1e-3)
  assert tortoise == pytest.approx(0.995 + 0.005 * 0.5, abs=1e-5)


@pytest.mark.parametrize(
  ('agent', 'decay'),
  [(configurables.drq_agent, 0.0), (configurables.bbf_agent, 0.1)],
)
def test_the_default_optimizer(agent, decay):
  loop = make(agent)
  hare, tortoise = train(loop.learner.optimizer, 1)
  rate = 1e-4
  step = rate / (1 + 1.5e-4) + rate * decay
  assert 1 - hare == pytest.approx(step, rel=1e-2)
  assert 1 - tortoise == pytest.approx(0.005 * step, rel=0.1)
  assert configurables.restart_interval(loop) is None


@pytest.mark.parametrize(
  ('interval', 'measured'), [('3', 3), ('%n', 3), ('None', None)]
)
def test_the_restarts_of_the_optimizer_in_use_are_measured(interval, measured):
  loop = make(
    configurables.drq_agent,
    'n = 3',
    'DrQAgent.optimizer = @mine/hare_tortoise()',
    'mine/hare_tortoise.inner = @adam()',
    'mine/hare_tortoise.momentum = 0.5',
    f'mine/hare_tortoise.reset_every = {interval}',
    'hare_tortoise.reset_every = 5',  # Of no optimizer.
  )
  hare, tortoise = train(loop.learner.optimizer, 3)
  assert (hare == tortoise) == (measured == 3)
  assert configurables.restart_interval(loop) == measured


def test_an_interval_without_a_number_is_not_measured():
  optimizer = configurables.hare_tortoise(
    optax.sgd(0.5), momentum=0.5, reset_every=lambda count: count == 2
  )
  loop = configurables.drq_agent(num_actions=2, optimizer=optimizer)
  assert configurables.restart_interval(loop) is None


WITHOUT_RESETS = {
  'DrQAgent': ('keep_encoder = 0.5', 'keep_head = 0.5', 'no_resets_after = 9'),
  'BBFAgent': ('keep_encoder = 0.6', 'no_resets_after = 9'),
  'hare_tortoise': ('reset_strength = 0.5', 'reset_inner_state = True'),
}


@pytest.mark.parametrize(
  ('owner', 'setting'),
  [(owner, x) for owner in WITHOUT_RESETS for x in WITHOUT_RESETS[owner]],
)
def test_a_setting_of_resets_without_a_reset_is_said(owner, setting):
  name = setting.split()[0]
  agent = configurables.AGENTS.get(owner, configurables.bbf_agent)
  settings = ('BBFAgent.reset_every = None', f'{owner}.{setting}')
  [line] = configurables.warnings(make(agent, *settings), 9000)
  assert line == (
    f'warning: {owner}.{name} has no effect, because {owner}.reset_every is '
    'None'
  )
  every = f'{owner}.reset_every = 10'
  assert configurables.warnings(make(agent, every), 9000) == []


@pytest.mark.parametrize('agent', list(configurables.AGENTS.values()))
@pytest.mark.parametrize('steps', [1, 100_000])
def test_an_agent_of_defaults_needs_no_warning(agent, steps):
  assert configurables.warnings(make(agent), steps) == []
