"""The record of the attempts at a run: `attempts.jsonl` in its folder.

Each attempt appends a line when it starts and another when it ends. An attempt
without an end is still at work and holds `attempt.lock`, or was killed.
"""

from collections.abc import Mapping
import dataclasses
import datetime
import enum
import json
import os
import pathlib
from typing import Any

FILE = 'attempts.jsonl'
LOCK = 'attempt.lock'


class Outcome(enum.StrEnum):
  """How an attempt ended."""

  DONE = 'done'
  STOPPED = 'stopped'  # On request, or because another process held the run.
  WRONG_SETTING = 'wrong setting'
  DIVERGED = 'diverged'
  OUT_OF_MEMORY = 'out of memory'
  FAILED = 'failed'
  KILLED = 'killed'  # Together with the process that records its end.


@dataclasses.dataclass(frozen=True)
class Attempt:
  """One attempt at a run.

  Attributes:
    number: its number, from 1.
    host: name of the machine.
    pid: process that records the attempt.
    device: what it runs on, such as 'gpu 0' or 'cores 0-3'.
    sharing: how many runs share the device; None if unknown.
    start: when it started.
    log: file of its output, relative to the run's folder.
    end: when it ended; None if it has no end yet, or was killed.
    exit_code: of the trainer, -9 if signal 9 ended it; None without an end.
    outcome: meaning of the exit code.
    last_line: last line of its output.
    memory: peak main memory in bytes; None if unknown.
    gpu_fraction: peak fraction of the GPU's memory in use; None if unknown.
  """

  number: int
  host: str
  pid: int
  device: str
  sharing: int | None
  start: datetime.datetime
  log: str
  end: datetime.datetime | None = None
  exit_code: int | None = None
  outcome: Outcome = Outcome.KILLED
  last_line: str = ''
  memory: int | None = None
  gpu_fraction: float | None = None

  @property
  def seconds(self) -> float | None:
    """Duration; None if unknown."""
    return (self.end - self.start).total_seconds() if self.end else None

  @property
  def is_failure(self) -> bool:
    """Whether `retries` limits how often the run is tried after it.

    Out of memory is a failure if it is unknown how many runs share the device:
    others may have taken the memory, or this run may need too much.
    """
    return self.outcome is Outcome.FAILED or (
      self.outcome is Outcome.OUT_OF_MEMORY and self.sharing is None
    )


@dataclasses.dataclass(frozen=True)
class History:
  """All attempts at a run.

  Attributes:
    attempts: oldest first.
    forgiven: how many of them came before the last `retry`.
  """

  attempts: tuple[Attempt, ...] = ()
  forgiven: int = 0

  @property
  def counted(self) -> tuple[Attempt, ...]:
    """The attempts since the last `retry`."""
    return self.attempts[self.forgiven :]

  def verdict(self, retries: int) -> Attempt | None:
    """Returns the attempt that ended the run for good, or None.

    Args:
      retries: how often a failed run is tried again.
    """
    if not self.counted:
      return None
    last = self.counted[-1]
    is_final = (
      last.outcome in (Outcome.WRONG_SETTING, Outcome.DIVERGED)
      or (last.outcome is Outcome.OUT_OF_MEMORY and last.sharing == 1)
      or (last.is_failure and sum(x.is_failure for x in self.counted) > retries)
    )
    return last if is_final else None


def read(folder: pathlib.Path) -> History:
  """Reads the attempts at a run.

  Lines that a kill or a full disk cut off are skipped.

  Raises:
    OSError: the file exists and can't be read.
  """
  try:
    lines = (folder / FILE).read_text(errors='replace').splitlines()
  except FileNotFoundError:
    return History()
  attempts: dict[int, Attempt] = {}
  forgiven = 0
  for line in lines:
    try:
      event = json.loads(line)
      kind = event.pop('event')
      if kind == 'retry':
        forgiven = len(attempts)
        continue
      for name in {'start', 'end'} & event.keys():
        event[name] = datetime.datetime.fromisoformat(event[name])
      if kind == 'start':
        attempts[event['number']] = Attempt(**event)
        continue
      if 'outcome' in event:
        event['outcome'] = Outcome(event['outcome'])
      number = event['number']
      attempts[number] = dataclasses.replace(attempts[number], **event)
    except (ValueError, KeyError, TypeError, AttributeError):
      continue
  return History(tuple(attempts.values()), forgiven)


def append(folder: pathlib.Path, event: str, **fields: Any) -> None:
  """Appends an event; call it only while holding `attempt.lock`.

  Raises:
    OSError: the file can't be written.
  """
  path = folder / FILE
  line = json.dumps({'event': event, **_plain(fields)}) + '\n'
  with path.open('ab+') as file:
    if file.tell() > 0:
      file.seek(-1, os.SEEK_END)
      if file.read(1) != b'\n':  # The last line was cut off.
        line = '\n' + line
    file.write(line.encode())
    file.flush()
    os.fsync(file.fileno())


def now() -> datetime.datetime:
  """Returns the time in UTC."""
  return datetime.datetime.now(datetime.UTC)


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
  return {
    name: value.isoformat(timespec='milliseconds')
    if isinstance(value, datetime.datetime)
    else value
    for name, value in fields.items()
  }
