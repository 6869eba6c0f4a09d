import numpy as np
import pytest

from experiments.supervised import results
from experiments.supervised.results import Result


def row(phase, moment, **figures):
  place = {'phase': phase, 'epoch': 3, 'step': 30, 'moment': moment}
  return {**place, **figures}


def make(rows, seeds=(4, 7), reported='hare', ratios=(0.1, 1.0)):
  return Result('WS', {'ratios': list(ratios)}, seeds, reported, rows)


ROWS = [
  row(0, 'start', hare_test_accuracy=[0.1, 0.2]),
  row(0, 'end', hare_test_accuracy=[0.3, 0.4], feature_rank=[8, 9]),
  row(0, 'reset', hare_test_accuracy=[0.0, 0.0]),
  row(1, 'epoch', hare_test_accuracy=[0.45, 0.5]),
  row(
    1,
    'end',
    hare_test_accuracy=[0.5, 0.6],
    tortoise_test_accuracy=[0.7, 0.8],
  ),
]


def test_at_phase_end_is_before_what_follows_the_phase():
  result = make(ROWS)
  found = results.at_phase_end(result, 0, 'hare_test_accuracy')
  np.testing.assert_array_equal(found, [0.3, 0.4])
  found = results.at_phase_end(result, 0, 'feature_rank')
  assert found.dtype == float
  np.testing.assert_array_equal(found, [8, 9])


def test_final_is_the_end_of_the_last_phase():
  result = make(ROWS)
  found = results.final(result, 'tortoise_test_accuracy')
  np.testing.assert_array_equal(found, [0.7, 0.8])


@pytest.mark.parametrize(
  ('reported', 'expected'), [('hare', [0.5, 0.6]), ('tortoise', [0.7, 0.8])]
)
def test_final_accuracy_is_of_the_reported_network(reported, expected):
  found = results.final_accuracy(make(ROWS, reported=reported))
  np.testing.assert_array_equal(found, expected)


def test_a_run_that_stopped_early_has_no_final_figure():
  whole, half = make(ROWS), make(ROWS[:-1])
  assert results.is_finished(whole)
  assert not results.is_finished(half)
  assert not results.is_finished(make([]))
  assert results.num_phases(half) == 2
  assert results.finished([half, whole, half]) == [whole]
  # Of one phase, its first end would be the last.
  assert results.is_finished(make(ROWS[:2], ratios=(1.0,)))
  message = "'WS' has no evaluation at the end of phase 1: the run must first"
  with pytest.raises(ValueError, match=message):
    results.final(half, 'hare_test_accuracy')


def test_a_figure_that_was_not_measured():
  message = (
    "'feature_rank' was not measured at the end of phase 1 of 'WS'; "
    'there are hare_test_accuracy, tortoise_test_accuracy'
  )
  with pytest.raises(ValueError, match=message):
    results.final(make(ROWS), 'feature_rank')


def test_a_number_that_is_missing_in_json_is_nan():
  result = make([row(0, 'end', train_accuracy=[None, 0.5])])
  found = results.at_phase_end(result, 0, 'train_accuracy')
  np.testing.assert_array_equal(found, [np.nan, 0.5])


def test_there_is_a_number_for_each_seed():
  message = (
    "hare_test_accuracy of 'WS' at step 30 must have a number for each of "
    'the 3 seeds, not 2'
  )
  with pytest.raises(ValueError, match=message):
    make(ROWS, seeds=(1, 2, 3))


def test_a_network_is_reported():
  with pytest.raises(ValueError, match="hare or the tortoise, not 'both'"):
    make(ROWS, reported='both')


def test_ends_and_drops_of_three_phases():
  rows = [
    row(0, 'start', hare_test_accuracy=[0.1, 0.1]),
    row(0, 'end', hare_test_accuracy=[0.5, 0.25]),
    row(1, 'start', hare_test_accuracy=[0.25, 0.25]),
    row(1, 'epoch', hare_test_accuracy=[0.0, 0.0]),
    row(1, 'end', hare_test_accuracy=[0.75, 0.5]),
    row(2, 'start', hare_test_accuracy=[0.25, 1.0]),
    row(2, 'end', hare_test_accuracy=[1.0, 0.75]),
  ]
  result = make(rows, ratios=(0.1, 0.5, 1.0))
  found = results.mean_over_phases(result, 'hare')
  np.testing.assert_array_equal(found, [0.75, 0.5])
  # (0.25 + 0.5) / 2, and (0 - 0.5) / 2.
  found = results.drop_between_phases(result)
  np.testing.assert_array_equal(found, [0.375, -0.25])
  alone = make(rows[:2], ratios=(1.0,))
  found = results.mean_over_phases(alone, 'hare')
  np.testing.assert_array_equal(found, [0.5, 0.25])
  assert np.isnan(results.drop_between_phases(alone)).all()
  with pytest.raises(ValueError, match='the run must first come so far'):
    results.mean_over_phases(make(rows[:-1], ratios=(0.1, 0.5, 1.0)), 'hare')
