"""ReDo: dormant units start over."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import optax

from ht_rl import arguments, plasticity
from ht_rl.transforms import checks, units
from ht_rl.transforms.checks import Predicate
from ht_rl.transforms.jump import ReinitializeState, check_reset_every

PyTree: TypeAlias = Any


def redo(
  inner: optax.GradientTransformation,
  init: Callable[[jax.Array], PyTree],
  *,
  layers: units.Layers,
  threshold: ArrayLike,
  reset_every: ArrayLike | Predicate,
  key: ArrayLike = 0,
) -> optax.GradientTransformationExtraArgs:
  r"""Trains with ``inner``; periodically recycles dormant units.

  A unit :math:`i` of a layer of :math:`n` units with the activations
  :math:`h` is dormant if

  .. math::

    \mathbb{E}_x |h_i(x)| \le
    \tau \cdot \frac{1}{n} \sum_{k=1}^{n} \mathbb{E}_x |h_k(x)|

  with :math:`\tau` for ``threshold`` (see
  :func:`ht_rl.plasticity.dormant_units`). After update number :math:`t` with
  :math:`t \bmod \texttt{reset\_every} = 0`, the incoming weights of a dormant
  unit are those of ``init(key_t)``, where :math:`\texttt{key}_t` is ``key``
  with :math:`t` folded in, and its outgoing weights are zero. So the function
  of the network stays as it is where the unit was silent. The incoming weights
  include the bias, which released code sets to 0.

  ``update`` needs the activations that belong to ``params``, those of the
  forward pass that made the gradients:
  ``update(gradients, state, params, activations={'hidden': h})``.

  A reset also re-initialises what ``inner`` stores for these weights: Adam's
  moments of the incoming and the outgoing weights become zero, as in the
  released code. Adam's count stays, since all weights share it. A state that
  does not have the structure and the shapes of the weights stays, too: the
  factored moments of ``optax.adafactor``, all moments inside ``optax.flatten``.
  Running statistics of a batch normalization are no parameters, so they stay as
  well.

  Args:
    inner: the transformation that trains: an optimizer, including its learning
      rate.
    init: a function from a random key to parameters, as in
      :func:`shrink_and_perturb`; it draws all of them, but only those of
      dormant units are used.
    layers: from the name of each layer to the place of its units in the
      parameters, :class:`Units`. An output layer is none of them.
    threshold: :math:`\tau`, at least 0; 0.1 is usual.
    reset_every: the number of updates from one recycling to the next, a
      positive integer; or a function of :math:`t`, the number of updates done
      including this one (int32 scalar), that says whether to recycle now (bool
      scalar).
    key: a random key, or an integer as its seed.

  Returns:
    A transformation whose ``update`` needs the parameters and
    ``activations``: a dict from the name of each layer to its output, ``[batch,
    ..., units]``, or ``[batch, ..., 2 units]`` for a CReLU. Its state is a
    :class:`ReinitializeState`.

  Raises:
    ValueError: if an argument is outside its range; from ``init`` or
      ``update``, if ``layers`` does not fit the parameters; from ``update``, if
      activations are missing or do not fit.

  Examples:
    >>> import jax.numpy as jnp
    >>> import optax
    >>> import ht_rl
    >>> fresh = {'hidden': jnp.full((1, 2), 7.0), 'out': jnp.ones((2, 1))}
    >>> optimizer = ht_rl.redo(
    ...   optax.sgd(0.5),
    ...   lambda key: fresh,
    ...   layers={'hidden': ht_rl.Units(incoming='hidden', outgoing='out')},
    ...   threshold=0.1,
    ...   reset_every=1,
    ... )
    >>> params = {'hidden': jnp.array([[2.0, -2.0]]), 'out': jnp.ones((2, 1))}
    >>> gradients = {'hidden': jnp.zeros((1, 2)), 'out': jnp.ones((2, 1))}
    >>> hidden = jnp.array([[2.0, 0.0]])  # The second unit is silent.
    >>> updates, _ = optimizer.update(
    ...   gradients,
    ...   optimizer.init(params),
    ...   params,
    ...   activations={'hidden': hidden},
    ... )
    >>> params = optax.apply_updates(params, updates)
    >>> print(params['hidden'], params['out'].ravel())
    [[2. 7.]] [0.5 0. ]

  References:
    Sokar et al., `The Dormant Neuron Phenomenon in Deep Reinforcement Learning
    <https://arxiv.org/abs/2302.12902>`_, ICML 2023, definition 3.1 and
    algorithm 1.
  """
  checks.check_transformation('inner', inner)
  inner = optax.with_extra_args_support(inner)
  checks.check_init('init', init)
  units.check_layers(layers)
  arguments.check_scalar(
    'threshold', threshold, 'a number of at least 0', lambda t: t >= 0
  )
  check_reset_every(reset_every)
  key = checks.as_key('key', key)

  def select(signal: tuple[Any, Any]) -> units.Selected:
    activations, limit = signal
    return {
      layer: plasticity.dormant_units(h, limit)
      for layer, h in activations.items()
    }

  renew_if = units.renewal(inner, init, layers, key, select)

  def init_fn(params: optax.Params) -> ReinitializeState:
    checks.check_arrays('params', params)
    units.num_units(layers, params)
    return ReinitializeState(jnp.zeros([], jnp.int32), inner.init(params))

  def update_fn(
    updates: optax.Updates,
    state: ReinitializeState,
    params: optax.Params | None = None,
    *,
    activations: units.Activations | None = None,
    **extra_args: Any,
  ) -> tuple[optax.Updates, ReinitializeState]:
    checks.check_update(state, ReinitializeState, params)
    hidden = units.by_unit(layers, activations, params)
    updates, inner_state = inner.update(
      updates, state.inner_state, params, activations=activations, **extra_args
    )
    count = optax.safe_increment(state.count)
    due = checks.is_due('reset_every', reset_every, count)
    updates, inner_state = renew_if(
      due, count, (hidden, threshold), params, updates, inner_state
    )
    return updates, ReinitializeState(count, inner_state)

  return optax.GradientTransformationExtraArgs(init_fn, update_fn)
