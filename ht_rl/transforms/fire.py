"""FIRE: kernels become the nearest orthogonal ones."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import numpy as np
import optax

from ht_rl import arguments, dtypes
from ht_rl.transforms import checks
from ht_rl.transforms.checks import Predicate
from ht_rl.transforms.fresh import lead_to
from ht_rl.transforms.jump import jump

PyTree: TypeAlias = Any


def fire(
  inner: optax.GradientTransformation,
  *,
  reset_every: ArrayLike | Predicate,
  iterations: int = 10,
  reset_mask: PyTree | Callable[[PyTree], PyTree] | None = None,
  reset_inner_state: bool = True,
) -> optax.GradientTransformationExtraArgs:
  r"""Trains with ``inner``; periodically makes kernels orthogonal.

  After update number :math:`t` with :math:`t \bmod \texttt{reset\_every} = 0`
  each kernel becomes the result of :func:`ht_rl.transforms.fire.project`: the
  orthogonal matrix that is nearest to it, scaled. Nothing random is drawn, and
  no fresh weights are needed.

  The method is meant for the moments at which the data change; ``reset_every``
  can be a function that names them.

  By default a reset also initializes the whole state of ``inner`` again, as in
  :func:`shrink_and_perturb`: all kernels have changed.

  Args:
    inner: the transformation that trains: an optimizer, including its learning
      rate.
    reset_every: the number of updates from one projection to the next, a
      positive integer; or a function of :math:`t`, the number of updates done
      including this one (int32 scalar), that says whether to project now (bool
      scalar).
    iterations: steps of the iteration in ``project``. Name it in the
      ``static_args`` of ``optax.inject_hyperparams``.
    reset_mask: which kernels are projected. A tree of bools whose structure is
      that of the parameters or a prefix of it, or a function from the
      parameters to such a tree. None: all arrays with two axes or more, so name
      what is no kernel (an embedding, say) as False. ``project`` says how
      kernels must be laid out.
    reset_inner_state: whether a reset also initializes the whole state of
      ``inner`` again.

  Returns:
    A transformation whose ``update`` needs the parameters and whose state is a
    :class:`ReinitializeState`.

  Raises:
    ValueError: if an argument is outside its range; from ``update``, if what
      would be projected is a bias or a scale.

  Examples:
    >>> import jax.numpy as jnp
    >>> import optax
    >>> import ht_rl
    >>> optimizer = ht_rl.fire(optax.sgd(0.5), reset_every=1)
    >>> kernel = jnp.array([[3.0, 0.0], [0.0, -0.5]])
    >>> updates, _ = optimizer.update(
    ...   jnp.zeros((2, 2)), optimizer.init(kernel), kernel
    ... )
    >>> optax.apply_updates(kernel, updates).round(2)
    Array([[ 1.,  0.],
           [ 0., -1.]], dtype=float32)

  References:
    Han et al., `FIRE: Frobenius-Isometry Reinitialization for Balancing the
    Stability-Plasticity Tradeoff <https://arxiv.org/abs/2602.08040>`_, ICLR
    2026.
  """
  arguments.check_int('iterations', iterations, 1)

  def lead(
    count: jax.Array, params: optax.Params, updates: optax.Updates
  ) -> optax.Updates:
    del count
    mask = True if reset_mask is None else reset_mask
    mask = checks.broadcast_mask('reset_mask', mask, params)

    def lead_leaf(path: Any, projected: bool, p: Any, u: Any) -> Any:
      if not projected or not checks.is_kernel(path, p):
        return u
      wide = dtypes.at_least_float32(p)
      goal = _project_kernel(jnp.asarray(p + u, wide), iterations)
      return lead_to(goal, p, u)

    map_with_path = jax.tree_util.tree_map_with_path
    return map_with_path(lead_leaf, mask, params, updates)

  return jump(
    inner,
    lead,
    reset_every=reset_every,
    reset_inner_state=reset_inner_state,
  )


def project(params: PyTree, iterations: int = 10) -> PyTree:
  r"""Returns the weights with orthogonal kernels.

  A kernel of the shape ``[..., inputs, units]`` is a matrix :math:`W` with
  :math:`d_{\text{in}}` rows and :math:`d_{\text{out}}` columns for each of its
  :math:`k` positions (of a dense layer there is one). Each of them becomes

  .. math::

    \frac{1}{k} \sqrt{\frac{d_{\text{out}}}{d_{\text{in}}}} \; U V^\top,
    \qquad W = U \Sigma V^\top,

  where :math:`U V^\top` is the (semi-)orthogonal matrix nearest to :math:`W` in
  the Frobenius norm. It is approximated, as in the paper, by Newton and
  Schulz's iteration

  .. math::

    X_0 = W / \lVert W \rVert_F, \qquad
    X_{j + 1} = \tfrac{3}{2} X_j - \tfrac{1}{2} X_j X_j^\top X_j,

  which raises small singular values by about half in each step: those far below
  the norm of :math:`W` stay below 1.

  The layout ``[..., inputs, units]`` is Flax's. Another layout cannot be
  recognised; it gives wrong weights without an error.

  - Kernels that are stacked (by ``nn.vmap``, ``nn.scan`` or
    ``jax.vmap(init)``, those of twin critics, say) are read as one kernel with
    several positions. Map over them: ``jax.vmap(project)``, or ``jax.vmap`` of
    ``init`` and ``update`` of a transformation. (A stacked array that is named
    ``bias`` or ``scale`` is an error.)
  - Kernels of ``nn.DenseGeneral``, which attention has, are ``[inputs, heads,
    size]`` or ``[heads, size, units]``: reshape them, or mask them.
  - Kernels of Equinox and PyTorch are ``[units, inputs, ...]``: transpose them.

  Args:
    params: the weights, a tree of arrays. Those with fewer than two axes stay
      as they are.
    iterations: how many steps, a positive integer. The released code takes 10,
      and 5 for language models.

  Returns:
    A tree like the weights, in their dtypes; computed in float32 at least. A
    kernel that is zero stays zero.

  Raises:
    ValueError: if ``iterations`` is outside its range, or if an array with two
      axes or more is a bias or a scale.

  Examples:
    >>> import jax.numpy as jnp
    >>> from ht_rl.transforms import fire
    >>> fire.project({'kernel': 2 * jnp.eye(2), 'bias': jnp.ones(1)})
    {'bias': Array([1.], dtype=float32), 'kernel': Array([[1., 0.],
           [0., 1.]], dtype=float32)}

  References:
    As for :func:`ht_rl.fire`.
  """
  arguments.check_int('iterations', iterations, 1)

  def of_leaf(path: Any, p: Any) -> Any:
    if not checks.is_kernel(path, p):
      return p
    wide = jnp.asarray(p, dtypes.at_least_float32(p))
    return _project_kernel(wide, iterations).astype(jnp.result_type(p))

  return jax.tree_util.tree_map_with_path(of_leaf, params)


def _project_kernel(kernel: jax.Array, iterations: int) -> jax.Array:
  *positions, inputs, outputs = kernel.shape
  norm = jnp.linalg.norm(kernel, axis=(-2, -1), keepdims=True)
  start = kernel / jnp.where(norm == 0, 1, norm)

  def step(_: Any, x: jax.Array) -> jax.Array:
    adjoint = x.conj().mT
    # The smaller of the two Gram matrices.
    if inputs < outputs:
      cubed = dtypes.matmul(dtypes.matmul(x, adjoint), x)
    else:
      cubed = dtypes.matmul(x, dtypes.matmul(adjoint, x))
    return 1.5 * x - 0.5 * cubed

  orthogonal = jax.lax.fori_loop(0, iterations, step, start)
  return orthogonal * ((outputs / inputs) ** 0.5 / int(np.prod(positions)))
