"""The transforms with Equinox models and with states out of checkpoints."""

import equinox as eqx
from flax import serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

import ht_rl

MODEL = eqx.nn.MLP(2, 2, 4, 1, key=jax.random.key(0))
PARAMS = eqx.filter(MODEL, eqx.is_array)
FRESH = jax.tree.map(jnp.ones_like, PARAMS)


def head(model, value, other):
  """A module like the model, with numbers in place of its arrays."""
  numbers = jax.tree.map(lambda x: other, model)
  return eqx.tree_at(
    lambda m: m.layers[-1],
    numbers,
    jax.tree.map(lambda x: value, model.layers[-1]),
  )


TRANSFORMS = {
  'hare_tortoise': ht_rl.hare_tortoise(
    optax.sgd(0.0), momentum=0.0, reset_every=2
  ),
  'shrink_and_perturb': ht_rl.shrink_and_perturb(
    optax.sgd(0.0), lambda key: FRESH, keep=0.0, reset_every=2
  ),
  'reset_subtree': ht_rl.reset_subtree(
    optax.sgd(0.0), lambda key: FRESH, reset_mask=True, reset_every=2
  ),
  'regenerate': ht_rl.regenerate(0.1),
}


# The masks for the whole model have leaves in place of its functions, too.
@pytest.mark.parametrize('model', [PARAMS, MODEL], ids=['filtered', 'whole'])
def test_a_callable_tree_is_a_mask(model):
  mask, keep = head(model, True, False), head(model, 0.0, 1.0)
  assert callable(mask)
  for optimizer in (
    ht_rl.reset_subtree(
      optax.sgd(0.0), lambda key: FRESH, reset_mask=mask, reset_every=1
    ),
    ht_rl.shrink_and_perturb(
      optax.sgd(0.0), lambda key: FRESH, keep=keep, reset_every=1
    ),
  ):
    updates, _ = optimizer.update(PARAMS, optimizer.init(PARAMS), PARAMS)
    new = optax.apply_updates(PARAMS, updates)
    np.testing.assert_array_equal(new.layers[0].weight, MODEL.layers[0].weight)
    np.testing.assert_allclose(new.layers[1].weight, 1, rtol=1e-6)

  # From a tortoise of ones, which stays: only the head restarts.
  hare, tortoise = ht_rl.hare_tortoise_step(
    PARAMS, FRESH, 1, momentum=0.9, reset_every=1, reset_mask=mask
  )
  np.testing.assert_array_equal(hare.layers[0].weight, MODEL.layers[0].weight)
  np.testing.assert_array_equal(
    hare.layers[1].weight, tortoise.layers[1].weight
  )


@pytest.mark.parametrize('optimizer', TRANSFORMS.values(), ids=TRANSFORMS)
def test_functions_among_the_parameters_are_named(optimizer):
  state = optimizer.init(PARAMS)
  message = r'^params must be .* params\.activation is .* `equinox\.filter'
  with pytest.raises(ValueError, match=message):
    optimizer.update(PARAMS, state, MODEL)
  with pytest.raises(ValueError, match=message):
    optimizer.init(MODEL)


def restored_by_orbax(state, folder):
  with ocp.StandardCheckpointer() as checkpointer:
    checkpointer.save(folder / 'state', state)
    checkpointer.wait_until_finished()
    return checkpointer.restore(folder / 'state')


RESTORERS = {
  'flax': lambda state, folder: serialization.to_state_dict(state),
  'orbax': restored_by_orbax,
}


@pytest.mark.parametrize('restore', RESTORERS.values(), ids=RESTORERS)
def test_a_state_without_its_structure_says_how_to_restore_it(
  restore, tmp_path
):
  params = {'w': jnp.ones(2)}
  optimizer = TRANSFORMS['hare_tortoise']
  message = r'^state has a dict .* template `optimizer\.init\(params\)`$'
  for nested in (optimizer, optax.chain(optax.clip(1.0), optimizer)):
    folder = tmp_path / str(nested is optimizer)
    restored = restore(nested.init(params), folder)
    with pytest.raises(ValueError, match=message):
      ht_rl.tortoise_params(restored)
    with pytest.raises(ValueError, match=message):
      ht_rl.replace_tortoise(restored, params)
    if nested is optimizer:
      with pytest.raises(ValueError, match=message):
        optimizer.update(params, restored, params)


@pytest.mark.parametrize('name', ['shrink_and_perturb', 'regenerate'])
def test_other_states_without_their_structure_are_named(name):
  optimizer = TRANSFORMS[name]
  state = serialization.to_state_dict(optimizer.init(PARAMS))
  with pytest.raises(ValueError, match=r'^state has a dict in place of its Re'):
    optimizer.update(PARAMS, state, PARAMS)


def test_the_state_of_another_optimizer_is_named():
  optimizer = TRANSFORMS['hare_tortoise']
  with pytest.raises(
    ValueError, match=r'^state must be the HareTortoiseState that `init` made'
  ):
    optimizer.update(PARAMS, optax.adam(0.1).init(PARAMS), PARAMS)
