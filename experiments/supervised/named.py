"""Names of the models, data sets and methods that a gin file brings along.

Built-in ones are named by a string. One of a user's own is a function or an
object, and its name tells it from all others: `my_module.rings(count=3)`.
Results are kept by these names.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
import contextlib
import dataclasses
import difflib
import inspect
from typing import Any

import gin


def describe(value: Any, supplied: Collection[str] = ()) -> str:
  """Returns the name of a function, or of an object with its fields.

  A function's name has its module and its arguments: what gin sets of them, and
  the defaults of the others. It does not show the code, nor what this reads:
  files, constants of the module, gin settings of other functions that it calls.

  >>> describe('mlp')
  'mlp'
  >>> import math
  >>> describe(math.sqrt)
  'math.sqrt'

  Args:
    value: a string, a function of a module, or an instance of a dataclass.
    supplied: arguments that the caller of the function gives.

  Returns:
    The string itself; `module.function(argument=value)`; or
    `module.Class(field=value)`.

  Raises:
    ValueError: the value has no name of its own.
  """
  if isinstance(value, str):
    return value
  if dataclasses.is_dataclass(value) and not isinstance(value, type):
    if type(value).__hash__ is None:
      raise ValueError(
        f'{_qualified(type(value))} must be a frozen dataclass, so that its '
        'fields stay what the results are kept by'
      )
    fields = {
      field.name: getattr(value, field.name)
      for field in dataclasses.fields(value)
    }
    return _qualified(type(value)) + _call(fields)
  if not callable(value):
    raise ValueError(
      f'{value!r} must be a string, a function or an instance of a dataclass'
    )
  name = _qualified(value)
  arguments = {
    argument: x
    for argument, x in (_defaults(value) | _bound(value, name)).items()
    if argument not in supplied
  }
  return name + (_call(arguments) if arguments else '')


def short(name: str) -> str:
  """Returns a name without its module and its arguments.

  >>> short('my_module.rings(count=3)'), short('mnist')
  ('rings', 'mnist')
  """
  return name.split('(')[0].split('.')[-1]


def title(name: str) -> str:
  """Returns a name without its module, for a table or a figure.

  >>> title('my_module.rings(noise=0.5)')
  'rings(noise=0.5)'
  """
  start, bracket, arguments = name.partition('(')
  return start.split('.')[-1] + bracket + arguments


def unknown(kind: str, name: str, known: Sequence[str]) -> ValueError:
  """Returns the error for a name that is not registered.

  Args:
    kind: what is named, such as 'model'.
    name: the unknown name.
    known: the registered names.
  """
  near = difflib.get_close_matches(name.lower(), known)
  advice = (
    f'did you mean {" or ".join(near)}?'
    if near
    else f'there are {", ".join(known)}'
  )
  return ValueError(f'unknown {kind} {name!r}: {advice}')


def _qualified(value: Any) -> str:
  """Returns the module and name of a function or a class."""
  name = getattr(value, '__qualname__', None)
  if name is None or '<' in name:  # A lambda, or a function in a function.
    raise ValueError(
      f'{value!r} must be a function or class at the top level of a module: '
      'results are kept by its name'
    )
  return f'{value.__module__}.{name}'


def _defaults(function: Callable[..., Any]) -> dict[str, Any]:
  """Returns the default arguments of a function that have a text."""
  try:
    parameters = inspect.signature(function).parameters.values()
  except ValueError:  # A built-in function without a signature.
    return {}
  found = {}
  for parameter in parameters:
    if parameter.default is not parameter.empty:
      with contextlib.suppress(ValueError):
        _text(parameter.default)
        found[parameter.name] = parameter.default
  return found


def _bound(function: Callable[..., Any], name: str) -> dict[str, Any]:
  """Returns the arguments that gin gives to a function."""
  try:
    return gin.get_bindings(function)
  except ValueError as error:
    if hasattr(function, '__wrapped__'):
      raise ValueError(
        f'{name} must be named without a gin scope, for its results are kept '
        f'by its name; make it a dataclass, and name the instance @.../'
        f'{short(name)}()'
      ) from error
    return {}  # Gin does not know it: it was given in Python.


def _call(arguments: dict[str, Any]) -> str:
  shown = (f'{name}={_text(x)}' for name, x in sorted(arguments.items()))
  return f'({", ".join(shown)})'


def _text(value: Any) -> str:
  """Returns a text that is the same in every process."""
  if value is None or isinstance(value, bool | int | float | str):
    return repr(value)
  if isinstance(value, list | tuple):
    return f'({", ".join(map(_text, value))})'
  if isinstance(value, Mapping):
    items = sorted(f'{_text(key)}: {_text(x)}' for key, x in value.items())
    return f'{{{", ".join(items)}}}'
  return describe(value)
