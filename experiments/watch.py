"""Plays the tortoise of a finished run, and films it.

    python -m experiments.watch runs/drq_ht/Pong/0 --output=pong.mp4

The film is an MP4 or a GIF, by its name. It shows the game's screen, with the
score above it. Each agent step is a frame, and 15 frames per second are the
speed of the game. Exit codes: 0, done; 1, a file can't be read or written; 2, a
setting is wrong; 75, stopped.
"""

from collections.abc import Iterator, Sequence
import pathlib
import tempfile
from typing import Any, NamedTuple

from experiments import atari_run  # isort: skip  (Dopamine's repair comes first)
from absl import app, flags
import cv2
import jax
import numpy as np

from agents import atari, weights
from agents.core.policy import Policy, make_policy
from experiments.command import (
  SettingsError,
  guarded,
  on_stop_signals,
  parse_flags,
  say,
)
from experiments.config import explain, load_config
from ht_rl import files
from ht_rl.atari100k.run_folder import RunFolder

_OUTPUT = flags.DEFINE_string(
  'output', None, 'The film, .mp4 or .gif (default: watch.mp4 in the run).'
)
_EPISODES = flags.DEFINE_integer('episodes', 1, 'Number of episodes.', 1)
_START_SEED = flags.DEFINE_integer(
  'start_seed',
  None,
  "Seed of the no-op starts and of the exploration (default: the run's).",
  lower_bound=0,
  upper_bound=2**32 - 1,
)
_MAX_STEPS = flags.DEFINE_integer(
  'max_steps', 4500, 'Agent steps after which an episode is cut.', 1
)

FRAMES_PER_SECOND = 15
# A screen of 160 x 210 with the banner then has sides that are multiples of 16,
# which the codec needs.
_SCALE, _BANNER = 3, 42


class Scene(NamedTuple):
  """A moment of the game.

  Attributes:
    screen: uint8 [height, width, 3], in RGB.
    episode: number of the episode, from 0.
    step: agent steps of the episode so far.
    score: points of the episode so far.
  """

  screen: np.ndarray
  episode: int
  step: int
  score: float


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its exit code."""

  def action() -> None:
    if len(argv) != 2:
      raise SettingsError(
        'the folder of one run must be named: for example python -m '
        'experiments.watch runs/drq_ht/Pong/0'
      )
    for name in ('gin_files', 'gin_bindings', 'base_dir'):
      if name in flags.FLAGS and flags.FLAGS[name].present:
        raise SettingsError(
          f'--{name} has no effect: the settings are those of the run'
        )
    run(pathlib.Path(argv[1]))

  return guarded(action)


def run(path: pathlib.Path) -> list[float]:
  """Plays and films the run of a folder, with the flags' settings.

  Returns:
    The score of each episode.

  Raises:
    SettingsError: there is no finished run, or a flag is wrong.
    CheckpointError: the weights can't be read.
    OSError: the film can't be written.
    KeyboardInterrupt: a signal asked to stop.
  """
  try:
    import imageio.v2 as imageio
  except ImportError as error:
    raise SettingsError(
      "watching needs imageio: pip install '.[watch]'"
    ) from error
  folder = RunFolder(path)
  output = pathlib.Path(_OUTPUT.value or path / 'watch.mp4')
  if output.suffix not in ('.mp4', '.gif'):
    raise SettingsError(f'--output must end in .mp4 or .gif, not {output}')
  result = folder.read_result()
  if result is None:
    raise SettingsError(f'there is no finished run in {path}')
  if not folder.tortoise_file.exists():
    raise SettingsError(f'{path} has no {folder.tortoise_file.name} to play')
  seed = _START_SEED.value
  if seed is None:
    seed = result['seed']
  policy = load_policy(folder, result['game'], seed)
  name = f'{result["game"]}  {result["config"]} {result["seed"]}'
  stop: list[bool] = []
  scores: dict[int, float] = {}
  with (
    on_stop_signals(lambda: stop.append(True)),
    tempfile.TemporaryDirectory() as temporary,
  ):
    film = pathlib.Path(temporary) / f'film{output.suffix}'
    open_film: Any = imageio.get_writer
    with open_film(film, **_format(output.suffix)) as writer:
      for scene in play(
        policy,
        result['game'],
        seed,
        episodes=_EPISODES.value,
        max_steps=_MAX_STEPS.value,
      ):
        if stop:
          raise KeyboardInterrupt  # Nothing is kept to go on from.
        scores[scene.episode] = scene.score
        writer.append_data(draw(scene, name))
    files.write_files({output: film.read_bytes()})
  for episode, score in scores.items():
    say(f'episode {episode}: score {score:g}')
  say(f'the film is {output}')
  return list(scores.values())


def load_policy(folder: RunFolder, game: str, seed: int) -> Policy:
  """Returns the tortoise of a run as a policy for one environment.

  Args:
    folder: folder of a finished run.
    game: game of the run.
    seed: seed of the exploration.

  Raises:
    SettingsError: the settings of the run can't be read.
    CheckpointError: the weights can't be read.
  """
  load_config([str(folder.config_file)], [])
  try:
    loop = atari_run.make_loop(atari.AtariEnvironment(game, 0))
  except (ValueError, TypeError) as error:
    raise SettingsError(f'{folder.config_file}: {explain(error)}') from error
  state = jax.eval_shape(loop.learner.init, jax.random.PRNGKey(0))
  params = weights.load(folder.tortoise_file, state.train.params)
  return make_policy(loop.learner, params, 1, seed)


def play(
  policy: Policy, game: str, seed: int, *, episodes: int, max_steps: int
) -> Iterator[Scene]:
  """Plays episodes with the protocol of an evaluation.

  Args:
    policy: policy for one environment.
    game: canonical name of the game.
    seed: seed of the no-op starts.
    episodes: number of episodes.
    max_steps: agent steps after which an episode is cut.

  Yields:
    The scene after each agent step.
  """
  environment = atari.AtariEnvironment(
    game, seed, terminal_on_life_loss=False, max_episode_steps=max_steps
  )
  for episode in range(episodes):
    frame = environment.reset()
    score, step, lives, first = 0.0, 0, None, True
    while not environment.game_over:
      action = policy(frame[None, ..., 0], np.array([first]))[0]
      frame, reward, _, info = environment.step(int(action))
      first = lives is not None and info['lives'] < lives
      lives = info['lives']
      score += reward
      step += 1
      yield Scene(environment.screen(), episode, step, score)


def draw(scene: Scene, name: str) -> np.ndarray:
  """Returns an enlarged screen with a line of text above it.

  Returns:
    uint8 [height, width, 3], in RGB.
  """
  size = (scene.screen.shape[1] * _SCALE, scene.screen.shape[0] * _SCALE)
  screen = cv2.resize(scene.screen, size, interpolation=cv2.INTER_NEAREST)
  banner = np.zeros((_BANNER, size[0], 3), np.uint8)
  text = f'{name}   score {scene.score:g}   step {scene.step}'
  cv2.putText(
    banner, text, (8, 28), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255,) * 3, 1
  )
  return np.concatenate([banner, screen])


def _format(suffix: str) -> dict:
  if suffix == '.gif':
    return {'duration': 1000 / FRAMES_PER_SECOND, 'loop': 0}
  return {'fps': FRAMES_PER_SECOND}


if __name__ == '__main__':
  app.run(main, flags_parser=parse_flags)
