"""How the errors of all commands are told."""

from absl import flags
import jax
import pytest

from experiments import command
from experiments.exit_codes import EXIT_FAILED


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


def test_an_error_of_the_program_is_not_hidden():
  with pytest.raises(RuntimeError, match='a bug'):
    command.guarded(raising(RuntimeError('a bug')))
