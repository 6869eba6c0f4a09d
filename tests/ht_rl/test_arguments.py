import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ht_rl import arguments


@pytest.mark.parametrize('value', [2, 3, np.int32(2), np.uint8(200)])
def test_integers_in_range(value):
  arguments.check_int('steps', value, 2)


@pytest.mark.parametrize('value', [1, -5, 2.0, '2', None, True, np.float32(2)])
def test_wrong_integers(value):
  with pytest.raises(
    ValueError, match='steps must be an integer of at least 2'
  ):
    arguments.check_int('steps', value, 2)


@pytest.mark.parametrize('value', [0, 1, 0.5, np.float32(0.25), np.int64(1)])
def test_numbers_in_range(value):
  arguments.check_float('gamma', value, 0.0, 1.0)


@pytest.mark.parametrize(
  'value', [-0.1, 1.1, float('nan'), float('inf'), '0.5', None, True, 1j]
)
def test_wrong_numbers(value):
  with pytest.raises(
    ValueError, match=r'gamma must be a number from 0\.0 to 1'
  ):
    arguments.check_float('gamma', value, 0.0, 1.0)


def test_infinity_is_no_number_even_without_a_maximum():
  arguments.check_float('scale', 1e30, 0.0, float('inf'))
  with pytest.raises(ValueError, match=r'scale must be .*, not inf'):
    arguments.check_float('scale', float('inf'), 0.0, float('inf'))


def test_an_end_that_is_out_of_range():
  inf = float('inf')
  for value, ends, wanted in (
    (1, {'below': True}, 'from 0 to below 1'),
    (0, {'above': True}, 'from above 0 to 1'),
    (0, {'above': True, 'maximum': inf}, 'above 0'),
    (-1, {'maximum': inf}, 'of at least 0'),
  ):
    bounds = {'minimum': 0, 'maximum': 1, **ends}
    message = f'^share must be a number {wanted}, not {value}$'
    with pytest.raises(ValueError, match=message):
      arguments.check_float('share', value, **bounds)
    arguments.check_float('share', 0.5, **bounds)


def test_bools():
  arguments.check_bool('augment', True)
  arguments.check_bool('augment', np.False_)
  for value in (0, 1, 'True', None):
    with pytest.raises(ValueError, match='augment must be True or False, not'):
      arguments.check_bool('augment', value)


def test_choices():
  arguments.check_choice('dtype', 'float32', ('float32', 'bfloat16'))
  message = "^dtype must be 'float32' or 'bfloat16', not 'float64'$"
  with pytest.raises(ValueError, match=message):
    arguments.check_choice('dtype', 'float64', ('float32', 'bfloat16'))


@pytest.mark.parametrize('value', [0.5, 1, np.float32(0.5), jnp.array(0.5)])
def test_scalars_that_are_accepted(value):
  arguments.check_scalar('keep', value, 'a fraction', lambda x: 0 <= x <= 1)


@pytest.mark.parametrize(
  'value',
  [1.5, jnp.array(-1), float('nan'), True, None, '0.5', 1j, [0.5], np.ones(1)],
)
def test_wrong_scalars(value):
  with pytest.raises(ValueError, match=r'^keep must be a fraction, not '):
    arguments.check_scalar('keep', value, 'a fraction', lambda x: 0 <= x <= 1)


@pytest.mark.parametrize('value', [2.0, jnp.array(2.0), np.float32(2), True])
def test_scalars_that_are_no_integers(value):
  with pytest.raises(ValueError, match=r'^every must be an integer, not '):
    arguments.check_scalar(
      'every', value, 'an integer', lambda x: True, integer=True
    )


def test_of_a_tracer_only_the_type_is_checked():
  def check(value):
    arguments.check_scalar('every', value, 'one', lambda x: x == 1, True)
    return value

  assert jax.jit(check)(5) == 5
  with pytest.raises(ValueError, match=r'^every must be one, not '):
    jax.jit(check)(5.0)
  with pytest.raises(ValueError, match=r'^every must be one, not 5$'):
    check(5)
