"""Finds the finished runs of the repository's gin files below a folder."""

import collections
from collections.abc import Sequence
import functools
import pathlib
from typing import Any, NamedTuple

from experiments.paper.rendered import ROOT
from experiments.sweep import preflight
from ht_rl.atari100k.run_folder import RunFolder


class Finished(NamedTuple):
  """A finished run.

  Attributes:
    gin_file: its configuration.
    folder: where it is.
    result: its game, seed, score and more.
  """

  gin_file: str
  folder: RunFolder
  result: dict[str, Any]


def finished(
  gin_files: Sequence[str], base_dir: pathlib.Path
) -> tuple[list[Finished], list[str]]:
  """Returns the finished runs of configurations, and what is left out.

  A run counts if it lies in the folder of its configuration, game and seed, and
  its settings are those of its gin file. So a copy beside it is no second seed.

  Args:
    gin_files: paths below the repository's root.
    base_dir: folder of all runs.

  Returns:
    The runs, and a sentence for each reason why runs of a configuration do not
    count.

  Raises:
    SettingsError: a gin file cannot be read.
    RunFolderError: a run is damaged.
  """
  folders = {
    file: [RunFolder(path.parent) for path in paths]
    for file in gin_files
    if (paths := sorted((base_dir / config_name(file)).glob('*/*/result.json')))
  }
  settings = _settings(tuple(folders)) if folders else {}
  runs, left_out = [], []
  for file, of_file in folders.items():
    reasons: collections.Counter[str] = collections.Counter()
    for folder in of_file:
      result = folder.read_result()
      if result is None:  # It was removed meanwhile.
        continue
      place = (result['config'], result['game'], int(result['seed']))
      if folder != RunFolder.of(base_dir, *place):
        reasons['do not lie in <config>/<game>/<seed>'] += 1
      elif folder.read_settings() is None:
        reasons['have no config.gin, which tells their settings,'] += 1
      elif folder.difference(settings[config_name(file)]):
        reasons[f'have other settings than {file}'] += 1
      else:
        runs.append(Finished(file, folder, result))
    left_out += [
      f'{base_dir / config_name(file)}: {number} of the runs {reason} and are '
      'left out.'
      for reason, number in reasons.items()
    ]
  return runs, left_out


def config_name(gin_file: str) -> str:
  """Returns the name of a configuration, which its folder of runs has."""
  return pathlib.Path(gin_file).stem


@functools.cache
def _settings(gin_files: tuple[str, ...]) -> dict[str, str]:
  """Returns the settings of configurations by their names."""
  asked = preflight.check(
    gin_files=[str(ROOT / file) for file in gin_files],
    gin_bindings=[],
    games='all',
    seeds='0',
  )
  return {name: of.settings for name, of in asked.configurations.items()}
