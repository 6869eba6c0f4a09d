"""The random streams of a run, by name: no two draw the same numbers.

A run has two keys, one of `TrainState` and one of `ActorState`. A gradient step
folds its own number, below 2**31, into the first; what is drawn beside the
gradient steps folds in one of the numbers below, then the number of gradient
steps done.
"""

import chex
import jax

RESET = 2**31
REPLAY = 2**31 + 1


def key_of(
  key: chex.PRNGKey, stream: int, gradient_steps: chex.Numeric
) -> chex.PRNGKey:
  """Returns the key of a stream at a number of gradient steps."""
  return jax.random.fold_in(jax.random.fold_in(key, stream), gradient_steps)
