"""Executes a command that is stopped when its parent process ends.

    python -m experiments.launchers.child PARENT CORES COMMAND...

PARENT is the process id of the parent. When the parent ends, for any reason,
the command receives SIGTERM (on Linux). CORES are the cores that the command
may use, such as 0,1; if empty, all of them.
"""

from collections.abc import Sequence
import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def command(argv: Sequence[str], cores: Sequence[int] = ()) -> list[str]:
  """Returns the command that starts `argv` as a child of this process.

  Args:
    argv: the command.
    cores: the cores that it may use; if empty, all of them.
  """
  listed = ','.join(map(str, cores))
  this = [sys.executable, '-m', 'experiments.launchers.child']
  return [*this, str(os.getpid()), listed, *argv]


def main(argv: Sequence[str]) -> None:
  """Becomes the command; does not return."""
  parent, cores, *words = argv
  if cores and hasattr(os, 'sched_setaffinity'):
    os.sched_setaffinity(0, map(int, cores.split(',')))
  if sys.platform == 'linux':  # This setting survives the exec.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):  # The parent ended before.
      sys.exit(f'the process {parent} has ended')
  # Slurm sends this signal to all processes of a job before its time limit. The
  # job handles it, and stops its children.
  signal.signal(signal.SIGUSR2, signal.SIG_IGN)
  os.execvp(words[0], words)


if __name__ == '__main__':
  main(sys.argv[1:])
