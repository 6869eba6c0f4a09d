"""Runs the same command in several processes that share its work."""

from collections.abc import Callable, Sequence
import time

from agents.errors import StoppedError
from experiments.exit_codes import (
  EXIT_DIVERGED,
  EXIT_STOPPED,
  EXIT_WRONG_SETTING,
)
from experiments.launchers.base import Command, Ended, Launcher

_TURN_SECONDS = 0.1


class Workers:
  """Processes of one command, each of which takes work that no other holds.

  The command exits with 0 once all work is done, whichever process did it.
  """

  def __init__(
    self,
    launcher: Launcher,
    commands: Sequence[Command],
    retries: int,
    say: Callable[[str], None],
  ):
    """Prepares the processes.

    Args:
      launcher: starts the processes.
      commands: the same command for each process, under different names.
      retries: how often a process that failed is started again.
      say: called with a line about each process that ended.
    """
    self._launcher = launcher
    self._commands = {command.name: command for command in commands}
    self._waiting = list(self._commands)
    self._running: set[str] = set()
    self._retries = dict.fromkeys(self._waiting, retries)
    self._say = say
    self._stopping = False
    self._detached: str | None = None

  def run(self) -> list[Ended]:
    """Runs the processes to their ends.

    Returns:
      The last end of each process.

    Raises:
      StoppedError: `stop` was called.
    """
    last: list[Ended] = []
    while self._waiting or self._running:
      if not self._stopping:
        room = self._launcher.room(len(self._waiting))
        started, self._waiting = self._waiting[:room], self._waiting[room:]
        self._running.update(started)
        self._launcher.start([self._commands[name] for name in started])
      for ended in self._launcher.ended():
        self._running.discard(ended.name)
        if not self._is_restarted(ended):
          last.append(ended)
      if self._detached:
        raise StoppedError(self._detached)
      if self._stopping and not self._running:
        raise StoppedError('stopped')
      time.sleep(_TURN_SECONDS)
    return last

  def stop(self) -> None:
    """Asks the processes to stop, and starts no others; see `Launcher.stop`."""
    self._stopping = True
    self._detached = self._launcher.stop()

  def _is_restarted(self, ended: Ended) -> bool:
    final = (0, EXIT_WRONG_SETTING, EXIT_DIVERGED)
    name = ended.name
    if self._stopping or ended.code in final:
      return False
    if ended.code != EXIT_STOPPED:
      self._retries[name] -= 1
    is_restarted = self._retries[name] >= 0
    if is_restarted:
      self._waiting.append(name)
    why = ended.last_line or f'exit code {ended.code}'
    self._say(f'{name}: {why} ({"retry" if is_restarted else "no retry"})')
    return is_restarted
