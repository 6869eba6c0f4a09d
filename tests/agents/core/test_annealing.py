import jax
import numpy as np
import pytest

from agents.core import annealing

# The first gradient step of a cycle with each n, in BBF.
THRESHOLDS = {
  10: 0,
  9: 427,
  8: 1350,
  7: 2390,
  6: 3579,
  5: 4966,
  4: 6633,
  3: 8720,
}
STEPS = np.arange(12_001)
FRACTIONS = np.clip(STEPS / 10_000, 0, 1)  # float64


def test_n_falls_at_exactly_these_gradient_steps():
  n = np.asarray(jax.jit(annealing.horizon)(STEPS))
  assert n.dtype == np.int32
  np.testing.assert_array_equal(n, np.round(10 * 0.3**FRACTIONS))
  assert {k: int(np.argmax(n == k)) for k in set(n.tolist())} == THRESHOLDS
  assert (np.diff(n) <= 0).all()


def test_gamma_rises_as_in_float64():
  gamma = np.asarray(jax.jit(annealing.discount)(STEPS))
  assert gamma.dtype == np.float32
  # The spacing of float32 below 1 is 6e-8.
  expected = 1 - 0.03 * 0.1**FRACTIONS
  np.testing.assert_allclose(gamma, expected, rtol=0, atol=6e-8)
  samples = gamma[[0, 1000, 2500, 5000, 7500]]
  np.testing.assert_allclose(
    samples, [0.97, 0.97617, 0.98313, 0.99051, 0.99467], rtol=0, atol=5e-6
  )
  assert set(gamma[10_000:]) == {np.float32(0.997)}


def test_values_and_period_can_be_chosen():
  step = np.array([0, 50, 100, 1000])
  n = annealing.horizon(step, initial=2, final=8, period=100)
  assert n.tolist() == [2, 4, 8, 8]
  gamma = annealing.discount(step, initial=0.9, final=0.999, period=100)
  np.testing.assert_allclose(gamma, [0.9, 0.99, 0.999, 0.999], rtol=1e-6)


def test_equal_values_stay_exactly():
  n = annealing.horizon(STEPS, initial=10, final=10)
  gamma = annealing.discount(STEPS, initial=0.99, final=0.99)
  assert set(n.tolist()) == {10}
  assert set(np.asarray(gamma)) == {np.float32(0.99)}


def released_resets(reset_every, no_resets_after):
  """Returns the resets by the release's rule, counted step by step."""
  resets, due = [], reset_every + 1
  for step in range(no_resets_after + 1000):
    if step > due:
      due = step + reset_every
      if due <= no_resets_after + 1:
        resets.append(step)
  return resets


@pytest.mark.parametrize(
  ('reset_every', 'no_resets_after'),
  [(20_000, 100_000), (5000, 100_000), (7, 98), (7, 97), (1, 20), (50, 60)],
)
def test_released_counting_equals_the_rule(reset_every, no_resets_after):
  steps = annealing.reset_steps(
    reset_every, no_resets_after, released_counting=True
  )
  assert list(steps) == released_resets(reset_every, no_resets_after)


def gradient_steps(resets):
  """Returns BBF's in each cycle: two per step from 2001 to 100,000."""
  bounds = [2001, *(step + 1 for step in resets), 100_001]
  return [2 * int(n) for n in np.diff(bounds)]


def test_resets_of_bbf():
  documented = annealing.reset_steps(20_000, 100_000)
  assert documented == (20_000, 40_000, 60_000, 80_000)
  assert gradient_steps(documented) == [36_000, *[40_000] * 4]
  # A fourth at 80,005 would be followed by one after step 100,000.
  released = annealing.reset_steps(20_000, 100_000, released_counting=True)
  assert released == (20_002, 40_003, 60_004)
  assert gradient_steps(released) == [36_004, 40_002, 40_002, 79_992]


def test_resets_of_sr_spr():
  documented = annealing.reset_steps(5000, 100_000)
  assert documented == tuple(range(5000, 100_000, 5000))
  released = annealing.reset_steps(5000, 100_000, released_counting=True)
  assert len(documented) == 19
  assert len(released) == 18
  assert (released[0], released[-1]) == (5002, 90_019)


def test_documented_resets_are_multiples_within_the_limit():
  assert annealing.reset_steps(10, 30) == (10, 20)
  assert annealing.reset_steps(10, 31) == (10, 20, 30)
  assert annealing.reset_steps(10, 10) == ()


def test_an_interval_of_nothing_is_an_error():
  with pytest.raises(
    ValueError, match=r'^reset_every must be at least 1, not 0$'
  ):
    annealing.reset_steps(0, 100)
