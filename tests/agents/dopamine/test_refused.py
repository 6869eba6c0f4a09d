"""Settings of Dopamine's classes that would change nothing are refused."""

import inspect

from agents.dopamine import refused
from agents.dopamine import runner as runner_lib
from agents.dopamine.agent import DeviceAgent

from dopamine.discrete_domains import run_experiment
from dopamine.jax.agents.dqn import dqn_agent
import gin
import pytest

from agents import configurables
from agents.run_settings import RunSettings

TABLES = [
  (dqn_agent.JaxDQNAgent, refused.JAX_DQN_AGENT),
  (run_experiment.Runner, refused.RUNNER),
]
# These need advice of their own, since no caller passes them.
SWALLOWED = [
  ('JaxDQNAgent.target_update_period = 8000', 'set hare_tortoise.momentum'),
  ('JaxDQNAgent.update_period = 1', 'set DrQAgent.replay_ratio'),
  ("JaxDQNAgent.optimizer = 'adam'", 'did you mean DrQAgent.optimizer'),
  ("JaxDQNAgent.loss_type = 'huber'", 'has the loss of its paper'),
  (
    'JaxDQNAgent.epsilon_fn = @jax.agents.dqn.dqn_agent.identity_epsilon',
    'set DrQAgent.epsilon_train',
  ),
  ('JaxDQNAgent.eval_mode = True', 'the runner says'),
  ('Runner.clip_rewards = False', 'the protocol clips'),
  ('Runner.max_steps_per_episode = 100', 'the protocol says'),
  ('Runner.evaluation_steps = 9', 'set Atari100kRunner.num_eval_episodes'),
  ('Runner.log_every_n = 5', 'did you mean Atari100kRunner.log_every?'),
]


@pytest.fixture(autouse=True)
def _no_settings_left():
  gin.clear_config()
  yield
  gin.clear_config()


@pytest.mark.parametrize(('dopamines', 'advice'), TABLES)
def test_each_parameter_of_dopamine_has_a_decision(dopamines, advice):
  """A new release of Dopamine can add none silently."""
  parameters = inspect.signature(dopamines.__init__).parameters
  assert list(advice) == list(parameters)[1:], (
    'decide for each new parameter whether it has its effect here'
  )


def make_agent():
  return DeviceAgent(configurables.drq_agent(num_actions=4), seed=0)


@pytest.mark.parametrize(('setting', 'advice'), SWALLOWED)
def test_a_setting_that_changes_nothing_is_refused(setting, advice, tmp_path):
  gin.parse_config(setting)
  name = setting.split(' ')[0]
  message = f"the setting '{name}' has no effect: .*{advice}"
  if name.startswith('JaxDQN'):
    with pytest.raises(ValueError, match=message):
      make_agent()
    return
  with pytest.raises(ValueError, match=message):
    runner_lib.Atari100kRunner(
      str(tmp_path / 'run'),
      lambda *args, **kwargs: pytest.fail('too late'),
      game='Pong',
      seed=0,
      settings=RunSettings(),
    )
  assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(('dopamines', 'advice'), TABLES)
def test_each_parameter_without_effect_is_refused_by_name(dopamines, advice):
  kind = dopamines.__name__
  for name in advice:
    gin.clear_config()
    gin.parse_config(f'{kind}.{name} = 1')
    if not advice[name]:
      refused.check(kind, advice, 'DrQAgent')
      continue
    with pytest.raises(ValueError, match=f"'{kind}.{name}' has no effect: "):
      refused.check(kind, advice, 'DrQAgent')


def test_settings_named_in_the_advice_exist():
  configurables_of = {
    'DrQAgent': configurables.drq_agent,
    'BBFAgent': configurables.bbf_agent,
    'Atari100kRunner': RunSettings,
    'hare_tortoise': configurables.hare_tortoise,
  }
  seen = 0
  for _, advice in TABLES:
    for text in advice.values():
      for agent in ('DrQAgent', 'BBFAgent'):
        for word in text.format(agent=agent).split():
          owner, _, name = word.strip('?,').partition('.')
          if owner in configurables_of:
            assert name in inspect.signature(configurables_of[owner]).parameters
            seen += 1
  assert seen > 20


def test_a_setting_with_its_effect_is_accepted():
  gin.parse_config("JaxDQNAgent.collector_allowlist = ('console',)")
  assert make_agent()._collector_allowlist == ('console',)


def test_a_setting_in_another_scope_is_not_meant():
  gin.parse_config('elsewhere/Runner.clip_rewards = False')
  refused.check('run_experiment.Runner', refused.RUNNER)
