"""What a launcher is: it starts commands and tells how they ended."""

from collections.abc import Sequence
import dataclasses
from typing import Protocol


@dataclasses.dataclass(frozen=True)
class Command:
  """A command to be started.

  Attributes:
    name: what tells it apart from the others that run.
    argv: its words.
  """

  name: str
  argv: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Ended:
  """A command that ended.

  Attributes:
    name: of the command.
    code: its exit code, -N where signal N ended it; None where it was lost.
    last_line: the last line that it wrote, or why it was lost.
  """

  name: str
  code: int | None
  last_line: str


class Launcher(Protocol):
  """Starts commands, each on its share of a device.

  Attributes:
    name: what it is called on the command line.
    runs_per_device: how many commands share a device.
  """

  name: str
  runs_per_device: int

  def room(self, waiting: int) -> int:
    """How many of `waiting` commands it would take now."""

  def start(self, commands: Sequence[Command]) -> None:
    """Starts commands, as many as there is room for."""

  def ended(self) -> list[Ended]:
    """The commands that ended since it was last asked; does not wait."""

  def fit(self, gpu_fraction: float) -> None:
    """Is told which fraction of a GPU's memory a command needs."""

  def limit(self, runs_per_device: int) -> None:
    """Lets no more commands than this share a device from now on."""

  def stop(self) -> str | None:
    """Asks all commands to stop; asked again, ends them.

    Returns:
      None, or a line for a person where the commands go on without us.
    """


def last_line(text: str) -> str:
  """The last line of a text that is not empty."""
  lines = [line.strip() for line in text.splitlines() if line.strip()]
  return lines[-1] if lines else ''
