"""Becomes another command, which ends with the process that started it.

    python -m experiments.launchers.child PARENT CORES COMMAND...

PARENT is the number of the process that starts it: where that ends, however it
ends, the command is sent SIGTERM (on Linux). CORES are the cores that it may
use, such as 0,1; all of them where it is empty.
"""

from collections.abc import Sequence
import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def command(argv: Sequence[str], cores: Sequence[int] = ()) -> list[str]:
  """The words that start `argv` as a child of this process.

  Args:
    argv: the command.
    cores: the cores that it may use; all of them where there are none.
  """
  listed = ','.join(map(str, cores))
  this = [sys.executable, '-m', 'experiments.launchers.child']
  return [*this, str(os.getpid()), listed, *argv]


def main(argv: Sequence[str]) -> None:
  """Does what the words after the program's name say; does not return."""
  parent, cores, *words = argv
  if cores and hasattr(os, 'sched_setaffinity'):
    os.sched_setaffinity(0, map(int, cores.split(',')))
  if sys.platform == 'linux':  # It lasts beyond the exec.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):  # It ended before.
      sys.exit(f'the process {parent} has ended')
  # Slurm tells every process of a job of the end of its time with this signal;
  # the job answers it, by asking us to stop.
  signal.signal(signal.SIGUSR2, signal.SIG_IGN)
  os.execvp(words[0], words)


if __name__ == '__main__':
  main(sys.argv[1:])
