"""The settings of a run beside those of its agent."""

import dataclasses

from agents import atari
from agents.core.settings import (
  at_least,
  check_settings,
  is_bool,
  optional,
  setting,
)


@dataclasses.dataclass(frozen=True)
class RunSettings:
  """How long a run trains, how it is evaluated, and what it writes when.

  Gin files call it `Atari100kRunner`.

  Attributes:
    training_steps: agent steps of training.
    num_eval_episodes: episodes of the evaluation, played in parallel.
    checkpoint_every: agent steps between checkpoints.
    log_every: agent steps between rows of the learner's figures.
    eval_every: agent steps between evaluations in the course of training, which
      leave it as it is; None for none but the one at the end.
    num_training_eval_episodes: episodes of each of those.
    keep_checkpoints: whether the checkpoints, with the replay, stay when the
      run is finished; the weights of the tortoise do in any case.
  """

  training_steps: int = setting(atari.PROTOCOL.training_steps, at_least(1))
  num_eval_episodes: int = setting(atari.PROTOCOL.eval_episodes, at_least(1))
  checkpoint_every: int = setting(10_000, at_least(1))
  log_every: int = setting(100, at_least(1))
  eval_every: int | None = setting(None, optional(at_least(1)))
  num_training_eval_episodes: int = setting(10, at_least(1))
  keep_checkpoints: bool = setting(False, is_bool)

  def __post_init__(self) -> None:
    check_settings(self, 'Atari100kRunner')
