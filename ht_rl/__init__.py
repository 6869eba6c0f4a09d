"""Hare & Tortoise networks in JAX: fast weights restart from slow ones."""

from ht_rl.transforms.hare_tortoise import (
  HareTortoiseState,
  hare_tortoise,
  hare_tortoise_step,
  replace_tortoise,
  tortoise_params,
)

__all__ = [
  'HareTortoiseState',
  'hare_tortoise',
  'hare_tortoise_step',
  'replace_tortoise',
  'tortoise_params',
]
