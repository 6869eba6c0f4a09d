"""Runs of BBF and its relatives from their gin files, warm-up to evaluation."""

import json

import numpy as np
import pytest

from agents import checkpoint

pytestmark = pytest.mark.usefixtures('compile_fast')

RESETS = ('BBFAgent.reset_every = 40', 'BBFAgent.no_resets_after = 100')
ONE = ('BBFAgent.jumps = 1', 'BBFAgent.replay_ratio = 1')

# Settings, gradient steps per environment step, gradient steps since the last
# reset, and whether SPR is on. The first 15 of 100 steps are warm-up. Resets
# are due after 40 and 80, or with the released counting only after 42.
FILES = {
  'bbf': ((*ONE, *RESETS), 1, 20, True),
  'bbf_released': (('BBFAgent.jumps = 1', *RESETS), 2, 116, True),
  'sr_spr': ((*ONE, *RESETS), 1, 20, True),
  'der': (
    ('BBFAgent.replay_ratio = 1', 'hare_tortoise.update_every = 50'),
    1,
    85,
    False,
  ),
}


@pytest.mark.parametrize('name', FILES)
def test_a_file_trains_resets_and_evaluates(name, bbf_command, tmp_path):
  settings, ratio, since_reset, predicts = FILES[name]
  once = 'Atari100kRunner.checkpoint_every = 100'
  command = bbf_command(name, once, *settings)
  assert command.type(*command.arguments(tmp_path)) == 0
  folder = tmp_path / command.folder
  result = json.loads((folder / 'result.json').read_text())
  assert result['gradient_steps'] == ratio * 85
  assert len(result['returns']) == 1
  assert np.isfinite(result['score'])

  lines = (folder / 'metrics.jsonl').read_text().splitlines()
  figures = [row for row in map(json.loads, lines) if 'loss' in row]
  assert [row['step'] for row in figures] == list(range(16, 101))
  for step in figures:
    assert 0 < step['loss'] < 20
    assert (step['spr_loss'] > 0) == predicts

  checkpoints = checkpoint.Checkpoints(folder / 'checkpoints')
  _, arrays = checkpoints.restore(pytest.fail)
  train = 'agent.run.train'
  assert arrays[f'{train}.cycle_steps'] == since_reset
  assert arrays[f'{train}.opt_state.count'] == since_reset


@pytest.mark.parametrize(
  ('setting', 'message'),
  [
    ('BBFAgent.jumps = -1', 'BBFAgent.jumps must be an integer of at least 0'),
    (
      'BBFAgent.update_horizon = 20',
      'BBFAgent.max_update_horizon must be an integer of at least 20, not 10',
    ),
    ('BBFAgent.gamma = 1.0', 'BBFAgent.gamma must be a number from 0.0 to'),
    (
      "BBFAgent.priorities = 'per'",
      "'per_sample' or 'batch_mean' or 'uniform', not 'per'",
    ),
    ('BBFAgent.released_counting = 1', 'must be True or False, not 1'),
    (
      'BBFAgent.network = @DuelingQNetwork',
      'BBFAgent.network must make a BBFNetwork',
    ),
    ("BBFNetwork.encoder = 'resnet'", "must be 'impala' or 'nature', not"),
    ('BBFAgent.jump = 1', "no setting 'jump': did you mean jumps?"),
    ('train.agent = @adam', 'train.agent must be @DrQAgent or @BBFAgent'),
    ('train.agent = None', 'train.agent must be @DrQAgent or @BBFAgent'),
  ],
)
def test_a_wrong_setting_is_said_in_a_line(
  setting, message, bbf_command, capfd, tmp_path
):
  command = bbf_command('bbf', setting)
  assert command.type(*command.arguments(tmp_path)) == 2
  out, err = capfd.readouterr()
  assert out == ''
  assert err.startswith('error: ')
  assert err.count('\n') == 1
  assert message in err
