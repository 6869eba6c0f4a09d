"""ReDo, SNR and continual backprop against plain NumPy, in float64.

The numbers of a loop over single units, with Adam written out.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ht_rl
from ht_rl.transforms.self_normalized_resets import _new_limit

# Much is compiled here, and little is computed.
pytestmark = pytest.mark.usefixtures('compile_fast')

SHAPES = {
  'conv/kernel': (3, 3, 1, 4),
  'conv/bias': (4,),
  'dense/kernel': (2 * 2 * 4, 5),  # Of a flattened map of 2 x 2 positions.
  'dense/bias': (5,),
  'out/kernel': (5, 3),
  'out/bias': (3,),
}
LAYERS = {
  'conv': ht_rl.Units(incoming='conv', outgoing='dense'),
  'dense': ht_rl.Units(
    incoming=('dense/kernel', 'dense/bias'), outgoing='out/kernel'
  ),
}
READERS = {'conv': 'dense', 'dense': 'out'}
RATE = 0.125
KEY = 7


def nest(flat):
  tree = {}
  for path, x in flat.items():
    module, name = path.split('/')
    tree.setdefault(module, {})[name] = jnp.asarray(x)
  return tree


def init(key):
  return nest(
    {
      path: jax.random.normal(jax.random.fold_in(key, i), shape)
      for i, (path, shape) in enumerate(SHAPES.items())
    }
  )


def draws(rng):
  return {path: rng.normal(size=shape) for path, shape in SHAPES.items()}


def activations_of(rng):
  """Outputs of units, some of which are never above 0 at times.

  Those of the first layer are 0 then, as behind a ReLU; those of the second are
  at times all negative.
  """
  shapes = {'conv': (6, 2, 2, 4), 'dense': (6, 5)}
  hidden = {}
  for layer, shape in shapes.items():
    on = rng.uniform(size=shape[-1]) < np.linspace(0.2, 1.0, shape[-1])
    off = -rng.integers(2, size=shape[-1]) if layer == 'dense' else 0
    hidden[layer] = (
      np.maximum(rng.normal(size=shape), 0)
      * np.where(on, 1, off)
      * np.linspace(0.5, 1.5, shape[-1])
    )
  return hidden


class Oracle:
  """Weights and Adam's moments, and units that start over."""

  def __init__(self, start):
    self.w = {path: x.copy() for path, x in start.items()}
    self.mu = {path: np.zeros_like(x) for path, x in start.items()}
    self.nu = {path: np.zeros_like(x) for path, x in start.items()}
    self.t = 0

  def train(self, gradients):
    self.t += 1
    for path, g in gradients.items():
      self.mu[path] = 0.9 * self.mu[path] + 0.1 * g
      self.nu[path] = 0.999 * self.nu[path] + 0.001 * g * g
      mean = self.mu[path] / (1 - 0.9**self.t)
      square = self.nu[path] / (1 - 0.999**self.t)
      self.w[path] -= RATE * mean / (np.sqrt(square) + 1e-8)

  def start_over(self, selected):
    fresh = init(jax.random.fold_in(jax.random.key(KEY), self.t))
    for layer, chosen in selected.items():
      for unit in chosen:
        for name in ('kernel', 'bias'):
          path = f'{layer}/{name}'
          self.w[path][..., unit] = fresh[layer][name][..., unit]
          self.mu[path][..., unit] = 0
          self.nu[path][..., unit] = 0
    for layer, chosen in selected.items():
      path = f'{READERS[layer]}/kernel'
      count = SHAPES[f'{layer}/bias'][0]
      for unit in chosen:
        for row in range(unit, SHAPES[path][0], count):
          for tree in (self.w, self.mu, self.nu):
            tree[path][row] = 0


def compare(optimizer, select, steps=30):
  """Trains by both, and returns how many units started over.

  Args:
    optimizer: around Adam.
    select: a function from the number of the update, the activations and the
      oracle before the update to lists of units.
    steps: how many updates.
  """
  rng = np.random.default_rng(0)
  start = draws(rng)
  oracle = Oracle(start)
  total = 0
  with jax.enable_x64():
    params = nest(start)
    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    for t in range(1, steps + 1):
      gradients, hidden = draws(rng), activations_of(rng)
      updates, state = update(
        nest(gradients), state, params, activations=hidden
      )
      params = optax.apply_updates(params, updates)
      selected = select(t, hidden, oracle)
      oracle.train(gradients)
      oracle.start_over(selected)
      total += sum(map(len, selected.values()))
      adam = state.inner_state[0]
      assert adam.count == t
      for expected, actual in (
        (oracle.w, params),
        (oracle.mu, adam.mu),
        (oracle.nu, adam.nu),
      ):
        # Sums of up to 30 numbers below 10, in float64.
        jax.tree.map(
          lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-12),
          actual,
          nest(expected),
        )
  return total, state


def test_redo():
  def dormant(t, hidden, _):
    if t % 3:
      return {}
    chosen = {}
    for layer, h in hidden.items():
      scores = [np.mean(np.abs(h[..., i])) for i in range(h.shape[-1])]
      limit = 0.25 * np.mean(scores)
      chosen[layer] = [i for i, s in enumerate(scores) if s <= limit]
    return chosen

  optimizer = ht_rl.redo(
    optax.adam(RATE),
    init,
    layers=LAYERS,
    threshold=0.25,
    reset_every=3,
    key=KEY,
  )
  total, state = compare(optimizer, dormant)
  assert total >= 10
  assert state.count == 30


@pytest.mark.parametrize(
  'make',
  [
    lambda inner: ht_rl.redo(
      inner, init, layers=LAYERS, threshold=9.0, reset_every=1
    ),
    lambda inner: ht_rl.self_normalized_resets(
      inner,
      init,
      layers=LAYERS,
      rejection=0.25,
      max_interval=1,
      refresh_every=9,
    ),
    lambda inner: ht_rl.continual_backprop(
      inner, init, layers=LAYERS, replacement_rate=0.9, maturity=0
    ),
  ],
)
def test_a_line_search_forgets_the_value_at_other_weights(make):
  inner = optax.chain(
    optax.sgd(1.0),
    optax.scale_by_backtracking_linesearch(15, store_grad=True),
  )
  optimizer = make(inner)

  def loss(params, activations=None):
    del activations
    return sum(jnp.sum(x**2) for x in jax.tree.leaves(params))

  params = init(jax.random.key(1))
  value, gradient = jax.value_and_grad(loss)(params)
  hidden = {'conv': jnp.zeros((6, 2, 2, 4)), 'dense': jnp.zeros((6, 5))}
  values = []
  for around in (inner, optimizer):
    extra = {} if around is inner else {'activations': hidden}
    _, state = around.update(
      gradient,
      around.init(params),
      params,
      value=value,
      grad=gradient,
      value_fn=loss,
      **extra,
    )
    values.append(float(optax.tree.get(state, 'value')))
  # Infinity makes optax.value_and_grad_from_state compute them again.
  assert values[0] < value
  assert values[1] == np.inf


def test_self_normalized_resets():
  longest, refresh = 4, 6
  sizes = {'conv': 4, 'dense': 5}
  silence = {layer: [0] * n for layer, n in sizes.items()}
  limit = {layer: [longest] * n for layer, n in sizes.items()}
  records = {layer: [[] for _ in range(n)] for layer, n in sizes.items()}
  changes = []

  def silent(t, hidden, _):
    chosen = {layer: [] for layer in hidden}
    for layer, h in hidden.items():
      for i in range(sizes[layer]):
        if (h[..., i] > 0).any():
          if silence[layer][i]:
            records[layer][i].append(silence[layer][i])
          silence[layer][i] = 0
        else:
          silence[layer][i] += 1
        if silence[layer][i] >= limit[layer][i]:
          chosen[layer].append(i)
          records[layer][i].append(silence[layer][i])
          silence[layer][i] = 0
        seen = records[layer][i]
        if t % refresh == 0 and seen:
          quantile = next(
            length
            for length in range(1, longest + 1)
            if np.mean(np.array(seen) <= length) >= 0.75
          )
          old = limit[layer][i]
          limit[layer][i] = (
            quantile if quantile < old else min(2 * old, longest)
          )
          changes.append(limit[layer][i] - old)
          seen.clear()
        elif t % refresh == 0:
          seen.clear()
    return chosen

  optimizer = ht_rl.self_normalized_resets(
    optax.adam(RATE),
    init,
    layers=LAYERS,
    rejection=0.25,
    max_interval=longest,
    refresh_every=refresh,
    key=KEY,
  )
  total, state = compare(optimizer, silent, steps=60)
  assert total >= 10
  assert min(changes) < 0 < max(changes)
  for layer in sizes:
    assert state.silence[layer].tolist() == silence[layer]
    assert state.limit[layer].tolist() == limit[layer]


@pytest.mark.parametrize(
  ('rejection', 'short', 'long'), [(0.4, 15, 10), (0.46, 27, 23), (0.1, 9, 1)]
)
def test_a_quantile_of_snr_that_is_reached_exactly(rejection, short, long):
  # Lengths 1 and 9; in float32, 1 - rejection is a little more than the share.
  records = jnp.zeros((2, 11), jnp.int32)
  records = records.at[:, 9].set(long).at[:, 1].set([short, short - 1])
  limit = _new_limit(records, jnp.array([10, 10]), rejection)
  assert limit.tolist() == [1, 9]


def test_continual_backprop():
  sizes = {'conv': 4, 'dense': 5}
  utility = {layer: np.zeros(n) for layer, n in sizes.items()}
  age = {layer: np.zeros(n, int) for layer, n in sizes.items()}
  owed = dict.fromkeys(sizes, 0.0)

  def least_useful(_, hidden, oracle):
    chosen = {}
    for layer, h in hidden.items():
      kernel = oracle.w[f'{READERS[layer]}/kernel']
      for i in range(sizes[layer]):
        rows = kernel[i :: sizes[layer]]
        contribution = np.mean(np.abs(h[..., i])) * np.sum(np.abs(rows))
        utility[layer][i] = 0.75 * utility[layer][i] + 0.25 * contribution
        age[layer][i] += 1
      old = [i for i in range(sizes[layer]) if age[layer][i] > 3]
      owed[layer] += 0.0625 * len(old)
      chosen[layer] = []
      if owed[layer] > 1:
        worst = min(old, key=lambda i: utility[layer][i])
        chosen[layer].append(worst)
        owed[layer] -= 1
        age[layer][worst] = utility[layer][worst] = 0
    return chosen

  optimizer = ht_rl.continual_backprop(
    optax.adam(RATE),
    init,
    layers=LAYERS,
    replacement_rate=0.0625,
    maturity=3,
    decay=0.75,
    key=KEY,
  )
  total, state = compare(optimizer, least_useful, steps=40)
  assert total >= 10
  for layer in sizes:
    np.testing.assert_allclose(state.utility[layer], utility[layer], 1e-5)
    assert state.age[layer].tolist() == age[layer].tolist()
    assert state.owed[layer] == owed[layer]


# --- what they have in common -------------------------------------------------


def forward(params, images):
  h = jax.nn.relu(
    jax.lax.conv_general_dilated(
      images,
      params['conv']['kernel'],
      (1, 1),
      'VALID',
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    )
    + params['conv']['bias']
  )
  x = jax.nn.relu(
    h.reshape(len(h), -1) @ params['dense']['kernel'] + params['dense']['bias']
  )
  out = x @ params['out']['kernel'] + params['out']['bias']
  return out, {'conv': h, 'dense': x}


def still(params):
  return jax.tree.map(jnp.zeros_like, params)


def make_redo(inner, **changes):
  arguments = {
    'layers': LAYERS,
    'threshold': 0.0,
    'reset_every': 1,
    **changes,
  }
  return ht_rl.redo(inner, init, **arguments)


def test_recycling_silent_units_leaves_the_function_as_it_was():
  params = init(jax.random.key(1))
  params['conv']['bias'] = params['conv']['bias'].at[1].set(-100.0)
  params['dense']['bias'] = params['dense']['bias'].at[3].set(-1000.0)
  images = jax.random.normal(jax.random.key(2), (8, 4, 4, 1))
  before, hidden = forward(params, images)
  optimizer = make_redo(optax.sgd(0.1))
  updates, _ = optimizer.update(
    still(params), optimizer.init(params), params, activations=hidden
  )
  after = optax.apply_updates(params, updates)
  outputs, renewed = forward(after, images)
  np.testing.assert_array_equal(outputs, before)
  assert not hidden['conv'][..., 1].any()
  assert renewed['conv'][..., 1].any()
  assert after['dense']['bias'][3] > -100
  # All others are as they were, to the last bit.
  for i in (0, 2, 3):
    np.testing.assert_array_equal(
      after['conv']['kernel'][..., i], params['conv']['kernel'][..., i]
    )


def test_both_halves_of_a_crelu_are_one_unit():
  params = {'hidden': jnp.ones((2, 3)), 'out': jnp.ones((6, 1))}
  optimizer = ht_rl.redo(
    optax.sgd(0.1),
    lambda key: jax.tree.map(lambda x: 5 * x, params),
    layers={'hidden': ht_rl.Units('hidden', 'out')},
    threshold=0.0,
    reset_every=1,
  )
  # The first unit is silent in one half, the second in both.
  hidden = jnp.array([[0.0, 0.0, 1.0, 1.0, 0.0, 0.0]])
  updates, _ = optimizer.update(
    still(params),
    optimizer.init(params),
    params,
    activations={'hidden': hidden},
  )
  after = optax.apply_updates(params, updates)
  assert after['hidden'].tolist() == [[1, 5, 1]] * 2
  assert after['out'].ravel().tolist() == [1, 0, 1, 1, 0, 1]


WRAPPERS = {
  'momentum': lambda: optax.sgd(0.1, momentum=0.5),
  'masked': lambda: optax.masked(
    optax.trace(0.5), lambda p: jax.tree.map(lambda x: x.ndim > 1, p)
  ),
  'partition': lambda: optax.partition(
    {'a': optax.adam(0.1), 'b': optax.sgd(0.1, momentum=0.5)},
    {'conv': 'a', 'dense': 'b', 'out': 'a'},
  ),
  'factored': lambda: optax.adafactor(0.1, min_dim_size_to_factor=2),
}


@pytest.mark.parametrize('make', WRAPPERS.values(), ids=WRAPPERS)
def test_moments_start_over_within_any_optimizer(make):
  params = init(jax.random.key(1))
  gradients = init(jax.random.key(2))
  hidden = {
    'conv': jnp.ones((1, 2, 2, 4)).at[..., 2].set(0),
    'dense': jnp.ones((1, 5)),
  }
  inner = make()
  optimizer = make_redo(inner)
  _, state = optimizer.update(
    gradients, optimizer.init(params), params, activations=hidden
  )
  _, plain = inner.update(gradients, inner.init(params), params)
  seen = 0
  for (path, x), y in zip(
    jax.tree_util.tree_leaves_with_path(state.inner_state),
    jax.tree.leaves(plain),
    strict=True,
  ):
    name = jax.tree_util.keystr(path)
    expected = np.array(y)
    if "['conv']" in name and x.shape in (SHAPES['conv/kernel'], (4,)):
      expected[..., 2] = 0
      seen += 1
    if "['dense']" in name and x.shape == SHAPES['dense/kernel']:
      expected[2::4] = 0
      seen += 1
    np.testing.assert_array_equal(x, expected, err_msg=name)
  assert seen >= 1


@pytest.mark.parametrize('outside', ['redo', 'hare_tortoise'])
def test_with_hare_and_tortoise(outside):
  params = init(jax.random.key(1))
  gradients = init(jax.random.key(2))
  rule = {'momentum': 0.5, 'reset_every': 100}
  if outside == 'redo':
    optimizer = make_redo(ht_rl.hare_tortoise(optax.sgd(0.1), **rule))
  else:
    optimizer = ht_rl.hare_tortoise(make_redo(optax.sgd(0.1)), **rule)
  hidden = {
    'conv': jnp.ones((1, 2, 2, 4)),
    'dense': jnp.ones((1, 5)).at[:, 0].set(0),
  }
  updates, state = jax.jit(optimizer.update)(
    gradients, optimizer.init(params), params, activations=hidden
  )
  hare = optax.apply_updates(params, updates)['dense']['kernel']
  old = params['dense']['kernel']
  tortoise = ht_rl.tortoise_params(state)['dense']['kernel']
  # Outside, it also gives the tortoise's units the start of the hare's.
  expected = (hare + old) / 2
  if outside == 'redo':
    expected = expected.at[:, 0].set(hare[:, 0])
  np.testing.assert_allclose(tortoise, expected, rtol=0, atol=1e-6)
  assert not np.allclose(hare[:, 0], old[:, 0], atol=0.5)


def test_a_layer_without_an_outgoing_path_and_integers_stay():
  params = {'w': jnp.ones((2, 3)), 'n': jnp.array([1, 2, 3])}
  optimizer = ht_rl.redo(
    optax.set_to_zero(),
    lambda key: jax.tree.map(lambda x: 5 * x, params),
    layers={'a': ht_rl.Units('')},
    threshold=0.0,
    reset_every=1,
  )
  updates, _ = optimizer.update(
    params,
    optimizer.init(params),
    params,
    activations={'a': jnp.array([[0.0, 1.0, 1.0]])},
  )
  after = optax.apply_updates(params, updates)
  assert after['w'].tolist() == [[5, 1, 1]] * 2
  assert after['n'].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'layers': {}}, 'layers must be a dict from the name of each layer'),
    ({'layers': {'a': ('x', 'y')}}, 'layers must be a dict'),
    ({'layers': {'a': ht_rl.Units(3)}}, 'layers must be a dict'),
    ({'threshold': -1.0}, 'threshold must be a number of at least 0'),
    ({'reset_every': 0}, 'reset_every must be a positive integer'),
    ({'key': None}, 'key must be a random key'),
  ],
)
def test_wrong_arguments_are_named(changes, message):
  with pytest.raises(ValueError, match=f'^{message}'):
    make_redo(optax.sgd(0.1), **changes)


@pytest.mark.parametrize(
  ('units', 'message'),
  [
    (
      ht_rl.Units('conv', 'head'),
      r"layers\['a'\].outgoing names 'head', but no kernel of the parameters "
      'is there; there are conv/kernel, dense/kernel, out/kernel',
    ),
    (ht_rl.Units('con'), r"layers\['a'\].incoming names 'con', but no array"),
    (ht_rl.Units('conv', 'out/bias'), 'names .out/bias., but no kernel'),
    (ht_rl.Units(('conv', 'dense')), 'incoming must name arrays with the unit'),
    (ht_rl.Units('conv', 'out'), r'\(5, 3\), whose last axis but one must be'),
  ],
)
def test_places_that_do_not_fit(units, message):
  optimizer = make_redo(optax.sgd(0.1), layers={'a': units})
  with pytest.raises(ValueError, match=message):
    optimizer.init(init(jax.random.key(0)))


@pytest.mark.parametrize(
  ('activations', 'message'),
  [
    (None, 'activations must be a dict of the output of each layer'),
    ({'conv': np.ones((2, 4))}, "'dense' is missing from .'conv'."),
    (
      {'conv': np.ones((2, 4)), 'dense': np.ones((2, 4))},
      r"activations\['dense'\] must have the shape \[batch, ..., units\] with "
      r'5 units \(or a multiple of it\), not \(2, 4\)',
    ),
    ({'conv': np.ones((2, 4)), 'dense': np.ones(5)}, r"activations\['dense'\]"),
  ],
)
def test_activations_that_do_not_fit(activations, message):
  params = init(jax.random.key(0))
  optimizer = make_redo(optax.sgd(0.1))
  with pytest.raises(ValueError, match=message):
    optimizer.update(
      params, optimizer.init(params), params, activations=activations
    )


@pytest.mark.parametrize(
  ('argument', 'value', 'wanted'),
  [
    ('rejection', 0.0, r'a number in \(0, 1\)'),
    ('rejection', 1.0, r'a number in \(0, 1\)'),
    ('max_interval', 0, 'an integer of at least 1'),
    ('refresh_every', 0, 'a positive integer'),
    ('init', None, 'a function from a random key'),
    ('inner', optax.adam, 'an optax.GradientTransformation'),
  ],
)
def test_wrong_arguments_of_snr_are_named(argument, value, wanted):
  arguments = {
    'inner': optax.sgd(0.1),
    'init': init,
    'layers': LAYERS,
    'rejection': 0.1,
    'max_interval': 5,
    'refresh_every': 5,
  }
  with pytest.raises(ValueError, match=f'^{argument} must be {wanted}'):
    ht_rl.self_normalized_resets(**{**arguments, argument: value})


@pytest.mark.parametrize(
  ('argument', 'value', 'wanted'),
  [
    ('replacement_rate', 1.5, r'must be a number in \[0, 1\]'),
    ('maturity', -1, 'must be an integer of at least 0'),
    ('maturity', 0.5, 'must be an integer of at least 0'),
    ('decay', 1.0, r'must be a number in \[0, 1\)'),
    ('layers', {'a': ht_rl.Units('conv')}, r"\['a'\].outgoing must name the"),
  ],
)
def test_wrong_arguments_of_continual_backprop_are_named(
  argument, value, wanted
):
  arguments = {
    'inner': optax.sgd(0.1),
    'init': init,
    'layers': LAYERS,
    'replacement_rate': 0.1,
    'maturity': 5,
  }
  with pytest.raises(ValueError, match=f'^{argument} ?{wanted}'):
    ht_rl.continual_backprop(**{**arguments, argument: value})


@pytest.mark.parametrize('params', [{}, {'conv': optax.MaskedNode()}])
def test_parameters_without_an_array(params):
  optimizer = ht_rl.redo(
    optax.sgd(0.1), init, layers=LAYERS, threshold=0.1, reset_every=2
  )
  state = optimizer.init(params)
  hidden = activations_of(np.random.default_rng(0))
  with pytest.raises(ValueError, match='but the parameters hold no array'):
    optimizer.update(params, state, params, activations=hidden)
