"""Trains one agent on one game with one seed, and evaluates it.

    python -m experiments.train --gin_files=gin_configs/drq_ht.gin --game=Pong \
      --seed=0 --base_dir=runs

The run lives in `<base_dir>/<config>/<game>/<seed>/`. If it was interrupted,
the same command goes on from its last checkpoint. Exit codes: 0, done; 1, the
run failed (one line says why); 2, a setting is wrong (one line says which); 75,
the run was asked to stop (SIGTERM, SIGINT) and has written a checkpoint, or
another process is running it; 76, a loss was NaN or infinite.
"""

from collections.abc import Iterator, Sequence
import contextlib
import json
import pathlib
from typing import Any

from absl import app, flags
import gin

from agents import atari, bbf_agent, device_agent, drq_agent
from agents import runner as runner_lib
from experiments import gin_flags, progress, runs
from experiments.command import (
  HeldError,
  SettingsError,
  guarded,
  on_stop_signals,
  parse_flags,
  say,
)
from experiments.config import check_effects, explain, load_config
from ht_rl import atari100k, files

_GAME = flags.DEFINE_string('game', None, 'The game, such as Breakout.')
_SEED = flags.DEFINE_integer('seed', 0, 'Seed of the run, 0 or more.')
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
  """Trains and evaluates, or goes on from where an earlier call stopped.

  Args:
    gin_files: configuration files.
    gin_bindings: settings that override theirs.
    game: any game of ale-py, in any usual spelling.
    seed: seed of the run, 0 or more.
    base_dir: where runs are kept.

  Returns:
    What is in the run's `result.json`.

  Raises:
    SettingsError: a setting is wrong.
    StoppedError: a signal asked the run to stop.
    CheckpointError: no checkpoint can be written or read.
    DivergedError: a loss was NaN or infinite.
  """
  if not game:
    raise SettingsError('--game is missing: for example --game=Breakout')
  try:
    game = atari100k.canonical_game(game, atari.all_games())
  except ValueError as error:
    raise SettingsError(str(error)) from error
  if seed < 0:
    raise SettingsError(f'--seed must be 0 or more, not {seed}')
  load_config(gin_files, gin_bindings)
  config = '+'.join(pathlib.Path(file).stem for file in gin_files)
  run_dir = folder(base_dir, config, game, seed)
  with claim(run_dir):
    result_file = run_dir / 'result.json'
    if result_file.exists():
      result = json.loads(result_file.read_text())
      say(f'{run_dir} is finished already')
    else:
      runner = _make_runner(run_dir, config, game, seed)
      check_effects()
      # Only now: a wrong setting must not make the folder its own.
      files.write_text(_config_file(run_dir), gin.config_str())
      files.write_text(
        run_dir / 'operative_config.gin', gin.operative_config_str()
      )
      with on_stop_signals(lambda: setattr(runner, 'stop_requested', True)):
        result = runner.run_experiment()
  say(summary(result))
  return result


def folder(base_dir: str, config: str, game: str, seed: int) -> pathlib.Path:
  """The folder of a run."""
  return pathlib.Path(base_dir) / config / game / str(seed)


@contextlib.contextmanager
def claim(run_dir: pathlib.Path) -> Iterator[None]:
  """Holds a run's folder, which must be new or of the same configuration.

  Raises:
    SettingsError: the folder can't be written, or it is of a run with another
      configuration.
    HeldError: another process holds it.
  """
  config_file = _config_file(run_dir)
  config = gin.config_str()
  with runs.claim(run_dir) as held:
    if not held:
      raise HeldError(f'another process is running in {run_dir}')
    there = config_file.read_text() if config_file.exists() else config
    if there != config:
      raise SettingsError(
        f'{run_dir} holds a run with another configuration '
        f'({_first_difference(there, config)}); choose another --base_dir'
      )
    yield


def _config_file(run_dir: pathlib.Path) -> pathlib.Path:
  return run_dir / 'config.gin'


def summary(result: dict[str, Any]) -> str:
  """One line for a person: what was run, and its score."""
  normalized = result['human_normalized_score']
  human = '' if normalized is None else f' (human-normalized {normalized:.3f})'
  protocol = result['protocol']
  return (
    f'{result["config"]} on {result["game"]}, seed {result["seed"]}: '
    f'score {result["score"]:.2f}{human}, the mean of '
    f'{len(result["returns"])} episodes after '
    f'{protocol["training_steps"]:,} agent steps'
  )


@gin.configurable('train')
def agent_class(agent: Any = None) -> type[device_agent.DeviceAgent]:
  """The agent that is trained, as `train.agent` names it.

  Raises:
    ValueError: it names none.
  """
  known = (drq_agent.DrQAgent, bbf_agent.BBFAgent)
  if not (isinstance(agent, type) and issubclass(agent, known)):
    raise ValueError(
      f'train.agent must be @DrQAgent or @BBFAgent, not {agent!r}'
    )
  return agent


def _make_runner(
  run_dir: pathlib.Path, config: str, game: str, seed: int
) -> runner_lib.Atari100kRunner:
  def create_agent(
    sess: None, environment: atari.AtariEnvironment, summary_writer: str
  ) -> device_agent.DeviceAgent:
    del sess, summary_writer  # Of Dopamine's TensorFlow agents.
    return agent_class()(
      int(environment.action_space.n),
      observation_shape=environment.observation_space.shape[:2],
      observation_dtype=environment.observation_space.dtype,
      seed=seed,
    )

  try:
    return runner_lib.Atari100kRunner(
      str(run_dir),
      create_agent,
      game=game,
      seed=seed,
      config=config,
      progress=progress.Progress,
      say=say,
    )
  except (ValueError, TypeError) as error:
    raise SettingsError(explain(error)) from error


def _first_difference(there: str, here: str) -> str:
  old, new = (
    [line.strip() for line in text.splitlines() if not line.startswith('#')]
    for text in (there, here)
  )
  differences = [f'here: {line}' for line in new if line not in old]
  differences += [f'there: {line}' for line in old if line not in new]
  return differences[0] if differences else 'the same in another order'


if __name__ == '__main__':
  app.run(main, flags_parser=parse_flags)
