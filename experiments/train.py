"""Trains one agent on one game with one seed, and evaluates it.

    python -m experiments.train --gin_files=gin_configs/drq_ht.gin --game=Pong \
      --seed=0 --base_dir=runs

The run is stored in `<base_dir>/<config>/<game>/<seed>/`. If it was
interrupted, the same command continues from its last checkpoint. Exit codes: 0,
done; 1, the run failed (one line says why); 2, a setting is wrong (one line
says which); 75, the run was asked to stop (SIGTERM, SIGINT) and has written a
checkpoint, or another process is running it; 76, a loss was NaN or infinite.
"""

from collections.abc import Callable, Sequence
import dataclasses
import pathlib
from typing import Any

from agents.dopamine.agent import DeviceAgent
from agents.dopamine.runner import Atari100kRunner

from absl import app, flags
import gin

from agents import atari, configurables
from agents.core.loop import Loop
from experiments import device, gin_flags, progress, runs
from experiments.command import (
  HeldError,
  SettingsError,
  guarded,
  on_stop_signals,
  parse_flags,
  say,
)
from experiments.config import check_effects, explain, load_config
from experiments.heap import keep_freed_memory
from experiments.xla_flags import order_operations_for_memory
from ht_rl import atari100k
from ht_rl.arguments import check_seed
from ht_rl.atari100k.run_folder import RunFolder, RunFolderError

_GAME = flags.DEFINE_string('game', None, 'The game, such as Breakout.')
_SEED = flags.DEFINE_integer('seed', 0, 'Seed of the run.')
flags.adopt_module_key_flags(gin_flags)


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its exit code."""

  def action() -> None:
    if len(argv) > 1:
      raise SettingsError(f'unexpected argument {argv[1]!r}')
    run(
      gin_flags.GIN_FILES.value,
      gin_flags.GIN_BINDINGS.value,
      _GAME.value,
      _SEED.value,
      gin_flags.BASE_DIR.value,
    )

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
  order_operations_for_memory()
  keep_freed_memory()
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
  if not base_dir:
    raise SettingsError('--base_dir is empty: for example --base_dir=runs')
  load_config(gin_files, gin_bindings)
  config = '+'.join(pathlib.Path(file).stem for file in gin_files)
  run = AtariRun(pathlib.Path(base_dir), config, game, seed)
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
      say(f'{run.folder} is finished already')
    else:
      run.execute(lambda: bool(stop))
    result = run.run_folder.read_result()
  assert result is not None
  say(summary(result))
  return result


@dataclasses.dataclass(frozen=True)
class AtariRun:
  """One run in its folder, with the current gin settings: a unit of work.

  Attributes:
    base_dir: folder of all runs.
    config: name of the configuration.
    game: canonical name of the game.
    seed: seed of the run.
  """

  base_dir: pathlib.Path
  config: str
  game: str
  seed: int

  @property
  def run_folder(self) -> RunFolder:
    """The folder of the run, as its reader and writer."""
    return RunFolder.of(self.base_dir, self.config, self.game, self.seed)

  @property
  def folder(self) -> pathlib.Path:
    """Path of the run's own folder."""
    return self.run_folder.path

  @property
  def needs(self) -> Sequence[runs.Unit]:
    """Nothing: a run needs no other unit."""
    return ()

  @property
  def is_finished(self) -> bool:
    """Whether there is a result."""
    return self.run_folder.is_finished

  def check_settings(self) -> None:
    """Raises SettingsError if the folder holds a run with other settings."""
    difference = self.run_folder.difference(gin.config_str())
    if difference is not None:
      raise SettingsError(
        f'{self.folder} holds a run with another configuration '
        f'({difference}); choose another --base_dir'
      )

  def execute(self, should_stop: Callable[[], bool]) -> None:
    """Trains from the last checkpoint to the end; call it under a claim.

    Raises:
      SettingsError: a setting is wrong.
      StoppedError, DivergedError, CheckpointError, OSError: see `runs.Unit`.
    """
    device_lines = device.lines()
    runner = self._make_runner(should_stop)
    for line in device_lines:
      say(line)
    # Only after all checks: a wrong setting must not claim the folder.
    self.run_folder.begin(
      config=self.config,
      game=self.game,
      seed=self.seed,
      protocol=runner.protocol.as_dict(),
      settings=gin.config_str(),
      operative_settings=gin.operative_config_str(),
    )
    runner.run_experiment()

  def _make_runner(self, should_stop: Callable[[], bool]) -> Atari100kRunner:
    try:
      runner = Atari100kRunner(
        str(self.folder),
        self._create_agent,
        game=self.game,
        seed=self.seed,
        config=self.config,
        settings=configurables.run_settings(),
        progress=progress.Progress,
        say=say,
        should_stop=should_stop,
      )
    except RunFolderError:
      raise
    except (ValueError, TypeError) as error:
      raise SettingsError(explain(error)) from error
    check_effects()
    return runner

  def _create_agent(
    self, sess: None, environment: atari.AtariEnvironment, summary_writer: str
  ) -> DeviceAgent:
    del sess, summary_writer  # For Dopamine's TensorFlow agents.
    loop = agent_factory()(
      num_actions=int(environment.action_space.n),
      observation_shape=environment.observation_space.shape[:2],
      observation_dtype=environment.observation_space.dtype,
    )
    return DeviceAgent(loop, self.seed)


def summary(result: dict[str, Any]) -> str:
  """Returns one line for the user: what was run, and its score."""
  # Files that others wrote may have the score alone.
  normalized = result.get('human_normalized_score')
  human = '' if normalized is None else f' (human-normalized {normalized:.3f})'
  episodes = len(result.get('returns', ()))
  mean = f', the mean of {episodes} episodes' if episodes else ''
  return (
    f'{result["config"]} on {result["game"]}, seed {result["seed"]}: '
    f'score {result["score"]:.2f}{human}{mean} after '
    f'{result["protocol"]["training_steps"]:,} agent steps'
  )


@gin.configurable('train')
def agent_factory(agent: Any = None) -> Callable[..., Loop]:
  """Returns the agent's configurable, as given by `train.agent`.

  Raises:
    ValueError: `train.agent` is not an agent.
  """
  if agent not in configurables.AGENTS.values():
    known = ' or '.join(f'@{name}' for name in configurables.AGENTS)
    raise ValueError(f'train.agent must be {known}, not {agent!r}')
  return agent


if __name__ == '__main__':
  app.run(main, flags_parser=parse_flags)
