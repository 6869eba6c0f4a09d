"""Each method against its formula, computed by other means."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special
import scipy.stats

from experiments.supervised import methods, models
from experiments.supervised.methods import penalties, redo

KEY = jax.random.key(0)


def test_self_distillation_is_the_divergence_by_class():
  rng = np.random.default_rng(0)
  student, teacher = rng.normal(size=(2, 7, 5))
  expected = scipy.stats.entropy(
    scipy.special.softmax(teacher, axis=1),
    scipy.special.softmax(student, axis=1),
    axis=1,
  )
  np.testing.assert_allclose(
    penalties.self_distillation(student, teacher),
    expected.mean() / 5,
    rtol=1e-5,
  )


def test_no_gradient_reaches_the_teacher():
  logits = jnp.array([[1.0, 2.0], [0.0, 5.0]])
  grad = jax.grad(penalties.self_distillation, argnums=1)(logits, logits + 1)
  np.testing.assert_array_equal(grad, np.zeros((2, 2)))


@pytest.fixture(scope='module')
def weights():
  rng = np.random.default_rng(1)
  return [
    {
      'backbone': {'kernel': jnp.asarray(rng.normal(size=(3, 4)), jnp.float32)},
      'head': {'bias': jnp.asarray(rng.normal(size=4), jnp.float32)},
    }
    for _ in range(2)
  ]


def test_shrinking_by_nothing_and_by_all(weights):
  present, initial = weights
  for fraction, expected in ((0.0, present), (1.0, initial)):
    shrunk = methods.ShrinkAndPerturb(fraction).begin_phase(
      present, initial, KEY
    )
    jax.tree.map(np.testing.assert_array_equal, shrunk, expected)


def test_shrinking_is_towards_the_initial_weights(weights):
  present, initial = weights
  shrunk = methods.ShrinkAndPerturb(0.8).begin_phase(present, initial, KEY)
  jax.tree.map(
    lambda s, w, w_0: np.testing.assert_allclose(s, 0.2 * w + 0.8 * w_0, 1e-5),
    *(shrunk, present, initial),
  )


def test_perturbing_adds_noise_of_a_given_deviation():
  ones = {'a': jnp.ones(20_000), 'b': jnp.ones(20_000)}
  got = methods.ShrinkAndPerturb(0.75, 0.5).begin_phase(ones, ones, KEY)
  noise = {name: np.asarray(x) - 0.25 for name, x in got.items()}
  for x in noise.values():
    assert scipy.stats.kstest(x, 'norm', (0, 0.5)).pvalue > 1e-3
  assert abs(np.corrcoef(noise['a'], noise['b'])[0, 1]) < 0.03


def test_a_head_reset_touches_the_head_alone(weights):
  present, initial = weights
  reset = methods.HeadReset().begin_phase(present, initial, KEY)
  assert reset == {'backbone': present['backbone'], 'head': initial['head']}


def network(name='mlp', **settings):
  model = models.make_model(name, 3, width=0.1, **settings)
  images = jax.random.normal(jax.random.key(1), (256, 4, 4, 1))
  variables = model.init(jax.random.key(3), images)  # All units alive.
  return model, images, variables


def kill(variables, units):
  """Makes units of the first hidden layer put out zeros for any input."""
  params = jax.tree.map(lambda x: x, variables['params'])
  norm = params['backbone']['norm_0']
  for name, value in (('scale', 0.0), ('bias', -1.0)):
    norm[name] = norm[name].at[units].set(value)
  return {**variables, 'params': params}


def recycle(model, images, variables, threshold, **settings):
  params = variables['params']
  optimizer = optax.chain(optax.identity(), optax.adam(1e-3))
  _, opt_state = optimizer.update(
    jax.tree.map(jnp.ones_like, params), optimizer.init(params), params
  )
  fresh = model.init(jax.random.key(9), images)['params']
  recycled = redo.recycle_dormant(
    methods.Weights(params, variables['batch_stats'], opt_state),
    fresh,
    model.apply(variables, images).activations,
    model.hidden_layers,
    threshold,
  )
  return recycled, fresh


def test_a_dead_unit_gets_new_inputs_no_outputs_and_no_moments():
  dead = np.array([1, 4])
  model, images, variables = network()
  variables = kill(variables, dead)
  recycled, fresh = recycle(model, images, variables, 0.0)
  before, after = variables['params'], recycled.params
  alive = np.setdiff1d(np.arange(10), dead)
  mu, nu = (optax.tree.get(recycled.opt_state, name) for name in ('mu', 'nu'))

  for path in (
    ('hidden_0', 'kernel'),
    ('hidden_0', 'bias'),
    ('norm_0', 'scale'),
  ):
    old, new, drawn = (
      np.asarray(tree['backbone'][path[0]][path[1]])
      for tree in (before, after, fresh)
    )
    np.testing.assert_array_equal(new[..., dead], drawn[..., dead])
    np.testing.assert_array_equal(new[..., alive], old[..., alive])
    for moments in (mu, nu):
      moment = np.asarray(moments['backbone'][path[0]][path[1]])
      assert not moment[..., dead].any()
      assert moment[..., alive].all()
  outgoing = after['backbone']['hidden_1']['kernel']
  assert not np.asarray(outgoing)[dead].any()
  np.testing.assert_array_equal(
    outgoing[alive], before['backbone']['hidden_1']['kernel'][alive]
  )
  assert not np.asarray(mu['backbone']['hidden_1']['kernel'])[dead].any()
  stats = recycled.batch_stats['backbone']['norm_0']
  np.testing.assert_array_equal(stats['mean'][dead], [0, 0])
  np.testing.assert_array_equal(stats['var'][dead], [1, 1])
  # Nothing else is touched.
  for name in ('hidden_1', 'norm_1'):
    np.testing.assert_array_equal(
      after['backbone'][name]['bias'], before['backbone'][name]['bias']
    )
  jax.tree.map(np.testing.assert_array_equal, after['head'], before['head'])


def test_recycling_what_was_dead_leaves_the_function_as_it_was():
  model, images, variables = network()
  variables = kill(variables, np.array([0, 2, 7]))
  recycled, _ = recycle(model, images, variables, 0.0)
  after = {'params': recycled.params, 'batch_stats': recycled.batch_stats}
  more = jax.random.normal(jax.random.key(5), (64, 4, 4, 1))
  np.testing.assert_array_equal(
    model.apply(variables, more).logits, model.apply(after, more).logits
  )
  # And the units are alive again.
  activations = model.apply(after, more).activations[0]
  assert np.asarray(activations).any(axis=0).all()


def test_both_halves_of_a_crelu_are_one_unit():
  model, images, variables = network(crelu=True)
  outputs = model.apply(variables, images)
  units = redo.unit_activations(
    outputs.activations, model.hidden_layers, variables['params']
  )['backbone/hidden_0']
  width = variables['params']['backbone']['hidden_0']['kernel'].shape[1]
  assert units.shape == (256, 2, width)
  np.testing.assert_array_equal(units[:, 1], outputs.activations[0][:, width:])
  # Of a unit that is off both halves' outgoing weights are gone.
  variables = kill(variables, np.array([1]))
  params = variables['params']
  norm = params['backbone']['norm_0']
  norm['bias'] = norm['bias'].at[1].set(0.0)
  recycled, _ = recycle(model, images, variables, 0.0)
  outgoing = np.asarray(recycled.params['backbone']['hidden_1']['kernel'])
  np.testing.assert_array_equal(
    np.flatnonzero(~outgoing.any(axis=1)), [1, 1 + width]
  )


def test_a_threshold_recycles_the_faint_ones():
  model, images, variables = network()
  activations = np.asarray(model.apply(variables, images).activations[0])
  activity = np.abs(activations).mean(axis=0)
  scores = activity / activity.mean()
  threshold = float(np.sort(scores)[:2].mean())  # Between the first and second.
  second = np.asarray(model.apply(variables, images).activations[1])
  second = np.abs(second).mean(axis=0)
  recycled, fresh = recycle(model, images, variables, threshold)
  for i, dormant in enumerate(
    (scores <= threshold, second / second.mean() <= threshold)
  ):
    bias, new = (
      np.asarray(tree['backbone'][f'hidden_{i}']['bias'])
      for tree in (recycled.params, fresh)
    )
    np.testing.assert_array_equal(bias == new, dormant)
  assert (scores <= threshold).any()
