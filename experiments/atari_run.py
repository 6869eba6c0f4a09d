"""An Atari run as a unit of work: its folder, its agent, its runner."""

from collections.abc import Callable, Sequence
import dataclasses
import pathlib
from typing import Any

from agents.dopamine import refused, reporter
from agents.dopamine.agent import DeviceAgent
from agents.dopamine.runner import Atari100kRunner

import gin

from agents import atari, configurables
from agents.core.loop import Loop
from experiments import compiled, device, progress, runs
from experiments.command import SettingsError, say
from experiments.config import check_effects, explain
from experiments.heap import keep_freed_memory
from experiments.xla_flags import order_operations_for_memory
from ht_rl.atari100k.run_folder import RunFolder, RunFolderError


def prepare_process() -> None:
  """Sets what JAX and XLA read as they start; call it before.

  Raises:
    MachineError: the folder for compiled programs can't be written.
  """
  order_operations_for_memory()
  compiled.keep_programs()
  keep_freed_memory()


def name_of(gin_files: Sequence[str]) -> str:
  """Returns the name of the configuration of some gin files."""
  return '+'.join(pathlib.Path(file).stem for file in gin_files)


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

  def clean(self) -> None:
    """Removes what a kill right after the result left; call it under a claim.

    Raises:
      SettingsError: a setting of the run's length is wrong.
    """
    try:
      settings = configurables.run_settings()
    except (ValueError, TypeError) as error:
      raise SettingsError(explain(error)) from error
    self.run_folder.remove_leftovers(settings.keep_checkpoints)

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
    self.begin(runner.protocol)
    runner.run_experiment()

  def begin(self, protocol: atari.Protocol) -> None:
    """Writes what is run; only after all checks of the settings.

    A wrong setting must not claim the folder.

    Args:
      protocol: of the run.
    """
    self.run_folder.begin(
      config=self.config,
      game=self.game,
      seed=self.seed,
      protocol=protocol.as_dict(),
      settings=gin.config_str(),
      operative_settings=gin.operative_config_str(),
    )

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
    loop = make_loop(environment)
    return DeviceAgent(loop, self.seed)


def make_loop(environment: atari.AtariEnvironment) -> Loop:
  """Returns the agent of the current settings for the game of an emulator."""
  return agent_factory()(
    num_actions=int(environment.action_space.n),
    observation_shape=environment.observation_space.shape[:2],
    observation_dtype=environment.observation_space.dtype,
  )


def refuse_settings_of_dopamine(loop: Loop) -> None:
  """Refuses settings of Dopamine's classes that would change nothing.

  Dopamine's runner and agent refuse them as they are made.

  Raises:
    ValueError: there is such a setting.
  """
  refused.check('run_experiment.Runner', refused.RUNNER)
  refused.check(
    'dqn_agent.JaxDQNAgent', refused.JAX_DQN_AGENT, loop.learner.name
  )
  reporter.check_collectors()


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
