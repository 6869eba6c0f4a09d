"""A network, a data set and methods of a user's own module."""

import dataclasses
import json
import pathlib
import re

from absl.testing import flagsaver
from flax import linen as nn
import numpy as np
import pytest

from experiments.command import parse_flags
from experiments.supervised import __main__ as command
from experiments.supervised import data, methods, models, named, prepare
from experiments.supervised.settings import Setting

pytestmark = pytest.mark.usefixtures('compile_fast')

ROOT = pathlib.Path(__file__).parents[3]
PAGE = ROOT / 'docs' / 'supervised' / 'extending.md'
TINY = (
  'Setting.epochs = (3, 2)',
  'Setting.ratios = (0.5, 1.0)',
  'Setting.batch_size = 50',
  'experiment.seeds = (3, 8)',
)
PLAIN = "experiment.settings = {'WS': {}}"


@pytest.fixture(scope='module')
def config(tmp_path_factory):
  """The gin file of the documentation; its module can be imported."""
  blocks = re.findall(r'```\w*\n(.*?)```', PAGE.read_text(), flags=re.DOTALL)
  module, config = (block for block in blocks if 'import' in block)
  folder = tmp_path_factory.mktemp('modules')
  (folder / 'my_module.py').write_text(module)
  with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(folder)
    yield config


@pytest.fixture
def mine(config, tmp_path):
  """A folder with that file."""
  (tmp_path / 'mine.gin').write_text(config)
  return tmp_path


def type_command(folder, *bindings):
  bindings = (*TINY, *bindings)
  words = [f'--gin_bindings={binding}' for binding in bindings]
  with flagsaver.flagsaver():
    return command.main(
      parse_flags(
        [
          'supervised',
          f'--gin_files={folder / "mine.gin"}',
          f'--base_dir={folder / "runs"}',
          *words,
        ]
      )
    )


def read_results(folder):
  file = folder / 'runs' / 'mine' / 'results.json'
  return {result['name']: result for result in json.loads(file.read_text())}


def test_the_page_of_the_documentation(mine):
  assert type_command(mine) == 0
  found = read_results(mine)
  assert list(found) == [
    *('WS', 'L1 0.0001', 'L1 0.01', 'Half reset', 'L1 and S&P'),
  ]
  setting = found['L1 0.01']['setting']
  assert setting['model'] == 'my_module.tanh_net(units=32)'
  assert setting['dataset'] == 'my_module.stripes(count=400)'
  assert setting['methods'] == ['my_module.L1(weight=0.01)']
  assert 'methods' not in found['WS']['setting']
  # The penalty pulls, the more the stronger it is.
  sizes = [
    np.mean(found[name]['rows'][-1]['weight_magnitude'])
    for name in ('WS', 'L1 0.0001', 'L1 0.01')
  ]
  assert sizes == sorted(sizes, reverse=True)
  assert sizes[0] > sizes[2]
  # What only acts between the phases has the first one in common.
  for name, shares in (('Half reset', True), ('L1 0.01', False)):
    first = [row for row in found[name]['rows'] if row['phase'] == 0]
    plain = [row for row in found['WS']['rows'] if row['phase'] == 0]
    assert (first == plain) == shares
    assert found[name]['rows'] != found['WS']['rows']
  folders = list((mine / 'runs' / 'phases').iterdir())
  assert all(path.name.startswith('stripes-') for path in folders)
  assert len(folders) == 3 + 5
  # It is there and not trained again, also where the whole is typed again.
  before = {path: path.stat().st_mtime_ns for path in mine.rglob('finished')}
  again = mine / 'runs' / 'mine' / 'operative_config.gin'
  (mine / 'again').mkdir()
  (mine / 'again' / 'mine.gin').write_text(again.read_text())
  (mine / 'again' / 'runs').symlink_to(mine / 'runs')
  assert type_command(mine / 'again') == 0
  assert read_results(mine) == found
  assert before == {
    path: path.stat().st_mtime_ns for path in mine.rglob('finished')
  }
  table = (mine / 'runs' / 'mine' / 'table.md').read_text()
  assert '| L1 0.01 ' in table
  svg = (mine / 'runs' / 'mine' / 'figure.svg').read_text()
  assert svg.startswith('<?xml')


def test_what_gin_sets_of_a_function_trains_anew(mine):
  assert type_command(mine, PLAIN) == 0
  small = read_results(mine)['WS']
  assert type_command(mine, PLAIN, 'tanh_net.units = 48') == 0
  large = read_results(mine)['WS']
  assert large['setting']['model'] == 'my_module.tanh_net(units=48)'
  assert large['rows'] != small['rows']
  # In the same process, data of the same name can be others.
  assert type_command(mine, PLAIN, 'stripes.count = 200') == 0
  fewer = read_results(mine)['WS']
  assert fewer['setting']['dataset'] == 'my_module.stripes(count=200)'
  assert [row['step'] for row in small['rows']] == [0, 6, 6, 14]
  assert [row['step'] for row in fewer['rows']] == [0, 3, 3, 7]
  assert len(list((mine / 'runs' / 'phases').iterdir())) == 6


WRONG = {
  'Setting.model = @deep/tanh_net': 'must be named without a gin scope',
  'Setting.model = @tanh_net()': 'tanh_net',
  'Setting.model = @stripes': 'must return a Classifier',
  'Setting.dataset = @L1': 'must return a Dataset',
  'Setting.methods = (@L1,)': 'must be instances of',
  'Setting.methods = @L1()': 'methods must be a list of methods',
  'Setting.width = 0.5': 'has no width: leave Setting.width at 1.0',
  'Setting.crelu = True': 'has no crelu: leave Setting.crelu at False',
  "Setting.dtype = 'bfloat16'": 'has no dtype: leave Setting.dtype at',
  "Setting.folder = '.'": 'stripes(count=400) takes no folder',
  'Setting.model = @tanh_nett': 'did you mean tanh_net?',
  'import my_modul': "No module named 'my_modul'",
  'tanh_net.unit = 3': "has no setting 'unit': did you mean units?",
}


@pytest.mark.parametrize('setting', WRONG)
def test_a_wrong_name(mine, capfd, setting):
  assert type_command(mine, PLAIN, setting) == 2
  out, err = capfd.readouterr()
  assert out == ''
  assert err.startswith('error: ')
  assert err.count('\n') == 1
  assert WRONG[setting] in err
  assert not (mine / 'runs').exists()


def dataset(**fields):
  images = np.zeros((4, 8, 8, 1), np.uint8)
  labels = np.array([0, 1, 0, 1])
  made = data.Dataset('mine', images, labels, images, labels, 2, (0.5,), (0.5,))
  return made._replace(**fields)


def wrong_dataset():
  return dataset(**wrong_dataset.fields)


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'test_images': np.zeros((4, 8, 9, 1), np.uint8)}, 'the same in both'),
    ({'train_images': np.zeros((4, 8, 8, 1))}, 'must be uint8 of shape'),
    ({'train_images': np.zeros((4, 8, 8), np.uint8)}, 'mean of mine must have'),
    ({'train_labels': np.array([0.0, 1, 0, 1])}, 'must be integers of shape'),
    ({'train_labels': np.array([0, 2, 0, 1])}, 'go from 0 to 2: those of mine'),
    ({'train_labels': np.array([0, 1])}, '4 images and 2 labels'),
    ({'num_classes': 3}, 'images of 2 classes: mine has 3'),
    ({'std': (0.5, 0.5)}, 'std of mine must have a number for each channel'),
  ],
)
def test_a_data_set_that_does_not_fit(fields, message):
  wrong_dataset.fields = {}
  assert len(data.load(wrong_dataset).train_labels) == 4
  wrong_dataset.fields = fields
  with pytest.raises(ValueError, match=message):
    data.load(wrong_dataset)


def test_the_folder_of_a_data_set(tmp_path):
  def make(folder):
    return dataset(name=str(folder))

  make.__qualname__ = 'make'
  assert data.load(make, str(tmp_path)).name == str(tmp_path)
  with pytest.raises(ValueError, match='there is no folder'):
    data.load(make, str(tmp_path / 'none'))


def test_options_that_a_network_takes():
  def make(num_classes, width, dtype):
    return models.make_model('mlp', num_classes, width=width, dtype=dtype)

  make.__qualname__ = 'make'
  made = models.make_model(make, 3, width=0.5, dtype='bfloat16')
  assert made == models.make_model('mlp', 3, width=0.5, dtype='bfloat16')


HIDDEN = ('backbone', 'hidden')
NORM = ('backbone', 'norm')
OUTPUT = ('head', 'output')


class Backbone(nn.Module):
  """A hidden layer with a normalisation that keeps no statistics."""

  names_it: bool

  @nn.compact
  def __call__(self, images, train):
    x = images.reshape((images.shape[0], -1))
    x = nn.relu(nn.LayerNorm(name='norm')(nn.Dense(5, name='hidden')(x)))
    return x, (x,) * self.names_it


def network(*hidden_layers):
  def make(num_classes):
    head = models.layers.Head(num_classes)
    return models.Classifier(Backbone(bool(hidden_layers)), head, hidden_layers)

  make.__qualname__ = 'make'
  return make


@dataclasses.dataclass(frozen=True)
class OwnUnits(methods.Method):
  def wrap_units(self, inner, init, layers):
    return inner


def check(make, **fields):
  wrong_dataset.fields = {}
  prepare.check_setting(
    Setting(dataset=wrong_dataset, model=make, ratios=(0.5, 1.0), **fields)
  )


@pytest.mark.parametrize(
  ('name', 'fields'),
  [
    ('ReDo', {'redo': 0.1}),
    ('SelfNormalizedResets', {'snr': 0.02}),
    ('ContinualBackprop', {'continual_backprop': 1e-4}),
    ('OwnUnits', {'methods': (OwnUnits(),)}),
  ],
)
def test_methods_that_need_hidden_layers(name, fields):
  check(network())
  check(network(models.HiddenLayer(HIDDEN, NORM, OUTPUT)), **fields)
  with pytest.raises(ValueError, match=f'^{name} renews the units of hidden'):
    check(network(), **fields)


@pytest.mark.parametrize(
  ('layer', 'message'),
  [
    ((HIDDEN, ('norm',), OUTPUT), "incoming names 'norm', but no array"),
    ((HIDDEN, OUTPUT, OUTPUT), 'incoming must name arrays with the units'),
    ((HIDDEN, None, ('head', 'out')), "outgoing names 'head/out', but no kern"),
    ((HIDDEN, None, HIDDEN), 'last axis but one must be a multiple of the 5'),
    ((OUTPUT, None, HIDDEN), r'activations\[.* units\] with 2 units'),
  ],
)
def test_a_hidden_layer_that_is_elsewhere(layer, message):
  with pytest.raises(ValueError, match=f'^the hidden layers that .*{message}'):
    check(network(models.HiddenLayer(*layer)))


def test_names_for_tables():
  assert data.title('my_module.stripes(count=3)') == 'stripes(count=3)'
  assert data.title('mnist') == 'MNIST'
  assert models.title('my_module.net') == 'net'
  assert models.title('vgg16') == 'VGG-16'
  with pytest.raises(ValueError, match='did you mean mnist'):
    raise named.unknown('data set', 'MNIST', ['mnist', 'cifar10'])
