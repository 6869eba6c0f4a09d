"""Properties of Hare & Tortoise over random trees, dtypes, periods, momenta.

For any tree of floats, any updates and any rule: types and structure stay; the
count counts; the tortoise stays between what it was and the hare; a momentum of
0 copies; a restart makes both bitwise equal where they have one dtype, and only
then are they touched.
"""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
import jax
import jax.numpy as jnp
import numpy as np
import optax

import ht_rl

DTYPES = ('float32', 'bfloat16', 'float16')
STEPS = 6

# Derandomized, and without a folder of examples: the same test everywhere.
PROFILE = settings(
  max_examples=50, deadline=None, derandomize=True, database=None
)


@st.composite
def leaves(draw):
  """An array of the hare and its updates over STEPS steps, of one dtype."""
  dtype = draw(st.sampled_from(DTYPES))
  shape = draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=4))
  numbers = st.floats(-1000, 1000, width=16)
  arrays = hnp.arrays(np.float32, (STEPS + 1, *shape), elements=numbers)
  return jnp.asarray(draw(arrays), dtype)


TREES = st.recursive(
  leaves() | st.none(),
  lambda children: (
    st.dictionaries(st.sampled_from('abc'), children, max_size=3)
    | st.lists(children, max_size=3)
    | st.tuples(children, children)
  ),
  max_leaves=4,
).map(lambda tree: {'params': tree})
MOMENTA = st.sampled_from([0.0, 0.5, 0.9, 0.995, 0.99999]) | st.floats(0, 0.999)
PERIODS = st.integers(1, 4)


def run(tree, **rule):
  """Returns the hares and the states; row 0 of each leaf is the first hare."""
  optimizer = ht_rl.hare_tortoise(optax.identity(), **rule)
  hare = jax.tree.map(lambda x: x[0], tree)
  state = optimizer.init(hare)
  hares, states = [hare], [state]
  for t in range(1, STEPS + 1):
    step = jax.tree.map(lambda x, t=t: x[t], tree)
    updates, state = optimizer.update(step, state, hare)
    hare = optax.apply_updates(hare, updates)
    hares.append(hare)
    states.append(state)
  return hares, states


def float64(tree):
  return [np.asarray(x, np.float64) for x in jax.tree.leaves(tree)]


@PROFILE
@given(
  TREES, MOMENTA, PERIODS | st.none(), PERIODS, st.sampled_from([None, *DTYPES])
)
def test_structure_types_and_count(
  tree, momentum, reset_every, update_every, tortoise_dtype
):
  hares, states = run(
    tree,
    momentum=momentum,
    reset_every=reset_every,
    update_every=update_every,
    tortoise_dtype=tortoise_dtype,
  )
  for t, (hare, state) in enumerate(zip(hares, states, strict=True)):
    assert state.count == t
    assert jax.tree.structure(hare) == jax.tree.structure(hares[0])
    assert jax.tree.structure(state.tortoise) == jax.tree.structure(hares[0])
    for first, h, s in zip(
      *map(jax.tree.leaves, (hares[0], hare, state.tortoise)), strict=True
    ):
      assert h.dtype == first.dtype
      assert h.shape == s.shape == first.shape
      assert s.dtype == (tortoise_dtype or 'float32')


@PROFILE
@given(TREES, MOMENTA, PERIODS, PERIODS)
def test_a_restart_makes_both_bitwise_equal(
  tree, momentum, reset_every, update_every
):
  hares, states = run(
    tree,
    momentum=momentum,
    reset_every=reset_every,
    update_every=update_every,
  )
  for t in range(0, STEPS + 1, reset_every):
    pairs = zip(
      jax.tree.leaves(hares[t]),
      jax.tree.leaves(states[t].tortoise),
      strict=True,
    )
    for h, s in pairs:
      if h.dtype == s.dtype:
        bits = np.asarray(h).view(np.uint32)
        np.testing.assert_array_equal(np.asarray(s).view(np.uint32), bits)


@PROFILE
@given(TREES, MOMENTA, PERIODS, PERIODS)
def test_a_restart_leaves_the_tortoise_of_a_narrower_hare(
  tree, momentum, reset_every, update_every
):
  rule = {'momentum': momentum, 'update_every': update_every}
  hares, states = run(tree, **rule, reset_every=reset_every)
  alone = ht_rl.hare_tortoise(optax.identity(), **rule)
  for t in range(reset_every, STEPS + 1, reset_every):
    step = jax.tree.map(lambda x, t=t: x[t], tree)
    _, state = alone.update(step, states[t - 1], hares[t - 1])
    for h, s, expected in zip(
      *map(jax.tree.leaves, (hares[t], states[t].tortoise, state.tortoise)),
      strict=True,
    ):
      if h.dtype != s.dtype:
        bits = np.asarray(expected).view(np.uint32)
        np.testing.assert_array_equal(np.asarray(s).view(np.uint32), bits)


@PROFILE
@given(TREES, MOMENTA, PERIODS)
def test_without_restarts_hares_are_untouched_and_tortoises_in_between(
  tree, momentum, update_every
):
  hares, states = run(tree, momentum=momentum, update_every=update_every)
  # Not touched: the hares are those of the inner transformation alone.
  alone = jax.tree.map(lambda x: x[0], tree)
  for t in range(1, STEPS + 1):
    alone = optax.apply_updates(alone, jax.tree.map(lambda x, t=t: x[t], tree))
    jax.tree.map(np.testing.assert_array_equal, hares[t], alone)

    before, after = float64(states[t - 1].tortoise), float64(states[t].tortoise)
    for old, new, hare in zip(before, after, float64(hares[t]), strict=True):
      if t % update_every:
        np.testing.assert_array_equal(new, old)
        continue
      mean = momentum * old + (1 - momentum) * hare
      # In units of half of 2**-23 of the larger of the two: s - h is at most 2
      # of them and is rounded three times (mu, too), the sum once: 7 < 8.
      larger = np.maximum(np.abs(old), np.abs(hare))
      assert (np.abs(new - mean) <= 2.0**-21 * larger + 1e-37).all()
      # Rounding goes beyond either end by two units in the last place at most.
      assert (new >= np.minimum(old, hare) - 2.0**-22 * larger).all()
      assert (new <= np.maximum(old, hare) + 2.0**-22 * larger).all()


@PROFILE
@given(TREES, PERIODS, PERIODS | st.none())
def test_momentum_0_copies(tree, update_every, reset_every):
  hares, states = run(
    tree, momentum=0, update_every=update_every, reset_every=reset_every
  )
  for t in range(0, STEPS + 1, update_every):
    lands = reset_every is not None and t % reset_every == 0
    for h, s in zip(
      jax.tree.leaves(hares[t]),
      jax.tree.leaves(states[t].tortoise),
      strict=True,
    ):
      if lands and h.dtype != s.dtype:  # p + (s - p) may differ by a rounding.
        np.testing.assert_allclose(
          np.asarray(h, np.float64),
          np.asarray(s, np.float64),
          rtol=float(jnp.finfo(h.dtype).eps),
          atol=float(jnp.finfo(h.dtype).eps) * 1000,
        )
      else:
        np.testing.assert_array_equal(s, h.astype(s.dtype))
