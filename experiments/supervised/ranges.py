"""The range of each field of a setting."""

from collections.abc import Callable
import functools
from typing import Any, get_args

from experiments.supervised import phases, results
from ht_rl.arguments import check_bool, check_choice, check_float, check_int

_POSITIVE_INT = functools.partial(check_int, minimum=1)
_AT_LEAST_0 = functools.partial(check_float, minimum=0, maximum=float('inf'))
_POSITIVE = functools.partial(_AT_LEAST_0, above=True)
_FRACTION = functools.partial(check_float, minimum=0, maximum=1)
_BELOW_1 = functools.partial(_FRACTION, below=True)


def _one_of(*choices: str) -> Callable[[str, Any], None]:
  return functools.partial(check_choice, choices=choices)


# The range of each field.
CHECKS: dict[str, Callable[[str, Any], None]] = {
  'train_size': _POSITIVE_INT,
  'validation_size': _POSITIVE_INT,
  'epochs': _POSITIVE_INT,
  'noise_mode': _one_of(*get_args(phases.NoiseMode)),
  'buffer_size': _POSITIVE_INT,
  'buffer_policy': _one_of(*get_args(phases.BufferPolicy)),
  'tasks': _one_of(*get_args(phases.Tasks)),
  'width': _POSITIVE,
  'crelu': check_bool,
  'dtype': _one_of('float32', 'bfloat16'),
  'batch_size': functools.partial(check_int, minimum=2),
  'learning_rate': _POSITIVE,
  'warmup': _FRACTION,
  'weight_decay': _AT_LEAST_0,
  'b1': _BELOW_1,
  'b2': _BELOW_1,
  'eps': _POSITIVE,
  'max_grad_norm': _POSITIVE,
  'augment': check_bool,
  'spectral_decoupling': _AT_LEAST_0,
  'regenerate': _AT_LEAST_0,
  'redo': _AT_LEAST_0,
  'redo_every': _POSITIVE_INT,
  'redo_counts': _one_of('phase', 'whole'),
  'head_reset': check_bool,
  'shrink': _FRACTION,
  'perturb': _AT_LEAST_0,
  'momentum': _BELOW_1,
  'reset_epochs': _POSITIVE_INT,
  'reset_steps': _POSITIVE_INT,
  'reset_alias': check_bool,
  'self_distillation': _AT_LEAST_0,
  'parseval': _AT_LEAST_0,
  'fire': check_bool,
  'continual_backprop': _FRACTION,
  'snr': functools.partial(_BELOW_1, above=True),
  'reported': _one_of(*results.NETWORKS),
}
# The fields that may be None.
OPTIONAL = (
  'train_size',
  'validation_size',
  'buffer_size',
  'redo',
  'snr',
  'perturb',
  'reset_epochs',
  'reset_steps',
)
