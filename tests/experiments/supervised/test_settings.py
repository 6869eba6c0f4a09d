"""What may be set, and what bears on which phase."""

import dataclasses
import re

import pytest

from experiments.supervised import methods
from experiments.supervised.data import Dataset
from experiments.supervised.settings import Setting


@dataclasses.dataclass(frozen=True)
class Pull(methods.Method):
  weight: float = 1.0

  def penalty(self, batch):
    return self.weight


@dataclasses.dataclass(frozen=True)
class Redraw(methods.Method):
  fraction: float = 1.0

  def begin_phase(self, params, initial, key):
    return initial


@dataclasses.dataclass
class Loose(methods.Method):
  weight: float = 1.0


def my_model(num_classes):
  return num_classes


def my_data() -> Dataset:
  raise NotImplementedError


WRONG = [
  (
    {'ratios': (0.0, 1.0)},
    'ratios must be a number from above 0 to 1, not 0.0',
  ),
  (
    {'ratios': (0.1, 1.1)},
    'ratios must be a number from above 0 to 1, not 1.1',
  ),
  ({'ratios': (0.5, 0.4)}, 'ratios must never fall'),
  ({'ratios': (), 'noises': (), 'epochs': ()}, 'at least one phase'),
  ({'noises': (0.5,)}, 'noises must have a value for each phase'),
  ({'noises': (0.5, -0.1)}, 'noises must be a number from 0 to 1, not -0.1'),
  ({'noises': (0.5, True)}, 'noises must be a number from 0 to 1, not True'),
  ({'epochs': 100}, 'epochs must have a value for each phase'),
  ({'epochs': (0, 1)}, 'epochs must be an integer of at least 1, not 0'),
  ({'learning_rate': (1e-3,)}, 'have one for each of the 2 phases'),
  ({'learning_rate': 0}, 'learning_rate must be a number above 0, not 0'),
  ({'weight_decay': None}, 'weight_decay must be a number of at least 0'),
  ({'weight_decay': float('nan')}, 'weight_decay must be a number of at least'),
  ({'momentum': 1.0}, 'momentum must be a number from 0 to below 1, not 1.0'),
  ({'reset_epochs': 2.5}, 'reset_epochs must be an integer of at least 1'),
  ({'reset_epochs': 1, 'reset_steps': (None, 5)}, 'must not both be given'),
  ({'batch_size': 1}, 'batch_size must be an integer of at least 2, not 1'),
  ({'shrink': 1.5}, 'shrink must be a number from 0 to 1, not 1.5'),
  ({'redo': '0.1'}, "redo must be a number of at least 0, not '0.1'"),
  ({'noise_mode': 'true'}, "'exclude_true' or 'uniform', not 'true'"),
  (
    {'buffer_policy': 'first'},
    "'uniform' or 'reservoir' or 'lowest_index', not 'first'",
  ),
  ({'dtype': 'float16'}, "dtype must be 'float32' or 'bfloat16'"),
  ({'reported': 'both'}, "reported must be 'hare' or 'tortoise', not 'both'"),
  ({'crelu': 1}, 'crelu must be True or False, not 1'),
]


@pytest.mark.parametrize(('fields', 'message'), WRONG)
def test_a_wrong_value_is_said_in_a_line(fields, message):
  with pytest.raises(ValueError, match=re.escape(message)) as error:
    Setting(**fields)
  assert '\n' not in str(error.value)


def test_lists_are_as_good_as_tuples():
  listed = Setting(ratios=[0.1, 1.0], reset_epochs=[10, None])
  assert listed == Setting(ratios=(0.1, 1.0), reset_epochs=(10, None))
  hash(listed)


def test_values_of_one_phase_or_of_all():
  setting = Setting(learning_rate=(1e-4, 1e-3), reset_epochs=10)
  assert setting.of_phase('learning_rate', 0) == 1e-4
  assert setting.of_phase('learning_rate', 1) == 1e-3
  assert setting.of_phase('reset_epochs', 1) == 10


def digests(**fields):
  setting = Setting(**fields)
  return [setting.digest(phase) for phase in range(setting.num_phases)]


@pytest.mark.parametrize(
  'fields',
  [
    {'head_reset': True},
    {'fire': True},
    {'shrink': 0.8},
    {'shrink': 0.2, 'perturb': 0.1},
    {'learning_rate': (1e-3, 1e-4)},
    {'reset_epochs': (None, 10)},
    {'noises': (0.5, 0.1)},
    {'epochs': (1000, 50)},
  ],
)
def test_what_comes_after_a_first_phase_leaves_it_in_common(fields):
  plain, other = digests(), digests(**fields)
  assert plain[0] == other[0]
  assert plain[1] != other[1]


def test_an_average_is_that_of_the_plain_run():
  assert digests(reported='tortoise') == digests()


@pytest.mark.parametrize(
  'field',
  [field.name for field in dataclasses.fields(Setting)],
)
def test_all_else_sets_runs_apart(field):
  # Another value of each field, which the first phase feels.
  others = {
    'dataset': 'mnist',
    'folder': '/data',
    'train_size': 10,
    'validation_size': 10,
    'ratios': (0.2, 1.0),
    'noises': (0.4, 0.0),
    'epochs': (500, 100),
    'noise_mode': 'uniform',
    'buffer_size': 5000,
    'buffer_policy': 'lowest_index',
    'tasks': 'classes',
    'model': 'vgg16',
    'dtype': 'bfloat16',
    'batch_size': 128,
    'redo': 0.1,
    'redo_every': 6,
    'snr': 0.1,
    'redo_counts': 'whole',
    'perturb': 0.1,
    'reset_epochs': 10,
    'reset_steps': 10,
    'methods': (Pull(),),
  }
  default = getattr(Setting(), field)
  if field in others:
    other = others[field]
  elif isinstance(default, bool):
    other = not default
  elif field == 'reported':
    other = 'tortoise'
  else:
    other = default * 0.5 + 0.125
  same = {'reported', 'head_reset', 'shrink', 'perturb', 'redo_every'}
  same |= {'buffer_size', 'buffer_policy', 'redo_counts', 'fire'}
  assert (digests(**{field: other})[0] == digests()[0]) == (field in same)


# The digests of some phases: those on disk are found by them.
@pytest.mark.parametrize(
  ('fields', 'expected'),
  [
    ({}, ['ea589e9516ed1010', '74b9d1297ec33e5a']),
    (
      {
        'redo': 0.1,
        'redo_counts': 'whole',
        'shrink': 0.8,
        'augment': True,
        'reset_epochs': (None, 10),
      },
      ['b6470b2555218a68', '694ea4af8c1169e0'],
    ),
  ],
)
def test_digests_stay(fields, expected):
  assert digests(**fields) == expected


def test_a_named_method_sets_runs_apart():
  plain, pull = digests(), digests(methods=(Pull(),))
  assert pull[0] != plain[0]
  assert digests(methods=[Pull(2.0)])[0] not in (plain[0], pull[0])
  # What comes between two phases does not bear on the first one.
  redraw = digests(methods=(Redraw(),))
  assert redraw[0] == plain[0]
  assert redraw[1] != plain[1]
  both = digests(methods=(Redraw(), Pull()))
  assert both[0] == pull[0]
  assert both[1] != pull[1]


def test_a_named_model_or_data_set_sets_runs_apart():
  named = [digests(model=my_model)[0], digests(dataset=my_data)[0]]
  assert len({*named, digests()[0]}) == 3
  setting = Setting(model=my_model, dataset=my_data, methods=(Pull(),))
  module = __name__
  assert setting.to_json()['model'] == f'{module}.my_model'
  assert setting.to_json()['dataset'] == f'{module}.my_data'
  assert setting.to_json()['methods'] == [f'{module}.Pull(weight=1.0)']
  assert 'methods' not in Setting().to_json()


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'model': 3}, 'model must be a name or a function such as @my_model'),
    ({'dataset': None}, 'dataset must be a name or a function such as'),
    ({'model': lambda n: n}, 'at the top level of a module'),
    ({'methods': Pull()}, 'methods must be a list of methods'),
    ({'methods': (Pull,)}, 'methods must be instances of'),
    ({'methods': ('l1',)}, 'methods must be instances of'),
    ({'methods': (Loose(),)}, 'Loose must be a frozen dataclass'),
    ({'methods': (methods.Method(),)}, 'an instance of a dataclass'),
    ({'methods': (Pull(object()),)}, 'must be a string, a function or an'),
    ({'folder': 3}, 'folder must be a text, not 3'),
  ],
)
def test_what_can_not_be_named(fields, message):
  with pytest.raises(ValueError, match=re.escape(message)):
    Setting(**fields)


def test_a_buffers_policy_counts_from_the_second_phase_on():
  uniform = digests(buffer_size=10)
  lowest = digests(buffer_size=10, buffer_policy='lowest_index')
  assert uniform[0] == lowest[0] == digests()[0]
  assert uniform[1] != lowest[1]
  assert uniform[1] != digests()[1]
  assert digests()[1] == digests(buffer_policy='lowest_index')[1]


def test_the_interval_of_redo_counts_where_there_is_redo():
  assert digests(redo=0.1, redo_every=6)[0] != digests(redo=0.1)[0]
  assert digests(redo=0.1, redo_counts='whole')[0] != digests(redo=0.1)[0]


def test_numbers_are_the_same_however_they_are_written():
  assert digests(ratios=(0.1, 1), width=1, momentum=0) == digests(
    ratios=(0.1, 1.0), width=1.0, momentum=0.0
  )
  assert digests(shrink=1) == digests(shrink=1.0)


CONTINUAL = tuple(k / 10 for k in range(1, 11))


@pytest.mark.parametrize(
  ('num_train', 'buffer_size', 'steps'),
  [
    # Section 5.2 with batches of 256 and 100 epochs a phase, added up by hand:
    # 20 + 40 + 59 + ... + 196 steps, and with a buffer 20 + 9 times 40.
    (50_000, None, 108_000),
    (100_000, None, 215_500),
    (50_000, 5000, 38_000),
    (100_000, 5000, 57_100),
  ],
)
def test_samples_of_phases(num_train, buffer_size, steps):
  setting = Setting(
    ratios=CONTINUAL,
    noises=(0.0,) * 10,
    epochs=(100,) * 10,
    buffer_size=buffer_size,
  )
  sizes = [setting.num_samples(k, num_train) for k in range(10)]
  assert 100 * sum(-(-size // 256) for size in sizes) == steps


def test_a_phase_without_samples():
  setting = Setting(ratios=(0.001, 1.0))
  with pytest.raises(ValueError, match='phase 1 has no sample'):
    setting.num_samples(0, 100)
