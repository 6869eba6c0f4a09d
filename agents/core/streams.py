"""Named random streams of a run: no two streams share their numbers.

All draws of an agent come from the key of its seed, `jax.random.PRNGKey(seed)`:

===================  ===================================================
initial weights      `of_run(seed key)`, the first key
gradient step g      `gradient_step(learning key, g)`: its batch in DrQ, its
                     augmentation, its noise
sampling before g    `key_of(learning key, REPLAY, g)`: all batches of an
                     environment step in BBF
a reset before g     `key_of(learning key, RESET, g)`: the fresh weights
training action t    `action(acting key, t)`: exploration and noise
evaluation action i  `action(key_of(seed key, EVALUATION, t), i)`: exploration
                     in an evaluation after t training actions
===================  ===================================================

`of_run` returns the learning key and the acting key. The number of a gradient
step or of an action is below 2**31, where the constants begin.

The environment draws the no-ops of its episodes from a NumPy generator, see
`agents.atari.draw_noops`. All evaluations of a run start from the same ones, so
that they can be compared: episode i from those of training episode i.
"""

import chex
import jax

RESET = 2**31
REPLAY = 2**31 + 1
EVALUATION = 2**31 + 2


def of_run(
  seed_key: chex.PRNGKey,
) -> tuple[chex.PRNGKey, chex.PRNGKey, chex.PRNGKey]:
  """Returns the keys of the initial weights, of learning and of acting."""
  initial, learning, acting = jax.random.split(seed_key, 3)
  return initial, learning, acting


def gradient_step(
  learning_key: chex.PRNGKey, gradient_steps: chex.Numeric
) -> chex.PRNGKey:
  """Returns the key of the next gradient step after `gradient_steps`."""
  return jax.random.fold_in(learning_key, gradient_steps)


def action(key: chex.PRNGKey, number: chex.Numeric) -> chex.PRNGKey:
  """Returns the key of an action of a stream, counted from 1."""
  return jax.random.fold_in(key, number)


def key_of(key: chex.PRNGKey, stream: int, steps: chex.Numeric) -> chex.PRNGKey:
  """Returns the key of a stream.

  Args:
    key: key of learning, or of the seed for `EVALUATION`.
    stream: one of the constants of this module.
    steps: number of gradient steps done, or of training actions for
      `EVALUATION`.
  """
  return jax.random.fold_in(jax.random.fold_in(key, stream), steps)
