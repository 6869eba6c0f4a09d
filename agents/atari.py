"""Atari games under the Atari-100k protocol: training and evaluation.

`AtariEnvironment` is what an agent trains in; its frames, rewards and terminals
are bit for bit those of Dopamine's ``AtariPreprocessing`` (but Dopamine 4.1.2
ends an episode at 25,000 agent steps, and calls that a terminal). `evaluate`
plays all evaluation episodes at once in ale-py's ``AtariVectorEnv``, which
steps its emulators on all cores.

The frames of the two are bit for bit the same for the same actions, with one
difference: at a life loss (and at a game's end, whose frame no agent sees) the
training environment stops skipping frames at once, as Dopamine does, while the
vector environment goes on to the skip's fourth frame. So an evaluation
episode is the game as it is, and life losses are marked in training only.
"""

from collections.abc import Callable, Mapping
import dataclasses
import functools
import pathlib
from typing import Any, NamedTuple

import ale_py
from ale_py import roms, vector_env
import cv2
from gymnasium import spaces
import numpy as np
from numpy.typing import ArrayLike

from agents.core.state import Outcome
from ht_rl import arguments
from ht_rl.atari100k import games


@dataclasses.dataclass(frozen=True)
class Protocol:
  """The Atari-100k protocol (Kaiser et al., 2020; Schwarzer et al., 2023).

  A shorter run passes its own numbers; what the code fixes can't be passed.

  >>> Protocol(training_steps=500).as_dict()['frames']
  2000

  Attributes:
    training_steps: agent steps, that is decisions, of training.
    max_episode_steps: agent steps after which an episode is cut.
    max_noops: an episode starts with 0 to this many idle agent steps, both
      included, which count neither as steps nor in the return.
    terminal_on_life_loss: whether a life loss ends the bootstrap in training.
    reward_clip: learning sees rewards clipped to plus or minus this.
    eval_episodes: episodes played after training, in full (a life loss
      ends nothing) and scored without clipping.
    epsilon_eval: probability of a random action in them.
    frame_skip: emulator frames that an agent step lasts.
    pooled_frames: last frames of the skip over which the maximum is taken.
    screen_size: height and width of an observation, in pixels.
    color: 'grayscale'.
    resize: OpenCV's interpolation.
    stack: frames that the agent stacks.
    sticky_actions: probability that the emulator repeats the last action.
    action_set: 'minimal', the actions that do something in the game.
  """

  training_steps: int = 100_000
  max_episode_steps: int = 27_000
  max_noops: int = 30
  terminal_on_life_loss: bool = True
  reward_clip: float = 1.0
  eval_episodes: int = 100
  epsilon_eval: float = 0.001
  frame_skip: int = dataclasses.field(default=4, init=False)
  pooled_frames: int = dataclasses.field(default=2, init=False)
  screen_size: int = dataclasses.field(default=84, init=False)
  color: str = dataclasses.field(default='grayscale', init=False)
  resize: str = dataclasses.field(default='INTER_AREA', init=False)
  stack: int = dataclasses.field(default=4, init=False)
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
  return tuple(_rom_ids())


class Timestep(NamedTuple):
  """What a step of training brought.

  Attributes:
    outcome: for the agent, its reward clipped.
    observation: uint8 [84, 84, 1], the frame to act on: of a new episode if the
      last one is over.
    reward: in game points.
    episode_over: whether the episode is over, by its end or by the time limit.
  """

  outcome: Outcome
  observation: np.ndarray
  reward: float
  episode_over: bool


class AtariEnvironment:
  """One game to train in, with the interface that Dopamine's Runner expects.

  An observation is the maximum of the last two of four frames, in grayscale,
  at 84x84. Everything follows from the seed and the actions.

  Attributes:
    game: canonical name.
    action_space: Gymnasium's Discrete.
    observation_space: Gymnasium's Box.
    game_over: whether the episode is over: the game has ended, or the time
      limit has come (then `step` says that the last state is no terminal one).
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
      seed: integer >= 0; fixes the number of no-ops of every episode.
      terminal_on_life_loss: whether `step` calls a lost life terminal.
      max_noops: an episode starts with 0 to `max_noops` no-ops.
      max_episode_steps: agent steps after which an episode is cut.

    Raises:
      ValueError: the game is unknown, or a number is out of range.
    """
    arguments.check_int('seed', seed, 0)
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
    """Plays one agent step: the action for four frames, fewer at a terminal.

    Args:
      action: index into the game's minimal action set.

    Returns:
      The observation, uint8 [84, 84, 1]; the sum of the frames' rewards, in
      game points; whether the state is terminal (the game's end or, if asked
      for, a life loss; not the time limit); and ``{'lives': lives left}``.

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
    """Plays one agent step of training; a new episode follows the last.

    Args:
      action: as for `step`.

    Returns:
      What an agent learns from, its reward clipped as `PROTOCOL` says, and the
      frame to act on.
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
    """Returns all that `set_state` needs, of the same shapes at any time.

    The state is the episode's actions, not the emulator's memory: ale-py
    0.12.1 leaves a flag of the video chip out of the states that it saves, so
    that Qbert goes on differently from a restored one.

    Returns:
      ``episode`` (how many came before, -1 before the first `reset`),
      ``resets`` (of the emulator before this episode) and ``steps`` (of this
      episode), integers; ``actions``, uint8 [max_episode_steps]; and the
      console's memory, ``ram``, uint8 [128], by which `set_state` checks
      itself.
    """
    return {
      'episode': self._episode,
      'resets': self._resets_before_episode,
      'steps': self._steps,
      'actions': self._actions.copy(),
      'ram': self._emulator.getRAM(),
    }

  def set_state(self, state: Mapping[str, Any]) -> None:
    """Goes on, bit for bit, from where `get_state` was called.

    Plays the unfinished episode again: about 0.3 ms for each of its steps and
    4 ms for each reset before it.

    Args:
      state: from `get_state` of an environment made with the same arguments,
        in this or in another process.

    Raises:
      ValueError: the replayed episode ends otherwise than the saved one.
    """
    self._load()
    if state['episode'] >= 0:
      for _ in range(state['resets']):
        self._reset_emulator()
      self._episode = int(state['episode']) - 1
      self.reset()
      for action in state['actions'][: state['steps']]:
        self.step(int(action))
    if not np.array_equal(self._emulator.getRAM(), state['ram']):
      raise ValueError(
        'the saved episode does not replay as it was: it comes from another '
        f'game than {self.game}, or from another seed, setting or version of '
        'ale-py'
      )

  def _load(self) -> None:
    """Puts in a fresh emulator, as it is before the first episode."""
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

    The console's timer starts at a number that depends on how many restarts
    came before (it shows in Assault), so they are counted.
    """
    self._emulator.reset_game()
    self._resets += 1
    self._lives = self._emulator.lives()
    # The skip's last two frames; after pooling, the first is their maximum. A
    # skip that is cut short pools what the step before has left here.
    self._screens = np.zeros((2, *self._emulator.getScreenDims()), np.uint8)
    self._emulator.getScreenGrayscale(self._screens[0])

  def _skip_frames(self, action: int) -> tuple[float, bool]:
    """Holds an action for four frames and returns reward and terminal."""
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


class Evaluation(NamedTuple):
  """What `evaluate` measured.

  Attributes:
    returns: unclipped return of each episode, in game points, float64
      [num_episodes].
    lengths: agent steps of each episode, without its no-ops, int64
      [num_episodes].
  """

  returns: np.ndarray
  lengths: np.ndarray


# Takes the newest frames, uint8 [num_episodes, 84, 84], and which of them begin
# a stack, bool [num_episodes]; gives an action for each, [num_episodes].
Policy = Callable[[np.ndarray, np.ndarray], ArrayLike]


def evaluate(
  policy: Policy,
  game: str,
  num_episodes: int,
  seed: int,
  *,
  max_noops: int = PROTOCOL.max_noops,
  max_episode_steps: int = PROTOCOL.max_episode_steps,
  num_threads: int = 0,
  progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
  """Plays all episodes side by side, in one batch of a fixed size.

  The policy keeps the frame stacks and clears one where it is told so: at an
  episode's start and, as in Dopamine's labs and in BBF, after a life loss.
  Episodes that are over stay in the batch until the last one is, so a jitted
  policy is compiled once; what happens in them is ignored. Episode i starts
  with as many no-ops as episode i of ``AtariEnvironment(game, seed)``.

  Args:
    policy: gives the batch's actions; see `Policy`.
    game: any game of ale-py, in any usual spelling.
    num_episodes: how many episodes, each in its own environment.
    seed: integer >= 0. With the same seed and policy, the result is the same,
      whatever the number of threads.
    max_noops: an episode starts with 0 to `max_noops` no-ops.
    max_episode_steps: agent steps after which an episode is cut.
    num_threads: threads that step the emulators; 0 for one a core.
    progress: called after each step of the batch with the number of steps made
      and the number of episodes that are over.

  Returns:
    Each episode's return and length.

  Raises:
    ValueError: the game is unknown, or a number is out of range.
  """
  arguments.check_int('num_episodes', num_episodes, 1)
  arguments.check_int('seed', seed, 0)
  arguments.check_int('max_noops', max_noops, 0)
  arguments.check_int('max_episode_steps', max_episode_steps, 1)
  environments = make_evaluation_environments(
    game, num_episodes, num_threads=num_threads
  )
  noops = np.array(
    [draw_noops(seed, episode, max_noops) for episode in range(num_episodes)]
  )
  returns = np.zeros(num_episodes)
  lengths = np.zeros(num_episodes, np.int64)
  over = np.zeros(num_episodes, bool)
  first = np.ones(num_episodes, bool)
  frames, info = environments.reset()
  steps = 0
  while not over.all():
    actions = np.asarray(policy(frames[:, 0], first))
    lives = info['lives']
    idle = noops > 0
    frames, rewards, ended, _, info = environments.step(
      np.where(idle, 0, actions).astype(np.int32)
    )
    counted = ~idle & ~over
    returns[counted] += rewards[counted]
    lengths += counted
    over |= counted & (ended | (lengths == max_episode_steps))
    # A game that ends while idle restarts on the next step, whatever the
    # action: that step is no no-op, so the one just made is not taken off.
    noops -= idle & ~ended
    first = idle | (info['lives'] < lives)
    steps += 1
    if progress is not None:
      progress(steps, int(over.sum()))
  return Evaluation(returns, lengths)


def make_evaluation_environments(
  game: str, num_environments: int, *, num_threads: int = 0
) -> vector_env.AtariVectorEnv:
  """Makes a batch of environments that play the game as it is.

  Frames as in `AtariEnvironment`; no no-ops, no pressed buttons, no life-loss
  terminals, no clipping and no time limit: `evaluate` does what it needs of
  these. They need no seed, since nothing in them is random. A game that is
  over restarts on the step after.

  Args:
    game: any game of ale-py, in any usual spelling.
    num_environments: how many. Making one takes about 80 ms.
    num_threads: threads that step them; 0 for one a core.

  Returns:
    The vector environment, with observations uint8 [num_environments, 1, 84,
    84].

  Raises:
    ValueError: the game is unknown, or a number is out of range.
  """
  arguments.check_int('num_environments', num_environments, 1)
  arguments.check_int('num_threads', num_threads, 0)
  game = games.canonical_game(game, all_games())
  return vector_env.AtariVectorEnv(
    _rom_ids()[game],
    num_environments,
    num_threads=num_threads,
    max_num_frames_per_episode=2**30,  # In effect none.
    repeat_action_probability=PROTOCOL.sticky_actions,
    img_height=PROTOCOL.screen_size,
    img_width=PROTOCOL.screen_size,
    stack_num=1,
    frameskip=PROTOCOL.frame_skip,
    noop_max=0,
    reward_clipping=False,
    use_fire_reset=False,
  )


def draw_noops(seed: int, episode: int, max_noops: int) -> int:
  """Draws an episode's number of no-ops, uniform in 0 .. `max_noops`.

  Both ends are drawn. (Dopamine's labs and BBF's release leave out the last.)
  The draw depends on nothing but its arguments, so there is no generator whose
  state a checkpoint would have to hold.

  Args:
    seed: the run's seed, an integer >= 0.
    episode: the episode's number, from 0.
    max_noops: the largest number, >= 0.

  Returns:
    The number of agent steps to idle.
  """
  return int(np.random.default_rng((seed, episode)).integers(max_noops + 1))


@functools.cache
def _rom_ids() -> dict[str, str]:
  """Returns ale-py's identifier of each game, by canonical name."""
  return {
    rom_id.title().replace('_', ''): rom_id
    for rom_id in sorted(roms.get_all_rom_ids())
  }


def _rom_path(game: str) -> pathlib.Path:
  """Returns where ale-py keeps a game, given its canonical name."""
  path = roms.get_rom_path(_rom_ids()[game])
  assert path is not None  # The name comes from ale-py's own list.
  return path
