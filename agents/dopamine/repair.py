"""Makes Dopamine 4.1.2 importable.

Two imports of Dopamine fail with current packages. Both belong to its PPO and
SAC agents, which nothing here uses, so each gets an empty stand-in. Dopamine's
PPO and SAC do not run in a process with the stand-ins.

TensorFlow and the legacy gym are imported here too, with stderr redirected,
because both print to it while they load. Dopamine needs both, TensorFlow for
files and summaries.
"""

from collections.abc import Iterator
import contextlib
import importlib.machinery
import importlib.util
import os
import sys
import tempfile
from types import SimpleNamespace
from typing import Any

# Module name -> attributes that Dopamine reads on import.
STAND_INS: dict[str, dict[str, Any]] = {
  # `atari_lib` imports OpenAI baselines, which Dopamine does not declare and
  # whose last release (2018) needs TensorFlow 1 and mpi4py.
  'baselines.common': {'atari_wrappers': None},
  # `networks` and `continuous_networks` import tensorflow-probability, whose
  # 0.25 reads `jax.interpreters.xla.pytype_aval_mappings`, gone since jax 0.7.
  # `continuous_networks` derives a class from the Tanh bijector.
  'tensorflow_probability.substrates': {
    'jax': SimpleNamespace(
      distributions=None, bijectors=SimpleNamespace(Tanh=object)
    )
  },
}


def _register_stand_ins() -> None:
  """Puts the stand-ins into `sys.modules`; keeps modules already loaded."""
  for name, attributes in STAND_INS.items():
    # `importlib.util.find_spec` raises on a module without a spec.
    spec = importlib.machinery.ModuleSpec(name, loader=None)
    module = importlib.util.module_from_spec(spec)
    vars(module).update(attributes)
    sys.modules.setdefault(name, module)


@contextlib.contextmanager
def _stderr_held_back() -> Iterator[None]:
  """Discards stderr, or shows it if the block raises.

  TensorFlow's start-up lines are written by C++ to file descriptor 2 before its
  log level is read, so neither `sys.stderr` nor TF_CPP_MIN_LOG_LEVEL stops
  them.
  """
  with contextlib.ExitStack() as stack:
    held = stack.enter_context(tempfile.TemporaryFile('w+', errors='replace'))
    stack.enter_context(contextlib.redirect_stderr(held))
    stderr = os.dup(2)
    stack.callback(os.close, stderr)
    os.dup2(held.fileno(), 2)
    stack.callback(os.dup2, stderr, 2)
    try:
      yield
    except BaseException:
      held.flush()
      held.seek(0)
      os.write(stderr, held.read().encode())
      raise


def apply() -> None:
  """Registers the stand-ins, and loads quietly what prints to stderr."""
  _register_stand_ins()
  with _stderr_held_back():
    import gym  # noqa: F401  (announces that it is unmaintained)
    import tensorflow as tf

    # JAX owns the GPU; TensorFlow would take all of its memory at first use.
    tf.config.set_visible_devices([], 'GPU')
