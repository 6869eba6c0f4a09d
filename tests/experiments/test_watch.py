"""A finished run keeps little, and can be played and filmed."""

import shutil
import signal

from absl.testing import flagsaver
import gin
import jax.numpy as jnp
import numpy as np
import pytest

from agents import checkpoint, evaluation, weights
from agents.errors import CheckpointError
from experiments import watch
from experiments.command import parse_flags
from ht_rl.atari100k.run_folder import RunFolder

imageio = pytest.importorskip('imageio.v2')


@pytest.fixture(scope='module')
def folder(command, tmp_path_factory):
  base_dir = tmp_path_factory.mktemp('runs')
  assert command.type(*command.arguments(base_dir)) == 0
  return base_dir / command.folder


def type_command(*arguments):
  with flagsaver.flagsaver():
    return watch.main(parse_flags(['watch', *map(str, arguments)]))


def test_what_a_finished_run_keeps(command, folder, tmp_path):
  checkpoints = checkpoint.Checkpoints(folder / 'checkpoints')
  _, arrays = checkpoints.restore(pytest.fail)
  tortoise = {
    name.split('.tortoise.', 1)[1]: array
    for name, array in arrays.items()
    if '.tortoise.' in name
  }
  with np.load(folder / 'tortoise.npz', allow_pickle=False) as file:
    kept = dict(file)
  assert kept.keys() == tortoise.keys()
  for name, array in kept.items():
    np.testing.assert_array_equal(array, tortoise[name])

  arguments = command.arguments(
    tmp_path, '--gin_bindings=Atari100kRunner.keep_checkpoints = False'
  )
  assert command.type(*arguments) == 0
  other = tmp_path / command.folder
  assert not (other / 'checkpoints').exists()
  with np.load(other / 'tortoise.npz', allow_pickle=False) as file:
    for name, array in file.items():
      np.testing.assert_array_equal(array, kept[name])
  assert command.type(*arguments) == 0  # It is finished.


def test_it_plays_as_an_evaluation_does(folder):
  run = RunFolder(folder)
  (score, length) = (0.0, 0)
  policy = watch.load_policy(run, 'RoadRunner', 1)
  for scene in watch.play(
    policy, 'RoadRunner', 1, episodes=1, max_steps=10_000
  ):
    score, length = scene.score, scene.step
  expected = evaluation.evaluate(
    watch.load_policy(run, 'RoadRunner', 1), 'RoadRunner', 1, 1
  )
  assert (score, length) == (expected.returns[0], expected.lengths[0])


def test_a_stop_leaves_nothing(folder, tmp_path, capfd, monkeypatch):
  draw = watch.draw

  def stop(*arguments):
    signal.raise_signal(signal.SIGTERM)
    return draw(*arguments)

  monkeypatch.setattr(watch, 'draw', stop)
  assert type_command(folder, f'--output={tmp_path}/film.gif') == 75
  assert capfd.readouterr().err == 'stopped\n'
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('name', ['film.mp4', 'film.gif'])
def test_a_film(folder, tmp_path, capfd, name):
  output = tmp_path / 'films' / name
  arguments = (folder, f'--output={output}', '--max_steps=20', '--episodes=2')
  assert type_command(*arguments) == 0
  assert capfd.readouterr().err.splitlines() == [
    'episode 0: score 0',
    'episode 1: score 0',
    f'the film is {output}',
  ]
  # Not by list(), which believes the length that a film claims: infinity.
  frames = [frame for frame in imageio.get_reader(output)]  # noqa: C416
  assert len(frames) == 40
  assert frames[0].shape[:2] == (672, 480)
  assert frames[0][:42].max() > 200  # What is written above the game.
  assert frames[0][42:].std() > 10
  assert [path.name for path in output.parent.iterdir()] == [name]


def test_what_can_not_be_played(folder, tmp_path, capfd):
  for arguments, message in (
    ((tmp_path,), f'there is no finished run in {tmp_path}'),
    ((folder, '--output=film.avi'), '--output must end in .mp4 or .gif'),
    ((), 'the folder of one run must be named'),
  ):
    assert type_command(*arguments) == 2
    err = capfd.readouterr().err
    assert err.startswith('error: ')
    assert err.count('\n') == 1
    assert message in err


def test_settings_that_fit_no_more(folder, tmp_path, capfd):
  before = RunFolder(folder).config_file.read_text()
  for text, message in (
    (f'{before}\nDrQAgent.gamma = 3', 'DrQAgent.gamma must be a number'),
    ('', 'train.agent must be @DrQAgent or @BBFAgent'),
  ):
    run = RunFolder(tmp_path / f'run {len(text)}')
    shutil.copytree(folder, run.path)
    run.config_file.write_text(f'{text}\n')
    film = f'--output={tmp_path}/film.gif'
    assert type_command(run.path, film) == 2
    err = capfd.readouterr().err
    assert err.startswith(f'error: {run.config_file}: {message}')
    assert err.count('\n') == 1


def test_damaged_weights(tmp_path):
  path = tmp_path / 'tortoise.npz'
  params = {'params': {'kernel': np.arange(6.0, dtype=np.float32)}}
  weights.save(path, params)
  np.testing.assert_array_equal(
    weights.load(path, params)['params']['kernel'], np.arange(6)
  )
  with pytest.raises(CheckpointError, match='other settings'):
    weights.load(path, {'params': {'kernel': np.zeros(5, np.float32)}})
  with pytest.raises(CheckpointError, match='does not fit this program'):
    weights.load(path, {'params': {'bias': np.zeros(6, np.float32)}})
  path.write_bytes(path.read_bytes()[:50])
  with pytest.raises(CheckpointError, match='cannot be read'):
    weights.load(path, params)


@pytest.mark.parametrize('dtype', ['bfloat16', 'float16', 'float32'])
def test_weights_of_a_dtype(tmp_path, dtype):
  """A tortoise may have another dtype than the network that it plays for."""
  path = tmp_path / 'tortoise.npz'
  numbers = {'kernel': jnp.array([1 / 3, -2.0, 1e-3], dtype)}
  weights.save(path, numbers)
  same = weights.load(path, numbers)['kernel']
  assert same.dtype == dtype
  assert same.tobytes() == np.asarray(numbers['kernel']).tobytes()
  wide = weights.load(path, {'kernel': np.zeros(3, np.float32)})['kernel']
  assert wide.dtype == np.float32
  np.testing.assert_array_equal(wide, numbers['kernel'].astype(np.float32))
  with pytest.raises(CheckpointError, match='other settings'):
    weights.load(path, {'kernel': np.zeros(3, np.int32)})


@pytest.fixture(autouse=True)
def _no_settings_left():
  yield
  gin.clear_config()
