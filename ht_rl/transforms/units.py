"""The units of a layer: where their weights are, and how they start over."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import optax

from ht_rl import arguments, dtypes
from ht_rl.transforms.fresh import as_varying_as, draw, is_masked, lead_to
from ht_rl.transforms.line_search import forget_values

PyTree: TypeAlias = Any


class Units(NamedTuple):
  """The place of a layer's units in the parameters.

  A path names the keys that lead to an array, or to a part of the tree with
  several arrays, joined by slashes: ``'params/hidden'`` is
  ``params['params']['hidden']``, and ``''`` is all of the parameters. Kernels
  are laid out as in Flax, ``[..., inputs, units]``; for other layouts and
  stacked parameters see :func:`ht_rl.transforms.fire.project`.

  >>> Units(incoming='params/conv', outgoing='params/head/kernel')
  Units(incoming='params/conv', outgoing='params/head/kernel')

  Attributes:
    incoming: path, or paths, of the arrays that make the units: the kernel and
      the bias of the layer, and the scale and the bias of a normalization
      between it and the units. Unit i is entry i of the last axis.
    outgoing: path, or paths, of the kernels that read the units. Along the
      second-to-last axis, the entries i, i + units, i + 2 units, ... belong to
      unit i: one entry in a dense layer, two behind a CReLU, and one for each
      position of a flattened feature map. Arrays with one axis, the biases,
      stay as they are.
  """

  incoming: str | Sequence[str]
  outgoing: str | Sequence[str] = ()


Layers: TypeAlias = Mapping[str, Units]
# For each layer a bool for each unit.
Selected: TypeAlias = Mapping[str, jax.Array]
Activations: TypeAlias = Mapping[str, jax.Array]


def check_layers(layers: Any) -> None:
  """Raises ValueError unless `layers` maps names to `Units`."""

  def is_path(side: Any) -> bool:
    if isinstance(side, list | tuple):
      return all(isinstance(path, str) for path in side)
    return isinstance(side, str)

  def fits(units: Any) -> bool:
    return isinstance(units, Units) and all(map(is_path, units))

  if (
    not isinstance(layers, Mapping)
    or not layers
    or not all(map(fits, layers.values()))
  ):
    wanted = (
      "a dict from the name of each layer to its units, such as {'hidden': "
      "ht_rl.Units(incoming='params/hidden', outgoing='params/output')}"
    )
    arguments.refuse('layers', wanted, layers)


def num_units(layers: Layers, params: PyTree) -> dict[str, int]:
  """Returns how many units each layer has.

  Raises:
    ValueError: a path of `layers` leads to no array, or to one that does not
      fit.
  """
  leaves = {
    _name(path): leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(params)
  }
  if not leaves:  # `optax.tree.map_params` initializes with such a tree.
    return dict.fromkeys(layers, 0)
  kernels = [name for name, leaf in leaves.items() if jnp.ndim(leaf) >= 2]
  counts = {}
  for layer, units in layers.items():
    for side, names in (('incoming', list(leaves)), ('outgoing', kernels)):
      for path in _paths(getattr(units, side)):
        if not any(_is_under(name, path) for name in names):
          kind = 'array' if side == 'incoming' else 'kernel'
          raise ValueError(
            f'layers[{layer!r}].{side} names {path!r}, but no {kind} of the '
            f'parameters is there; there are {", ".join(names)}'
          )
    sizes = {
      name: jnp.shape(leaf)[-1] if jnp.ndim(leaf) else 0
      for name, leaf in leaves.items()
      if _any_under(name, units.incoming)
    }
    if len(set(sizes.values())) != 1 or 0 in sizes.values():
      raise ValueError(
        f'layers[{layer!r}].incoming must name arrays with the units along '
        f'their last axis, but the sizes of these axes are {sizes}'
      )
    (size,) = set(sizes.values())
    for name, leaf in leaves.items():
      shape = jnp.shape(leaf)
      if _reads(name, leaf, units) and shape[-2] % size:
        raise ValueError(
          f'layers[{layer!r}].outgoing names {name!r} of the shape {shape}, '
          f'whose last axis but one must be a multiple of the {size} units'
        )
    counts[layer] = size
  return counts


def by_unit(
  layers: Layers, activations: Activations | None, params: PyTree
) -> dict[str, jax.Array]:
  """Returns the activations of each layer, [batch, ..., m, units].

  Args:
    layers: the layers.
    activations: of each, [batch, ..., m units].
    params: the parameters.

  Raises:
    ValueError: there are none of a layer, or they do not fit.
  """
  wanted = (
    'the output of each layer of `layers`, as in `update(updates, state, '
    'params, activations={...})`'
  )
  if not isinstance(activations, Mapping):
    arguments.refuse('activations', f'a dict of {wanted}', activations)
  counts = num_units(layers, params)
  if 0 in counts.values():
    raise ValueError(
      f'layers names the units of {", ".join(counts)}, but the parameters hold '
      'no array'
    )
  found = {}
  for layer, size in counts.items():
    if layer not in activations:
      raise ValueError(
        f'activations must hold {wanted}; {layer!r} is missing from '
        f'{sorted(activations)}'
      )
    array = jnp.asarray(activations[layer])
    if array.ndim < 2 or not array.size or array.shape[-1] % size:
      raise ValueError(
        f'activations[{layer!r}] must have the shape [batch, ..., units] with '
        f'{size} units (or a multiple of it), not {array.shape}'
      )
    found[layer] = array.reshape((*array.shape[:-1], -1, size))
  return found


def outgoing_magnitude(units: Units, params: PyTree, size: int) -> jax.Array:
  """Returns the sum of the absolute outgoing weights of each unit, [units]."""
  total = jnp.zeros(size, jnp.float32)
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    if _reads(_name(path), leaf, units):
      rows = jnp.abs(leaf.astype(dtypes.at_least_float32(leaf)))
      axes = (*range(rows.ndim - 2), rows.ndim - 1)
      rows = jnp.sum(rows, axes).reshape(-1, size)
      total += jnp.sum(rows, axis=0).astype(jnp.float32)
  return total


def marks(
  layers: Layers, selected: Selected, params: PyTree
) -> tuple[PyTree, PyTree]:
  """Returns which incoming and which outgoing weights are of selected units.

  Args:
    layers: the layers.
    selected: of each, bool [units].
    params: the parameters.

  Returns:
    Two trees like the parameters, of bools that broadcast to them.
  """

  def incoming(path: Any, p: Any) -> jax.Array:
    mark = jnp.zeros((), bool)
    for layer, units in layers.items():
      if dtypes.is_inexact(p) and _any_under(_name(path), units.incoming):
        mark |= selected[layer]
    return mark

  def outgoing(path: Any, p: Any) -> jax.Array:
    mark = jnp.zeros((), bool)
    for layer, units in layers.items():
      if dtypes.is_inexact(p) and _reads(_name(path), p, units):
        times = jnp.shape(p)[-2] // selected[layer].size
        mark |= jnp.tile(selected[layer], times)[:, None]
    return mark

  map_with_path = jax.tree_util.tree_map_with_path
  return map_with_path(incoming, params), map_with_path(outgoing, params)


def renewal(
  inner: optax.GradientTransformationExtraArgs,
  init: Callable[[jax.Array], PyTree],
  layers: Layers,
  key: jax.Array,
  select: Callable[[Any], Selected],
) -> Callable[..., tuple[optax.Updates, optax.OptState]]:
  """Returns the function that gives selected units a new start when due.

  Their incoming weights become those of `init`, their outgoing weights zero.
  What `inner` keeps of these weights in arrays like them, Adam's moments say,
  becomes what `inner.init` gives; the rest of its state stays, the counts too.

  Args:
    inner: the transformation whose state is renewed along.
    init: a function from a random key to parameters.
    layers: where the units are.
    key: random key, into which the number of the update is folded.
    select: a function from `signal` to the units that start over. It is called
      where this is due only.

  Returns:
    A function of `due` (bool scalar), `count` (int32 scalar), `signal`,
    parameters, updates and the state of `inner`, to updates and state.
  """

  # Outside jit, lax.cond compiles both branches at each call.
  @jax.jit
  def renew_if(
    due: ArrayLike,
    count: jax.Array,
    signal: Any,
    params: optax.Params,
    updates: optax.Updates,
    inner_state: optax.OptState,
  ) -> tuple[optax.Updates, optax.OptState]:
    updates = jax.tree.map(as_varying_as, params, updates)

    def renew() -> tuple[optax.Updates, optax.OptState]:
      incoming, outgoing = marks(layers, select(signal), params)
      fresh = draw(init, jax.random.fold_in(key, count), params)
      renewed = jax.tree.map(
        _lead_to_new, params, updates, fresh, incoming, outgoing
      )
      # Without the barriers, XLA might use other roundings of the updates and
      # the parameters here than the caller gets.
      renewed = jax.lax.optimization_barrier(renewed)
      landed = optax.apply_updates(params, renewed)
      started = inner.init(jax.lax.optimization_barrier(landed))
      changed = jax.tree.map(
        lambda p, i, o: jnp.broadcast_to(i | o, jnp.shape(p)),
        params,
        incoming,
        outgoing,
      )
      state = jax.tree.map(
        lambda mark, new, old: (
          old
          if mark is None
          else jnp.where(mark, jnp.asarray(new, old.dtype), old)
        ),
        _like_state(changed, inner_state),
        started,
        inner_state,
        is_leaf=lambda x: x is None,
      )
      state = jax.tree.map(as_varying_as, inner_state, state)
      return renewed, forget_values(state, True)

    return jax.lax.cond(due, renew, lambda: (updates, inner_state))

  return renew_if


def _lead_to_new(
  p: Any, u: Any, fresh: Any, incoming: Any, outgoing: Any
) -> Any:
  """Returns the update of a leaf that leads to the new weights."""
  if not dtypes.is_inexact(p):
    return u
  wide = dtypes.at_least_float32(p)
  goal = jnp.where(
    outgoing, 0, jnp.asarray(fresh, jnp.result_type(p)).astype(wide)
  )
  return jnp.where(incoming | outgoing, lead_to(goal, p, u), u)


def _like_state(changed: PyTree, state: optax.OptState) -> PyTree:
  """Returns a tree like the state: the marks of a weight, None elsewhere.

  Whatever part of the state has the structure of the parameters is of them; a
  wrapper such as `optax.masked` leaves out some of their leaves or branches.
  """

  def of_leaf(x: Any, mark: Any) -> Any:
    if is_masked(x):
      return x
    if not hasattr(x, 'dtype') or not hasattr(mark, 'dtype'):
      raise ValueError('This is no leaf of the parameters.')
    return mark if x.shape == mark.shape else None

  def of_part(node: Any) -> Any:
    try:
      return jax.tree.map(of_leaf, node, changed, is_leaf=is_masked)
    except ValueError:
      return None

  return jax.tree.map(
    of_part, state, is_leaf=lambda node: of_part(node) is not None
  )


def _reads(name: str, leaf: Any, units: Units) -> bool:
  return jnp.ndim(leaf) >= 2 and _any_under(name, units.outgoing)


def _name(path: Any) -> str:
  return jax.tree_util.keystr(path, simple=True, separator='/')


def _paths(paths: str | Sequence[str]) -> Sequence[str]:
  return (paths,) if isinstance(paths, str) else paths


def _any_under(name: str, paths: str | Sequence[str]) -> bool:
  return any(_is_under(name, path) for path in _paths(paths))


def _is_under(name: str, path: str) -> bool:
  return not path or name == path or name.startswith(f'{path}/')
