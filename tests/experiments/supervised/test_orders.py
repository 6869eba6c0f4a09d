"""The orders of an epoch's samples are JAX's own, however they are made."""

import jax
import numpy as np
import pytest

from experiments.supervised.training import orders


# None, one and two rounds of sorting.
@pytest.mark.parametrize('num_samples', [1, 7, 3000])
def test_the_orders_are_the_permutations_of_jax(num_samples, monkeypatch):
  keys = jax.vmap(jax.random.key)(np.array([3, 8, 2**32 - 1], np.uint32))
  expected = [jax.random.permutation(key, num_samples) for key in keys]
  for backend in ('cpu', 'gpu'):
    monkeypatch.setattr(jax, 'default_backend', lambda name=backend: name)
    got = orders.orders(keys, num_samples)
    assert got.dtype == np.int32
    np.testing.assert_array_equal(got, expected)


def test_equal_bits_stay_in_order(monkeypatch):
  bits = np.array([[[5, 1, 5, 1, 0], [0, 0, 0, 0, 0]]], np.uint32)
  monkeypatch.setattr(orders, '_bits', lambda keys, n: bits)
  got = orders.sorted_by_numpy([None, None], 5)
  np.testing.assert_array_equal(got, [[4, 1, 3, 0, 2], [0, 1, 2, 3, 4]])
