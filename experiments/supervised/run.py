"""Runs an experiment, or goes on with it, and draws it."""

from collections.abc import Mapping, Sequence
import dataclasses
import json
import os
import pathlib

import gin

from agents.errors import DivergedError
from experiments import compiled, device, runs
from experiments.command import (
  SettingsError,
  on_stop_signals,
  one_line,
  say,
)
from experiments.config import check_effects, explain, load_config
from experiments.heap import keep_freed_memory
from experiments.supervised import results
from experiments.supervised.display import Display
from experiments.supervised.experiment import (
  Experiment,
  check_shown,
  make_experiment,
  with_unfinished,
)
from experiments.supervised.groups import Group, Options, side_by_side
from experiments.supervised.prepare import (
  check_setting,
  forget_own_data,
  holds_everything,
  sets_no_limit,
)
from experiments.supervised.report import figures, tables
from experiments.supervised.rows import joined
from experiments.supervised.settings import Setting
from experiments.supervised.units import PhaseRun, phase_runs
from ht_rl import files
from ht_rl.drawing import write_figures


def run(
  gin_files: Sequence[str],
  gin_bindings: Sequence[str],
  base_dir: str,
  *,
  draw_only: bool = False,
) -> list[results.Result]:
  """Runs an experiment, or goes on with it, and draws it.

  Args:
    gin_files: configuration files.
    gin_bindings: settings that override theirs.
    base_dir: where everything is kept.
    draw_only: whether to draw what is finished, and train nothing.

  Returns:
    The results that are finished.

  Raises:
    SettingsError: a setting is wrong.
    MachineError: JAX can't start, or no compiled program can be written.
    StoppedError: a signal asked the process to stop.
    DivergedError: a loss was NaN or infinite; all other settings were run.
    CheckpointError: no checkpoint can be written or read.
    OSError: a file can't be written.
  """
  compiled.keep_programs()
  keep_freed_memory()
  device_lines = [] if draw_only else device.lines()
  experiment = load_experiment(gin_files, gin_bindings)
  root = pathlib.Path(base_dir)
  folder = experiment_folder(gin_files, root)
  # Several processes may write this folder: each one does it under the claim.
  with runs.claim(folder, wait=True):
    config = gin.operative_config_str()
    files.write_text(folder / 'operative_config.gin', config)
  errors = {} if draw_only else _train(experiment, root, device_lines)
  if draw_only:
    for unit in _all_phases(experiment, root):
      if unit.lost is not None:
        say(f'{unit.lost}: this phase is left out')
  with runs.claim(folder, wait=True):
    there = collect(experiment, root)
    _show(experiment, there, folder)
  _say_what_is_of_other_code(experiment, root)
  _raise(errors, experiment)
  return there


def _raise(errors: Mapping[str, DivergedError], experiment: Experiment) -> None:
  """Raises DivergedError if a setting failed."""
  if errors:
    name, first = next(iter(errors.items()))
    raise DivergedError(
      f'{len(errors)} of {len(experiment.settings)} settings failed; '
      f'{name}: {one_line(first)}'
    )


def run_experiment(
  settings: Mapping[str, Setting],
  seeds: Sequence[int],
  base_dir: str | os.PathLike[str],
  *,
  seeds_at_once: int | None = None,
  evaluate_every: int = 5,
  evaluate_after: Sequence[int] = (),
  checkpoint_seconds: float = 60.0,
) -> list[results.Result]:
  """Trains settings with seeds, or goes on with it, without gin and drawings.

  Phases are those of the command: what it has trained in `base_dir` is used,
  and the other way round.

  Args:
    settings: by name.
    seeds: different integers from 0 to 2**32 - 1.
    base_dir: where all phases are kept.
    seeds_at_once: number of seeds that train side by side; None for all.
    evaluate_every: epochs of the whole training set between two evaluations.
    evaluate_after: epochs of each phase after which there is one too.
    checkpoint_seconds: seconds between two checkpoints.

  Returns:
    The results, in the order of the settings.

  Raises:
    ValueError: a value is outside its range, or a setting can't be run.
    StoppedError: a signal asked the process to stop.
    DivergedError: a loss was NaN or infinite; all other settings were run.
    CheckpointError: no checkpoint can be written or read.
    OSError: a file can't be written.
  """
  fields = dataclasses.fields(Setting)
  experiment = make_experiment(
    {
      name: {field.name: getattr(setting, field.name) for field in fields}
      for name, setting in settings.items()
    },
    None,
    seeds,
    seeds_at_once,
    evaluate_every,
    evaluate_after,
    checkpoint_seconds,
    draw=figures.curves,
  )
  experiment = _checked(experiment)
  root = pathlib.Path(base_dir)
  _raise(_train(experiment, root), experiment)
  return collect(experiment, root)


def load_experiment(
  gin_files: Sequence[str], gin_bindings: Sequence[str]
) -> Experiment:
  """Reads the gin files of an experiment, and checks its settings.

  Raises:
    SettingsError: a setting is wrong.
  """
  load_config(gin_files, gin_bindings)
  forget_own_data()
  try:
    experiment = _checked(make_experiment())
    check_shown(experiment)
  except (ValueError, TypeError, ImportError) as error:
    raise SettingsError(explain(error)) from error
  check_effects()
  return experiment


def _checked(experiment: Experiment) -> Experiment:
  """Returns it without buffers that drop nothing; says what has no effect.

  Raises:
    ValueError: a setting can't be run.
  """
  for setting in experiment.settings.values():
    check_setting(setting)
  idle = [
    name
    for name, setting in experiment.settings.items()
    if sets_no_limit(setting)
  ]
  if idle:
    say(
      f'the probability of SNR has no effect in {_first(idle)}: no phase has '
      'more gradient steps than lie between two settings of the limits '
      '(refresh_every), so all units keep the largest limit (max_interval)'
    )
  return _without_idle_buffers(experiment)


def _without_idle_buffers(experiment: Experiment) -> Experiment:
  """Returns it without buffers that drop nothing; says which these are.

  So such a run is the one without a buffer, and is not trained twice.
  """
  idle = {
    name: setting
    for name, setting in experiment.settings.items()
    if holds_everything(setting)
  }
  if not idle:
    return experiment
  sizes = sorted({f'{setting.buffer_size:,}' for setting in idle.values()})
  say(
    f'buffer_size {_first(sizes)} has no effect in '
    f'{_first(list(idle))}: it holds all samples that were seen before a '
    'phase, so these runs are those without a buffer'
  )
  without = {
    name: dataclasses.replace(setting, buffer_size=None)
    for name, setting in idle.items()
  }
  return dataclasses.replace(
    experiment, settings={**experiment.settings, **without}
  )


def experiment_folder(
  gin_files: Sequence[str], base_dir: pathlib.Path
) -> pathlib.Path:
  """Returns the folder of an experiment's table and figure."""
  return base_dir / '+'.join(pathlib.Path(file).stem for file in gin_files)


def collect(
  experiment: Experiment, base_dir: pathlib.Path
) -> list[results.Result]:
  """Returns a result for each setting, of the seeds that are finished."""
  there = []
  for name, phases in _phases(experiment, base_dir).items():
    chains = [
      chain
      for chain in zip(*phases, strict=True)
      if all(unit.is_over for unit in chain)
    ]
    if chains:
      setting = experiment.settings[name]
      seeds = tuple(chain[0].seed for chain in chains)
      rows = joined(
        [[x for unit in chain for x in unit.rows] for chain in chains]
      )
      there.append(
        results.Result(name, setting.to_json(), seeds, setting.reported, rows)
      )
  return there


def _say_what_is_of_other_code(
  experiment: Experiment, base_dir: pathlib.Path
) -> None:
  """Says which finished phases were not trained by the present code."""
  phases = [u for u in _all_phases(experiment, base_dir) if u.is_over]
  foreign = {u.folder: files for u in phases if (files := u.foreign_files)}
  if not foreign:
    return
  changed = sorted({file for files in foreign.values() for file in files})
  say(
    f'{len(foreign)} of {len(phases)} finished phases were trained by other '
    f'code than this ({_first(changed)} differ); to train them again, remove '
    f'{_first(list(map(str, foreign)))}'
  )


def _first(names: Sequence[str], most: int = 3) -> str:
  """Returns a list as text, 'a, b, c and 4 more'."""
  more = len(names) - most
  text = ', '.join(names[:most])
  return f'{text} and {more} more' if more > 0 else text


def _all_phases(
  experiment: Experiment, base_dir: pathlib.Path
) -> list[PhaseRun]:
  """Returns all phases of all seeds; those that settings share once."""
  phases = {
    unit.folder: unit
    for phases in _phases(experiment, base_dir).values()
    for of_seeds in phases
    for unit in of_seeds
  }
  return list(phases.values())


def _phases(
  experiment: Experiment, base_dir: pathlib.Path
) -> dict[str, list[list[PhaseRun]]]:
  """Returns for each setting its phases, and for each of them all seeds."""
  return {
    name: phase_runs(base_dir, setting, experiment.seeds)
    for name, setting in experiment.settings.items()
  }


def _pending(
  experiment: Experiment, base_dir: pathlib.Path, options: Options
) -> list[Group]:
  """Returns what is to be trained, in the order of the settings."""
  pending: list[list[PhaseRun]] = []
  for phases in _phases(experiment, base_dir).values():
    of_seeds = zip(*phases, strict=True)
    is_over = [all(unit.is_over for unit in chain) for chain in of_seeds]
    pending += [
      [unit for unit, over in zip(phase, is_over, strict=True) if not over]
      for phase in phases
    ]
  # The last phase of one setting may be the first of another.
  needed = {
    unit.folder for phase in pending for unit in phase if unit.keeps_end
  }
  return [
    Group(group, options)
    for phase in pending
    for group in side_by_side(
      [
        dataclasses.replace(unit, keeps_end=unit.folder in needed)
        for unit in phase
      ],
      experiment.seeds_at_once,
    )
  ]


def _train(
  experiment: Experiment, base_dir: pathlib.Path, before: Sequence[str] = ()
) -> dict[str, DivergedError]:
  """Trains all that is not finished.

  Args:
    experiment: the settings, and what they share.
    base_dir: folder of the phases.
    before: lines for the user if there is something to train.

  Returns:
    The settings that failed.
  """
  display = Display()
  of_settings = {
    name: [unit for phase in phases for unit in phase]
    for name, phases in _phases(experiment, base_dir).items()
  }
  display.begin(of_settings)
  options = Options(
    experiment.evaluate_every,
    experiment.evaluate_after,
    experiment.checkpoint_seconds,
    display.report,
  )
  pending = _pending(experiment, base_dir, options)
  for line in before if pending else ():
    say(line)
  # No threading.Event: a handler that runs while it waits would lock up.
  asked_to_stop: list[bool] = []
  with on_stop_signals(lambda: asked_to_stop.append(True)):
    errors = runs.execute_all(
      pending,
      should_stop=lambda: bool(asked_to_stop),
      started=display.started,
      finished=display.finished,
      failed=display.failed,
    )
  display.close()
  return {
    name: errors[unit.folder]
    for name, units in of_settings.items()
    for unit in units
    if unit.folder in errors
  }


def _show(
  experiment: Experiment,
  there: Sequence[results.Result],
  folder: pathlib.Path,
) -> None:
  """Writes the results, their table and their figure."""
  listed = [dataclasses.asdict(result) for result in there]
  text = json.dumps(listed, indent=1) + '\n'
  files.write_text(folder / 'results.json', text)
  if not there:
    say('nothing is finished yet')
    return
  try:
    table = experiment.tabulate(there)
    figure = experiment.draw(with_unfinished(experiment, there))
  except ValueError as error:
    raise SettingsError(
      f'the results cannot be shown: {one_line(error)}'
    ) from error
  shown = {'table': table}
  if (paired := tables.paired_table(there)).rows:
    shown['paired'] = paired
  written = tables.write_tables(shown, folder)
  curves = folder / 'curves.csv'
  files.write_text(curves, tables.csv_text(tables.curve_table(there)))
  written += [curves, *write_figures({'figure': figure}, folder)]
  print(tables.markdown(table), end='', flush=True)
  say(f'written: {", ".join(map(str, written))}')
