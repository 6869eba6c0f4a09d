"""Finds the finished runs of the repository's gin files below a folder."""

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

  A run counts if its settings are those of its gin file.

  Args:
    gin_files: paths below the repository's root.
    base_dir: folder of all runs.

  Returns:
    The runs, and a sentence for each configuration with runs that do not count.

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
    others = 0
    for folder in of_file:
      result = folder.read_result()
      if result is None or folder.difference(settings[config_name(file)]):
        others += 1
      else:
        runs.append(Finished(file, folder, result))
    if others:
      left_out.append(
        f'{base_dir / config_name(file)}: {others} of the runs have other '
        f'settings than {file} and are left out.'
      )
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
