"""Runs an experiment, or goes on with it, and draws it."""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
import json
import pathlib
import time
from typing import Any

import gin
import numpy as np

from agents.errors import DivergedError, StoppedError
from experiments import runs
from experiments.command import (
  SettingsError,
  on_stop_signals,
  one_line,
  say,
)
from experiments.config import check_effects, explain, load_config
from experiments.progress import Progress
from experiments.supervised import results
from experiments.supervised.experiment import (
  Experiment,
  check_setting,
  check_shown,
  load_dataset,
  make_experiment,
  make_schedule,
  with_unfinished,
)
from experiments.supervised.report import tables
from experiments.supervised.settings import Setting
from experiments.supervised.training import Trainer
from experiments.supervised.units import PhaseRun, chain, is_finished
from ht_rl import files
from ht_rl.drawing import write_figures

_POLL_SECONDS = 2.0


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
    StoppedError: a signal asked the process to stop.
    DivergedError: a loss was NaN or infinite; all other settings were run.
    CheckpointError: no checkpoint can be written or read.
    OSError: a file can't be written.
  """
  load_config(gin_files, gin_bindings)
  try:
    experiment = make_experiment()
    for setting in experiment.settings.values():
      check_setting(setting)
    check_shown(experiment)
  except (ValueError, TypeError, ImportError) as error:
    raise SettingsError(explain(error)) from error
  check_effects()
  root = pathlib.Path(base_dir)
  folder = root / '+'.join(pathlib.Path(file).stem for file in gin_files)
  try:
    folder.mkdir(parents=True, exist_ok=True)
    config = gin.operative_config_str()
    files.write_text(folder / 'operative_config.gin', config)
  except OSError as error:
    raise SettingsError(
      f'--base_dir: {folder} can not be written ({error.strerror})'
    ) from error
  diverged = {} if draw_only else _train(experiment, root)
  there = collect(experiment, root)
  _show(experiment, there, folder)
  if diverged:
    name, first = next(iter(diverged.items()))
    raise DivergedError(
      f'{len(diverged)} of {len(experiment.settings)} settings failed; '
      f'{name}: {one_line(first)}'
    )
  return there


def collect(
  experiment: Experiment, base_dir: pathlib.Path
) -> list[results.Result]:
  """What is finished of an experiment, a result for each setting that is."""
  there = []
  for name, setting in experiment.settings.items():
    rows: list[dict[str, Any]] = []
    seeds: tuple[int, ...] = ()
    for group in experiment.groups():
      phases = chain(base_dir, setting, group)
      if not all(phase_run.is_finished for phase_run in phases):
        continue
      of_group = [row for phase_run in phases for row in phase_run.rows]
      rows = _side_by_side(rows, of_group) if seeds else of_group
      seeds += group
    if seeds:
      there.append(
        results.Result(name, setting.to_json(), seeds, setting.reported, rows)
      )
  return there


def _side_by_side(
  left: list[dict[str, Any]], right: list[dict[str, Any]]
) -> list[dict[str, Any]]:
  """Joins the rows of two groups of seeds, where both have them."""
  place = results.PLACE
  others = {tuple(row[name] for name in place): row for row in right}
  joined = []
  for row in left:
    other = others.get(tuple(row[name] for name in place))
    if other is not None:
      joined.append(
        {k: x if k in place else x + other[k] for k, x in row.items()}
      )
  return joined


def _train(
  experiment: Experiment, base_dir: pathlib.Path
) -> dict[str, DivergedError]:
  """Trains all that is not finished; returns the settings that failed."""
  pending: dict[pathlib.Path, tuple[str, PhaseRun]] = {}
  for name, setting in experiment.settings.items():
    for group in experiment.groups():
      for phase_run in chain(base_dir, setting, group):
        # What settings have in common is trained as a part of the first.
        pending.setdefault(phase_run.folder, (name, phase_run))
  steps = {
    path: make_schedule(phase_run.setting, phase_run.phase).steps
    * len(phase_run.seeds)
    for path, (_, phase_run) in pending.items()
  }

  def done() -> int:
    return sum(n for path, n in steps.items() if is_finished(path))

  progress = Progress('training', 'step', sum(steps.values()), done())
  failed: dict[pathlib.Path, DivergedError] = {}
  # No threading.Event: a handler that runs while it waits would lock up.
  asked_to_stop: list[bool] = []
  with on_stop_signals(lambda: asked_to_stop.append(True)):
    while pending:
      blocked = {}
      for path, (name, phase_run) in pending.items():
        previous = phase_run.previous
        if phase_run.is_finished:
          continue
        if previous is not None and previous.folder in failed:
          failed[path] = failed[previous.folder]
          continue
        if previous is not None and not previous.is_finished:
          blocked[path] = name, phase_run
          continue
        with runs.claim(phase_run.folder) as held:
          if not held:
            blocked[path] = name, phase_run
            continue
          if phase_run.is_finished:  # By another process, a moment ago.
            continue
          before = done()

          def report(count: int, figures: Mapping[str, float]) -> None:
            count *= len(phase_run.seeds)  # noqa: B023
            progress.update(before + count, **figures)  # noqa: B023

          try:
            phase_run.train(
              _trainer(phase_run.setting, phase_run.seeds),
              evaluate_every=experiment.evaluate_every,
              checkpoint_seconds=experiment.checkpoint_seconds,
              report=report,
              stop=lambda: bool(asked_to_stop),
            )
          except DivergedError as error:
            failed[path] = error
            say(f'{name}: {one_line(error)}')
          else:
            say(f'{name}: {_phase_summary(phase_run)}')
      if blocked.keys() == pending.keys():
        if asked_to_stop:
          raise StoppedError('stopped while other processes train')
        time.sleep(_POLL_SECONDS)
      pending = blocked
  progress.close()
  return {
    name: failed[phase_run.folder]
    for name, setting in experiment.settings.items()
    for group in experiment.groups()
    for phase_run in chain(base_dir, setting, group)
    if phase_run.folder in failed
  }


def _phase_summary(phase_run: PhaseRun) -> str:
  end = phase_run.rows[-1]
  accuracies = [
    f'{network} {np.mean(end[f"{network}_test_accuracy"]):.4f}'
    for network in results.NETWORKS
  ]
  return (
    f'phase {phase_run.phase + 1} of {phase_run.setting.num_phases} is '
    f'finished, test accuracy: {", ".join(accuracies)} '
    f'(seeds {", ".join(map(str, phase_run.seeds))})'
  )


@functools.lru_cache(maxsize=1)
def _trainer(setting: Setting, seeds: tuple[int, ...]) -> Trainer:
  """The trainer of the phases in turn; made anew it would compile again."""
  return Trainer(setting, seeds, load_dataset(setting))


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
      f'the results can not be shown: {one_line(error)}'
    ) from error
  written = tables.write_tables({'table': table}, folder)
  written += write_figures({'figure': figure}, folder)
  print(tables.markdown(table), end='', flush=True)
  say(f'written: {", ".join(map(str, written))}')
