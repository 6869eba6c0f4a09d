"""Settings as dataclass fields, each with the check of its value beside it.

    @dataclasses.dataclass(frozen=True)
    class Learner:
      gamma: float = setting(0.99, between(0.0, 1.0))

      def __post_init__(self):
        check_settings(self, 'DrQAgent')

A subclass that only changes a default keeps the check.
"""

from collections.abc import Callable
import dataclasses
from typing import Any

from ht_rl.arguments import check_bool, check_choice, check_float, check_int

Check = Callable[[str, Any], None]


def setting(default: Any, check: Check) -> Any:
  """Returns a dataclass field with a default and the check of its value."""
  return dataclasses.field(default=default, metadata={'check': check})


def check_settings(instance: Any, owner: str) -> None:
  """Raises ValueError if a setting of a dataclass is out of its range.

  Args:
    instance: an instance of a dataclass.
    owner: the name that users know; the message begins with ``owner.name``.
  """
  for field in dataclasses.fields(instance):
    check = _check_of(type(instance), field.name)
    if check is not None:
      check(f'{owner}.{field.name}', getattr(instance, field.name))


def _check_of(cls: type, name: str) -> Check | None:
  for base in cls.__mro__:
    field = vars(base).get('__dataclass_fields__', {}).get(name)
    if field is not None and 'check' in field.metadata:
      return field.metadata['check']
  return None


def is_bool(name: str, value: Any) -> None:
  """Accepts True and False only."""
  check_bool(name, value)


def at_least(minimum: int, unit: str = '') -> Check:
  """Returns a check that accepts integers of at least `minimum`.

  Args:
    minimum: the smallest value accepted.
    unit: what the setting counts, for the message.
  """

  def check(name: str, value: Any) -> None:
    try:
      check_int(name, value, minimum)
    except ValueError as error:
      counts = f'; it counts {unit}' if unit else ''
      raise ValueError(f'{error}{counts}') from None

  return check


def between(minimum: float, maximum: float) -> Check:
  """Returns a check that accepts numbers in [minimum, maximum]."""
  return lambda name, value: check_float(name, value, minimum, maximum)


def one_of(*choices: Any) -> Check:
  """Returns a check that accepts any of `choices`."""
  return lambda name, value: check_choice(name, value, choices)


def optional(check: Check) -> Check:
  """Returns a check that accepts None and whatever `check` accepts."""
  return lambda name, value: None if value is None else check(name, value)
