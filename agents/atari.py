"""Atari games under the Atari-100k protocol; `agents.evaluation` evaluates.

`AtariEnvironment` is the training environment. Its frames, rewards and
terminals are bit for bit those of Dopamine's ``AtariPreprocessing``, except
that Dopamine 4.1.2 ends an episode at 25,000 agent steps and reports a
terminal.
"""

from collections.abc import Mapping
import dataclasses
import functools
import pathlib
from typing import Any, NamedTuple

import ale_py
from ale_py import roms
import cv2
from gymnasium import spaces
import numpy as np

from agents.core.state import Outcome
from agents.errors import ReplayError
from ht_rl import arguments
from ht_rl.atari100k import games


@dataclasses.dataclass(frozen=True)
class Protocol:
  """The Atari-100k protocol (Kaiser et al., 2020; Schwarzer et al., 2023).

  Another run passes its own numbers. Fields with `init=False` are fixed.

  >>> Protocol(training_steps=500).as_dict()['frames']
  2000

  Attributes:
    training_steps: agent steps, that is decisions, of training.
    max_episode_steps: agent steps after which an episode is cut.
    max_noops: an episode starts with 0 to this many no-op agent steps, both
      included, which count neither as steps nor in the return.
    terminal_on_life_loss: whether a life loss is a terminal in training.
    reward_clip: in training, rewards are clipped to plus or minus this.
    eval_episodes: full games played after training (a life loss is no
      terminal), scored without clipping.
    epsilon_eval: probability of a random action in evaluation.
    stack: number of frames that the agent stacks.
    frame_skip: emulator frames per agent step.
    pooled_frames: number of last frames of the skip that are max-pooled.
    screen_size: height and width of an observation, in pixels.
    color: 'grayscale'.
    resize: OpenCV's interpolation.
    sticky_actions: probability that the emulator repeats the last action.
    action_set: 'minimal', the actions that have an effect in the game.
  """

  training_steps: int = 100_000
  max_episode_steps: int = 27_000
  max_noops: int = 30
  terminal_on_life_loss: bool = True
  reward_clip: float = 1.0
  eval_episodes: int = 100
  epsilon_eval: float = 0.001
  stack: int = 4
  frame_skip: int = dataclasses.field(default=4, init=False)
  pooled_frames: int = dataclasses.field(default=2, init=False)
  screen_size: int = dataclasses.field(default=84, init=False)
  color: str = dataclasses.field(default='grayscale', init=False)
  resize: str = dataclasses.field(default='INTER_AREA', init=False)
  sticky_actions: float = dataclasses.field(default=0.0, init=False)
  action_set: str = dataclasses.field(default='minimal', init=False)

  def as_dict(self) -> dict[str, int | float | bool | str]:
    """Returns the protocol for a result file, `frames` included."""
    return {
      **dataclasses.asdict(self),
      'frames': self.training_steps * self.frame_skip,
    }


PROTOCOL = Protocol()


def all_games() -> tuple[str, ...]:
  """Returns the canonical names of all games that ale-py ships."""
  return tuple(rom_ids())


class Timestep(NamedTuple):
  """The result of one training step.

  Attributes:
    outcome: the outcome for the agent, with the reward clipped.
    observation: uint8 [84, 84, 1], the frame to act on: the first of a new
      episode if the last one is over.
    reward: unclipped, in game points.
    episode_over: whether the episode is over, by a game over or the time limit.
  """

  outcome: Outcome
  observation: np.ndarray
  reward: float
  episode_over: bool


class AtariEnvironment:
  """The training environment of one game, with the interface of Dopamine's.

  An observation is the maximum of the last two of four frames, in grayscale,
  resized to 84x84. The seed and the actions determine everything.

  Attributes:
    game: canonical name.
    action_space: Gymnasium's Discrete.
    observation_space: Gymnasium's Box.
    game_over: whether the episode is over: the game has ended, or the time
      limit is reached (which `step` does not report as a terminal).
  """

  def __init__(
    self,
    game: str,
    seed: int,
    *,
    terminal_on_life_loss: bool = PROTOCOL.terminal_on_life_loss,
    max_noops: int = PROTOCOL.max_noops,
    max_episode_steps: int = PROTOCOL.max_episode_steps,
  ):
    """Loads the game; `reset` starts the first episode.

    Args:
      game: any game of ale-py, in any usual spelling.
      seed: an integer from 0 to 2**32 - 1; fixes the number of no-ops of every
        episode.
      terminal_on_life_loss: whether `step` reports a lost life as a terminal.
      max_noops: an episode starts with 0 to `max_noops` no-ops.
      max_episode_steps: agent steps after which an episode is cut.

    Raises:
      ValueError: the game is unknown, or a number is out of range.
    """
    arguments.check_seed('seed', seed)
    arguments.check_bool('terminal_on_life_loss', terminal_on_life_loss)
    arguments.check_int('max_noops', max_noops, 0)
    arguments.check_int('max_episode_steps', max_episode_steps, 1)
    self.game = games.canonical_game(game, all_games())
    self._seed = seed
    self._terminal_on_life_loss = terminal_on_life_loss
    self._max_noops = max_noops
    self._max_episode_steps = max_episode_steps
    self._load()
    self.action_space = spaces.Discrete(len(self._action_set))
    self.observation_space = spaces.Box(
      0, 255, (PROTOCOL.screen_size, PROTOCOL.screen_size, 1), np.uint8
    )

  def reset(self) -> np.ndarray:
    """Starts the next episode.

    Returns:
      Its first observation, uint8 [84, 84, 1].
    """
    self._episode += 1
    self._resets_before_episode = self._resets
    self._steps = 0
    self._reset_emulator()
    for _ in range(draw_noops(self._seed, self._episode, self._max_noops)):
      self._skip_frames(0)
      if self._emulator.game_over():
        self._reset_emulator()
    self.game_over = False
    return self._observe()

  def step(self, action: int) -> tuple[np.ndarray, float, bool, dict[str, Any]]:
    """Plays one agent step: four frames of the action, fewer at a terminal.

    Args:
      action: index into the game's minimal action set.

    Returns:
      The observation, uint8 [84, 84, 1]; the sum of the frames' rewards, in
      game points; whether the state is terminal (the end of the game or, with
      `terminal_on_life_loss`, a life loss; not the time limit); and
      ``{'lives': lives left}``.

    Raises:
      RuntimeError: the episode is over.
      ValueError: there is no such action.
    """
    if self.game_over:
      raise RuntimeError('the episode is over: call reset() first')
    if not 0 <= action < len(self._action_set):
      raise ValueError(
        f'action must be in [0, {len(self._action_set)}), not {action}'
      )
    reward, is_terminal = self._skip_frames(action)
    self._actions[self._steps] = action
    self._steps += 1
    self.game_over = (
      self._emulator.game_over() or self._steps == self._max_episode_steps
    )
    return self._observe(), reward, is_terminal, {'lives': self._lives}

  def advance(self, action: int) -> 'Timestep':
    """Plays one training step, and resets at the end of an episode.

    Args:
      action: as for `step`.

    Returns:
      The outcome to learn from, with the reward clipped as `PROTOCOL` says, and
      the frame to act on.
    """
    observation, reward, terminal, _ = self.step(action)
    clip = PROTOCOL.reward_clip
    outcome = Outcome(
      reward=min(max(reward, -clip), clip),
      terminal=terminal,
      truncation=self.game_over and not terminal,
    )
    episode_over = self.game_over
    if episode_over:
      observation = self.reset()
    return Timestep(outcome, observation, reward, episode_over)

  def screen(self) -> np.ndarray:
    """Returns what a person would see: uint8 [height, width, 3], in RGB."""
    return self._emulator.getScreenRGB()

  def get_state(self) -> dict[str, Any]:
    """Returns the state for `set_state`; its shapes never change.

    The state is the episode's actions, not the emulator's memory: the states
    that ale-py 0.12.1 saves lack a flag of the video chip, so that Qbert
    continues differently from a restored one.

    Returns:
      ``episode`` (number of episodes before, -1 before the first `reset`),
      ``resets`` (of the emulator before this episode) and ``steps`` (of this
      episode), integers; ``actions``, uint8 [max_episode_steps]; and the
      console's memory, ``ram``, uint8 [128], with which `set_state` checks its
      result.
    """
    return {
      'episode': self._episode,
      'resets': self._resets_before_episode,
      'steps': self._steps,
      'actions': self._actions.copy(),
      'ram': self._emulator.getRAM(),
    }

  def set_state(self, state: Mapping[str, Any]) -> None:
    """Restores, bit for bit, the state at the call of `get_state`.

    It replays the unfinished episode: about 0.3 ms for each of its steps and
    4 ms for each reset before it.

    Args:
      state: from `get_state` of an environment made with the same arguments,
        in this or in another process.

    Raises:
      ReplayError: the replayed episode ends differently from the saved one.
    """
    if not self._replays(state):
      raise ReplayError(
        'the saved episode does not replay as it was: it comes from another '
        f'game than {self.game}, or from another seed, setting or version of '
        'ale-py'
      )

  def _replays(self, state: Mapping[str, Any]) -> bool:
    """Plays the saved episode; returns whether it is as it was."""
    self._load()
    if state['episode'] >= 0:
      for _ in range(state['resets']):
        self._reset_emulator()
      self._episode = int(state['episode']) - 1
      self.reset()
      for action in state['actions'][: state['steps']]:
        if self.game_over or action >= len(self._action_set):
          return False
        self.step(int(action))
    return np.array_equal(self._emulator.getRAM(), state['ram'])

  def _load(self) -> None:
    """Creates a new emulator, in its state before the first episode."""
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    self._emulator = ale_py.ALEInterface()
    self._emulator.setFloat(
      'repeat_action_probability', PROTOCOL.sticky_actions
    )
    self._emulator.loadROM(_rom_path(self.game))
    self._action_set = self._emulator.getMinimalActionSet()
    self._lives = 0
    self._episode = -1
    self._resets = 0
    self._resets_before_episode = 0
    self._steps = 0
    self._actions = np.zeros(self._max_episode_steps, np.uint8)
    self.game_over = True

  def _reset_emulator(self) -> None:
    """Restarts the game.

    The initial value of the console's timer depends on the number of restarts
    before (visible in Assault), so they are counted.
    """
    self._emulator.reset_game()
    self._resets += 1
    self._lives = self._emulator.lives()
    # The last two frames of the skip; after pooling, the first is their
    # maximum. A skip that ends early pools frames of the previous step.
    self._screens = np.zeros((2, *self._emulator.getScreenDims()), np.uint8)
    self._emulator.getScreenGrayscale(self._screens[0])

  def _skip_frames(self, action: int) -> tuple[float, bool]:
    """Repeats an action for four frames; returns reward and terminal."""
    reward = 0.0
    for frames_left in reversed(range(PROTOCOL.frame_skip)):
      reward += self._emulator.act(self._action_set[action])
      lives = self._emulator.lives()
      is_terminal = self._emulator.game_over() or (
        self._terminal_on_life_loss and lives < self._lives
      )
      self._lives = lives
      if frames_left < PROTOCOL.pooled_frames:
        self._emulator.getScreenGrayscale(self._screens[1 - frames_left])
      if is_terminal:
        break
    np.maximum(self._screens[0], self._screens[1], out=self._screens[0])
    return reward, is_terminal

  def _observe(self) -> np.ndarray:
    """Returns the pooled screen, resized."""
    size = (PROTOCOL.screen_size, PROTOCOL.screen_size)
    image = cv2.resize(self._screens[0], size, interpolation=cv2.INTER_AREA)
    return image[..., None]


def draw_noops(seed: int, episode: int, max_noops: int) -> int:
  """Returns an episode's random number of no-ops, uniform in 0 .. `max_noops`.

  Both ends are included. (Dopamine's labs and BBF's release exclude the last.)
  The number depends only on the arguments, so a checkpoint need not store the
  state of a generator.

  Args:
    seed: the run's seed, an integer of at least 0.
    episode: the episode's number, from 0.
    max_noops: the largest number, >= 0.

  Returns:
    The number of agent steps with a no-op.
  """
  return int(np.random.default_rng((seed, episode)).integers(max_noops + 1))


@functools.cache
def rom_ids() -> dict[str, str]:
  """Returns ale-py's identifier of each game, keyed by canonical name."""
  return {
    rom_id.title().replace('_', ''): rom_id
    for rom_id in sorted(roms.get_all_rom_ids())
  }


def _rom_path(game: str) -> pathlib.Path:
  """Returns the path of a game's ROM, given the canonical name."""
  path = roms.get_rom_path(rom_ids()[game])
  assert path is not None  # The name comes from ale-py's own list.
  return path
