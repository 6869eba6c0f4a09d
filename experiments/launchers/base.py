"""The interface of launchers, which start commands and report their ends."""

from collections.abc import Sequence
import dataclasses
from typing import Protocol


@dataclasses.dataclass(frozen=True)
class Command:
  """A command to start.

  Attributes:
    name: a name that no other running command has.
    argv: program and arguments.
  """

  name: str
  argv: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Ended:
  """A command that ended.

  Attributes:
    name: name of the command.
    code: exit code, -N if signal N ended it; None if the launcher lost it.
    last_line: last line of its output, or why it was lost.
  """

  name: str
  code: int | None
  last_line: str


class Launcher(Protocol):
  """Starts commands, each on its share of a device."""

  def room(self, waiting: int) -> int:
    """Returns how many of `waiting` commands can be started now."""

  def start(self, commands: Sequence[Command]) -> None:
    """Starts commands, at most as many as `room` says."""

  def ended(self) -> list[Ended]:
    """Returns the commands that ended since the last call; does not wait."""

  def fit(self, gpu_fraction: float) -> None:
    """Lets as many commands share a GPU as fit, if the number is automatic.

    Args:
      gpu_fraction: fraction of a GPU's memory that a command needs.
    """

  def limit(self, runs_per_device: int) -> None:
    """Lets at most this many commands share a device from now on."""

  def stop(self) -> str | None:
    """Asks all commands to stop; the second call does not wait for checkpoints.

    Returns:
      None if `ended` will return them; a message for the user if the commands
      continue without this process.
    """


def last_line(text: str) -> str:
  """Returns the last line of a text that is not blank, or ''."""
  lines = [line.strip() for line in text.splitlines() if line.strip()]
  return lines[-1] if lines else ''
