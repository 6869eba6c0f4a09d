"""What gin files may include, and what is said of wrong ones."""

import pathlib
import re

from absl.testing import flagsaver
import gin
import pytest

from agents import configurables
from experiments import config, gin_flags
from experiments.command import SettingsError


@pytest.fixture(autouse=True)
def _no_settings_left(tmp_path, monkeypatch):
  assert configurables  # The names that the files use.
  monkeypatch.chdir(tmp_path)
  yield
  gin.clear_config()


def write(path, text):
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(text if isinstance(text, bytes) else text.encode())
  return str(path)


def assert_refused(files, *parts, bindings=()):
  with pytest.raises(SettingsError) as error:
    config.load_config(files, bindings)
  for part in parts:
    assert part in str(error.value)
  assert '\n' not in str(error.value)


def test_an_include_is_found_beside_its_file_and_in_the_project():
  write('mine/base.gin', "include 'gin_configs/drq.gin'\nDrQAgent.gamma = 0.5")
  write('mine/deep/more.gin', 'DrQAgent.batch_size = 7')
  write('mine/base2.gin', "include 'deep/more.gin'")
  file = write('mine/a.gin', "include 'base.gin'\ninclude 'base2.gin'")
  config.load_config([file], [])
  assert gin.query_parameter('DrQAgent.gamma') == 0.5
  assert gin.query_parameter('DrQAgent.batch_size') == 7
  assert gin.query_parameter('DrQAgent.update_horizon') == 10


def test_an_include_is_found_from_the_working_folder_first():
  write('base.gin', 'DrQAgent.gamma = 0.25')
  write('mine/base.gin', 'DrQAgent.gamma = 0.5')
  config.load_config([write('mine/a.gin', 'include "base.gin"')], [])
  assert gin.query_parameter('DrQAgent.gamma') == 0.25


def test_a_binding_can_include_a_file_of_the_project():
  file = write('a.gin', 'DrQAgent.gamma = 0.5')
  config.load_config([file], ["include 'gin_configs/drq.gin'"])
  assert gin.query_parameter('DrQAgent.gamma') == 0.99


def test_an_included_file_that_is_missing():
  file = write('mine/a.gin', "include 'nothing.gin'")
  assert_refused([file], "no gin file 'nothing.gin'", 'mine/a.gin includes')


def test_files_that_include_each_other():
  file = write('a.gin', "include 'a.gin'")
  assert_refused([file], 'a.gin includes a.gin, which includes it again')
  write('c.gin', "include 'b.gin'")
  file = write('b.gin', "include 'c.gin'")
  assert_refused([file], 'c.gin includes b.gin, which includes it again')


def test_a_file_may_be_included_twice():
  write('base.gin', 'DrQAgent.gamma = 0.5')
  file = write('a.gin', "include 'base.gin'\ninclude 'base.gin'")
  config.load_config([file], [])
  assert gin.query_parameter('DrQAgent.gamma') == 0.5


def test_a_file_that_is_no_text():
  file = write('a.gin', b'DrQAgent.gamma = 0.5 # \xff')
  assert_refused([file], 'a.gin must be a text file in UTF-8')
  file = write('b.gin', "include 'a.gin'")
  assert_refused([file], 'a.gin must be a text file in UTF-8')


@pytest.mark.parametrize(
  ('name', 'program'),
  [
    ('Setting', 'experiments.supervised'),
    ('figures.bars', 'experiments.supervised'),
    ('DrQAgent', 'experiments.train'),
  ],
)
def test_a_name_of_the_other_command_is_known_as_such(
  name, program, monkeypatch
):
  # As in a process that has imported neither half.
  empty = gin.selector_map.SelectorMap()
  monkeypatch.setattr(gin.config, '_REGISTRY', empty)
  error = ValueError(f"No configurable matching '{name}'.\n  In file x")
  assert config.explain(error) == (
    f"'{name}' is for gin files of `python -m {program}`"
  )


@pytest.mark.parametrize('folder', ['', 'supervised'])
def test_each_gin_file_has_such_a_name(folder):
  """Whatever is unknown first in the other command is in the list."""
  program = 'experiments.supervised' if folder else 'experiments.train'
  dopamines = {'CollectorDispatcher'}
  root = pathlib.Path(__file__).parents[2]
  for file in (root / 'gin_configs' / folder).glob('*.gin'):
    heads = re.findall(r'^(\w+)[.\w]* =', file.read_text(), re.MULTILINE)
    names = {*config._COMMANDS[program], *dopamines}
    assert set(heads) <= names, file


REGISTRATION = 'from __gin__ import dynamic_registration\nimport os\n'


@pytest.mark.parametrize(
  'text',
  [
    REGISTRATION,
    f'# Mine.\nDrQAgent.gamma = 0.5\n{REGISTRATION}os.getcwd.x = 1',
    'from \\\n  __gin__ import dynamic_registration',
  ],
)
def test_dynamic_registration_is_refused(text):
  file = write('a.gin', text)
  message = 'a.gin uses dynamic registration, which can call any function'
  assert_refused([file], message, '--allow_dynamic_registration')
  # Gin takes all of these.
  for spelling in ("'a.gin'", "\\\n'a.gin'", "u'a.gin'"):
    assert_refused([write('b.gin', f'include {spelling}')], message)
  assert_refused([write('b.gin', "include'a.gin'")], message)
  plain = write('c.gin', 'DrQAgent.gamma = 0.5')
  assert_refused([plain], message, bindings=["include 'a.gin'"])
  assert_refused([plain], 'dynamic registration', bindings=[text])


def test_a_flag_allows_dynamic_registration():
  write('helper_of_mine.py', 'def number():\n  return 0.25\n')
  file = write(
    'a.gin',
    'from __gin__ import dynamic_registration\n'
    'from agents import configurables\n'
    'import helper_of_mine\n'
    'configurables.adam.b1 = @helper_of_mine.number()\n',
  )
  with (
    flagsaver.flagsaver(allow_dynamic_registration=True),
    pytest.MonkeyPatch.context() as patch,
  ):
    patch.syspath_prepend('.')
    config.load_config([file], [])
    assert gin.query_parameter('adam.b1') is not None
    assert gin_flags.passed_on() == ['--allow_dynamic_registration']
  assert gin_flags.passed_on() == []


def test_a_comment_may_speak_of_it():
  file = write('a.gin', '# Not from __gin__ import x.\nDrQAgent.gamma = 0.5')
  config.load_config([file], [])


@pytest.mark.parametrize(
  ('binding', 'hint'),
  [
    ('DuelingQNetwork.dtype = bfloat16', "text needs quotes, as in 'bfloat16'"),
    ("DuelingQNetwork.dtype = 'bfloat16", 'not valid gin syntax'),
    ('DrQAgent.gamma = (1', 'not valid gin syntax (in'),
  ],
)
def test_text_without_quotes(binding, hint):
  file = write('a.gin', 'DrQAgent.gamma = 0.5')
  assert_refused([file], hint, bindings=[binding])


@gin.configurable('cook_for_test')
def _cook(dish='soup', salt=1):
  return dish, salt


@gin.configurable('bake_for_test')
def _bake(cake='sponge', sugar=1):
  return cake, sugar


# What is never called may have settings and macros, also macros of macros.
@pytest.mark.parametrize(
  ('bindings', 'refused'),
  [
    (['salt = 2', 'cook_for_test.salt = %salt'], None),
    (['salt = 2', 'bake_for_test.sugar = %salt'], None),
    (['a = 2', 'b = %a', 'bake_for_test.cake = (1, {2: %b})'], None),
    (['salt = 2'], "the setting 'salt' has no effect: did you mean cook_for"),
    (['a = 2', 'b = %a', 'cook_for_test.salt = 3'], "'a' has no effect"),
    (['cook_for_test.dish = %x', 'x = 3'], "'cook_for_test.dish' has no"),
  ],
)
def test_settings_without_an_effect(bindings, refused):
  config.load_config([write('a.gin', '')], bindings)
  _cook('stew')
  if refused is None:
    config.check_effects()
  else:
    with pytest.raises(SettingsError, match=refused):
      config.check_effects()
