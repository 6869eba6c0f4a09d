"""Makes one attempt at a unit of work, and records it in the unit's folder.

    python -m experiments.sweep.attempt '{"folder": ..., ...}' COMMAND...

COMMAND does the work in a process of its own; its output goes to a log file.
This process only waits. It imports neither NumPy nor JAX, so it takes little
memory. Exit codes: those of the command, or of the attempt after which it is
not tried again; 75 also if another process holds the unit; 74, the attempt
could not be recorded.
"""

from collections.abc import Sequence
import dataclasses
import json
import os
import pathlib
import re
import resource
import signal
import socket
import subprocess
import sys
from typing import Any

from experiments import locks
from experiments.exit_codes import (
  EXIT_DIVERGED,
  EXIT_FAILED,
  EXIT_NOT_RECORDED,
  EXIT_STOPPED,
  EXIT_WRONG_SETTING,
)
from experiments.launchers import child, devices
from experiments.sweep import history
from experiments.sweep.history import Outcome

_OUTCOMES = {
  0: Outcome.DONE,
  EXIT_STOPPED: Outcome.STOPPED,
  EXIT_WRONG_SETTING: Outcome.WRONG_SETTING,
  EXIT_DIVERGED: Outcome.DIVERGED,
  # A signal stopped it before it could handle signals.
  -signal.SIGTERM: Outcome.STOPPED,
  -signal.SIGINT: Outcome.STOPPED,
  -signal.SIGHUP: Outcome.STOPPED,
}
# Errors of JAX, NumPy, C++ and CUDA.
_OUT_OF_MEMORY = re.compile(
  r'RESOURCE_EXHAUSTED|[Oo]ut of memory|MemoryError|std::bad_alloc'
  r'|CUDA_ERROR_OUT_OF_MEMORY'
)
# XLA says so where it tries to get by with less memory.
_NO_FAILURE = re.compile('.*The caller indicates that this is not a failure.*')
# TensorStore and TensorFlow call a full disk RESOURCE_EXHAUSTED, too.
_FULL_DISK = re.compile(
  '.*(No space left on device|could not write the checkpoint).*'
)
_TAIL_BYTES = 20_000
_MEASURE_SECONDS = 30.0


@dataclasses.dataclass(frozen=True)
class Unit:
  """A unit of work, as far as an attempt must know it.

  Attributes:
    folder: folder of the unit.
    finished: file that exists once the unit is finished; None if only the exit
      code of the command tells.
    lock: file that the process that executes the unit locks; None if there is
      none.
    retries: how often it is tried again after a failure; None for no limit.
  """

  folder: str
  finished: str | None = None
  lock: str | None = None
  retries: int | None = None

  @property
  def is_finished(self) -> bool:
    """Whether the file says that it is finished."""
    return self.finished is not None and os.path.exists(self.finished)

  @property
  def is_held(self) -> bool:
    """Whether a process executes it."""
    return self.lock is not None and locks.is_held(pathlib.Path(self.lock))


def command(unit: Unit, argv: Sequence[str]) -> list[str]:
  """Returns the command that makes an attempt at `unit` by running `argv`."""
  described = json.dumps(dataclasses.asdict(unit))
  return [sys.executable, '-m', 'experiments.sweep.attempt', described, *argv]


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its exit code."""
  unit = Unit(**json.loads(argv[0]))
  try:
    return attempt(unit, argv[1:])
  except OSError as error:
    where = error.filename or unit.folder
    _say(f'error: {where} cannot be written ({error.strerror})')
    return EXIT_NOT_RECORDED


def attempt(unit: Unit, argv: Sequence[str]) -> int:
  """Makes an attempt, unless the unit is finished, has failed or is held.

  Args:
    unit: the unit.
    argv: the command that executes it.

  Returns:
    The exit code.

  Raises:
    OSError: the unit's folder can't be written.
  """
  folder = pathlib.Path(unit.folder)
  folder.mkdir(parents=True, exist_ok=True)
  with locks.hold(folder / history.LOCK) as held:
    if unit.is_finished:
      return 0
    if not held or unit.is_held:
      _say(f'error: another process is running in {folder}')
      return EXIT_STOPPED
    past = history.read(folder)
    if unit.retries is not None and (cause := past.verdict(unit.retries)):
      assert cause.exit_code is not None
      _say(f'{cause.last_line} (no retry)')
      return _shown(cause.exit_code, cause.outcome)
    number = len(past.attempts) + 1
    log = folder / 'logs' / f'{number}.log'
    log.parent.mkdir(exist_ok=True)
    place = devices.place()
    history.append(
      folder,
      'start',
      number=number,
      host=socket.gethostname(),
      pid=os.getpid(),
      device=place.device,
      sharing=place.sharing,
      start=history.now(),
      log=str(log.relative_to(folder)),
    )
    oom_kills = _oom_kills()

    code, gpu_fraction = _run(argv, log)
    text = _NO_FAILURE.sub('', _tail(log))
    lines = text.splitlines() or ['']
    if code < 0:
      lines.append(f'ended by {signal.Signals(-code).name}')
    outcome = _OUTCOMES.get(code, Outcome.FAILED)
    if code == 0 and unit.finished and not unit.is_finished:
      outcome = Outcome.FAILED
      lines.append(f'exit code 0, but there is no {unit.finished}')
    if outcome is Outcome.FAILED and (
      _OUT_OF_MEMORY.search(_FULL_DISK.sub('', text))
      or (code == -signal.SIGKILL and _oom_kills() > oom_kills)
    ):
      outcome = Outcome.OUT_OF_MEMORY
    history.append(
      folder,
      'end',
      number=number,
      end=history.now(),
      exit_code=code,
      outcome=outcome,
      last_line=lines[-1][:500],
      memory=_peak_memory(),
      gpu_fraction=gpu_fraction,
    )
  return _shown(code, outcome)


def _shown(code: int, outcome: Outcome) -> int:
  """Returns the exit code of this process for that of a command."""
  if outcome is Outcome.STOPPED:  # Also by a signal that it did not handle.
    return EXIT_STOPPED
  if outcome is Outcome.FAILED and code == 0:
    return EXIT_FAILED
  return code if code >= 0 else 128 - code


def _run(argv: Sequence[str], log: pathlib.Path) -> tuple[int, float | None]:
  """Runs the command to its end; signals to stop are passed on to it.

  Args:
    argv: the command.
    log: file for its output.

  Returns:
    The exit code, -N if signal N ended it, or if it was killed since N came;
    and the peak fraction of the GPU's memory in use, None if not measured.
  """
  process: subprocess.Popen | None = None
  asked: list[int] = []

  def stop(signum: int, frame: Any) -> None:
    del frame
    asked.append(signum)
    if process is not None:
      # A second Ctrl-C does not wait for the checkpoint. A second SIGTERM does:
      # Slurm and its job may both send one.
      is_last = signum == signal.SIGINT and len(asked) > 1
      process.send_signal(signal.SIGKILL if is_last else signal.SIGTERM)

  signal.signal(signal.SIGTERM, stop)
  signal.signal(signal.SIGINT, stop)
  if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # By nohup.
    signal.signal(signal.SIGHUP, stop)
  with log.open('wb') as output:
    process = subprocess.Popen(
      child.command(argv),
      stdin=subprocess.DEVNULL,
      stdout=output,
      stderr=subprocess.STDOUT,
      start_new_session=True,  # A terminal's Ctrl-C reaches it through us only.
    )
  if asked:  # The signal came before the process was there.
    process.terminate()
  gpu = devices.measured_gpu()
  most = 0.0
  while True:
    try:
      code = process.wait(_MEASURE_SECONDS if gpu else None)
    except subprocess.TimeoutExpired:
      most = max(most, devices.memory_in_use(gpu))
      continue
    if asked and code == -signal.SIGKILL:
      code = -asked[-1]
    return code, most or None


def _say(line: str) -> None:
  print(line, file=sys.stderr, flush=True)


def _tail(log: pathlib.Path) -> str:
  with log.open('rb') as file:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TAIL_BYTES))
    return file.read().decode(errors='replace').strip()


def _oom_kills() -> int:
  """Returns how many processes the kernel has killed for lack of memory."""
  try:
    lines = pathlib.Path('/proc/vmstat').read_text().splitlines()
  except OSError:
    return 0
  return next(
    (int(line.split()[1]) for line in lines if line.startswith('oom_kill ')), 0
  )


def _peak_memory() -> int:
  """Returns the peak main memory of the command in bytes."""
  peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
  return peak if sys.platform == 'darwin' else peak * 1024


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
