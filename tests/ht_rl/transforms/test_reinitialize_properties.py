"""Properties of the re-initialisations over random trees, dtypes, fractions.

For any tree of floats, any updates and any rule: types and structure stay; the
count counts; only a reset changes the updates; it leaves the weights between
what they were and the fresh ones, at either end where all or nothing is kept.
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
STEPS = 4

# Derandomized, and without a folder of examples: the same test everywhere.
PROFILE = settings(
  max_examples=30, deadline=None, derandomize=True, database=None
)


@st.composite
def leaves(draw):
  """Weights, the fresh ones and STEPS updates, stacked, and their fraction."""
  dtype = draw(st.sampled_from(DTYPES))
  shape = draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=4))
  numbers = st.floats(-1000, 1000, width=16)
  arrays = hnp.arrays(np.float32, (STEPS + 2, *shape), elements=numbers)
  fraction = draw(st.sampled_from([0.0, 1.0]) | st.floats(0, 1))
  return {'x': jnp.asarray(draw(arrays), dtype), 'keep': fraction}


TREES = st.lists(leaves(), max_size=3).map(
  lambda nodes: {
    'x': {'params': [node['x'] for node in nodes], 'none': None},
    'keep': {'params': [node['keep'] for node in nodes], 'none': None},
  }
)


@PROFILE
@given(TREES, st.integers(1, STEPS))
def test_shrink_and_perturb(tree, reset_every):
  def part(i):
    return jax.tree.map(lambda x: x[i], tree['x'])

  fresh = part(1)
  optimizer = ht_rl.shrink_and_perturb(
    optax.identity(),
    lambda key: fresh,
    keep=tree['keep'],
    reset_every=reset_every,
  )
  params = part(0)
  # Not to compile for each of the trees.
  with jax.disable_jit():
    state = optimizer.init(params)
    for t in range(1, STEPS + 1):
      steps = part(t + 1)
      updates, state = optimizer.update(steps, state, params)
      trained = optax.apply_updates(params, steps)
      new = optax.apply_updates(params, updates)
      assert state.count == t
      assert jax.tree.structure(new) == jax.tree.structure(params)
      for p, h, f, n, keep in zip(
        *map(jax.tree.leaves, (params, trained, fresh, new, tree['keep'])),
        strict=True,
      ):
        assert n.dtype == p.dtype
        assert n.shape == p.shape
        if t % reset_every or keep == 1:
          np.testing.assert_array_equal(n, h)
          continue
        # Four roundings, of numbers no larger than all of these together.
        scale = sum(np.abs(np.asarray(x, np.float64)) for x in (p, h, f))
        slack = 4 * float(jnp.finfo(p.dtype).eps) * scale
        p, h, f, n = (np.asarray(x, np.float64) for x in (p, h, f, n))
        assert (np.abs(n - (keep * h + (1 - keep) * f)) <= slack).all()
        assert (n >= np.minimum(h, f) - slack).all()
        assert (n <= np.maximum(h, f) + slack).all()
      params = new


@PROFILE
@given(TREES, st.integers(1, STEPS), st.data())
def test_reset_subtree(tree, reset_every, data):
  mask = jax.tree.map(lambda _: data.draw(st.booleans()), tree['keep'])
  fresh = jax.tree.map(lambda x: x[1], tree['x'])
  params = jax.tree.map(lambda x: x[0], tree['x'])
  steps = jax.tree.map(lambda x: x[2], tree['x'])
  rule = {'reset_every': reset_every, 'reset_inner_state': False}
  optimizers = [
    ht_rl.reset_subtree(
      optax.identity(), lambda key: fresh, reset_mask=mask, **rule
    ),
    ht_rl.shrink_and_perturb(
      optax.identity(),
      lambda key: fresh,
      keep=jax.tree.map(lambda m: 1.0 - m, mask),
      **rule,
    ),
  ]
  with jax.disable_jit():
    updates = []
    for optimizer in optimizers:
      state = optimizer.init(params)
      for _ in range(reset_every):
        last, state = optimizer.update(steps, state, params)
      updates.append(last)
  jax.tree.map(np.testing.assert_array_equal, *updates)
  new = optax.apply_updates(params, updates[0])
  for m, u, s, p, f, n in zip(
    *map(jax.tree.leaves, (mask, updates[0], steps, params, fresh, new)),
    strict=True,
  ):
    if not m:
      np.testing.assert_array_equal(u, s)
      continue
    # The difference and the sum are rounded.
    p, f, n = (np.asarray(x, np.float64) for x in (p, f, n))
    eps = float(jnp.finfo(u.dtype).eps)
    assert (np.abs(n - f) <= eps * (np.abs(p) + 2 * np.abs(f))).all()
