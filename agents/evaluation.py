"""Evaluation: plays all episodes of one or several policies at once.

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

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from ale_py import vector_env
import numpy as np
from numpy.typing import ArrayLike

from agents.atari import PROTOCOL, all_games, draw_noops, rom_ids
from ht_rl import arguments
from ht_rl.atari100k import games
from ht_rl.atari100k.run_episodes import Episode

# An emulator takes a thread and 0.8 MB; this many keep dozens of cores busy.
_MOST_EPISODES = 500


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
# begin a stack, bool [num_episodes], to actions, [num_episodes]. An array of
# JAX need not be computed yet: the emulators of other policies play meanwhile.
Policy = Callable[[np.ndarray, np.ndarray], ArrayLike]


class Job(NamedTuple):
  """A policy to evaluate, and its episodes.

  Attributes:
    policy: selects the actions of all its episodes.
    game: any game of ale-py, in any usual spelling.
    num_episodes: number of episodes, each in its own environment.
    seed: an integer from 0 to 2**32 - 1.
    finished: by number, episodes of this evaluation that need not be played
      again.
    keep: is told the number of each episode that ends, and its result.
  """

  policy: Policy
  game: str
  num_episodes: int
  seed: int
  finished: Mapping[int, Episode] = MappingProxyType({})
  keep: Callable[[int, Episode], None] = lambda index, episode: None


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
    seed: an integer from 0 to 2**32 - 1. The same seed and policy give the same
      result for any number of cores.
    max_noops: an episode starts with 0 to `max_noops` no-ops.
    max_episode_steps: agent steps after which an episode is cut.
    progress: called after each step of the batch with the number of steps done
      and the number of finished episodes.

  Returns:
    Each episode's return and length.

  Raises:
    ValueError: the game is unknown, or a number is out of range.
  """
  [(_, evaluation)] = evaluate_all(
    [Job(policy, game, num_episodes, seed)],
    max_noops=max_noops,
    max_episode_steps=max_episode_steps,
    progress=progress,
  )
  return evaluation


def evaluate_all(
  jobs: Iterable[Job],
  *,
  max_noops: int = PROTOCOL.max_noops,
  max_episode_steps: int = PROTOCOL.max_episode_steps,
  progress: Callable[[int, int], None] | None = None,
  most_episodes: int = _MOST_EPISODES,
) -> Iterator[tuple[int, Evaluation]]:
  """Plays the episodes of several policies at once.

  Each policy sees the batches that it would see alone, so that each evaluation
  is the one of `evaluate`. While one policy computes its actions, the emulators
  of the others play.

  Args:
    jobs: the policies and their episodes. A job is taken from them when it
      starts.
    max_noops: as for `evaluate`.
    max_episode_steps: as for `evaluate`.
    progress: called after each step of all that play, with the number of steps
      done and the number of episodes that are finished, of all jobs that have
      started.
    most_episodes: a job does not start while this many episodes play.

  Yields:
    The index of each job and its evaluation, as soon as it is over.

  Raises:
    ValueError: a game is unknown, or a number is out of range.
  """
  waiting = enumerate(jobs)
  playing: dict[int, _Episodes] = {}
  steps = finished = 0

  def count() -> int:
    return sum(episodes.num_playing for episodes in playing.values())

  while True:
    # One at a time: loading its games takes seconds, and `progress` may stop.
    if count() < most_episodes and (next_job := next(waiting, None)):
      index, job = next_job
      playing[index] = _Episodes(job, max_noops, max_episode_steps)
      finished += len(job.finished)
    elif not playing:
      return
    num_playing = count()
    for episodes in playing.values():
      episodes.send()
    for episodes in playing.values():
      episodes.receive()
    steps += 1
    finished += num_playing - count()
    if progress is not None:
      progress(steps, finished)
    for index in list(playing):
      if not playing[index].num_playing:
        yield index, playing.pop(index).evaluation


class _Episodes:
  """The episodes of a job.

  Attributes:
    evaluation: the returns and lengths so far.
  """

  def __init__(self, job: Job, max_noops: int, max_episode_steps: int):
    """Loads the games, and asks the policy for the first actions."""
    arguments.check_int('num_episodes', job.num_episodes, 1)
    arguments.check_seed('seed', job.seed)
    arguments.check_int('max_noops', max_noops, 0)
    arguments.check_int('max_episode_steps', max_episode_steps, 1)
    num = job.num_episodes
    self.evaluation = Evaluation(np.zeros(num), np.zeros(num, np.int64))
    for i, episode in job.finished.items():
      self.evaluation.returns[i], self.evaluation.lengths[i] = episode
    self._policy, self._keep = job.policy, job.keep
    self._max_episode_steps = max_episode_steps
    self._environments = {
      i: make_evaluation_environment(job.game)
      for i in range(num)
      if i not in job.finished
    }
    self._noops = np.array(
      [draw_noops(job.seed, episode, max_noops) for episode in range(num)]
    )
    self._ended = np.zeros(num, bool)
    self._rewards = np.zeros(num)
    self._lives = np.zeros(num, np.int64)
    self._frames = np.zeros(
      (num, PROTOCOL.screen_size, PROTOCOL.screen_size), np.uint8
    )
    for i, environment in self._environments.items():
      observation, info = environment.reset()
      self._frames[i] = observation[0, 0]
      self._lives[i] = info['lives'][0]
    self._actions: ArrayLike = np.zeros(num)
    if self._environments:
      self._actions = self._policy(self._frames, np.ones(num, bool))

  @property
  def num_playing(self) -> int:
    """The number of episodes that are not over."""
    return len(self._environments)

  def send(self) -> None:
    """Waits for the actions; the emulators begin to play them."""
    actions = np.asarray(self._actions)
    chosen = np.where(self._noops > 0, 0, actions).astype(np.int32)
    for i, environment in self._environments.items():
      environment.send(chosen[i : i + 1])

  def receive(self) -> None:
    """Waits for the emulators, and asks the policy for the next actions."""
    returns, lengths = self.evaluation
    # The policy may still read the last frames.
    frames, lives = self._frames.copy(), self._lives.copy()
    for i, environment in self._environments.items():
      observation, reward, end, _, info = environment.recv()
      frames[i], lives[i] = observation[0, 0], info['lives'][0]
      self._rewards[i], self._ended[i] = reward[0], end[0]
    playing = np.zeros(len(frames), bool)
    playing[list(self._environments)] = True
    idle = self._noops > 0
    counted = ~idle & playing
    returns[counted] += self._rewards[counted]
    lengths[counted] += 1
    over = counted & (self._ended | (lengths == self._max_episode_steps))
    # A game that ends during the no-ops restarts on the next step, whatever the
    # action. That step is no no-op, so do not count this one.
    self._noops -= idle & ~self._ended
    first = idle | (lives < self._lives)
    self._frames, self._lives = frames, lives
    for i in np.flatnonzero(over).tolist():
      del self._environments[i]
      self._keep(i, Episode(float(returns[i]), int(lengths[i])))
    if self._environments:
      self._actions = self._policy(frames, first)


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
