"""Hare & Tortoise under vmap and donation, where it is unlike the others."""

import jax
import jax.numpy as jnp
import optax
import pytest

import ht_rl


def test_vmap_over_counts_restarts_each_member_at_its_own_time():
  optimizer = ht_rl.hare_tortoise(optax.sgd(0.1), momentum=0.5, reset_every=3)
  hare = jnp.ones((3, 2))
  state = jax.vmap(optimizer.init)(hare)._replace(count=jnp.array([0, 1, 2]))
  updates, state = jax.vmap(optimizer.update)(hare, state, hare)
  equal = (hare + updates == state.tortoise).all(axis=1)
  assert equal.tolist() == [False, False, True]


def test_a_replaced_tortoise_is_donated_with_its_source():
  optimizer = ht_rl.hare_tortoise(optax.adam(0.1), momentum=0.9)

  def step(hare, state):
    updates, state = optimizer.update(hare, state, hare)
    return optax.apply_updates(hare, updates), state

  donating = jax.jit(step, donate_argnums=(0, 1))
  hare = {'w': jnp.ones((4, 6)), 'b': jnp.ones(6)}
  state = ht_rl.replace_tortoise(optimizer.init(hare), hare)
  donating(hare, state)
  # Without the copies it would be one buffer, donated twice.
  hare = {'w': jnp.ones((4, 6)), 'b': jnp.ones(6)}
  with pytest.raises(Exception, match='donate'):
    donating(hare, optimizer.init(hare)._replace(tortoise=hare))
