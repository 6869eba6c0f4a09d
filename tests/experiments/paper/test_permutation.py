"""The exact test, against SciPy, a count by hand and random permutations."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from scipy import stats

from experiments.paper import permutation
from ht_rl import atari100k

SCORES = st.lists(st.integers(0, 5).map(float), min_size=1, max_size=4)
STRATA = st.lists(st.tuples(SCORES, SCORES), min_size=1, max_size=3)


@pytest.mark.parametrize(('runs', 'others'), [(3, 3), (2, 5), (1, 4)])
def test_one_stratum_is_the_test_of_mann_and_whitney(runs, others):
  rng = np.random.default_rng(0)
  for _ in range(20):
    x, y = rng.normal(size=runs), rng.normal(0.5, 1, size=others)
    expected = stats.mannwhitneyu(x, y, method='exact').pvalue
    assert permutation.p_value([(x, y)]) == pytest.approx(expected)


def test_two_strata_by_hand():
  # One run against one in both: of the four divisions each has a quarter, with
  # 2, 1, 1 and 0 wins. Two wins of two are as far from one as none is.
  wins = [([2.0], [1.0]), ([5.0], [4.0])]
  assert permutation.mean_wins(wins) == 1
  assert permutation.p_value(wins) == 0.5
  assert permutation.p_value([wins[0], ([4.0], [5.0])]) == 1.0
  # A tie is a half, in every division.
  tie = ([3.0], [3.0])
  assert permutation.mean_wins([wins[0], tie]) == Fraction(3, 4)
  assert permutation.p_value([wins[0], tie]) == 1.0


def test_strata_of_different_sizes_by_random_divisions():
  strata = [([3.0, 1.0, 4.0], [1.0, 0.0]), ([5.0, 9.0], [2.0, 6.0, 5.0])]
  rng = np.random.default_rng(0)
  seen = abs(permutation.mean_wins(strata) - Fraction(1, 2))
  far = 0
  for _ in range(4000):
    divided = []
    for x, y in strata:
      both = rng.permutation([*x, *y]).tolist()
      divided.append((both[: len(x)], both[len(x) :]))
    far += abs(permutation.mean_wins(divided) - Fraction(1, 2)) >= seen
  # Four standard errors of 4000 draws are at most 0.032.
  assert abs(permutation.p_value(strata) - far / 4000) < 0.032


@given(STRATA)
def test_wins_are_the_probability_of_improvement(strata):
  x, y = ({str(i): of[k] for i, of in enumerate(strata)} for k in (0, 1))
  expected = atari100k.probability_of_improvement(x, y)
  assert float(permutation.mean_wins(strata)) == pytest.approx(float(expected))


@given(STRATA)
def test_the_order_of_the_methods_does_not_matter(strata):
  p = permutation.p_value(strata)
  assert 0 < p <= 1
  swapped = [(y, x) for x, y in strata]
  assert permutation.p_value(swapped) == pytest.approx(p)
  wins = permutation.mean_wins(strata)
  assert permutation.mean_wins(swapped) == 1 - wins
  if wins == Fraction(1, 2):
    assert p == pytest.approx(1)
