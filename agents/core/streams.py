"""Named random streams of a run: no two streams share their numbers.

A run has two keys, one in `TrainState` and one in `ActorState`. A gradient step
folds its own number, below 2**31, into the first key. Every other draw of the
learner folds in one of the constants below, then the number of gradient steps
done.
"""

import chex
import jax

RESET = 2**31
REPLAY = 2**31 + 1


def key_of(
  key: chex.PRNGKey, stream: int, gradient_steps: chex.Numeric
) -> chex.PRNGKey:
  """Returns the key of a stream after `gradient_steps` gradient steps."""
  return jax.random.fold_in(jax.random.fold_in(key, stream), gradient_steps)
