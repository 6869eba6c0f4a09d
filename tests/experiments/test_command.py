"""How the errors of all commands are told."""

from absl import flags
from gin import utils as gin_utils
import jax
import pytest

from experiments import command
from experiments.exit_codes import EXIT_FAILED, EXIT_WRONG_SETTING


@pytest.fixture(autouse=True)
def _parsed_flags():
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(['command'])


def raising(error):
  def action():
    raise error

  return action


def test_out_of_memory_is_one_line(capsys):
  error = jax.errors.JaxRuntimeError(
    'RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes.\n\nAllocations:\n1'
  )
  error.add_note('the last good checkpoint is runs/100')
  assert command.guarded(raising(error)) == EXIT_FAILED
  assert capsys.readouterr().err == (
    'error: out of memory (RESOURCE_EXHAUSTED: Out of memory allocating 8 '
    'bytes.); the last good checkpoint is runs/100\n'
  )
  assert command.guarded(raising(MemoryError())) == EXIT_FAILED
  assert capsys.readouterr().err == 'error: out of memory\n'


def test_what_gin_adds_to_an_error_is_left_out(capsys):
  error = OSError(17, 'File exists', '/runs/x')
  proxy = gin_utils.augment_exception_message_and_reraise
  with pytest.raises(OSError) as raised:  # noqa: PT011 (its text is below)
    proxy(error, "\n  In call to configurable 'Runner' (<class 'x.Runner'>)")
  assert command.guarded(raising(raised.value)) == EXIT_FAILED
  printed = capsys.readouterr().err
  assert printed == "error: [Errno 17] File exists: '/runs/x'\n"


def test_trouble_of_the_machine_is_no_wrong_setting(capsys):
  wrong, trouble = command.SettingsError('no'), command.MachineError('no')
  assert command.guarded(raising(wrong)) == EXIT_WRONG_SETTING
  assert command.guarded(raising(trouble)) == EXIT_FAILED
  assert capsys.readouterr().err == 'error: no\n' * 2


def test_an_error_of_the_program_is_not_hidden():
  with pytest.raises(RuntimeError, match='a bug'):
    command.guarded(raising(RuntimeError('a bug')))
