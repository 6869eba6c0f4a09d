"""Types what is wrong: one line says so, before any work."""

import gzip

import numpy as np
import pytest

from experiments.supervised import data, prepare
from tests.experiments.refusals import assert_refused
from tests.experiments.supervised.command.typed import (
  ROOT,
  arguments,
  contents,
  type_command,
)

pytest.importorskip('mlxtend')
pytestmark = pytest.mark.usefixtures('compile_fast', '_trace_once')


# Words that are typed, and a part of the message.
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
    raise ImportError("this needs mlxtend: pip install '.[supervised]'")

  monkeypatch.setattr(data, 'load', load)
  prepare._load.cache_clear()
  code = type_command(*arguments(tmp_path))
  assert_refused(capfd, code, "this needs mlxtend: pip install '.[superv")
  assert contents(tmp_path) == {}
