"""Evaluation: plays all episodes of a policy at once.

Each episode has an ``AtariVectorEnv`` of ale-py of its own, with one thread, so
that all cores emulate, and an episode that is over rests. (One vector
environment for all would step each of them until the last episode ends.)

For the same actions, its frames and those of `atari.AtariEnvironment` are bit
for bit the same, with one exception. At a life loss (and at the end of a game,
whose frame no agent sees) the training environment stops skipping frames at
once, as Dopamine does; the vector environment goes on to the fourth frame. An
evaluation episode is the unmodified game: only training ends the bootstrap at a
life loss.
"""

from collections.abc import Callable
from typing import NamedTuple

from ale_py import vector_env
import numpy as np
from numpy.typing import ArrayLike

from agents.atari import PROTOCOL, all_games, draw_noops, rom_ids
from ht_rl import arguments
from ht_rl.atari100k import games


class Evaluation(NamedTuple):
  """The result of `evaluate`.

  Attributes:
    returns: unclipped return of each episode, in game points, float64
      [num_episodes].
    lengths: agent steps of each episode, without its no-ops, int64
      [num_episodes].
  """

  returns: np.ndarray
  lengths: np.ndarray


# Maps the newest frames, uint8 [num_episodes, 84, 84], and flags of those that
# begin a stack, bool [num_episodes], to actions, [num_episodes].
Policy = Callable[[np.ndarray, np.ndarray], ArrayLike]


def evaluate(
  policy: Policy,
  game: str,
  num_episodes: int,
  seed: int,
  *,
  max_noops: int = PROTOCOL.max_noops,
  max_episode_steps: int = PROTOCOL.max_episode_steps,
  progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
  """Plays all episodes in parallel, in one batch of fixed size.

  The policy keeps the frame stacks. It is told to clear one at the start of an
  episode and, as in Dopamine's labs and in BBF, after a life loss. Finished
  episodes stay in the batch until all are finished, so that a jitted policy is
  compiled once; their frames stay as they are and their actions are ignored.
  Episode i starts with as many no-ops as episode i of
  ``AtariEnvironment(game, seed)``.

  Args:
    policy: selects the batch's actions; see `Policy`.
    game: any game of ale-py, in any usual spelling.
    num_episodes: number of episodes, each in its own environment.
    seed: integer >= 0. The same seed and policy give the same result for any
      number of cores.
    max_noops: an episode starts with 0 to `max_noops` no-ops.
    max_episode_steps: agent steps after which an episode is cut.
    progress: called after each step of the batch with the number of steps done
      and the number of finished episodes.

  Returns:
    Each episode's return and length.

  Raises:
    ValueError: the game is unknown, or a number is out of range.
  """
  arguments.check_int('num_episodes', num_episodes, 1)
  arguments.check_seed('seed', seed)
  arguments.check_int('max_noops', max_noops, 0)
  arguments.check_int('max_episode_steps', max_episode_steps, 1)
  environments = [
    make_evaluation_environment(game) for _ in range(num_episodes)
  ]
  noops = np.array(
    [draw_noops(seed, episode, max_noops) for episode in range(num_episodes)]
  )
  returns = np.zeros(num_episodes)
  lengths = np.zeros(num_episodes, np.int64)
  over = np.zeros(num_episodes, bool)
  first = np.ones(num_episodes, bool)
  ended = np.zeros(num_episodes, bool)
  rewards = np.zeros(num_episodes)
  lives = np.zeros(num_episodes, np.int64)
  frames = np.zeros(
    (num_episodes, PROTOCOL.screen_size, PROTOCOL.screen_size), np.uint8
  )
  for i, environment in enumerate(environments):
    observation, info = environment.reset()
    frames[i], lives[i] = observation[0, 0], info['lives'][0]
  steps = 0
  while not over.all():
    actions = np.asarray(policy(frames, first))
    idle = noops > 0
    chosen = np.where(idle, 0, actions).astype(np.int32)
    frames, lives_before = frames.copy(), lives.copy()
    playing = np.flatnonzero(~over).tolist()
    for i in playing:  # All emulate at once, in their threads.
      environments[i].send(chosen[i : i + 1])
    for i in playing:
      observation, reward, end, _, info = environments[i].recv()
      frames[i], lives[i] = observation[0, 0], info['lives'][0]
      rewards[i], ended[i] = reward[0], end[0]
    counted = ~idle & ~over
    returns[counted] += rewards[counted]
    lengths += counted
    over |= counted & (ended | (lengths == max_episode_steps))
    # A game that ends during the no-ops restarts on the next step, whatever the
    # action. That step is no no-op, so do not count this one.
    noops -= idle & ~ended
    first = idle | (lives < lives_before)
    steps += 1
    if progress is not None:
      progress(steps, int(over.sum()))
  return Evaluation(returns, lengths)


def make_evaluation_environment(game: str) -> vector_env.AtariVectorEnv:
  """Returns an environment that plays the unmodified game.

  Frames are as in `AtariEnvironment`. There are no no-ops, no pressed buttons,
  no life-loss terminals, no clipping and no time limit: `evaluate` adds what it
  needs. Nothing is random, so there is no seed. A finished game restarts on the
  next step. Making one takes about 80 ms.

  Args:
    game: any game of ale-py, in any usual spelling.

  Returns:
    A vector environment of one, with observations uint8 [1, 1, 84, 84].

  Raises:
    ValueError: the game is unknown.
  """
  game = games.canonical_game(game, all_games())
  return vector_env.AtariVectorEnv(
    rom_ids()[game],
    num_envs=1,
    num_threads=1,
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
