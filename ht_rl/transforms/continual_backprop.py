"""Continual backpropagation: the least useful old units start over."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import optax

from ht_rl import arguments, dtypes
from ht_rl.transforms import checks, units

PyTree: TypeAlias = Any


class ContinualBackpropState(NamedTuple):
  """State of :func:`continual_backprop`.

  Each dict has an array for each layer.

  Attributes:
    count: int32 scalar, the number of updates done.
    utility: float32 [units], the running mean of each unit's contribution.
    age: int32 [units], updates since the unit started.
    owed: float32 scalars, how many units are to be replaced.
    inner_state: the state of the inner transformation.
  """

  count: jax.Array  # type: ignore[assignment]
  utility: dict[str, jax.Array]
  age: dict[str, jax.Array]
  owed: dict[str, jax.Array]
  inner_state: optax.OptState


def continual_backprop(
  inner: optax.GradientTransformation,
  init: Callable[[jax.Array], PyTree],
  *,
  layers: units.Layers,
  replacement_rate: ArrayLike,
  maturity: ArrayLike,
  decay: ArrayLike = 0.99,
  key: ArrayLike = 0,
) -> optax.GradientTransformationExtraArgs:
  r"""Trains with ``inner``; replaces few units of low utility at a time.

  In each update, with the activations :math:`h` and the outgoing weights
  :math:`w` of a unit :math:`i` of a layer,

  .. math::

    \begin{align*}
      a_i &\leftarrow a_i + 1, \\
      u_i &\leftarrow \eta\, u_i + (1 - \eta)\,
        \mathbb{E}_x |h_i(x)| \sum_k |w_{ik}|, \\
      c &\leftarrow c + \rho \cdot
        \lvert \{ i : a_i > \texttt{maturity} \} \rvert
    \end{align*}

  with :math:`\eta` for ``decay`` and :math:`\rho` for ``replacement_rate``. If
  then :math:`c > 1`, the unit of the least utility :math:`u_i` among those that
  are older than ``maturity`` starts over, and :math:`c \leftarrow c - 1`: its
  incoming weights are those of ``init(key_t)``, where :math:`\texttt{key}_t` is
  ``key`` with the number of updates folded in, its outgoing weights, its age
  and its utility are zero.

  The mean is over the batch, and over the positions of a feature map. Where the
  map is flattened, or the activation is a CReLU, the sum is over all kernel
  rows of the unit.

  ``update`` needs the activations that belong to ``params``, as that of
  :func:`redo` does. A reset also re-initialises what ``inner`` stores for these
  weights, as with :func:`redo`, and as in the released code. That code counts
  Adam's steps for each weight as well; in optax all weights share the count,
  which stays.

  This is the algorithm as the paper writes it. The released code also divides
  the utility by :math:`1 - \eta^{a_i}`, adds the mean contribution of a
  replaced unit to the biases of its readers, sets the bias of a new unit to 0
  where it is that of ``init`` here, and by default draws whether to replace a
  unit instead of keeping :math:`c`.

  Args:
    inner: the transformation that trains: an optimizer, including its learning
      rate.
    init: a function from a random key to parameters, as in
      :func:`shrink_and_perturb`.
    layers: from the name of each layer to the place of its units in the
      parameters, :class:`Units`, with ``outgoing`` paths.
    replacement_rate: :math:`\rho`, the share of the old units that is replaced
      in an update, a number in [0, 1]; small, 1e-4 say. No update replaces
      more than one unit of a layer.
    maturity: the age in updates up to which a unit is safe, an integer of at
      least 0; 100 say.
    decay: :math:`\eta`, a number in [0, 1).
    key: a random key, or an integer as its seed.

  Returns:
    A transformation whose ``update`` needs the parameters and ``activations``,
    as that of :func:`redo` does, and whose state is a
    :class:`ContinualBackpropState`.

  Raises:
    ValueError: if an argument is outside its range; from ``init`` or
      ``update``, if ``layers`` does not fit the parameters; from ``update``, if
      activations are missing or do not fit.

  Examples:
    >>> import jax.numpy as jnp
    >>> import optax
    >>> import ht_rl
    >>> fresh = {'hidden': jnp.full((1, 2), 7.0), 'out': jnp.ones((2, 1))}
    >>> optimizer = ht_rl.continual_backprop(
    ...   optax.sgd(0.5),
    ...   lambda key: fresh,
    ...   layers={'hidden': ht_rl.Units(incoming='hidden', outgoing='out')},
    ...   replacement_rate=0.75,  # 2 units: 1.5 are owed in the first update.
    ...   maturity=0,
    ... )
    >>> params = {'hidden': jnp.array([[2.0, 2.0]]), 'out': jnp.ones((2, 1))}
    >>> updates, state = optimizer.update(
    ...   {'hidden': jnp.zeros((1, 2)), 'out': jnp.zeros((2, 1))},
    ...   optimizer.init(params),
    ...   params,
    ...   activations={'hidden': jnp.array([[0.5, 4.0]])},
    ... )
    >>> params = optax.apply_updates(params, updates)
    >>> print(params['hidden'], params['out'].ravel(), state.age['hidden'])
    [[7. 2.]] [0. 1.] [0 1]

  References:
    Dohare et al., `Loss of plasticity in deep continual learning
    <https://doi.org/10.1038/s41586-024-07711-7>`_, Nature 632, 2024, equation 1
    and algorithm 1.
  """
  checks.check_transformation('inner', inner)
  inner = optax.with_extra_args_support(inner)
  checks.check_init('init', init)
  units.check_layers(layers)
  for layer, place in layers.items():
    if not place.outgoing:
      raise ValueError(
        f'layers[{layer!r}].outgoing must name the kernels that read the '
        'units, since their weights are a part of the utility'
      )
  arguments.check_scalar(
    'replacement_rate',
    replacement_rate,
    'a number in [0, 1]',
    lambda x: 0 <= x <= 1,
  )
  arguments.check_scalar(
    'maturity',
    maturity,
    'an integer of at least 0, below 2**31',
    lambda x: 0 <= x < 2**31,
    integer=True,
  )
  arguments.check_scalar(
    'decay', decay, 'a number in [0, 1)', lambda x: 0 <= x < 1
  )
  key = checks.as_key('key', key)
  renew_if = units.renewal(inner, init, layers, key, lambda chosen: chosen)

  def init_fn(params: optax.Params) -> ContinualBackpropState:
    checks.check_arrays('params', params)
    sizes = units.num_units(layers, params)

    def zeros(dtype: Any, scalar: bool = False) -> dict[str, jax.Array]:
      return {
        layer: jnp.zeros(() if scalar else size, dtype)
        for layer, size in sizes.items()
      }

    return ContinualBackpropState(
      count=jnp.zeros([], jnp.int32),
      utility=zeros(jnp.float32),
      age=zeros(jnp.int32),
      owed=zeros(jnp.float32, scalar=True),
      inner_state=inner.init(params),
    )

  def update_fn(
    updates: optax.Updates,
    state: ContinualBackpropState,
    params: optax.Params | None = None,
    *,
    activations: units.Activations | None = None,
    **extra_args: Any,
  ) -> tuple[optax.Updates, ContinualBackpropState]:
    checks.check_update(state, ContinualBackpropState, params)
    hidden = units.by_unit(layers, activations, params)
    updates, inner_state = inner.update(
      updates, state.inner_state, params, activations=activations, **extra_args
    )
    count = optax.safe_increment(state.count)
    utility, age, owed, selected = {}, {}, {}, {}
    for layer, h in hidden.items():
      axes = tuple(range(h.ndim - 1))
      activity = jnp.mean(jnp.abs(h.astype(dtypes.at_least_float32(h))), axes)
      outgoing = units.outgoing_magnitude(layers[layer], params, h.shape[-1])
      outgoing = outgoing.astype(activity.dtype)
      contribution = (activity * outgoing).astype(jnp.float32)
      mean = state.utility[layer]
      mean += jnp.asarray(1 - decay, jnp.float32) * (contribution - mean)
      ages = optax.safe_increment(state.age[layer])
      old = ages > jnp.asarray(maturity, ages.dtype)
      due = state.owed[layer] + jnp.asarray(
        replacement_rate, jnp.float32
      ) * jnp.sum(old, dtype=jnp.float32)
      replace = (due > 1) & jnp.any(old)
      least = jnp.argmin(jnp.where(old, mean, jnp.inf))
      selected[layer] = replace & (jnp.arange(len(old)) == least)
      utility[layer] = jnp.where(selected[layer], 0, mean)
      age[layer] = jnp.where(selected[layer], 0, ages)
      owed[layer] = due - replace.astype(jnp.float32)
    some = jnp.any(jnp.concatenate(list(selected.values())))
    updates, inner_state = renew_if(
      some, count, selected, params, updates, inner_state
    )
    return updates, ContinualBackpropState(
      count, utility, age, owed, inner_state
    )

  return optax.GradientTransformationExtraArgs(init_fn, update_fn)
