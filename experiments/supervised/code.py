"""The code that results come from: a digest of each file that bears on them.

A phase keeps these beside its evaluations. So a later version of the code can
say which of the results on disk are not its own.
"""

import ast
from collections.abc import Mapping, Sequence
import functools
import hashlib
import inspect
import pathlib
import sys
from typing import Any

from experiments.supervised.settings import Setting

_ROOT = pathlib.Path(__file__).parents[2]
# All that training and evaluation run, and no reports.
_PARTS = (
  'experiments/supervised/data',
  'experiments/supervised/methods',
  'experiments/supervised/models',
  'experiments/supervised/training',
  'experiments/supervised/groups.py',
  'experiments/supervised/optimizer.py',
  'experiments/supervised/phases.py',
  'experiments/supervised/preprocessing.py',
  'experiments/supervised/schedule.py',
  'experiments/supervised/settings.py',
  'ht_rl/dtypes.py',
  'ht_rl/plasticity.py',
  'ht_rl/transforms',
)


def digests_of(setting: Setting) -> dict[str, str]:
  """Returns a digest of each file of code that bears on a setting's results.

  Args:
    setting: its own networks, data sets and methods are among the files. (Not
      what their modules import.)

  Returns:
    For each file a hexadecimal number. It stays the same where only comments,
    docstrings or the layout change.
  """
  own = (setting.dataset, setting.model, *setting.methods)
  return _of_this_repository() | dict(
    found for value in own if (found := _of_module(value)) is not None
  )


def differing(then: Mapping[str, str], now: Mapping[str, str]) -> Sequence[str]:
  """Returns the recorded files whose code is not the same now, sorted.

  Of a file that the record lacks it is not known whether there was another: it
  may be that records did not hold it then.

  >>> differing({'a.py': '1', 'b.py': '2'}, {'b.py': '3', 'c.py': '4'})
  ['a.py', 'b.py']
  """
  return sorted(name for name in then if then[name] != now.get(name))


def digest(text: str) -> str:
  """Returns a digest of Python code, without its comments and docstrings.

  >>> digest('x = 1  # One.') == digest('x=1') != digest('x = 2')
  True
  """
  tree = ast.parse(text)
  for node in ast.walk(tree):
    if isinstance(
      node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    ) and ast.get_docstring(node, clean=False):
      node.body = node.body[1:] or [ast.Pass()]
  return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()[:16]


@functools.cache
def _of_this_repository() -> dict[str, str]:
  files = [
    path
    for part in map(_ROOT.joinpath, _PARTS)
    for path in ([part] if part.is_file() else part.rglob('*.py'))
  ]
  return {
    path.relative_to(_ROOT).as_posix(): digest(path.read_text('utf-8'))
    for path in sorted(files)
  }


def _of_module(value: Any) -> tuple[str, str] | None:
  """Returns name and digest of the module of a user's function or object."""
  if isinstance(value, str):
    return None
  function = inspect.unwrap(value) if callable(value) else type(value)
  module = sys.modules.get(function.__module__)
  if module is None:
    return None
  try:
    text = inspect.getsource(module)
  except (OSError, TypeError):  # Compiled, or written in a shell.
    return None
  return f'{function.__module__}.py', digest(text)
