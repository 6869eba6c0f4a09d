"""Checks what is asked of a sweep before anything runs.

Reading a gin file needs JAX, TensorFlow and Dopamine, which the sweep does not
need while it waits: another process does it and ends.

    python -m experiments.sweep.preflight '{"configurations": ...}'
"""

from collections.abc import Callable, Mapping, Sequence
import json
import subprocess
import sys
from typing import Any, NamedTuple

from experiments.command import SettingsError, SeveralSettingsError
from experiments.sweep import options
from experiments.sweep.plan import Configuration, Run


class Asked(NamedTuple):
  """What is asked of a sweep.

  Attributes:
    configurations: by their names.
    runs: in the order in which they are started.
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
  """Reads what the flags ask for.

  Args:
    gin_files: as `options.configurations` takes them.
    gin_bindings: settings that override those of each configuration.
    games: as `options.games` takes them.
    seeds: as `options.seeds` takes them.

  Raises:
    SeveralSettingsError: something is wrong, with a line for each thing.
  """
  problems: list[str] = []

  def attempt(action: Callable[..., Any], *arguments: Any) -> Any:
    try:
      return action(*arguments)
    except SettingsError as error:
      problems.append(str(error))
      return None

  files = attempt(options.configurations, gin_files) or {}
  numbers = attempt(options.seeds, seeds)
  told = _in_another_process(
    {'configurations': files, 'gin_bindings': list(gin_bindings)}
  )
  names = attempt(options.games, games, told['games'])
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
    [*this, json.dumps(asked)], capture_output=True, text=True, check=False
  )
  if process.returncode:
    lines = process.stderr.strip().splitlines() or ['no word']
    raise SettingsError(f'the gin files can not be read: {lines[-1]}')
  return json.loads(process.stdout.splitlines()[-1])


def main(argv: Sequence[str]) -> None:
  """Prints what there is to tell of the gin files."""
  # Only here: these load JAX, TensorFlow and Dopamine, and gin knows of them.
  from experiments import config, train  # isort: skip  (Dopamine's repair)
  import gin
  import numpy as np

  from agents import atari, configurables

  asked = json.loads(argv[0])
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
      # Only what is of the wrong type or out of its range; of any game.
      train.agent_factory()(
        num_actions=18, observation_shape=(84, 84), observation_dtype=np.uint8
      )
    except (ValueError, TypeError) as error:
      told['problems'].append(f'{name}: {config.explain(error)}')
      continue
    told['configurations'][name] = gin.config_str(), settings.training_steps
  print(json.dumps(told))


if __name__ == '__main__':
  main(sys.argv[1:])
