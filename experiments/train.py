"""Trains an agent on a game with a seed, and evaluates it; or several at once.

    python -m experiments.train --gin_files=gin_configs/drq_ht.gin --game=Pong \
      --seed=0 --base_dir=runs
    python -m experiments.train --gin_files=gin_configs/drq_ht.gin \
      --game=Pong,Boxing --seed=0-4 --base_dir=runs

A run is stored in `<base_dir>/<config>/<game>/<seed>/`. If it was interrupted,
the same command continues from its last checkpoint. Exit codes: 0, done; 1, the
run failed (one line says why); 2, a setting is wrong (one line says which); 75,
the run was asked to stop (SIGTERM, SIGINT) and has written a checkpoint, or
another process is running it; 76, a loss was NaN or infinite.

Several runs (`--game=all`: the 26 games) are trained in this process, see
`experiments.together`.
"""

from collections.abc import Sequence
import pathlib
from typing import Any

from experiments import atari_run, together  # isort: skip  (Dopamine's repair)
from absl import app, flags

from agents import atari
from agents.core import strategies
from experiments import games_and_seeds, gin_flags, runs
from experiments.command import (
  HeldError,
  SettingsError,
  guarded,
  on_stop_signals,
  parse_flags,
  say,
)
from experiments.config import load_config
from ht_rl import atari100k
from ht_rl.arguments import check_seed

_GAME = flags.DEFINE_string(
  'game', None, "The game, such as Breakout, or several; 'all' for the 26."
)
_SEED = flags.DEFINE_string(
  'seed', '0', 'Seed of the run, or several, such as 0-4 or 0,2,7-9.'
)
_STRATEGY = flags.DEFINE_enum(
  'strategy',
  None,
  ['auto', *strategies.STRATEGIES],
  'How several runs share the device (default: auto, the fastest here).',
)
flags.adopt_module_key_flags(gin_flags)


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its exit code."""

  def action() -> None:
    if len(argv) > 1:
      raise SettingsError(f'unexpected argument {argv[1]!r}')
    asked = (
      gin_flags.GIN_FILES.value,
      gin_flags.GIN_BINDINGS.value,
      games_and_seeds.games(_GAME.value, atari.all_games(), '--game'),
      games_and_seeds.seeds(_SEED.value, '--seed'),
      gin_flags.BASE_DIR.value,
    )
    files, bindings, games, seeds, base_dir = asked
    if len(games) * len(seeds) > 1:
      together.run(*asked, _STRATEGY.value or 'auto')
      return
    if _STRATEGY.value is not None:
      raise SettingsError('--strategy has no effect on a single run')
    run(files, bindings, games[0], seeds[0], base_dir)

  return guarded(action)


def run(
  gin_files: Sequence[str],
  gin_bindings: Sequence[str],
  game: str | None,
  seed: int,
  base_dir: str,
) -> dict[str, Any]:
  """Trains and evaluates, or continues from an earlier call's checkpoint.

  Args:
    gin_files: configuration files.
    gin_bindings: settings that override those of the files.
    game: any game of ale-py, in any usual spelling.
    seed: seed of the run.
    base_dir: folder of all runs.

  Returns:
    The content of the run's `result.json`.

  Raises:
    SettingsError: a setting is wrong.
    HeldError: another process is running it.
    StoppedError: a signal asked the run to stop.
    CheckpointError: a checkpoint could not be written or read.
    DivergedError: a loss was NaN or infinite.
  """
  atari_run.prepare_process()
  if not game:
    raise SettingsError('--game is missing: for example --game=Breakout')
  try:
    game = atari100k.canonical_game(game, atari.all_games())
  except ValueError as error:
    raise SettingsError(str(error)) from error
  try:
    check_seed('--seed', seed)
  except ValueError as error:
    raise SettingsError(str(error)) from error
  load_config(gin_files, gin_bindings)
  config = atari_run.name_of(gin_files)
  run = atari_run.AtariRun(pathlib.Path(base_dir), config, game, seed)
  stop: list[bool] = []
  with (
    runs.claim(run.folder) as held,
    on_stop_signals(lambda: stop.append(True)),
  ):
    if not held:
      raise HeldError(f'another process is running in {run.folder}')
    run.run_folder.check_paths()
    run.check_settings()
    if run.is_finished:
      run.clean()
      say(f'{run.folder} is finished already')
    else:
      run.execute(lambda: bool(stop))
    result = run.run_folder.read_result()
  assert result is not None
  say(atari_run.summary(result))
  return result


if __name__ == '__main__':
  app.run(main, flags_parser=parse_flags)
