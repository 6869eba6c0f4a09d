"""The runs and the settings of a sweep: `sweep.json`.

The settings of each configuration are also stored as a gin file beside its
runs, and the runs start from this file. So edits of the user's gin files do not
change a sweep that has begun.
"""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import json
import pathlib
import sys
from typing import NamedTuple

from experiments import gin_flags, locks
from experiments.command import (
  SettingsError,
  SeveralSettingsError,
  unwritable,
)
from experiments.sweep import attempt, history
from ht_rl import files
from ht_rl.atari100k.run_folder import RunFolder, first_line_only_in

FILE = 'sweep.json'
VERSION = 1
RETRIES = 2
PROGRAM = ('-m', 'experiments.train')


class Run(NamedTuple):
  """One run of a sweep."""

  config: str
  game: str
  seed: int

  def __str__(self) -> str:
    """Returns the path of the run's folder below that of the sweep."""
    return f'{self.config}/{self.game}/{self.seed}'


class Configuration(NamedTuple):
  """A configuration of a sweep.

  Attributes:
    settings: all settings given, as text of a gin file.
    training_steps: agent steps of each run.
  """

  settings: str
  training_steps: int


@dataclasses.dataclass(frozen=True)
class Sweep:
  """The sweep of a folder.

  Attributes:
    base_dir: the folder.
    configurations: configurations by name.
    runs: all runs. New ones are appended and none is removed, so that the index
      of a run does not change.
    retries: how often a failed run is tried again.
    program: arguments of Python for the program that trains.
  """

  base_dir: pathlib.Path
  configurations: Mapping[str, Configuration]
  runs: tuple[Run, ...]
  retries: int = RETRIES
  program: tuple[str, ...] = PROGRAM

  def folder(self, run: Run) -> RunFolder:
    """Returns the folder of a run."""
    return RunFolder.of(self.base_dir, *run)

  def arguments(self, run: Run) -> list[str]:
    """Returns the arguments of Python that train a run."""
    return [
      *self.program,
      f'--gin_files={settings_file(self.base_dir, run.config)}',
      f'--game={run.game}',
      f'--seed={run.seed}',
      f'--base_dir={self.base_dir}',
      *gin_flags.passed_on(),
    ]

  def attempt(self, run: Run) -> tuple[str, ...]:
    """Returns the command that makes an attempt at a run."""
    folder = self.folder(run)
    unit = attempt.Unit(
      folder=str(folder.path),
      finished=str(folder.result_file),
      lock=str(folder.lock_file),
      retries=self.retries,
    )
    return tuple(attempt.command(unit, [sys.executable, *self.arguments(run)]))


def in_order(runs: Iterable[Run]) -> list[Run]:
  """Returns runs sorted by seed, so that a whole table is done first.

  >>> names = [('drq', 'Pong', 0), ('drq', 'Pong', 1), ('bbf', 'Pong', 0)]
  >>> [str(run) for run in in_order(Run(*name) for name in names)]
  ['drq/Pong/0', 'bbf/Pong/0', 'drq/Pong/1']
  """
  return sorted(runs, key=lambda run: run.seed)


def settings_file(base_dir: pathlib.Path, config: str) -> pathlib.Path:
  """Returns the gin file with the settings of a configuration."""
  return base_dir / config / f'{config}.gin'


def load(base_dir: pathlib.Path) -> Sweep:
  """Reads the sweep of a folder.

  Raises:
    SettingsError: there is no sweep, or it can't be read.
  """
  path = base_dir / FILE
  try:
    content = json.loads(path.read_bytes())
    version = content['version']
    if version != VERSION:
      raise SettingsError(
        f'{path} is of version {version}; this program reads {VERSION}'
      )
    return Sweep(
      base_dir,
      {
        name: Configuration(**fields)
        for name, fields in content['configurations'].items()
      },
      tuple(Run(*run) for run in content['runs']),
      content['retries'],
      tuple(content['program']),
    )
  except FileNotFoundError:
    raise SettingsError(
      f'there is no sweep in {base_dir}; `python -m experiments.sweep run` '
      'with --gin_files, --games and --seeds starts one'
    ) from None
  except OSError as error:
    raise SettingsError(f'{path} cannot be read ({error.strerror})') from error
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise SettingsError(
      f'{path} is damaged; remove it, and start the sweep '
      'with its --gin_files: finished runs stay'
    ) from error


def save(sweep: Sweep) -> None:
  """Writes the gin files of the configurations, and `sweep.json`.

  `sweep.json` comes last, so that a kill leaves no run in it without settings.

  Raises:
    OSError: a file can't be written; none is, then.
  """
  content = {
    'version': VERSION,
    'program': sweep.program,
    'retries': sweep.retries,
    'configurations': {
      name: configuration._asdict()
      for name, configuration in sweep.configurations.items()
    },
    'runs': sweep.runs,
  }
  files.write_files(
    {
      **{
        settings_file(sweep.base_dir, name): configuration.settings.encode()
        for name, configuration in sweep.configurations.items()
      },
      sweep.base_dir / FILE: (json.dumps(content, indent=1) + '\n').encode(),
    }
  )


def extend(
  base_dir: pathlib.Path,
  configurations: Mapping[str, Configuration],
  runs: Sequence[Run],
  retries: int | None,
  *,
  dry_run: bool = False,
) -> Sweep:
  """Adds runs to the sweep of a folder, or starts a sweep.

  Args:
    base_dir: the folder.
    configurations: configurations of the runs.
    runs: the runs; some may be in the sweep already.
    retries: how often a failed run is tried again; None keeps the number of the
      sweep, or takes `RETRIES`.
    dry_run: whether to write nothing.

  Returns:
    The whole sweep.

  Raises:
    SeveralSettingsError: runs began with other settings; nothing changes.
    SettingsError: a file can't be written or read; MachineError if not because
      of its path.
  """
  try:
    if dry_run:
      return _extended(base_dir, configurations, runs, retries)[1]
    base_dir.mkdir(parents=True, exist_ok=True)
    with locks.wait_for(base_dir / 'sweep.lock'):
      before, after = _extended(base_dir, configurations, runs, retries)
      # `sweep.json` changes last: after a kill, the same command does it all.
      for name, configuration in before.configurations.items():
        if after.configurations[name] != configuration:
          forgive(after, [run for run in after.runs if run.config == name])
      save(
        after
      )  # Even if nothing is new: a kill may have left other settings.
      return after
  except OSError as error:
    where = pathlib.Path(error.filename or base_dir)
    raise unwritable(where, error) from error


def _extended(
  base_dir: pathlib.Path,
  configurations: Mapping[str, Configuration],
  runs: Sequence[Run],
  retries: int | None,
) -> tuple[Sweep, Sweep]:
  """Returns the sweep of the folder, and the sweep with the new runs."""
  there = Sweep(base_dir, {}, ())
  if (base_dir / FILE).exists():
    there = load(base_dir)
  _check_settings(there, configurations, runs)
  known = set(there.runs)
  return there, dataclasses.replace(
    there,
    configurations={**there.configurations, **configurations},
    runs=(*there.runs, *(run for run in runs if run not in known)),
    retries=there.retries if retries is None else retries,
  )


def _check_settings(
  sweep: Sweep, configurations: Mapping[str, Configuration], runs: Sequence[Run]
) -> None:
  """Raises SeveralSettingsError if configurations had other settings before.

  The settings of a configuration may change if one was wrong and no run began.
  """
  problems = []
  for name, configuration in configurations.items():
    folders = [
      sweep.folder(run)
      for run in sorted({*sweep.runs, *runs})
      if run.config == name
    ]
    differences = [
      (folder.path, folder.difference(configuration.settings))
      for folder in folders
    ]
    before = sweep.configurations.get(name, configuration)
    if before != configuration and not any(
      last.outcome is history.Outcome.WRONG_SETTING
      for folder in folders
      for last in history.read(folder.path).attempts[-1:]
    ):
      here, there = (
        first_line_only_in(x.settings, y.settings)
        for x, y in ((configuration, before), (before, configuration))
      )
      shown = f'here: {here}' if here else f'there: {there}'
      differences.append((sweep.base_dir / FILE, shown))
    found = [(path, shown) for path, shown in differences if shown]
    if found:  # One line per configuration is enough.
      path, shown = found[0]
      problems.append(
        f'{path} has {name} with other settings ({shown}); choose another '
        '--base_dir, or another name for the gin file'
      )
  if problems:
    raise SeveralSettingsError(problems)


def forgive(sweep: Sweep, runs: Iterable[Run]) -> list[Run]:
  """Lets runs be tried again, whatever happened to them before.

  Returns:
    The runs that had been tried and that no process holds.

  Raises:
    OSError: a run's folder can't be written.
  """
  forgiven = []
  for run in runs:
    folder = sweep.folder(run).path
    if not history.read(folder).counted:
      continue
    with locks.hold(folder / history.LOCK) as held:
      if held:
        history.append(folder, 'retry', time=history.now())
        forgiven.append(run)
  return forgiven
