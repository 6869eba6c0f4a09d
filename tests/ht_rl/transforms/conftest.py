"""Every public transform, made to the same measure."""

import jax
import optax
import pytest

import ht_rl


def hare_tortoise(inner, params, reset_every):
  del params
  return ht_rl.hare_tortoise(
    inner,
    momentum=optax.linear_schedule(0.5, 0.95, 20),
    reset_every=reset_every,
    update_every=2,
    reset_mask=first_only,
    reset_inner_state=True,
  )


def elastic_reset(inner, params, reset_every):
  del params
  return ht_rl.elastic_reset(
    inner, momentum=0.9, reset_every=reset_every, return_strength=0.5
  )


def shrink_and_perturb(inner, params, reset_every):
  return ht_rl.shrink_and_perturb(
    inner,
    lambda key: optax.tree.random_like(key, params),
    keep=0.75,
    reset_every=reset_every,
  )


def reset_subtree(inner, params, reset_every):
  return ht_rl.reset_subtree(
    inner,
    lambda key: optax.tree.random_like(key, params),
    reset_mask=first_only,
    reset_every=reset_every,
  )


def regenerate(inner, params, reset_every):
  del params, reset_every
  return optax.chain(ht_rl.regenerate(1e-6), inner)


def first_only(params):
  """A mask of the first of the leaves."""
  leaves, structure = jax.tree.flatten(params)
  return structure.unflatten([i == 0 for i in range(len(leaves))])


@pytest.fixture(
  params=[
    hare_tortoise,
    elastic_reset,
    shrink_and_perturb,
    reset_subtree,
    regenerate,
  ],
  ids=lambda make: make.__name__,
)
def make_optimizer(request):
  """A function of the inner transformation, parameters and the interval."""
  return request.param
