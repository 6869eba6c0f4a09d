"""Hare & Tortoise networks in JAX: fast weights restart from slow ones."""

from ht_rl import atari100k, plasticity
from ht_rl.transforms.continual_backprop import (
  ContinualBackpropState,
  continual_backprop,
)
from ht_rl.transforms.elastic_reset import ElasticResetState, elastic_reset
from ht_rl.transforms.fire import fire
from ht_rl.transforms.hare_tortoise import hare_tortoise, hare_tortoise_step
from ht_rl.transforms.jump import ReinitializeState
from ht_rl.transforms.momentum import momentum_warm_up
from ht_rl.transforms.parseval import parseval
from ht_rl.transforms.redo import redo
from ht_rl.transforms.regenerate import RegenerateState, regenerate
from ht_rl.transforms.reinitialize import reset_subtree, shrink_and_perturb
from ht_rl.transforms.self_normalized_resets import (
  SelfNormalizedResetsState,
  self_normalized_resets,
)
from ht_rl.transforms.tortoise import (
  HareTortoiseState,
  replace_tortoise,
  tortoise_params,
)
from ht_rl.transforms.units import Units

__version__ = '0.1.0'  # setup.py reads it from here.

__all__ = [
  'ContinualBackpropState',
  'ElasticResetState',
  'HareTortoiseState',
  'RegenerateState',
  'ReinitializeState',
  'SelfNormalizedResetsState',
  'Units',
  'atari100k',
  'continual_backprop',
  'elastic_reset',
  'fire',
  'hare_tortoise',
  'hare_tortoise_step',
  'momentum_warm_up',
  'parseval',
  'plasticity',
  'redo',
  'regenerate',
  'replace_tortoise',
  'reset_subtree',
  'self_normalized_resets',
  'shrink_and_perturb',
  'tortoise_params',
]
