"""Groups of runs: evaluated together as alone, emulated anywhere alike."""

import json
from types import SimpleNamespace

import numpy as np
import optax
import pytest

from agents import (
  agent_state,
  configurables,
  emulators,
  evaluation,
  population,
)
from agents.errors import CheckpointError, ReplayError, StoppedError
from agents.recorded_run import RecordedRun
from agents.run_settings import RunSettings
import ht_rl
from ht_rl.atari100k.run_folder import RunFolder

STEPS, EVERY = 60, 20
SEEDS = (3, 5, 9)
# Whatever an agent does, episodes of this game are short.
GAME = 'RoadRunner'
EPISODES, SOME_EPISODES = 3, 2


def make_group(folder, strategy, seeds=SEEDS, say=str, **more):
  """Returns a group of short runs of DrQ."""
  loop = configurables.drq_agent(
    num_actions=18,
    network=lambda num_actions: configurables.dueling_q_network(
      num_actions, channels=(4,), kernels=(12,), strides=(12,), hidden=16
    ),
    optimizer=ht_rl.hare_tortoise(optax.adam(1e-2), momentum=0.9),
    min_replay_history=12,
    replay_capacity=100,
    replay_ratio=1,
    batch_size=4,
    epsilon_eval=0.5,  # The exploration matters, and episodes are short.
  )
  places = [
    SimpleNamespace(
      run_folder=RunFolder(folder / str(seed)),
      config='mine',
      game=GAME,
      seed=seed,
    )
    for seed in seeds
  ]
  settings = RunSettings(
    training_steps=STEPS,
    num_eval_episodes=EPISODES,
    eval_every=EVERY,
    num_training_eval_episodes=SOME_EPISODES,
    checkpoint_every=STEPS,
  )
  return population.Group(
    places, loop, settings, strategy=strategy, say=say, **more
  )


def rows_of(run):
  """Returns what evaluations in training have written."""
  text = (run.folder.path / 'metrics.jsonl').read_text()
  rows = [json.loads(line) for line in text.splitlines()]
  return [row for row in rows if 'evaluation_return' in row]


@pytest.mark.parametrize(
  'strategy', ['turns', pytest.param('vmap', marks=pytest.mark.slow)]
)
def test_runs_are_evaluated_together_as_alone(tmp_path, monkeypatch, strategy):
  evaluate_all, sizes, alone = evaluation.evaluate_all, [], {}
  group = make_group(tmp_path, strategy)

  def alone_first(jobs, progress):
    for run in group.runs:
      num_episodes = EPISODES if run.is_trained else SOME_EPISODES
      policy = run.driver.policy(num_episodes, run.seed)
      [(_, played)] = evaluate_all(
        [evaluation.Job(policy, GAME, num_episodes, run.seed)]
      )
      alone[run.seed, run.step] = played
    jobs = list(jobs)
    sizes.append(len(jobs))
    return evaluate_all(jobs, progress=progress)

  monkeypatch.setattr(evaluation, 'evaluate_all', alone_first)
  results = group.execute()
  assert sizes == [len(SEEDS)] * 3  # At steps 20 and 40, and at the end.
  assert list(results) == [0, 1, 2]
  for run, result in zip(group.runs, results.values(), strict=True):
    assert result['returns'] == alone[run.seed, STEPS].returns.tolist()
    assert result['lengths'] == alone[run.seed, STEPS].lengths.tolist()
    assert rows_of(run) == [
      {
        'step': step,
        'evaluation_return': alone[run.seed, step].returns.mean(),
        'evaluation_episodes': SOME_EPISODES,
      }
      for step in range(EVERY, STEPS, EVERY)
    ]
  lengths = {tuple(result['lengths']) for result in results.values()}
  assert len(lengths) == len(SEEDS), 'the runs play alike'


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """Returns the runs and the results of a group that nothing stopped."""
  group = make_group(tmp_path_factory.mktemp('whole'), 'turns')
  results = group.execute()
  return list(zip(group.runs, results.values(), strict=True))


def assert_equal_runs(runs, whole):
  for run, (expected_run, expected) in zip(runs, whole, strict=True):
    result = run.folder.read_result()
    for name in ('seed', 'returns', 'lengths', 'gradient_steps'):
      assert result[name] == expected[name]
    assert rows_of(run) == rows_of(expected_run)
    weights = np.load(run.folder.tortoise_file)
    expected_weights = np.load(expected_run.folder.tortoise_file)
    assert weights.files == expected_weights.files
    for name in weights.files:
      np.testing.assert_array_equal(weights[name], expected_weights[name])


@pytest.mark.slow
def test_emulators_in_workers_change_nothing(tmp_path, monkeypatch, whole):
  monkeypatch.setattr(emulators, 'num_workers', lambda *_: 2)
  group = make_group(
    tmp_path, 'turns', should_stop=lambda: group.runs[0].step == 33
  )
  with pytest.raises(StoppedError, match='stopped at step 33'):
    group.execute()
  workers = group._emulators._workers
  assert [worker._process.poll() for worker in workers] == [0, 0]
  group = make_group(tmp_path, 'turns')
  assert {run.step for run in group.runs} == {33}
  group.execute()
  assert_equal_runs(group.runs, whole)


def test_stopped_while_all_are_evaluated(tmp_path, whole):
  """Runs whose evaluation is over are finished; others keep their episodes."""
  shown = []

  class Progress:
    def __init__(self, name, unit, total, start):
      shown.append((name, unit, total, start))

    def update(self, step, **figures):
      shown.append(step)

    def close(self):
      shown.append('closed')

  stopped = make_group(
    tmp_path,
    'turns',
    new_progress=Progress,
    # One is finished, and another one has finished an episode.
    should_stop=lambda: all(
      list(tmp_path.glob(f'*/{name}'))
      for name in ('result.json', 'episodes.jsonl')
    ),
  )
  with pytest.raises(StoppedError, match='stopped during the evaluation'):
    stopped.execute()
  total = EPISODES * len(SEEDS)
  begun = shown.index(('evaluate', 'episode', total, 0))
  assert EPISODES <= shown[-2] < total
  assert shown[begun:].count('closed') == 1
  finished = [run for run in stopped.runs if run.folder.is_finished]
  assert 0 < len(finished) < len(SEEDS)
  for run in stopped.runs:
    saved = (run.folder.checkpoints / str(STEPS)).exists()
    assert saved == (run not in finished)

  rest = [run.seed for run in stopped.runs if run not in finished]
  kept = sum(
    len(file.read_text().splitlines())
    for file in tmp_path.glob('*/episodes.jsonl')
  )
  said = []
  group = make_group(tmp_path, 'turns', seeds=rest, say=said.append)
  assert said == [
    f'{GAME}, seed {seed}: going on from the checkpoint of step {STEPS}'
    for seed in rest
  ]
  assert sum(run.num_kept_episodes for run in group.runs) == kept > 0
  group.execute()
  assert_equal_runs(stopped.runs, whole)
  assert not list(tmp_path.glob('*/episodes.jsonl'))


def test_a_group_that_cannot_start_ends_its_workers(tmp_path, monkeypatch):
  closed = []
  monkeypatch.setattr(emulators.Emulators, 'close', lambda x: closed.append(x))
  monkeypatch.setattr(population, 'RecordedRun', lambda *_, **__: 1 / 0)
  with pytest.raises(ZeroDivisionError):
    make_group(tmp_path, 'turns')
  assert len(closed) == 1


def test_the_protocol_has_the_agents_own_numbers():
  run = object.__new__(RecordedRun)
  run._settings = RunSettings(training_steps=7, num_eval_episodes=3)
  learner = SimpleNamespace(epsilon_eval=0.5, stack_size=2)
  run.driver = SimpleNamespace(loop=SimpleNamespace(learner=learner))
  protocol = run.protocol.as_dict()
  assert (protocol['stack'], protocol['epsilon_eval']) == (2, 0.5)
  assert (protocol['training_steps'], protocol['eval_episodes']) == (7, 3)


@pytest.mark.parametrize(
  ('fault', 'message'),
  [
    (KeyError('last_return'), "has no 'last_return': it is of another version"),
    (ReplayError('the saved episode does not'), 'does not fit: the saved epis'),
  ],
)
def test_a_checkpoint_that_does_not_fit_is_named(
  tmp_path, monkeypatch, fault, message
):
  run = RecordedRun(RunFolder(tmp_path), GAME, 3, RunSettings())
  run._checkpoints = SimpleNamespace(directory=tmp_path / 'checkpoints')
  run.step, run.driver = 60, None

  def restore(driver, arrays):
    raise fault

  monkeypatch.setattr(agent_state, 'restore', restore)
  with pytest.raises(CheckpointError) as caught:
    run._restore({'agent.x': np.zeros(1)})
  assert str(tmp_path / 'checkpoints' / '60') in str(caught.value)
  assert message in str(caught.value)
