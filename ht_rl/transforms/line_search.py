"""Values that a line search keeps, which belong to the weights before."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import optax

_LINE_SEARCHES = (
  optax.ScaleByBacktrackingLinesearchState,
  optax.ScaleByZoomLinesearchState,
)


def forget_values(state: optax.OptState, due: ArrayLike) -> optax.OptState:
  """Marks the kept values in an optimizer's state as unknown, if due.

  A line search (`optax.lbfgs` has one) keeps the value and the gradient at the
  weights that its update leads to. `optax.value_and_grad_from_state` uses them
  unless the value is infinite, as it is in a new state.

  Args:
    state: the state of any optimizer.
    due: bool scalar, whether the weights have become others.

  Returns:
    The state, where due with infinity for each value beside a gradient.
  """

  def keeps_value(node: Any) -> bool:
    return isinstance(node, _LINE_SEARCHES)

  def forget(node: Any) -> Any:
    if not keeps_value(node):
      return node
    return node._replace(value=jnp.where(due, jnp.inf, node.value))

  return jax.tree.map(forget, state, is_leaf=keeps_value)
