"""Trains several Atari runs in one process: `experiments.train` with a list.

Each run has the folder that it would have alone, with the same settings, lock
and checkpoints: any command can go on with it. Runs that are finished or that
another process holds are left out. A run that diverges stops alone.
"""

from collections.abc import Sequence
import contextlib
import pathlib

from experiments import atari_run  # isort: skip  (Dopamine's repair first)
from agents.dopamine import reporter

import gin

from agents import atari, configurables
from agents.core import placement
from agents.core.driver import Programs
from agents.core.loop import Loop
from agents.errors import DivergedError
from agents.population import Group, group_by_size
from agents.run_settings import RunSettings
from experiments import device, progress, runs
from experiments.command import (
  HeldError,
  SettingsError,
  on_stop_signals,
  one_line,
  say,
)
from experiments.config import check_effects, explain, load_config


def run(
  gin_files: Sequence[str],
  gin_bindings: Sequence[str],
  games: Sequence[str],
  seeds: Sequence[int],
  base_dir: str,
  strategy: str,
) -> None:
  """Trains and evaluates all games with all seeds, or continues.

  Args:
    gin_files: configuration files.
    gin_bindings: settings that override those of the files.
    games: canonical names.
    seeds: of each game.
    base_dir: folder of all runs.
    strategy: how the runs share the device, see `agents.core.strategies`; or
      'auto'.

  Raises:
    SettingsError: a setting is wrong.
    HeldError: other processes are running some of them; the others are done.
    StoppedError: a signal asked the runs to stop.
    CheckpointError: a checkpoint could not be written or read.
    DivergedError: a loss was NaN or infinite; the other runs are done.
  """
  atari_run.prepare_process()
  load_config(gin_files, gin_bindings)
  config = atari_run.name_of(gin_files)
  units = [
    atari_run.AtariRun(pathlib.Path(base_dir), config, game, seed)
    for game in games
    for seed in seeds
  ]
  stop: list[bool] = []
  with (
    contextlib.ExitStack() as claims,
    on_stop_signals(lambda: stop.append(True)),
  ):
    todo, held = [], []
    for unit in units:
      if not claims.enter_context(runs.claim(unit.folder)):
        held.append(unit)
        continue
      unit.run_folder.check_paths()
      unit.check_settings()
      if unit.is_finished:
        unit.clean()
        say(f'{unit.folder} is finished already')
      else:
        todo.append(unit)
    for unit in held:
      say(f'{unit.folder} is left out: another process is running in it')
    errors = _execute(todo, strategy, stop)
  for error in errors[:-1]:
    say(f'error: {one_line(error)}')
  if errors:
    raise errors[-1]
  if held:
    raise HeldError(
      f'{len(held)} of {len(units)} runs are left out: other processes are '
      'running them'
    )


def _execute(
  units: Sequence[atari_run.AtariRun], strategy: str, stop: list[bool]
) -> list[DivergedError]:
  """Trains runs, group by group; returns the errors of those that diverged."""
  if not units:
    return []
  device_lines = device.lines()
  try:
    settings = configurables.run_settings()
    made = [(group, _make_loop(group)) for group in group_by_size(units)]
    check_effects()
    # Their tracing checks that the settings fit together.
    groups = [(group, Programs(loop, len(group))) for group, loop in made]
  except (ValueError, TypeError) as error:
    raise SettingsError(explain(error)) from error
  for line in device_lines:
    say(line)
  for line in configurables.warnings(made[0][1], settings.training_steps):
    say(line)
  errors: list[DivergedError] = []
  for group, programs in groups:
    errors += _execute_group(group, programs, settings, strategy, stop)
  return errors


def _make_loop(units: Sequence[atari_run.AtariRun]) -> Loop:
  """Returns the agent of a group; refuses settings of Dopamine's classes.

  Raises:
    ValueError: a setting is wrong, or would change nothing.
  """
  loop = atari_run.make_loop(atari.AtariEnvironment(units[0].game, seed=0))
  atari_run.refuse_settings_of_dopamine(loop)
  for setting in gin.get_bindings(
    'dqn_agent.JaxDQNAgent', resolve_references=False
  ):
    raise ValueError(
      f'the setting JaxDQNAgent.{setting} has no effect on several runs at once'
    )
  return loop


def _execute_group(
  units: Sequence[atari_run.AtariRun],
  programs: Programs,
  settings: RunSettings,
  strategy: str,
  stop: list[bool],
) -> list[DivergedError]:
  loop = programs.loop
  games = ', '.join(dict.fromkeys(unit.game for unit in units))
  count = len(placement.devices(len(units)))
  say(
    f'training {len(units)} runs of {games}, with '
    f'{loop.learner.num_actions} actions'
    + (f', on {count} devices' if count > 1 else '')
  )
  group = Group(
    units,
    loop,
    settings,
    restart_every=configurables.restart_interval(loop),
    strategy=strategy,
    new_progress=progress.Progress,
    say=say,
    should_stop=lambda: bool(stop),
    programs=programs,
  )
  for unit, run in zip(units, group.runs, strict=True):
    unit.begin(run.protocol)
    run.reporter = reporter.make_reporter(str(unit.folder))
  for result in group.execute().values():
    say(atari_run.summary(result))
  return list(group.errors.values())
