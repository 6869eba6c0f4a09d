"""The optimizer of the supervised experiments."""

import jax.numpy as jnp
import optax

from ht_rl.arguments import check_int


def warmup(learning_rate: float, warmup_steps: int) -> optax.Schedule:
  r"""Returns a learning rate that rises linearly from zero and then stays.

  Step :math:`k = 0, 1, \dots` takes
  :math:`\texttt{learning\_rate} \cdot \min(k / W, 1)`: the first one does not
  move the weights.

  >>> schedule = warmup(0.5, 4)
  >>> [float(schedule(k)) for k in range(6)]
  [0.0, 0.125, 0.25, 0.375, 0.5, 0.5]

  Args:
    learning_rate: its last value.
    warmup_steps: number of steps :math:`W` below it; 0 for none.

  Returns:
    A function from the number of steps done to the learning rate.

  Raises:
    ValueError: `warmup_steps` is negative.

  References:
    Lee et al., 2024, appendix A, and the code they released.
  """
  check_int('warmup_steps', warmup_steps, 0)
  if not warmup_steps:
    return optax.constant_schedule(learning_rate)
  return lambda count: learning_rate * jnp.minimum(count / warmup_steps, 1.0)


def adamw(
  learning_rate: float,
  *,
  warmup_steps: int,
  weight_decay: float,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-8,
  max_grad_norm: float = 0.5,
) -> optax.GradientTransformation:
  """Returns AdamW on clipped gradients, with a warm-up of the learning rate.

  Weight decay acts on all parameters: also biases, norms and embeddings.

  Args:
    learning_rate: the learning rate after the warm-up.
    warmup_steps: steps of the warm-up, as in `warmup`.
    weight_decay: decay of the weights in a step, as a factor of the learning
      rate.
    b1: decay of Adam's first moments.
    b2: decay of Adam's second moments.
    eps: what is added to the root of the second moments.
    max_grad_norm: the norm of all gradients together is clipped to it.

  Returns:
    A transformation whose `update` needs the parameters.

  References:
    Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019; the
    values are in Lee et al., 2024, appendix A, and the code they released.
  """
  return optax.chain(
    optax.clip_by_global_norm(max_grad_norm),
    optax.adamw(
      warmup(learning_rate, warmup_steps),
      b1=b1,
      b2=b2,
      eps=eps,
      weight_decay=weight_decay,
    ),
  )
