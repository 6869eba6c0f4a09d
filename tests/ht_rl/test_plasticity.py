"""The measures of plasticity, against loops and spectra that are known."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ht_rl import plasticity

# Much is compiled here, and little is computed.
pytestmark = pytest.mark.usefixtures('compile_fast')

MEASURES = {
  'weight_magnitude': plasticity.weight_magnitude,
  'weight_distance': lambda x: plasticity.weight_distance(
    x, jax.tree.map(jnp.ones_like, x)
  ),
  'zero_ratio': plasticity.zero_ratio,
  'dormant_units': lambda x: plasticity.dormant_units(x, 0.5),
  'dormant_ratio': lambda x: plasticity.dormant_ratio(x, 0.5),
  'feature_rank': plasticity.feature_rank,
  'effective_rank': plasticity.effective_rank,
}

SHARES = (plasticity.zero_ratio, MEASURES['dormant_ratio'])

# Derandomized, and without a folder of examples: the same test everywhere.
PROFILE = settings(
  max_examples=30, deadline=None, derandomize=True, database=None
)


def with_spectrum(values, batch, units, seed=0):
  """A matrix [batch, units] of known singular values."""
  rng = np.random.default_rng(seed)
  left = np.linalg.qr(rng.normal(size=(batch, batch)))[0]
  right = np.linalg.qr(rng.normal(size=(units, units)))[0]
  n = len(values)
  return jnp.asarray((left[:, :n] * values) @ right[:n], jnp.float32)


# --- weights ------------------------------------------------------------------

TREES = st.dictionaries(
  st.sampled_from('abcd'),
  hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=4),
    elements=st.floats(-100, 100, width=16),
  ),
  min_size=1,
)


@PROFILE
@given(TREES)
def test_weights_against_a_loop(tree):
  magnitude = distance = 0.0
  for x in tree.values():
    entries = x.astype(np.float64).ravel()
    magnitude += sum(w**2 for w in entries) / len(entries)
    distance += sum((w - 2) ** 2 for w in entries) / len(entries)
  initial = {name: np.full_like(x, 2) for name, x in tree.items()}
  np.testing.assert_allclose(
    plasticity.weight_magnitude(tree), magnitude, rtol=1e-5
  )
  np.testing.assert_allclose(
    plasticity.weight_distance(tree, initial), distance, rtol=1e-5
  )


def test_leaves_that_are_no_weights_do_not_count():
  params = {
    'w': jnp.array([3.0]),
    'steps': jnp.array([100]),
    'none': None,
    'empty': jnp.zeros((0, 2)),
  }
  initial = {**params, 'w': jnp.array([1.0]), 'steps': jnp.array([0])}
  assert plasticity.weight_magnitude(params) == 9
  assert plasticity.weight_distance(params, initial) == 4
  assert plasticity.weight_magnitude({}) == 0


def test_complex_weights():
  assert plasticity.weight_magnitude(jnp.array([3.0 + 4.0j])) == 25
  distance = plasticity.weight_distance(jnp.array([3.0j]), jnp.array([4.0]))
  assert distance == 25


@pytest.mark.parametrize(
  ('initial', 'message'),
  [
    ({'w': jnp.ones(3)}, r"^initial\['w'\] must have the shape of params"),
    ({'v': jnp.ones((2, 3))}, '^initial must have the structure of params'),
    (jnp.ones((2, 3)), '^initial must have the structure of params'),
  ],
)
def test_initial_weights_unlike_the_weights_are_named(initial, message):
  with pytest.raises(ValueError, match=message):
    plasticity.weight_distance({'w': jnp.ones((2, 3))}, initial)


# --- zeros --------------------------------------------------------------------


def test_zero_ratio_counts_entries_not_leaves():
  b = jnp.array([-1.0, -0.0, jnp.nan, 1e-45])
  tree = {'w': jnp.zeros((3, 4)), 'b': b}
  # 1e-45 is the smallest subnormal number: not zero, if XLA does not flush it.
  zeros = 13 + int(jnp.array(1e-45) == 0)
  np.testing.assert_allclose(plasticity.zero_ratio(tree), zeros / 16)


def test_zero_ratio_of_what_relu_lets_through():
  x = jax.random.normal(jax.random.key(0), (50, 7))
  features, pull = jax.vjp(jax.nn.relu, x)
  (gradient,) = pull(jnp.ones_like(x))
  share = np.mean(np.asarray(x) <= 0)
  np.testing.assert_allclose(plasticity.zero_ratio(features), share, rtol=1e-6)
  np.testing.assert_allclose(plasticity.zero_ratio(gradient), share, rtol=1e-6)


@pytest.mark.parametrize('countable', [1, 7, 24, 25])
def test_more_entries_than_can_be_counted_at_once(monkeypatch, countable):
  monkeypatch.setattr(plasticity, '_COUNTABLE', countable)
  values = np.arange(24) % 3
  tree = [jnp.array(values, float), jnp.array(values.reshape(2, 3, 4), float)]
  np.testing.assert_allclose(plasticity.zero_ratio(tree), 1 / 3, rtol=1e-6)


def test_an_int32_counts_each_part():
  mask = jax.ShapeDtypeStruct((5 * 2**29,), bool)
  parts = jax.eval_shape(plasticity._parts, mask)
  assert [part.size for part in parts] == [2**30, 2**30, 2**29]


def test_zero_ratio_of_many_entries_is_exact():
  # A float32 sum of ones stalls at 2**24.
  ones = jnp.zeros((2**24 + 2**23,), jnp.float16)
  assert plasticity.zero_ratio({'a': ones, 'b': jnp.ones(2**23)}) == 0.75


# --- dormant units ------------------------------------------------------------


@PROFILE
@given(
  hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=5),
    elements=st.integers(-8, 8).map(float),
  ),
  st.sampled_from([0.0, 0.1, 0.3, 1.7]),
)
def test_dormant_units_against_a_loop(activations, threshold):
  units = activations.shape[-1]
  sums = np.zeros(units)
  for x in activations.reshape(-1, units).astype(np.float64):
    sums += np.abs(x)
  mean = sums.mean()
  expected = []
  for total in sums:
    score = total / mean if mean else 0.0
    # Of small integers no score but 0 is one of the thresholds.
    expected.append(score <= threshold)
  actual = plasticity.dormant_units(activations, threshold)
  assert actual.tolist() == expected
  share = plasticity.dormant_ratio({'layer': activations}, threshold)
  np.testing.assert_allclose(share, np.mean(expected), rtol=1e-6)


def test_the_score_is_relative_to_the_layer():
  layer = jnp.array([[1.0, 3.0, 8.0]])
  assert plasticity.dormant_units(layer, 0.25).tolist() == [True, False, False]
  for scale in (1e-20, 1e20):
    units = plasticity.dormant_units(scale * layer, 0.26)
    assert units.tolist() == [True, False, False]
  # Activations of both signs do not cancel.
  alternating = jnp.array([[5.0, 1.0], [-5.0, 1.0]])
  assert plasticity.dormant_units(alternating, 0.5).tolist() == [False, True]


def test_a_layer_that_is_all_zero_is_all_dormant():
  for threshold in (0, 0.1):
    assert plasticity.dormant_units(jnp.zeros((4, 3)), threshold).all()


def test_dormant_ratio_weighs_units_not_layers():
  layers = [jnp.zeros((2, 1)), jnp.ones((2, 5, 5, 9))]
  np.testing.assert_allclose(
    plasticity.dormant_ratio(layers, 0.1), 0.1, rtol=1e-6
  )


# --- ranks --------------------------------------------------------------------


@pytest.mark.parametrize('shape', [(40, 8), (8, 40), (9, 9)])
def test_ranks_of_a_known_spectrum(shape):
  values = np.array([8.0, 4.0, 2.0, 1.0, 0.5])
  features = with_spectrum(values, *shape)
  shares = values / values.sum()
  for threshold, rank in (
    (0.3, 1),
    (0.51, 1),  # 8 / 15.5 is 0.516
    (0.52, 2),
    (0.9, 3),  # 14 / 15.5 is 0.903
    (0.91, 4),
    (0.96, 4),
    (0.97, 5),
  ):
    assert plasticity.feature_rank(features, threshold) == rank
  assert plasticity.feature_rank(features) == 5
  assert plasticity.feature_rank(features, 1.0) <= min(shape)
  entropy = -np.sum(shares * np.log(shares))
  np.testing.assert_allclose(
    plasticity.effective_rank(features), np.exp(entropy), rtol=1e-4
  )


def test_ranks_of_a_long_spectrum_against_numpy():
  features = np.random.default_rng(0).normal(size=(64, 32)) ** 3
  values = np.linalg.svd(features, compute_uv=False)
  sums = np.cumsum(values) / values.sum()
  for threshold in (0.5, 0.8, 0.99):
    rank = next(k for k, s in enumerate(sums, start=1) if s >= threshold)
    assert plasticity.feature_rank(features, threshold) == rank
  p = values / values.sum()
  np.testing.assert_allclose(
    plasticity.effective_rank(features),
    np.exp(-sum(p * np.log(p))),
    rtol=1e-5,
  )


def test_ranks_do_not_depend_on_the_scale_and_end_at_their_bounds():
  for scale in (1e-12, 1.0, 1e12):
    orthogonal = scale * with_spectrum(np.ones(10), 30, 10)
    assert plasticity.feature_rank(orthogonal, 0.95) == 10
    np.testing.assert_allclose(
      plasticity.effective_rank(orthogonal), 10, rtol=1e-4
    )
    one = scale * jnp.outer(jnp.arange(1.0, 6.0), jnp.ones(4))
    assert plasticity.feature_rank(one) == 1
    np.testing.assert_allclose(plasticity.effective_rank(one), 1, rtol=1e-3)


def test_features_that_are_all_zero_have_rank_0():
  assert plasticity.feature_rank(jnp.zeros((5, 3))) == 0
  assert plasticity.effective_rank(jnp.zeros((5, 3))) == 0


def test_features_that_are_nan_have_no_effective_rank():
  assert jnp.isnan(plasticity.effective_rank(jnp.full((5, 3), jnp.nan)))


# --- all of them --------------------------------------------------------------


@pytest.mark.parametrize('measure', MEASURES.values(), ids=MEASURES)
def test_jit_and_vmap_equal_separate_calls(measure):
  features = jax.nn.relu(jax.random.normal(jax.random.key(1), (3, 16, 8)))
  expected = [measure(x) for x in features]
  for actual in (
    jax.vmap(measure)(features),
    jax.jit(jax.vmap(measure))(features),
  ):
    assert actual.dtype == expected[0].dtype
    np.testing.assert_allclose(actual, jnp.stack(expected), rtol=1e-5)


@pytest.mark.parametrize('measure', MEASURES.values(), ids=MEASURES)
def test_narrow_dtypes_are_measured_in_float32(measure):
  features = jax.nn.relu(jax.random.normal(jax.random.key(1), (512, 64)))
  narrow = features.astype(jnp.bfloat16)
  result = measure(narrow)
  assert result.dtype in (jnp.float32, jnp.int32, bool)
  np.testing.assert_array_equal(result, measure(narrow.astype(jnp.float32)))


@pytest.mark.parametrize('zeros', [False, True])
@pytest.mark.parametrize(
  'dtype', ['bfloat16', 'float16', 'float32', 'float64', 'complex64']
)
@pytest.mark.parametrize('measure', MEASURES.values(), ids=MEASURES)
def test_strict_modes_and_x64(measure, dtype, zeros):
  features = (
    jnp.zeros((4, 3)) if zeros else jnp.diag(jnp.array([3.0, 1.0, 0.0]))
  )
  expected = measure(features)
  with (
    jax.enable_x64(),
    jax.numpy_dtype_promotion('strict'),
    jax.numpy_rank_promotion('raise'),
    jax.debug_nans(True),
  ):
    features = jnp.asarray(features, dtype)
    for actual in (measure(features), jax.jit(measure)(features)):
      # The shares are float32 always, other measures as wide as the features.
      if dtype != 'float64' or measure in SHARES:
        assert actual.dtype == expected.dtype
      np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_strict_promotion_of_trees_with_several_dtypes():
  with jax.enable_x64(), jax.numpy_dtype_promotion('strict'):
    tree = {'a': jnp.ones(2, jnp.bfloat16), 'b': jnp.full(2, 2, jnp.float64)}
    other = {'a': jnp.zeros(2, jnp.float32), 'b': jnp.zeros(2, jnp.float32)}
    assert plasticity.weight_magnitude(tree) == 5
    assert plasticity.weight_distance(tree, other) == 5
    assert plasticity.zero_ratio({**tree, 'c': other}) == 0.5


@pytest.mark.parametrize(
  ('measure', 'message'),
  [
    (lambda: plasticity.zero_ratio({}), '^tree must have an array of fl'),
    (lambda: plasticity.zero_ratio(jnp.ones((0, 2))), '^tree must have an'),
    (lambda: plasticity.dormant_ratio([], 0.1), '^activations must have an'),
    (
      lambda: plasticity.dormant_units(jnp.ones((2, 2)), -0.1),
      '^threshold must be a number of at least 0',
    ),
    (
      lambda: plasticity.dormant_ratio(jnp.ones((2, 2)), None),
      '^threshold must be a number of at least 0',
    ),
    (
      lambda: plasticity.feature_rank(jnp.ones((2, 2)), 0.0),
      r'^threshold must be a number in \(0, 1\]',
    ),
    (
      lambda: plasticity.feature_rank(jnp.ones((2, 2)), 1.01),
      r'^threshold must be a number in \(0, 1\]',
    ),
    (
      lambda: plasticity.feature_rank(jnp.ones((2, 3, 4))),
      r'^features must have the shape \[batch, units\].*\(2, 3, 4\)',
    ),
    (
      lambda: plasticity.effective_rank(jnp.ones((0, 4))),
      r'^features must have the shape \[batch, units\]',
    ),
  ],
)
def test_wrong_arguments_are_named(measure, message):
  with pytest.raises(ValueError, match=message):
    measure()


def test_features_with_a_nan_have_no_rank():
  features = jnp.ones((5, 3)).at[2, 1].set(jnp.nan)
  assert plasticity.feature_rank(features) == 0
