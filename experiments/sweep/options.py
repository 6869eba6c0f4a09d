"""The flags of a sweep."""

from collections.abc import Sequence
import pathlib

from absl import flags

from experiments.command import SettingsError
from experiments.games_and_seeds import words
from experiments.launchers import options as launcher_options
from experiments.sweep.plan import Run, in_order

flags.adopt_module_key_flags(launcher_options)

GAMES = flags.DEFINE_string(
  'games', None, "Games, such as Pong,Breakout; 'all' for the 26."
)
SEEDS = flags.DEFINE_string('seeds', None, 'Seeds, such as 0-4 or 0,2,7-9.')
RETRIES = flags.DEFINE_integer(
  'retries',
  None,
  'How often a failed run is tried again (default: 2).',
  lower_bound=0,
)
DRY_RUN = flags.DEFINE_bool(
  'dry_run', False, 'List the runs and their cost; start nothing.'
)
WATCH = flags.DEFINE_bool(
  'watch', False, 'Show the status until all runs have ended.'
)
JSON = flags.DEFINE_bool('json', False, 'Print the status as JSON.')

_OF_COMMANDS = {
  'run': (
    'gin_files',
    'gin_bindings',
    'base_dir',
    'games',
    'seeds',
    'retries',
    'dry_run',
    'allow_dynamic_registration',
  ),
  'status': ('watch', 'json'),
  'retry': (),
  'attempt': ('allow_dynamic_registration',),
}


def check_flags(command: str) -> None:
  """Raises SettingsError if a flag is given that has no effect."""
  known = {name for names in _OF_COMMANDS.values() for name in names}
  for name in sorted(known - {*_OF_COMMANDS[command]}):
    if flags.FLAGS[name].present:
      raise SettingsError(f'--{name} has no effect on `{command}`')
  launcher_options.check_flags(is_used=command == 'run')


def configurations(gin_files: Sequence[str]) -> dict[str, list[str]]:
  """Returns the gin files of each configuration by its name.

  >>> configurations(['gin_configs/drq.gin,drq.gin+mine.gin'])
  {'drq': ['gin_configs/drq.gin'], 'drq+mine': ['drq.gin', 'mine.gin']}

  Args:
    gin_files: values of --gin_files, each with one or more configurations,
      separated by commas; + joins the files of a configuration.

  Raises:
    SettingsError: two configurations have the same name.
  """
  named: dict[str, list[str]] = {}
  for word in words(','.join(gin_files)):
    files = word.split('+')
    name = '+'.join(pathlib.Path(file).stem for file in files)
    if named.setdefault(name, files) != files:
      raise SettingsError(
        f'--gin_files: {"+".join(named[name])} and {word} would both be '
        f'called {name}; rename one'
      )
  return named


def runs(
  configs: Sequence[str], games: Sequence[str], seeds: Sequence[int]
) -> list[Run]:
  """Returns all runs, in the order in which they start."""
  return in_order(
    Run(config, game, seed)
    for config in configs
    for game in games
    for seed in seeds
  )
