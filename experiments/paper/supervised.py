"""Finds supervised results, below a folder or among the committed ones."""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
import math
import pathlib
import shlex
from typing import Any, NamedTuple

from experiments.command import SettingsError
from experiments.config import explain, load_config
from experiments.paper.csv_files import csv_rows, number
from experiments.paper.rendered import RESULTS, ROOT, Part, Picture
from experiments.supervised import data as data_lib
from experiments.supervised import models
from experiments.supervised.experiment import (
  Experiment,
  make_experiment,
  with_unfinished,
)
from experiments.supervised.report import tables
from experiments.supervised.report.spread import NOTHING, Spread
from experiments.supervised.results import Result
from experiments.supervised.run import collect, experiment_folder
from experiments.supervised.settings import Setting
from ht_rl import drawing

_CONFIGS = pathlib.Path('gin_configs', 'supervised')

# A row of a table: its entries by the names of the columns.
Entries = Mapping[str, Any]


class Data(NamedTuple):
  """A data set with its network.

  Attributes:
    gin_file: its name in gin_configs/supervised; '' where the experiment's file
      names its data itself.
    bindings: settings beside the file.
    is_papers: whether the paper has it; False for a stand-in.
    about: how a stand-in differs, in a few words.
  """

  gin_file: str
  bindings: tuple[str, ...] = ()
  is_papers: bool = True
  about: str = ''


class Run(NamedTuple):
  """An experiment on a data set.

  Attributes:
    experiment: its name in gin_configs/supervised.
    data: the data set.
    committed: name of the table in docs/results that has its results; '' for
      none.
  """

  experiment: str
  data: Data
  committed: str = ''

  @property
  def gin_files(self) -> list[str]:
    """The gin files, as they are typed in the root of the project."""
    names = [self.experiment, self.data.gin_file]
    return [str(_CONFIGS / f'{name}.gin') for name in names if name]

  def command(self, base_dir: pathlib.Path) -> str:
    """Returns the command that runs the rest of it."""
    words = [
      'python -m experiments.supervised',
      f'--base_dir={shlex.quote(str(base_dir))}',
      *(f'--gin_files={file}' for file in self.gin_files),
      *(f'--gin_bindings="{binding}"' for binding in self.data.bindings),
    ]
    return ' '.join(words)


class Measured(NamedTuple):
  """The end of a setting.

  Attributes:
    test: accuracy of the reported network over seeds.
    train: accuracy over seeds.
    tortoise: test accuracy of the average of the weights, whatever is reported.
    seeds: their number.
    source: where the numbers are from.
  """

  test: Spread
  train: Spread
  tortoise: Spread
  seeds: int
  source: str


@dataclasses.dataclass(frozen=True)
class Seen:
  """The results of a run that exist.

  Attributes:
    run: the run.
    title: of its data and network.
    settings: what its gin files ask for, by name.
    seeds: likewise.
    measured: what is there, by the name of the setting.
    folder: of the experiment, below that of all runs.
    finished: the results in it.
    remarks: what is left out and why.
  """

  run: Run
  title: str
  settings: Mapping[str, Setting]
  seeds: tuple[int, ...]
  measured: Mapping[str, Measured]
  folder: pathlib.Path
  finished: Sequence[Result]
  remarks: Sequence[str]

  @property
  def part(self) -> Part:
    """The state."""
    found = self.measured.values()
    return Part(
      self.title,
      len(self.settings) * len(self.seeds),
      sum(min(one.seeds, len(self.seeds)) for one in found),
      tuple(dict.fromkeys(one.source for one in found)),
      self.run.data.is_papers,
      self.run.experiment,
    )

  def pictures(self) -> list[Picture]:
    """Returns the figures of all results that the table shows.

    They are the committed figure, and that of the results in the folder.
    """
    pictures = []
    if any(one.source != str(self.folder) for one in self.measured.values()):
      pictures += committed_picture(self.run.committed)
    if self.finished:
      caption = f'{self.title}, {self.run.experiment}: runs below {self.folder}'
      pictures.append(Picture(caption, self._drawn))
    return pictures

  def _drawn(self) -> bytes:
    # The figure's own settings are in the gin files, so they are read again.
    experiment = _read(self.run.gin_files, self.run.data.bindings)
    results = with_unfinished(experiment, self.finished)
    return drawing.png(experiment.draw(results))


def committed_picture(name: str) -> list[Picture]:
  """Returns the picture of this name in docs/results, if it is there."""
  path = RESULTS / f'{name}.png'
  if not name or not (ROOT / path).exists():
    return []
  return [Picture(str(path), (ROOT / path).read_bytes)]


def title(run: Run) -> str:
  """Returns the data set and network of a run."""
  settings = _asked(tuple(run.gin_files), run.data.bindings).settings
  first = next(iter(settings.values())).to_json()
  named = f'{data_lib.title(first["dataset"])}, {models.title(first["model"])}'
  return f'{named} ({run.data.about})' if run.data.about else named


def setting_names(run: Run) -> list[str]:
  """Returns the names of all settings of a run."""
  return list(_asked(tuple(run.gin_files), run.data.bindings).settings)


def table_of(run: Run) -> pathlib.Path:
  """Returns the path of the table of a run's committed results."""
  return RESULTS / f'{run.committed}.csv'


def committed(run: Run) -> dict[str, Measured]:
  """Returns the committed results of a run, by the name of the setting."""
  path = table_of(run)
  if not run.committed or not (ROOT / path).exists():
    return {}
  settings = _asked(tuple(run.gin_files), run.data.bindings).settings
  return _measured(read_table(path), str(path), settings)


def see(run: Run, base_dir: pathlib.Path) -> Seen:
  """Looks for the results of a run, below a folder and among the committed.

  A setting that is in both is taken from the folder, unless the committed
  result has more seeds.

  Args:
    run: an experiment on a data set.
    base_dir: folder of all runs.

  Raises:
    SettingsError: the settings in the folder can't be read.
  """
  asked = _asked(tuple(run.gin_files), run.data.bindings)
  finished, remarks = _below(run, asked, base_dir)
  measured = committed(run)
  folder = experiment_folder(run.gin_files, base_dir)
  rows = entries(tables.method_table(finished))
  for name, own in _measured(rows, str(folder), asked.settings).items():
    if name not in measured or own.seeds >= measured[name].seeds:
      measured[name] = own
  return Seen(
    run,
    title(run),
    asked.settings,
    asked.seeds,
    {name: measured[name] for name in asked.settings if name in measured},
    folder,
    finished,
    remarks,
  )


def entries(table: tables.Table) -> list[Entries]:
  """Returns the rows of a table by the names of its columns."""
  return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


@functools.cache
def read_table(path: pathlib.Path) -> list[Entries]:
  """Reads a table that `tables.csv_text` wrote.

  Args:
    path: in the project.

  Returns:
    Its rows; an empty entry is NaN.

  Raises:
    SettingsError: a row is damaged.
  """
  return [
    {name: _value(entry) for name, entry in row.items()}
    for row in csv_rows(ROOT / path)
  ]


def _value(entry: str) -> str | float:
  try:
    return float(entry or 'nan')
  except ValueError:
    return entry


def _measured(
  rows: Sequence[Entries], source: str, settings: Mapping[str, Setting]
) -> dict[str, Measured]:
  """Returns what a table of methods, or of ratios and noises, holds."""
  by_cell = {(s.ratios[0], s.noises[0]): name for name, s in settings.items()}
  found = {}
  for row in rows:
    if 'setting' in row:
      name = str(row['setting'])
      test = _spread(row, f'{row.get("reported")} test accuracy', source)
      tortoise = _spread(row, 'tortoise test accuracy', source)
    else:
      cell = (number(row, 'ratio', source), number(row, 'noise', source))
      name = by_cell.get(cell, '')
      test, tortoise = _spread(row, 'test accuracy', source), NOTHING
    train = _spread(row, 'train accuracy', source)
    if not math.isnan(test.mean):  # As of an unfinished setting.
      seeds = number(row, 'seeds', source)
      _check_seeds(name, seeds, (test, train, tortoise), source)
      found[name] = Measured(test, train, tortoise, int(seeds), source)
  return found


def _spread(row: Entries, name: str, source: str) -> Spread:
  """Returns an accuracy and its standard deviation.

  Raises:
    SettingsError: they are not there, or the accuracy is no share.
  """
  mean = number(row, name, source)
  if not (math.isnan(mean) or 0 <= mean <= 1):
    raise SettingsError(f'{source}: {name!r} must be from 0 to 1, not {mean:g}')
  return Spread(mean, number(row, f'{name} std', source))


def _check_seeds(
  name: str, seeds: float, spreads: Sequence[Spread], source: str
) -> None:
  """Raises SettingsError unless seeds are counted and spreads known."""
  if not (seeds >= 1 and seeds == int(seeds)):
    raise SettingsError(f'{source}: {name} must have a whole number of seeds')
  for mean, std in spreads:
    if seeds > 1 and not math.isnan(mean) and not std >= 0:
      raise SettingsError(
        f'{source}: {name} has {seeds:g} seeds, but no standard deviation of '
        f'the accuracy {mean:g}'
      )


@functools.cache
def _asked(files: tuple[str, ...], bindings: tuple[str, ...]) -> Experiment:
  return _read(files, bindings)


def _read(files: Sequence[str], bindings: Sequence[str] = ()) -> Experiment:
  """Reads the gin files of an experiment; needs none of its data.

  Raises:
    SettingsError: a setting is wrong.
  """
  load_config([str(ROOT / file) for file in files], bindings)
  try:
    return make_experiment()
  except (ValueError, TypeError) as error:
    raise SettingsError(f'{explain(error)} (in {"+".join(files)})') from error


def _below(
  run: Run, asked: Experiment, base_dir: pathlib.Path
) -> tuple[list[Result], list[str]]:
  """Returns the results of a run below a folder, and what is left out.

  All settings must be as asked, but data may come from any folder. The settings
  of the last command lie beside the results and name that folder, and seeds
  beyond those asked for. Earlier commands may have finished more settings and
  seeds than the last one names.
  """
  folder = experiment_folder(run.gin_files, base_dir)
  file = folder / 'operative_config.gin'
  last = _read([str(file.resolve())]) if file.exists() else asked
  found: dict[str, Result] = {}
  for data_folder in dict.fromkeys(s.folder for s in last.settings.values()):
    wanted = dataclasses.replace(
      asked,
      settings={
        name: dataclasses.replace(setting, folder=data_folder)
        for name, setting in asked.settings.items()
      },
      seeds=tuple(dict.fromkeys([*asked.seeds, *last.seeds])),
    )
    for result in collect(wanted, base_dir):
      known = found.get(result.name)
      if known is None or len(known.seeds) < len(result.seeds):
        found[result.name] = result
  there = collect(last, base_dir)
  others = sum(
    result.name not in asked.settings
    or _but_folder(result.setting)
    != _but_folder(asked.settings[result.name].to_json())
    for result in there
  )
  kept = [found[name] for name in asked.settings if name in found]
  if not others:
    return kept, []
  return kept, [
    f'{folder}: {others} of {len(there)} settings are not those of '
    f'{"+".join(run.gin_files)} and are left out.'
  ]


def _but_folder(setting: Mapping[str, Any]) -> dict[str, Any]:
  return {name: x for name, x in setting.items() if name != 'folder'}
