"""Every public transform, made to the same measure."""

import jax
import jax.numpy as jnp
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


def parseval(inner, params, reset_every):
  del params, reset_every
  return optax.chain(ht_rl.parseval(1e-7), inner)


def fire(inner, params, reset_every):
  del params
  return ht_rl.fire(inner, reset_every=reset_every)


def redo(inner, params, reset_every):
  return with_activations(
    ht_rl.redo(
      inner,
      lambda key: optax.tree.random_like(key, params),
      layers=first_layer(params),
      threshold=0.5,
      reset_every=reset_every,
    )
  )


def self_normalized_resets(inner, params, reset_every):
  return with_activations(
    ht_rl.self_normalized_resets(
      inner,
      lambda key: optax.tree.random_like(key, params),
      layers=first_layer(params),
      rejection=0.25,
      # A function of the updates says that later ones must converge.
      max_interval=15_000 if callable(reset_every) else reset_every,
      refresh_every=7,
    )
  )


def continual_backprop(inner, params, reset_every):
  width = jax.tree.leaves(params)[0].shape[-1]
  rate = 1 / 30_000 if callable(reset_every) else 0.75 / reset_every / width
  return with_activations(
    ht_rl.continual_backprop(
      inner,
      lambda key: optax.tree.random_like(key, params),
      layers=first_layer(params),
      replacement_rate=rate,
      maturity=1,
    )
  )


def with_activations(optimizer):
  """The optimizer, whose updates find activations with a silent first unit."""

  def update(updates, state, params=None, **extra_args):
    width = jax.tree.leaves(params)[0].shape[-1]
    activations = {'layer': jnp.ones((2, width)).at[:, 0].set(0)}
    return optimizer.update(
      updates, state, params, activations=activations, **extra_args
    )

  return optax.GradientTransformationExtraArgs(optimizer.init, update)


def first_layer(params):
  """The first of the leaves as a layer, which the first matrix reads."""
  leaves = jax.tree_util.tree_leaves_with_path(params)
  reader = next(path for path, leaf in leaves if leaf.ndim == 2)
  return {
    'layer': ht_rl.Units(
      *(
        jax.tree_util.keystr(path, simple=True, separator='/')
        for path in (leaves[0][0], reader)
      )
    )
  }


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
    parseval,
    fire,
    redo,
    self_normalized_resets,
    continual_backprop,
  ],
  ids=lambda make: make.__name__,
)
def make_optimizer(request):
  """A function of the inner transformation, parameters and the interval."""
  return request.param
