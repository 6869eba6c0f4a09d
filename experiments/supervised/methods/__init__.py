"""Methods against the loss of plasticity: what each one adds to training.

A method is a frozen dataclass that overrides one or more hooks of `Method`; its
fields are its hyperparameters. Those of the paper are switched on by fields of
`Setting`; others are named in `Setting.methods`.

Hare & Tortoise, averages and weight decay are in the optimizer
(`schedule.Schedule.optimizer`); CReLU is in the networks.
"""

from experiments.supervised.methods.base import Batch, Method, Weights
from experiments.supervised.methods.continual_backprop import ContinualBackprop
from experiments.supervised.methods.penalties import (
  Parseval,
  Regenerate,
  SelfDistillation,
  SpectralDecoupling,
)
from experiments.supervised.methods.redo import ReDo
from experiments.supervised.methods.resets import (
  FIRE,
  HeadReset,
  ShrinkAndPerturb,
)
from experiments.supervised.methods.snr import SelfNormalizedResets

__all__ = [
  'FIRE',
  'Batch',
  'ContinualBackprop',
  'HeadReset',
  'Method',
  'Parseval',
  'ReDo',
  'Regenerate',
  'SelfDistillation',
  'SelfNormalizedResets',
  'ShrinkAndPerturb',
  'SpectralDecoupling',
  'Weights',
]
