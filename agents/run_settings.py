"""Settings of a run that do not belong to its agent."""

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
  """Length, evaluation, logging and checkpoint intervals of a run.

  Gin files call it `Atari100kRunner`.

  Attributes:
    training_steps: agent steps of training.
    num_eval_episodes: episodes of the final evaluation, played in parallel.
    checkpoint_every: agent steps between checkpoints.
    log_every: agent steps between logged rows of the learner's metrics.
    eval_every: agent steps between evaluations during training, which do not
      change the training; None for the final evaluation only.
    num_training_eval_episodes: episodes of each evaluation during training.
    keep_checkpoints: whether to keep the checkpoints, which hold the replay,
      after the run has finished; the weights of the tortoise are always kept.
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
