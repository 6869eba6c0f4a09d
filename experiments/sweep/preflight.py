"""Checks the flags and gin files of a sweep before anything runs.

Gin files need JAX, TensorFlow and Dopamine. A sweep that only waits does not,
so a process of its own reads the gin files. It finds what a run would refuse,
except for lack of memory: the runs may have other machines.

    python -m experiments.sweep.preflight '{"configurations": ...}' [FLAG]
"""

from collections.abc import Callable, Mapping, Sequence
import json
import os
import subprocess
import sys
from typing import Any, NamedTuple

from absl import flags

from experiments import games_and_seeds, gin_flags
from experiments.command import SettingsError, SeveralSettingsError
from experiments.sweep import options
from experiments.sweep.plan import Configuration, Run


class Asked(NamedTuple):
  """The configurations and runs that the flags ask for.

  Attributes:
    configurations: configurations by name.
    runs: runs in the order in which they start.
  """

  configurations: Mapping[str, Configuration]
  runs: list[Run]


def check(
  *,
  gin_files: Sequence[str],
  gin_bindings: Sequence[str],
  games: str | None,
  seeds: str | None,
) -> Asked:
  """Returns what the flags ask for.

  Args:
    gin_files: see `options.configurations`.
    gin_bindings: settings for all configurations.
    games: see `experiments.games_and_seeds`.
    seeds: see `experiments.games_and_seeds`.

  Raises:
    SeveralSettingsError: something is wrong; one line for each problem.
  """
  problems: list[str] = []

  def attempt(action: Callable[..., Any], *arguments: Any) -> Any:
    try:
      return action(*arguments)
    except SettingsError as error:
      problems.append(str(error))
      return None

  files = attempt(options.configurations, gin_files) or {}
  numbers = attempt(games_and_seeds.seeds, seeds, '--seeds')
  told = _in_another_process(
    {'configurations': files, 'gin_bindings': list(gin_bindings)}
  )
  names = attempt(games_and_seeds.games, games, told['games'], '--games')
  problems += told['problems']
  if problems:
    raise SeveralSettingsError(problems)
  configurations = {
    name: Configuration(*of) for name, of in told['configurations'].items()
  }
  return Asked(configurations, options.runs(list(files), names, numbers))


def _in_another_process(asked: dict[str, Any]) -> dict[str, Any]:
  this = [sys.executable, '-m', 'experiments.sweep.preflight']
  process = subprocess.run(
    [*this, json.dumps(asked), *gin_flags.passed_on()],
    env={**os.environ, 'JAX_PLATFORMS': 'cpu'},  # The GPUs belong to the runs.
    capture_output=True,
    text=True,
    check=False,
  )
  if process.returncode:
    lines = process.stderr.strip().splitlines() or ['no output']
    raise SettingsError(f'the gin files cannot be read: {lines[-1]}')
  return json.loads(process.stdout.splitlines()[-1])


def main(argv: Sequence[str]) -> None:
  """Prints the configurations, the problems and all games as JSON."""
  # Imported here, because these are slow and load TensorFlow.
  from experiments import atari_run, config  # isort: skip  (Dopamine's repair)
  import gin

  from agents import atari, configurables
  from agents.core.driver import check_parts

  _, described = flags.FLAGS(['preflight', *argv])
  asked = json.loads(described)
  told: dict[str, Any] = {
    'configurations': {},
    'problems': [],
    'games': atari.all_games(),
  }
  for name, files in asked['configurations'].items():
    try:
      config.load_config(files, asked['gin_bindings'])
    except SettingsError as error:
      told['problems'].append(str(error))
      continue
    try:
      settings = configurables.run_settings()
      # This checks types and ranges; the game does not matter.
      loop = atari_run.make_loop(atari.AtariEnvironment('Pong', seed=0))
      check_parts(loop.learner)
      atari_run.refuse_settings_of_dopamine(loop)
      config.check_effects()
    except (ValueError, TypeError, SettingsError) as error:
      told['problems'].append(f'{name}: {config.explain(error)}')
      continue
    told['configurations'][name] = gin.config_str(), settings.training_steps
  print(json.dumps(told))


if __name__ == '__main__':
  main(sys.argv[1:])
