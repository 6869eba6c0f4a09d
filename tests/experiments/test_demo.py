from absl import flags
import numpy as np
from PIL import Image
import pytest

from agents import evaluation
from experiments import demo
from ht_rl.atari100k.run_folder import RunFolder

TINY = """
include 'gin_configs/demo.gin'
DuelingQNetwork.channels = (4,)
DuelingQNetwork.kernels = (12,)
DuelingQNetwork.strides = (12,)
DuelingQNetwork.hidden = 16
DrQAgent.min_replay_history = 500
DrQAgent.replay_capacity = 1000
hare_tortoise.reset_every = 50
Atari100kRunner.training_steps = 600
Atari100kRunner.num_eval_episodes = 2
"""


@pytest.fixture
def _parsed_flags():
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(['demo'])


@pytest.mark.slow
@pytest.mark.usefixtures('_parsed_flags')
def test_the_demo_prints_its_scores_and_draws_the_curve(
  tmp_path, monkeypatch, capsys
):
  gin_file = tmp_path / 'tiny.gin'
  gin_file.write_text(TINY)
  monkeypatch.setattr(demo, 'GIN_FILE', gin_file)
  monkeypatch.setattr(demo, 'GAME', 'RoadRunner')  # Its episodes are short.
  demo.run(str(tmp_path / 'runs'))
  run = RunFolder.of(tmp_path / 'runs', 'tiny', demo.GAME, demo.SEED)
  result = run.read_result()
  printed = capsys.readouterr().out
  line = next(x for x in printed.splitlines() if x.startswith('evaluation'))
  assert f'{np.mean(result["returns"]):.1f}' in line.split()
  picture = np.asarray(Image.open(run.path / 'learning_curve.png').convert('L'))
  assert picture.std() > 5  # Something is drawn.
  # Gradient steps start after step 500, two at a time.
  restarts = run.curve('restart_gap').steps
  assert restarts.tolist() == [525, 550, 575, 600]


def test_the_best_constant_action_is_that_with_the_best_mean(monkeypatch):
  returns = np.random.default_rng(0).normal(size=(18, demo.EPISODES))
  returns[11] += 10.0

  def play(policy, game, num_episodes, seed):
    actions = policy(np.zeros((num_episodes, 84, 84)), np.ones(num_episodes))
    assert (game, seed) == ('Boxing', 5)
    order = [list(actions[:i]).count(a) for i, a in enumerate(actions)]
    return evaluation.Evaluation(returns[actions, order], np.ones(num_episodes))

  monkeypatch.setattr(demo.evaluation, 'evaluate', play)
  best = demo.best_constant_returns('Boxing', seed=5)
  np.testing.assert_array_equal(best, returns[11])
