"""The compiled programs that later processes use again, on disk."""

import os
import pathlib
import socket
import tempfile

import jax

from experiments.command import MachineError, say

# JAX reads it as well.
VARIABLE = 'JAX_COMPILATION_CACHE_DIR'


def folder() -> str:
  """Returns the folder of compiled programs, '' for none.

  It is what JAX_COMPILATION_CACHE_DIR says. If that is not set, each host has
  its own, since a program is for one kind of CPU.
  """
  home = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
  own = os.path.join(home, 'ht_rl', f'xla-{socket.gethostname()}')
  return os.environ.get(VARIABLE, own)


def keep_programs() -> None:
  """Lets JAX keep the programs that it compiles; call it before it compiles.

  Raises:
    MachineError: the folder that the user names can't be written.
  """
  path = folder()
  if not path:
    jax.config.update('jax_enable_compilation_cache', False)
    return
  try:
    pathlib.Path(path).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path):
      pass
  except OSError as error:
    if VARIABLE in os.environ:
      raise MachineError(
        f'{VARIABLE}: {path} cannot be written ({error.strerror})'
      ) from error
    say(
      f'compiled programs are not kept, since {path} cannot be written '
      f'({error.strerror})'
    )
    return
  jax.config.update('jax_compilation_cache_dir', path)
