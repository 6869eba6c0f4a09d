import importlib.metadata
import json
import os

from agents.dopamine import runner as runner_lib
from agents.dopamine.agent import DeviceAgent

import chex
import gin
import jax
import numpy as np
import optax
import pytest
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.util import tensor_util

from agents import atari, checkpoint, configurables, machine
from agents import evaluation as evaluation_lib
from agents.commit import commit
from agents.errors import StoppedError
from agents.run_settings import RunSettings
import ht_rl

STEPS = 200
EPISODES = 3
SEED = 4
TIME_LIMIT = 60
REWARDS = (0.0, 2.5, -7.0, 0.25)


class Environment(atari.AtariEnvironment):
  """A game with a short time limit and a reward that changes at every step.

  `log` holds, for each step: its reward, whether it was terminal, and whether
  the episode was over.
  """

  def __init__(self, game, seed):
    super().__init__(game, seed, max_episode_steps=TIME_LIMIT)
    self.log = []

  def step(self, action):
    observation, _, terminal, info = super().step(action)
    reward = REWARDS[len(self.log) % len(REWARDS)]
    self.log.append((reward, terminal, self.game_over))
    return observation, reward, terminal, info


class Lines:
  """A `Progress` that records what a runner shows."""

  def __init__(self):
    self.phases = []

  def __call__(self, name, unit, total, start):
    self.phases.append([(name, unit, total, start)])
    return self

  def update(self, step, **figures):
    self.phases[-1].append((step, figures))

  def close(self):
    self.phases[-1].append('closed')


def make_runner(
  folder,
  progress=None,
  say=print,
  should_stop=None,
  agent=None,
  rule=None,
  **settings,
):
  def create_agent(sess, environment, summary_writer):
    del sess, summary_writer
    loop = configurables.drq_agent(
      num_actions=int(environment.action_space.n),
      network=lambda num_actions: configurables.dueling_q_network(
        num_actions, channels=(4,), kernels=(12,), strides=(12,), hidden=16
      ),
      optimizer=configurables.hare_tortoise(
        optax.adam(1e-2), momentum=0.99, **(rule or {})
      ),
      min_replay_history=30,
      replay_capacity=500,
      replay_ratio=1,
      batch_size=4,
      epsilon_eval=0.0,
      summary_writing_frequency=50,
      **(agent or {}),
    )
    return DeviceAgent(loop, SEED)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(atari, 'AtariEnvironment', Environment)
    gin.clear_config()
    with gin.unlock_config():
      gin.bind_parameter('CollectorDispatcher.collectors', ('tensorboard',))
    runner = runner_lib.Atari100kRunner(
      str(folder),
      create_agent,
      game='RoadRunner',
      seed=SEED,
      config='mine',
      settings=RunSettings(
        training_steps=STEPS,
        num_eval_episodes=EPISODES,
        checkpoint_every=80,
        log_every=1,
        **settings,
      ),
      progress=progress,
      say=say,
      should_stop=should_stop or (lambda: False),
    )
    gin.clear_config()
  return runner


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  folder = tmp_path_factory.mktemp('run')
  lines = Lines()
  runner = make_runner(folder, progress=lines)
  runner.result = runner.run_experiment()
  runner.folder = folder
  runner.lines = lines
  return runner


def rows_of(run):
  text = (run.folder / 'metrics.jsonl').read_text()
  return [json.loads(line) for line in text.splitlines()]


def test_the_replay_holds_the_protocol(run):
  log = run._environment.log
  assert len(log) == STEPS
  lives_lost = [terminal and not over for _, terminal, over in log]
  cut = [over and not terminal for _, terminal, over in log]
  assert sum(lives_lost) >= 2
  assert sum(cut) >= 2
  replay = jax.device_get(run._agent.driver.state.replay)
  # The last step of an episode is appended with the first of the next one.
  stored = int(replay.cursor)
  assert stored == STEPS
  rewards, terminals, overs = (
    np.array(column) for column in zip(*log, strict=True)
  )
  np.testing.assert_array_equal(
    replay.rewards[:stored], np.clip(rewards, -1, 1).astype(np.float32)
  )
  np.testing.assert_array_equal(replay.terminals[:stored], terminals)
  np.testing.assert_array_equal(replay.ends[:stored], terminals | overs)


def test_episodes_are_logged_unclipped(run):
  expected, total, length = [], 0.0, 0
  for step, (reward, _, over) in enumerate(run._environment.log, 1):
    total, length = total + reward, length + 1
    if over:
      expected.append((step, total, length))
      total, length = 0.0, 0
  rows = [row for row in rows_of(run) if 'episode_return' in row]
  found = [
    (row['step'], row['episode_return'], row['episode_length']) for row in rows
  ]
  assert found == expected
  assert len(expected) >= 3


def test_figures_are_logged_and_shown(run):
  rows = [row for row in rows_of(run) if 'episode_return' not in row]
  assert [row['step'] for row in rows] == list(range(1, STEPS + 1))
  assert rows[0] == {'step': 1}  # Learning has not started.
  learned = STEPS - 30
  assert rows[-1]['gradient_steps'] == learned
  assert run.result['gradient_steps'] == learned
  training, evaluation = run.lines.phases
  assert training[0] == ('train', 'step', STEPS, 0)
  assert [step for step, _ in training[1:-1]] == [row['step'] for row in rows]
  _, figures = training[-2]
  assert figures['loss'] == rows[-1]['loss']
  episodes = [row for row in rows_of(run) if 'episode_return' in row]
  assert figures['return'] == episodes[-1]['episode_return']
  assert evaluation[0] == ('evaluate', 'episode', EPISODES, 0)
  assert evaluation[-2][0] == EPISODES
  assert training[-1] == evaluation[-1] == 'closed'


def test_the_score_is_the_mean_return_of_the_tortoise(run):
  driver = run._agent.driver
  params = ht_rl.tortoise_params(driver.state.train.opt_state)
  q = jax.jit(driver.loop.learner.network.apply)
  stacks = np.zeros((EPISODES, 4, 84, 84), np.uint8)
  played = set()

  def policy(frames, first):
    stacks[first] = 0
    stacks[:, :-1] = stacks[:, 1:]
    stacks[:, -1] = frames
    inputs = np.moveaxis(stacks, 1, -1).astype(np.float32) / 255.0
    actions = np.argmax(q(params, inputs), axis=-1)
    played.update(actions.tolist())
    return actions

  expected = evaluation_lib.evaluate(policy, 'RoadRunner', EPISODES, SEED)
  result = json.loads((run.folder / 'result.json').read_text())
  assert result == run.result
  assert result['returns'] == expected.returns.tolist()
  assert result['lengths'] == expected.lengths.tolist()
  assert result['score'] == sum(result['returns']) / EPISODES
  # Reference scores of RoadRunner: random 11.5, human 7845.
  assert result['human_normalized_score'] == pytest.approx(
    (result['score'] - 11.5) / (7845 - 11.5)
  )

  # Changing the hare to other actions does not change the evaluation.
  never = next(action for action in range(18) if action not in played)
  state = driver.state
  hare = jax.tree.map(np.array, state.train.params)
  hare['params']['head']['advantage']['bias'][never] += 1e6
  driver.state = state._replace(train=state.train._replace(params=hare))
  policy = driver.policy(EPISODES, SEED)
  driver.state = state
  actions = policy(np.zeros((EPISODES, 84, 84), np.uint8), np.ones(3, bool))
  assert never not in actions


def test_the_result_says_how_it_came_about(run):
  result = run.result
  assert (result['config'], result['game'], result['seed']) == (
    'mine',
    'RoadRunner',
    SEED,
  )
  assert (
    result['protocol']
    == atari.Protocol(
      training_steps=STEPS, eval_episodes=EPISODES, epsilon_eval=0.0
    ).as_dict()
  )
  for name, version in result['versions'].items():
    assert version == importlib.metadata.version(name)
  assert {'jax', 'ale-py', 'dopamine-rl'} <= result['versions'].keys()
  assert result['cpu_count'] == os.cpu_count()
  assert result['cpu'] == machine.cpu() != ''
  assert result['commit'] == commit()
  assert result['device'].startswith(jax.default_backend())
  assert result['training_seconds'] > 0


def test_one_compilation_serves_the_whole_evaluation(run):
  # The batch keeps its size, although its episodes ended at different steps.
  assert len(set(run.result['lengths'])) > 1
  assert run._agent.driver.programs.evaluate._cache_size() == 1
  # Training has two programs: before and after learning starts.
  assert run._agent.driver.programs.step._cache_size() == 2


def test_tensorboard_reads_the_events(run):
  events = event_accumulator.EventAccumulator(
    str(run.folder / 'metrics' / 'tensorboard')
  )
  events.Reload()

  def series(tag):
    return [
      (event.step, tensor_util.make_ndarray(event.tensor_proto).item())
      for event in events.Tensors(tag)
    ]

  assert set(events.Tags()['tensors']) == {
    'Train/loss',
    'Train/q',
    'Train/gradient_norm',
    'Train/gradient_steps',
    'Train/EpisodeReturn',
    'Train/EpisodeLength',
    'Eval/AverageReturn',
  }
  rows = rows_of(run)
  assert series('Train/EpisodeReturn') == [
    (row['step'], row['episode_return'])
    for row in rows
    if 'episode_return' in row
  ]
  assert series('Eval/AverageReturn') == [(STEPS, run.result['score'])]
  losses = {row['step']: row['loss'] for row in rows if 'loss' in row}
  # Dopamine's agents count observations, one more than steps.
  assert series('Train/loss') == [
    (count, pytest.approx(losses[count - 1])) for count in (50, 100, 150, 200)
  ]


def test_stopped_in_the_evaluation_and_resumed(run, tmp_path):
  lines = Lines()
  runner = make_runner(
    tmp_path, progress=lines, should_stop=lambda: len(lines.phases) == 2
  )
  with pytest.raises(StoppedError) as caught:
    runner.run_experiment()
  assert str(caught.value) == 'stopped during the evaluation'
  assert caught.value.__notes__ == [
    f'the last good checkpoint is {tmp_path}/checkpoints/{STEPS}'
  ]
  assert [phase[-1] for phase in lines.phases] == ['closed', 'closed']
  assert not (tmp_path / 'result.json').exists()

  said = []
  result = make_runner(tmp_path, say=said.append).run_experiment()
  assert said == [f'going on from the checkpoint of step {STEPS}']
  for key in ('returns', 'lengths', 'score', 'gradient_steps'):
    assert result[key] == run.result[key]


def without_times(rows):
  return [
    {key: value for key, value in row.items() if key != 'seconds'}
    for row in rows
  ]


def test_evaluations_in_training_leave_it_as_it_is(run, tmp_path):
  evaluate_all, stopped_at = evaluation_lib.evaluate_all, []
  runner = make_runner(
    tmp_path,
    eval_every=70,
    num_training_eval_episodes=EPISODES,
    should_stop=lambda: bool(stopped_at),
  )

  def stopping(jobs, progress):
    # During the episodes of the second evaluation, at step 140.
    if runner._run.step == 140:
      stopped_at.append(runner._run.step)
    return evaluate_all(jobs, progress=progress)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(evaluation_lib, 'evaluate_all', stopping)
    with pytest.raises(StoppedError):
      runner.run_experiment()
  assert stopped_at == [140]
  settings = {'eval_every': 70, 'num_training_eval_episodes': EPISODES}
  # Stopped there again, it stays there.
  with pytest.raises(StoppedError, match='stopped at step 140'):
    make_runner(tmp_path, **settings, should_stop=lambda: True).run_experiment()
  # Killed soon after the evaluation, before another checkpoint.
  killed = make_runner(tmp_path, **settings)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(killed._run, 'count', lambda timestep: 1 / 0)
    with pytest.raises(ZeroDivisionError):
      killed.run_experiment()
  killed.folder = tmp_path
  assert 'evaluation_return' in rows_of(killed)[-1]
  resumed = make_runner(tmp_path, **settings)
  assert resumed._run.step == 140
  result = resumed.run_experiment()
  resumed.folder = tmp_path
  rows = rows_of(resumed)
  evaluations = [row for row in rows if 'evaluation_return' in row]
  assert [row['step'] for row in evaluations] == [70, 140]
  assert [row['evaluation_episodes'] for row in evaluations] == [EPISODES] * 2
  others = [row for row in rows if 'evaluation_return' not in row]
  assert without_times(others) == without_times(rows_of(run))
  assert result['returns'] == run.result['returns']
  chex.assert_trees_all_equal(
    resumed._agent.driver.state, run._agent.driver.state
  )


def test_an_evaluation_in_training_scores_the_tortoise_of_that_step(tmp_path):
  runner = make_runner(
    tmp_path, eval_every=110, num_training_eval_episodes=EPISODES
  )
  evaluate_all, policies = evaluation_lib.evaluate_all, []

  def keeping(jobs, progress):
    if runner._run.step == 110:
      opt_state = runner._agent.driver.state.train.opt_state
      tortoise = ht_rl.tortoise_params(opt_state)
      policies.append(jax.tree.map(np.array, tortoise))
    return evaluate_all(jobs, progress=progress)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(evaluation_lib, 'evaluate_all', keeping)
    runner.run_experiment()
  runner.folder = tmp_path
  [found] = [row for row in rows_of(runner) if 'evaluation_return' in row]
  # The same agent, with that tortoise put in after the run.
  driver = runner._agent.driver
  train = driver.state.train
  driver.state = driver.state._replace(
    train=train._replace(
      opt_state=ht_rl.replace_tortoise(train.opt_state, policies[0])
    )
  )
  policy = driver.policy(EPISODES, SEED)
  expected = evaluation_lib.evaluate(policy, 'RoadRunner', EPISODES, SEED)
  assert found['evaluation_return'] == expected.returns.mean()


def test_no_evaluation_scores_a_network_that_was_reset_a_moment_ago(tmp_path):
  runner = make_runner(
    tmp_path,
    agent={'reset_every': 10},
    eval_every=50,
    num_training_eval_episodes=1,
  )
  evaluate_all, seen = evaluation_lib.evaluate_all, []

  def counting(jobs, progress):
    train = runner._agent.driver.state.train
    seen.append((int(train.gradient_steps), int(train.cycle_steps)))
    return evaluate_all(jobs, progress=progress)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(evaluation_lib, 'evaluate_all', counting)
    runner.run_experiment()
  # A reset is due at each of these steps, and waits for the next one.
  assert seen == [(20, 10), (70, 10), (120, 10), (170, 10)]


@pytest.mark.parametrize(
  ('interval', 'reset_every', 'said_of_it'),
  # 170 gradient steps: with resets at 60 and 120 no cycle is longer than 60.
  [
    (61, 60, '61 gradient steps, but each reset starts its count anew, and no'),
    (61, 60, 'and no two are more than 60 apart'),
    (60, 60, None),
    (170, None, None),
    (171, None, '171 gradient steps, but the run has only 170'),
  ],
)
@pytest.mark.parametrize(
  ('name', 'what'),
  [
    ('reset_every', 'Hare & Tortoise never restarts'),
    ('update_every', 'the tortoise is never updated'),
  ],
)
def test_an_interval_that_is_longer_than_the_run_is_said_at_the_start(
  tmp_path, name, what, interval, reset_every, said_of_it
):
  said = []
  runner = make_runner(
    tmp_path,
    say=said.append,
    agent={'reset_every': reset_every},
    rule={name: interval},
    should_stop=lambda: True,
  )
  with pytest.raises(StoppedError):
    runner.run_experiment()
  assert len(said) == (said_of_it is not None)
  for line in said:
    assert line.startswith(f'warning: {what} in this run: hare_tortoise.{name}')
    assert said_of_it in line


def test_a_failing_disk_names_the_last_checkpoint(run, tmp_path, monkeypatch):
  runner = make_runner(tmp_path)

  def full(row):
    if row['step'] > 80:
      raise OSError(28, 'No space left on device')

  monkeypatch.setattr(runner._run._metrics, 'write', full)
  with pytest.raises(OSError, match='No space') as caught:
    runner.run_experiment()
  assert caught.value.__notes__ == [
    f'the last good checkpoint is {tmp_path}/checkpoints/80'
  ]
  assert checkpoint.Checkpoints(tmp_path / 'checkpoints').steps() == [80]


def test_a_file_in_place_of_the_folder_of_metrics(tmp_path):
  (tmp_path / 'metrics').write_text('mine')
  with pytest.raises(OSError, match='metrics is not a directory'):
    make_runner(tmp_path)
  assert (tmp_path / 'metrics').read_text() == 'mine'
