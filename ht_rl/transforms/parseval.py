"""Parseval regularization: kernels stay near to orthogonal ones."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import numpy as np
import optax

from ht_rl import arguments, dtypes
from ht_rl.transforms import checks

PyTree: TypeAlias = Any


def parseval(
  strength: ArrayLike,
  *,
  scale: ArrayLike = 1.0,
  mask: PyTree | Callable[[PyTree], PyTree] | None = None,
) -> optax.GradientTransformation:
  r"""Adds the gradient of a penalty on kernels that are not orthogonal.

  A kernel of the shape ``[..., inputs, units]`` is the matrix :math:`W^\top`
  with a column for each unit, ``kernel.reshape(-1, units)``. (For other layouts
  and stacked parameters see :func:`ht_rl.transforms.fire.project`.) The penalty
  of each kernel is

  .. math::

    \lambda \, \lVert W W^\top - s I \rVert_F^2, \qquad
    \text{with the gradient} \qquad
    4 \lambda \, (W W^\top - s I)\, W

  with :math:`\lambda` for ``strength`` and :math:`s` for ``scale``. It is zero
  where the incoming weights of different units are orthogonal and the norm of
  each is :math:`\sqrt{s}`. A kernel with more units than inputs (times
  positions) cannot reach that; it is pulled as near as it can come, to
  :math:`W^\top W = s I`. Parameters with fewer than two axes, the biases,
  gain no gradient.

  Put it before the optimizer: ``optax.chain(ht_rl.parseval(1e-3),
  optax.adam(1e-3))``.

  Args:
    strength: :math:`\lambda`, a finite number of at least 0.
    scale: :math:`s`, a finite number above 0.
    mask: which kernels are penalised. A tree of bools whose structure is that
      of the parameters or a prefix of it, or a function from the parameters to
      such a tree. None: all. An output layer is best left out: orthogonal rows
      of a fixed length would bound its outputs.

  Returns:
    A transformation without state, whose ``update`` needs the parameters. The
    gradients keep their dtypes; those of complex parameters are expected
    conjugated, as everywhere in optax.

  Raises:
    ValueError: if an argument is outside its range; from ``update``, if what
      would be penalised is a bias or a scale.

  Examples:
    >>> import jax.numpy as jnp
    >>> import ht_rl
    >>> parseval = ht_rl.parseval(0.25)
    >>> kernel = jnp.array([[1.0, 2.0], [0.0, 0.0]])  # Units (1, 0) and (2, 0).
    >>> parseval.update(jnp.zeros((2, 2)), parseval.init(kernel), kernel)[0]
    Array([[4., 8.],
           [0., 0.]], dtype=float32)

  References:
    Chung et al., `Parseval Regularization for Continual Reinforcement Learning
    <https://arxiv.org/abs/2412.07224>`_, NeurIPS 2024.
  """
  arguments.check_scalar(
    'strength',
    strength,
    'a finite number of at least 0',
    lambda x: 0 <= x < np.inf,
  )
  arguments.check_scalar(
    'scale', scale, 'a finite number above 0', lambda x: 0 < x < np.inf
  )

  def init_fn(params: optax.Params) -> optax.EmptyState:
    checks.check_arrays('params', params)
    return optax.EmptyState()

  def update_fn(
    updates: optax.Updates,
    state: optax.EmptyState,
    params: optax.Params | None = None,
  ) -> tuple[optax.Updates, optax.EmptyState]:
    checks.check_update(state, optax.EmptyState, params)
    masked = checks.broadcast_mask(
      'mask', True if mask is None else mask, params
    )

    def add(path: Any, penalised: bool, u: Any, p: Any) -> Any:
      if not penalised or not checks.is_kernel(path, p):
        return u
      wide = dtypes.at_least_float32(u, p)
      kernel = jnp.asarray(p, wide).reshape(-1, jnp.shape(p)[-1])
      gram = dtypes.matmul(kernel.conj().T, kernel)
      excess = gram - jnp.asarray(scale, wide) * jnp.eye(len(gram), dtype=wide)
      factor = jnp.asarray(4 * strength, wide)
      penalty = factor * dtypes.matmul(kernel, excess).reshape(jnp.shape(p))
      return (jnp.asarray(u, wide) + penalty).astype(jnp.result_type(u))

    map_with_path = jax.tree_util.tree_map_with_path
    return map_with_path(add, masked, updates, params), state

  return optax.GradientTransformation(init_fn, update_fn)
