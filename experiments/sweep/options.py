"""The flags of a sweep."""

from collections.abc import Sequence
import pathlib
import re

from absl import flags

from experiments.command import SettingsError
from experiments.launchers import options as launcher_options
from experiments.sweep.plan import Run, in_order
from ht_rl import atari100k
from ht_rl.arguments import check_seed

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

_MOST_SEEDS = 10_000

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
  for word in _words(','.join(gin_files)):
    files = word.split('+')
    name = '+'.join(pathlib.Path(file).stem for file in files)
    if named.setdefault(name, files) != files:
      raise SettingsError(
        f'--gin_files: {"+".join(named[name])} and {word} would both be '
        f'called {name}; rename one'
      )
  return named


def _words(text: str) -> list[str]:
  """Returns the words between commas, without empty ones."""
  return [word for word in text.split(',') if word.strip()]


def games(text: str | None, known: Sequence[str]) -> list[str]:
  """Returns the games of `--games`.

  Args:
    text: 'all', or names in any usual spelling.
    known: names of all games.

  Raises:
    SettingsError: no game is given, or one is unknown.
  """
  if not text:
    raise SettingsError('--games is missing: for example --games=Pong,Breakout')
  if text == 'all':
    return list(atari100k.GAMES)
  try:
    found = [atari100k.canonical_game(word, known) for word in _words(text)]
  except ValueError as error:
    raise SettingsError(f'--games: {error}') from error
  return list(dict.fromkeys(found))


def seeds(text: str | None) -> list[int]:
  """Returns the seeds of `--seeds`.

  >>> seeds('0-2,7')
  [0, 1, 2, 7]

  Raises:
    SettingsError: no seeds are given, or they can't be read.
  """
  if not text:
    raise SettingsError('--seeds is missing: for example --seeds=0-4')
  found: list[int] = []
  for word in text.split(','):
    ends = re.fullmatch(r'\s*(\d+)(?:-(\d+))?\s*', word)
    first, last = (ends[1], ends[2] or ends[1]) if ends else (1, 0)
    if int(last) < int(first):
      raise SettingsError(f'--seeds must look like 0-4 or 0,2,7, not {text!r}')
    try:
      check_seed('--seeds', int(last))
    except ValueError as error:
      raise SettingsError(str(error)) from error
    if int(last) - int(first) >= _MOST_SEEDS:
      raise SettingsError(
        f'--seeds must name at most {_MOST_SEEDS:,} seeds, not {text!r}'
      )
    found += range(int(first), int(last) + 1)
  return list(dict.fromkeys(found))


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
