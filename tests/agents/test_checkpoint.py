import pathlib
import subprocess
import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from agents import checkpoint
from agents.errors import CheckpointError

ROOT = pathlib.Path(__file__).parents[2]


class Part(NamedTuple):
  weights: dict
  count: np.ndarray


def make_state(seed):
  rng = np.random.default_rng(seed)
  return {
    'part': Part(
      {'w': rng.normal(size=(3, 4)).astype(np.float32)}, np.int32(7)
    ),
    'frames': rng.integers(256, size=(50, 20, 20), dtype=np.uint8),
    'flags': (np.array([True, False]), np.array(seed % 2 == 1)),
    'narrow': jnp.asarray(rng.normal(size=5), jnp.bfloat16),
    'clock': np.float64(0.1 + seed),
    'nan': np.array([np.nan, -0.0, np.inf], np.float32),
  }


def write(folder, *steps):
  checkpoints = checkpoint.Checkpoints(folder)
  for step in steps:
    checkpoints.save(step, make_state(step))


def read(folder):
  """Restores as a new process would, and checks the arrays of the step."""
  lines = []
  restored = checkpoint.Checkpoints(folder).restore(lines.append)
  if restored is None:
    return None, lines
  step, arrays = restored
  state = checkpoint.unflatten(make_state(0), arrays)
  expected = make_state(step)
  assert jax.tree.structure(state) == jax.tree.structure(expected)
  for actual, wanted in zip(
    jax.tree.leaves(state), jax.tree.leaves(expected), strict=True
  ):
    assert actual.dtype == wanted.dtype
    assert actual.shape == wanted.shape
    assert actual.tobytes() == np.asarray(wanted).tobytes()
  return step, lines


def files(folder):
  return sorted(path for path in folder.rglob('*') if path.is_file())


def test_round_trip_is_bitwise(tmp_path):
  assert make_state(0)['narrow'].dtype == ml_dtypes.bfloat16
  write(tmp_path, 3)
  assert read(tmp_path) == (3, [])


def test_a_new_folder_holds_nothing(tmp_path):
  assert read(tmp_path / 'new') == (None, [])


def test_the_newest_two_are_kept(tmp_path):
  write(tmp_path, 2, 10, 9_000)
  assert checkpoint.Checkpoints(tmp_path).steps() == [10, 9_000]
  assert read(tmp_path) == (9_000, [])


def test_a_step_is_written_once(tmp_path):
  checkpoints = checkpoint.Checkpoints(tmp_path)
  checkpoints.save(5, make_state(5))
  checkpoints.save(5, make_state(6))
  assert read(tmp_path) == (5, [])


def test_an_earlier_step_is_not_passed_over_silently(tmp_path):
  write(tmp_path, 5)
  with pytest.raises(CheckpointError, match='a later step'):
    write(tmp_path, 3)


def test_going_back_to_a_step_removes_the_later_ones(tmp_path):
  write(tmp_path, 5, 6)
  checkpoints = checkpoint.Checkpoints(tmp_path)
  assert checkpoints.restore(pytest.fail, last=5)[0] == 5
  assert checkpoints.steps() == [5]
  checkpoints.save(6, make_state(6))
  assert read(tmp_path) == (6, [])


# --- Killed in the middle of a write ---


def test_an_unfinished_write_leaves_the_one_before(tmp_path):
  write(tmp_path, 1, 2)
  (tmp_path / '2').rename(tmp_path / '2.orbax-checkpoint-tmp-7')
  for path in files(tmp_path / '2.orbax-checkpoint-tmp-7')[::2]:
    path.unlink()
  assert read(tmp_path) == (1, [])
  write(tmp_path, 2)
  assert read(tmp_path) == (2, [])
  assert sorted(path.name for path in tmp_path.iterdir()) == ['1', '2']


@pytest.mark.parametrize('kind', ['file', 'link', 'dangling link', 'folder'])
def test_what_is_named_like_an_unfinished_write_is_removed(tmp_path, kind):
  target = tmp_path / 'mine'
  (target / 'deep').mkdir(parents=True)
  path = tmp_path / 'run' / '7.orbax-checkpoint-tmp-1'
  path.parent.mkdir()
  if kind == 'file':
    path.touch()
  elif kind == 'folder':
    path.mkdir()
  else:
    path.symlink_to(target if kind == 'link' else tmp_path / 'nothing')
  assert checkpoint.Checkpoints(tmp_path / 'run').steps() == []
  assert list((tmp_path / 'run').iterdir()) == []
  assert (target / 'deep').is_dir()


@pytest.mark.parametrize('kind', ['file', 'dangling link'])
def test_what_is_no_folder_is_refused(tmp_path, kind):
  path = tmp_path / 'checkpoints'
  if kind == 'file':
    path.touch()
  else:
    path.symlink_to(tmp_path / 'nothing')
  with pytest.raises(CheckpointError, match='checkpoints must be a folder'):
    checkpoint.Checkpoints(path)


def test_a_first_write_that_was_cut_off_leaves_a_new_folder(tmp_path):
  write(tmp_path, 1)
  (tmp_path / '1' / 'sha256').unlink()
  assert read(tmp_path) == (None, [])
  write(tmp_path, 1)
  assert read(tmp_path) == (1, [])


# --- Damaged on disk ---


def truncate(path):
  with path.open('r+b') as file:
    file.truncate(path.stat().st_size // 2)


def flip(path):
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 0x10
  path.write_bytes(data)


@pytest.mark.parametrize('damage', [truncate, flip, pathlib.Path.unlink])
def test_damage_to_any_file_is_noticed(tmp_path, damage, caplog, capfd):
  write(tmp_path / 'count', 2)
  for i in range(len(files(tmp_path / 'count'))):
    folder = tmp_path / str(i)
    write(folder, 1, 2)
    paths = files(folder / '2')
    path = paths[i % len(paths)]  # Their number can vary by one or two.
    damage(path)
    step, lines = read(folder)
    assert step == 1
    if damage is pathlib.Path.unlink and path.name == 'sha256':
      assert lines == []  # Not damaged, but unfinished.
    else:
      assert lines == [
        'the checkpoint of step 2 is damaged (its digest does not match); '
        'going on from that of step 1'
      ]
    # The run can write it again.
    write(folder, 2)
    assert read(folder) == (2, [])
  # There is no other output.
  assert caplog.records == []
  assert capfd.readouterr() == ('', '')


def test_without_a_whole_one_there_is_an_error(tmp_path):
  write(tmp_path, 1, 2)
  for step in ('1', '2'):
    truncate(max(files(tmp_path / step), key=lambda path: path.stat().st_size))
  before = files(tmp_path)
  with pytest.raises(CheckpointError) as error:
    checkpoint.Checkpoints(tmp_path).restore(pytest.fail)
  assert str(tmp_path) in str(error.value)
  assert files(tmp_path) == before


# --- A full disk ---

FULL_DISK = """
import resource, signal, sys
from agents import checkpoint
from agents.errors import CheckpointError
import numpy as np
# Too large a file: the write fails as on a full disk, without the signal.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
checkpoints = checkpoint.Checkpoints(sys.argv[1])
frames = np.random.default_rng(0).integers(256, size=10**6, dtype=np.uint8)
try:
  checkpoints.save(2, {'frames': frames})
except CheckpointError as error:
  print(error)
print(checkpoints.steps())
"""


@pytest.mark.parametrize('before', [[1], []])
def test_a_full_disk_leaves_the_one_before(tmp_path, before):
  write(tmp_path, *before)
  done = subprocess.run(
    [sys.executable, '-c', FULL_DISK, tmp_path],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
    timeout=120,
  )
  error, steps = done.stdout.splitlines()
  assert error.startswith(
    f'could not write the checkpoint of step 2 to {tmp_path} ('
  )
  kept = 'the one of step 1 is whole' if before else 'there is no other'
  assert error.endswith(kept)
  assert steps == str(before)
  assert read(tmp_path) == ((1, []) if before else (None, []))
  write(tmp_path, 2)  # There is space again.
  assert read(tmp_path) == (2, [])


# --- Another program's ---


def test_unflatten_names_a_difference():
  arrays = checkpoint.flatten({'a': np.ones(1), 'b': (np.ones(2),)})
  assert sorted(arrays) == ['a', 'b.0']
  with pytest.raises(CheckpointError, match=r"'b\.1'"):
    checkpoint.unflatten({'a': 0, 'b': (0, 0)}, arrays)
  with pytest.raises(CheckpointError, match="'a'"):
    checkpoint.unflatten({'b': (0,)}, arrays)
