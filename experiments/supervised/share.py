"""Trains an experiment in several processes, which a launcher starts."""

from collections.abc import Sequence
import os
import pathlib
import shlex
import socket
import sys

import jax

from agents.errors import DivergedError
from experiments import gin_flags
from experiments.command import SettingsError, on_stop_signals, say
from experiments.exit_codes import EXIT_DIVERGED, EXIT_WRONG_SETTING
from experiments.launchers import options as launcher_options
from experiments.launchers.base import Command, Ended
from experiments.launchers.workers import Workers
from experiments.supervised.run import experiment_folder, load_experiment, run
from experiments.sweep import attempt, history

_RETRIES = 2


def share(
  gin_files: Sequence[str],
  gin_bindings: Sequence[str],
  base_dir: str,
  *,
  workers: int,
) -> None:
  """Trains an experiment in several processes, and draws it.

  Args:
    gin_files: configuration files.
    gin_bindings: settings that override theirs.
    base_dir: where everything is kept.
    workers: number of processes.

  Raises:
    SettingsError: a setting is wrong.
    StoppedError: a signal asked to stop.
    DivergedError: a loss was NaN or infinite; all other settings were run.
    OSError: all processes failed, or a file can't be written.
  """
  # The GPUs belong to the processes.
  jax.config.update('jax_platforms', 'cpu')
  load_experiment(gin_files, gin_bindings)
  argv = [
    *(sys.executable, '-m', 'experiments.supervised'),
    *(f'--gin_files={file}' for file in gin_files),
    *(f'--gin_bindings={binding}' for binding in gin_bindings),
    f'--base_dir={base_dir}',
    *gin_flags.passed_on(),
  ]
  if launcher_options.EXECUTOR.value == 'print':
    for _ in range(workers):
      print(shlex.join(['python', *argv[1:]]))
    return
  launcher_options.say_devices()
  folder = experiment_folder(gin_files, pathlib.Path(base_dir))
  this = f'{socket.gethostname()}-{os.getpid()}'
  folders = {
    f'worker {i}': folder / 'workers' / f'{this}-{i}'
    for i in range(1, workers + 1)
  }
  pool = Workers(
    launcher_options.launcher(folder, 0, workers),
    [
      Command(name, tuple(attempt.command(attempt.Unit(str(path)), argv)))
      for name, path in folders.items()
    ],
    _RETRIES,
    say,
  )
  say(f'{workers} processes share the work; their logs are in {folder}/workers')
  with on_stop_signals(pool.stop):
    ends = pool.run()
  if any(end.code == 0 for end in ends):  # It saw that all work is done.
    run(gin_files, gin_bindings, base_dir, draw_only=True)
  else:
    _fail(ends, folders)


def _fail(ends: Sequence[Ended], folders: dict[str, pathlib.Path]) -> None:
  """Raises the error of the processes, none of which did all of the work."""
  kinds: dict[int | None, type[Exception]] = {
    EXIT_DIVERGED: DivergedError,
    EXIT_WRONG_SETTING: SettingsError,
  }
  end = min(ends, key=lambda end: end.code not in kinds)
  folder = folders[end.name]
  attempts = history.read(folder).attempts
  why, log = end.last_line, folder
  if attempts:
    why, log = attempts[-1].last_line, folder / attempts[-1].log
  kind = kinds.get(end.code, OSError)
  raise kind(f'{why.removeprefix("error: ")} ({log})')
