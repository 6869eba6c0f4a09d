"""The rate of a count, against a hand calculation and a mean."""

from hypothesis import given
from hypothesis import strategies as st
import pytest

from experiments.rate import Rate


def test_by_hand():
  rate = Rate(10.0)
  assert rate.per_second is None
  rate.add(100.0, 7)
  assert rate.per_second is None
  rate.add(100.0, 8)  # A clock that is too coarse.
  assert rate.per_second is None
  rate.add(104.0, 15)
  assert rate.per_second == 8 / 4
  rate.add(112.0, 19)  # From 100 on: 104 lies in the window.
  assert rate.per_second == 11 / 12
  rate.add(114.0, 29)  # From 104 on.
  assert rate.per_second == 14 / 10
  rate.skip(1000)
  rate.add(116.0, 1035)
  assert rate.per_second == 20 / 12
  rate.add(200.0, 1035)  # It stands still, in all of the window.
  assert rate.per_second is None


@given(
  st.lists(st.tuples(st.floats(0.1, 50), st.integers(0, 9)), min_size=2),
  st.floats(1, 100),
)
def test_it_is_that_of_the_shortest_span_that_covers_the_window(steps, seconds):
  rate = Rate(seconds)
  time, count, samples = 0.0, 0, []
  for pause, units in steps:
    time, count = time + pause, count + units
    rate.add(time, count)
    samples.append((time, count))
  covering = [x for x in samples[:-1] if x[0] <= time - seconds]
  begin, first = covering[-1] if covering else samples[0]
  if count > first:
    assert rate.per_second == pytest.approx((count - first) / (time - begin))
  else:
    assert rate.per_second is None
