import functools
import math

import agents.dopamine  # noqa: F401

from dopamine.jax import networks as dopamine_networks
from dopamine.jax.agents.full_rainbow import full_rainbow_agent
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from agents.core import bbf_networks, categorical, networks, spr

ACTIONS, JUMPS = 3, 3
# Not square; the sides are odd after one pooling and even after another.
SHAPE = (22, 18, 2)
TINY = bbf_networks.BBFNetwork(
  ACTIONS,
  encoder=bbf_networks.ImpalaEncoder((3, 5, 4)),
  hidden=7,
  num_atoms=5,
  v_max=2.0,
)
NATURE = networks.NatureEncoder(flatten=False)


# These tests compile more than they compute.
jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)


def init(network, key, shape=SHAPE, actions=None):
  """Initialises parameters, including those of SPR if there are actions."""
  observations = jnp.zeros((1, *shape))
  if actions is None:
    return network.init(key, observations)
  return network.init(
    key, observations, actions[:1], method='logits_and_predictions'
  )


def made_up(network, seed=0, shape=SHAPE, actions=None):
  """Returns random parameters; nonzero biases show a misplaced bias."""
  rng = np.random.default_rng(seed)

  def draw(leaf):
    bound = 0.1
    if len(leaf.shape) > 1:
      bound = np.sqrt(6 / math.prod(leaf.shape[:-2]) / sum(leaf.shape[-2:]))
    return rng.uniform(-bound, bound, leaf.shape).astype(np.float32)

  return jax.tree.map(
    draw,
    jax.eval_shape(
      functools.partial(init, network, shape=shape, actions=actions),
      jax.random.key(0),
    ),
  )


@functools.partial(jit, static_argnums=0, static_argnames='method')
def apply(network, params, *arguments, method='__call__', rngs=None):
  return network.apply(params, *arguments, method=method, rngs=rngs)


@pytest.fixture(scope='module')
def batch():
  rng = np.random.default_rng(0)
  observations = rng.random((2, *SHAPE), np.float32)
  futures = rng.random((2, JUMPS, *SHAPE), np.float32)
  actions = rng.integers(ACTIONS, size=(2, JUMPS), dtype=np.int32)
  return observations, futures, actions


@pytest.fixture(scope='module')
def params(batch):
  return made_up(TINY, actions=batch[2])


def sizes(network, num_jumps):
  actions = jnp.zeros((1, num_jumps), jnp.int32) if num_jumps else None
  tree = jax.eval_shape(
    functools.partial(init, network, shape=(84, 84, 4), actions=actions),
    jax.random.key(0),
  )
  assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(tree))
  return {
    group: sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(leaves))
    for group, leaves in tree['params'].items()
  }


@pytest.mark.parametrize(
  ('num_actions', 'transition_model', 'head', 'total'),
  [
    (4, 299_776, 522_495, 38_292_287),
    (6, 302_080, 731_493, 38_503_589),
    (18, 315_904, 1_985_481, 39_771_401),
  ],
)
def test_parameter_counts_of_bbf(num_actions, transition_model, head, total):
  network = bbf_networks.BBFNetwork(num_actions)
  counts = sizes(network, num_jumps=5)
  assert counts == {
    'encoder': 1_552_192,
    'transition_model': transition_model,
    'projection': 31_721_472,
    'head': head,
    'predictor': 4_196_352,
  }
  assert sum(counts.values()) == total
  del counts['transition_model'], counts['predictor']
  assert sizes(network, num_jumps=0) == counts


def test_parameter_counts_of_the_nature_variants():
  network = bbf_networks.BBFNetwork(6, encoder=NATURE, hidden=512)
  features = 11 * 11 * 64
  expected = {
    'encoder': 8**2 * 4 * 32 + 32 + 4**2 * 32 * 64 + 64 + 3**2 * 64 * 64 + 64,
    'transition_model': 9 * (64 + 6) * 64 + 64 + 9 * 64 * 64 + 64,
    'projection': features * 512 + 512,
    'head': 512 * 7 * 51 + 7 * 51,
    'predictor': 512 * 512 + 512,
  }
  assert sizes(network, num_jumps=5) == expected
  # A noisy layer has a mean and a scale for each parameter.
  noisy = expected | {k: 2 * expected[k] for k in ('projection', 'head')}
  assert sizes(network.clone(noisy=True), num_jumps=5) == noisy
  del noisy['transition_model'], noisy['predictor']
  assert sizes(network.clone(noisy=True), num_jumps=0) == noisy


def is_uniform(leaf, bound):
  assert 0.95 < np.abs(leaf).max() / bound < 1 + 1e-6
  assert np.std(leaf) == pytest.approx(bound / np.sqrt(3), rel=0.1)
  assert abs(np.mean(leaf)) < 5 * bound / np.sqrt(3 * leaf.size)


def test_initial_parameters(batch):
  network = bbf_networks.BBFNetwork(
    ACTIONS, encoder=bbf_networks.ImpalaEncoder((16, 32, 32)), hidden=64
  )
  draw = jit(functools.partial(init, network, actions=batch[2]))
  leaves = jax.tree_util.tree_leaves_with_path(draw(jax.random.key(0)))
  assert len(leaves) == 2 * (15 + 2 + 1 + 2 + 1)
  for path, leaf in leaves:
    if path[-1].key == 'bias':
      assert not leaf.any()
    else:  # Glorot's.
      fans = math.prod(leaf.shape[:-2]) * sum(leaf.shape[-2:])
      is_uniform(leaf, np.sqrt(6 / fans))


@pytest.mark.parametrize(
  ('settings', 'bound', 'sigma'),
  [
    ({}, 50**-0.5, 0.5),  # Fortunato et al. (2018), section 3.2.
    ({'sigma': 0.1}, 50**-0.5, 0.1),  # Dopamine's.
    ({'glorot': True}, (6 / (50 + 200)) ** 0.5, 0.5),  # BBF's release.
  ],
)
def test_initial_parameters_of_noisy_layers(settings, bound, sigma):
  layer = bbf_networks.NoisyDense(200, **settings)
  tree = jit(layer.init)(jax.random.key(0), jnp.zeros((1, 50)))['params']
  assert {k: v.shape for k, v in tree.items()} == {
    'kernel': (50, 200),
    'bias': (200,),
    'kernel_sigma': (50, 200),
    'bias_sigma': (200,),
  }
  is_uniform(tree['kernel'], bound)
  is_uniform(tree['bias'], 50**-0.5)
  for name in ('kernel_sigma', 'bias_sigma'):
    np.testing.assert_allclose(tree[name], sigma * 50**-0.5, rtol=1e-6)


def test_a_network_initialises_its_noisy_layers_as_told(batch):
  network = TINY.clone(noisy=True, noise_sigma=0.25, noisy_glorot=True)
  draw = jit(functools.partial(init, network, actions=batch[2]))
  tree = draw(jax.random.key(0))['params']
  for layer in (tree['projection'], *tree['head'].values()):
    fans = layer['kernel'].shape
    bound = np.sqrt(6 / sum(fans))
    assert 0.9 * bound < np.abs(layer['kernel']).max() <= bound
    np.testing.assert_allclose(
      layer['kernel_sigma'], 0.25 * fans[0] ** -0.5, rtol=1e-6
    )


# A reference network, in float64 loops over pixels.


def slow_conv(x, layer):
  """Computes a 3x3 convolution of one image, "SAME"."""
  kernel, bias = np.float64(layer['kernel']), np.float64(layer['bias'])
  height, width = x.shape[:2]
  out = np.zeros((height, width, len(bias))) + bias
  for y, x_ in np.ndindex(height, width):
    for dy, dx in np.ndindex(3, 3):
      row, column = y + dy - 1, x_ + dx - 1
      if 0 <= row < height and 0 <= column < width:
        out[y, x_] += x[row, column] @ kernel[dy, dx]
  return out


def slow_pool(x):
  """Computes 3x3 max pooling, stride 2; even sides are padded at the end."""
  height, width = x.shape[:2]
  out = np.zeros((-(-height // 2), -(-width // 2), x.shape[2]))
  for y, x_ in np.ndindex(out.shape[:2]):
    top, left = 2 * y - height % 2, 2 * x_ - width % 2
    window = x[max(top, 0) : top + 3, max(left, 0) : left + 3]
    out[y, x_] = window.max(axis=(0, 1))
  return out


def slow_scaled(x):
  return (x - x.min()) / (x.max() - x.min() + 1e-5)


def slow_dense(x, layer):
  return x @ np.float64(layer['kernel']) + np.float64(layer['bias'])


def slow_encode(x, encoder):
  layers = iter(range(15))

  def conv(x):
    return slow_conv(x, encoder[f'Conv_{next(layers)}'])

  for _ in range(3):
    x = slow_pool(conv(x))
    for _ in range(2):
      inner = conv(np.maximum(x, 0))
      x = x + conv(np.maximum(inner, 0))
  assert next(layers, None) is None
  return slow_scaled(np.maximum(x, 0))


def slow_logits(latent, tree):
  hidden = np.maximum(slow_dense(latent.ravel(), tree['projection']), 0)
  advantage = slow_dense(hidden, tree['head']['advantage'])
  advantage = advantage.reshape(ACTIONS, -1)
  value = slow_dense(hidden, tree['head']['value'])
  return value + advantage - advantage.mean(axis=0)


def slow_projection(x, tree):
  latent = slow_encode(np.float64(x), tree['encoder'])
  return slow_dense(latent.ravel(), tree['projection'])


def slow_predictions(latent, actions, tree):
  predictions = []
  for action in actions:
    planes = np.zeros((*latent.shape[:2], ACTIONS))
    planes[..., action] = 1
    latent = np.concatenate([latent, planes], axis=-1)
    for name in ('Conv_0', 'Conv_1'):
      latent = slow_conv(latent, tree['transition_model'][name])
      latent = np.maximum(latent, 0)
    latent = slow_scaled(latent)
    projection = slow_dense(latent.ravel(), tree['projection'])
    predictions.append(slow_dense(projection, tree['predictor']))
  return predictions


def test_the_whole_network_equals_a_slow_one(batch, params):
  observations, futures, actions = batch
  tree = params['params']
  latents = [slow_encode(np.float64(x), tree['encoder']) for x in observations]
  expected = [slow_logits(latent, tree) for latent in latents]
  assert np.std(expected) > 0.05
  close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)

  logits, predictions = apply(
    TINY, params, observations, actions, method='logits_and_predictions'
  )
  close(logits, expected)
  close(
    predictions,
    [
      slow_predictions(*each, tree)
      for each in zip(latents, actions, strict=True)
    ],
  )
  logits, projections = apply(
    TINY, params, observations, futures, method='logits_and_projections'
  )
  close(logits, expected)
  close(projections, [[slow_projection(x, tree) for x in xs] for xs in futures])
  close(apply(TINY, params, observations, method='logits'), expected)
  odds, atoms = np.exp(expected), [-2.0, -1.0, 0.0, 1.0, 2.0]
  close(
    apply(TINY, params, observations),
    np.sum(odds * atoms, axis=-1) / np.sum(odds, axis=-1),
  )


# Dopamine's networks.


def test_impala_encoder_equals_dopamines():
  encoder = bbf_networks.ImpalaEncoder((32, 64, 64))
  network = bbf_networks.BBFNetwork(2, encoder, renormalize=False)
  observation = np.random.default_rng(0).random((84, 84, 4), np.float32)
  params = made_up(network, shape=(84, 84, 4))
  ours = params['params']['encoder']
  theirs = {
    f'_stacks_{stage}': {
      f'Conv_{i}': ours[f'Conv_{5 * stage + i}'] for i in range(5)
    }
    for stage in range(3)
  }
  expected = jit(dopamine_networks.ImpalaEncoder(nn_scale=2).apply)(
    {'params': theirs}, observation
  )
  latents = apply(network, params, observation[None], method='encode')
  assert latents.shape == (1, 11, 11, 64)
  assert np.std(expected) > 0.05
  np.testing.assert_allclose(latents[0], expected, rtol=1e-3, atol=1e-5)


def rainbow(noisy):
  """Returns BBF's network with Dopamine's settings, and Dopamine's."""
  ours = bbf_networks.BBFNetwork(
    4, encoder=NATURE, hidden=512, renormalize=False, noisy=noisy
  )
  theirs = dopamine_networks.FullRainbowNetwork(
    4, num_atoms=51, noisy=noisy, inputs_preprocessed=True
  )
  return ours, theirs


def to_rainbow(params):
  """Renames parameters to those of Dopamine's `FullRainbowNetwork`."""
  tree = params['params']
  layers = [
    tree['projection'],
    tree['head']['advantage'],
    tree['head']['value'],
  ]
  kind, names = 'Dense', {'kernel': 'kernel', 'bias': 'bias'}
  if 'kernel_sigma' in layers[0]:
    kind, names = 'NoisyNetwork', {'kernel': 'kernel_mu', 'bias': 'bias_mu'}
  return {
    'params': tree['encoder']
    | {
      f'{kind}_{i}': {names.get(k, k): v for k, v in layer.items()}
      for i, layer in enumerate(layers)
    }
  }


@pytest.mark.parametrize('noisy', [False, True])
def test_logits_without_noise_equal_dopamines(noisy):
  ours, theirs = rainbow(noisy)
  observations = np.random.default_rng(0).random((3, 84, 84, 4), np.float32)
  params = made_up(ours, shape=(84, 84, 4))

  @jit
  @functools.partial(jax.vmap, in_axes=(None, 0))
  def expected(params, observation):
    return theirs.apply(
      params, observation, ours.support, eval_mode=True, key=jax.random.key(0)
    )

  expected = expected(to_rainbow(params), observations)
  assert np.std(expected.q_values) > 0.01
  close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
  close(apply(ours, params, observations), expected.q_values)
  close(apply(ours, params, observations, method='logits'), expected.logits)


def test_loss_and_gradients_equal_dopamines():
  ours, theirs = rainbow(noisy=False)
  num, cumulative_gamma = 8, 0.97**10
  rng = np.random.default_rng(0)
  params, target_params = (made_up(ours, i, (84, 84, 4)) for i in range(2))
  states, next_states = rng.random((2, num, 84, 84, 4), np.float32)
  taken = rng.integers(4, size=num, dtype=np.int32)
  rewards = rng.uniform(-12, 12, num).astype(np.float32)
  terminals = rng.random(num) < 0.4
  weights = rng.uniform(0.2, 1, num).astype(np.float32)

  def ours_loss(params):
    losses = jax.vmap(categorical.double_q_loss, (0, 0, 0, 0, 0, 0, None))(
      ours.apply(params, states, method='logits'),
      taken,
      rewards,
      jnp.where(terminals, 0.0, cumulative_gamma),
      ours.apply(target_params, next_states, method='logits'),
      ours.apply(params, next_states),
      ours.support,
    )
    return jnp.mean(weights * losses), losses

  (loss, losses), gradients = jit(jax.value_and_grad(ours_loss, has_aux=True))(
    params
  )
  # An optimizer whose new state is the gradient: `train` returns it.
  record = optax.GradientTransformation(
    lambda params: params, lambda updates, state, params=None: (updates,) * 2
  )
  expected, _, losses_each, mean_loss, _ = full_rainbow_agent.train(
    theirs,
    to_rainbow(params),
    to_rainbow(target_params),
    record,
    record.init(to_rainbow(params)),
    states,
    taken,
    next_states,
    rewards,
    terminals,
    weights,
    jnp.asarray(ours.support),
    cumulative_gamma,
    True,  # double_dqn
    True,  # distributional
    False,  # mse_loss
    jax.random.PRNGKey(0),
  )
  assert 0 < np.sum(terminals) < num
  np.testing.assert_allclose(losses, losses_each, rtol=1e-4)
  np.testing.assert_allclose(loss, mean_loss, rtol=1e-5)

  def close(ours, theirs):
    scale = np.abs(theirs).max()
    assert scale > 0
    np.testing.assert_allclose(ours / scale, theirs / scale, atol=2e-5)

  jax.tree.map(close, to_rainbow(gradients), expected)


# Parts of the network.


def test_renormalize():
  x = jnp.array([[-1.0, 0.0, 3.0], [5.0, 5.0, 5.0], [0.0, 1e-5, 0.0]])
  scaled = bbf_networks.renormalize(x[:, None, None])
  np.testing.assert_allclose(
    scaled[:, 0, 0], [[0, 0.25, 1], [0, 0, 0], [0, 0.5, 0]], atol=1e-5
  )
  # Over the pixels and channels of each example.
  x = np.random.default_rng(0).normal(size=(3, 4, 5, 6)).astype(np.float32)
  x[1] *= 7.0
  np.testing.assert_allclose(
    bbf_networks.renormalize(x), [slow_scaled(each) for each in x], atol=1e-5
  )
  # bfloat16 latents are scaled in float32 and rounded once.
  narrow = jnp.asarray(x, jnp.bfloat16)
  expected = bbf_networks.renormalize(narrow.astype(jnp.float32))
  np.testing.assert_array_equal(
    bbf_networks.renormalize(narrow), expected.astype(jnp.bfloat16)
  )


@pytest.mark.parametrize('shape', [(6, 7), (1, 2)])
def test_pooling_equals_flaxs(shape):
  def value_and_gradient(pool, x):
    value, pull = jax.vjp(pool, x)
    return value, pull(jnp.cos(value))[0]

  def flaxs(x):
    return nn.max_pool(x, (3, 3), (2, 2), 'SAME')

  ours = jit(functools.partial(value_and_gradient, bbf_networks._max_pool))
  theirs = jit(functools.partial(value_and_gradient, flaxs))
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, *shape, 3)).astype(np.float32)
  for mine, flax in zip(ours(x), theirs(x), strict=True):
    np.testing.assert_allclose(mine, flax, rtol=1e-6)
  # Equal pixels share the gradient; in Flax the first of them gets it.
  x = rng.integers(2, size=x.shape).astype(np.float32)
  (value, gradient), (expected, others) = ours(x), theirs(x)
  np.testing.assert_array_equal(value, expected)
  np.testing.assert_allclose(
    np.sum(gradient, axis=(1, 2)), np.sum(others, axis=(1, 2)), rtol=1e-5
  )


# What depends on what.


def test_a_prediction_sees_the_actions_before_it(batch, params):
  observations, _, actions = batch

  def predict(actions):
    return apply(
      TINY, params, observations, actions, method='logits_and_predictions'
    )[1]

  for k in range(JUMPS):
    other = actions.copy()
    other[:, k] = (other[:, k] + 1) % ACTIONS
    changed = np.any(predict(other) != predict(actions), axis=(0, 2))
    np.testing.assert_array_equal(changed, np.arange(JUMPS) >= k)


def test_who_learns_from_what(batch, params):
  observations, futures, actions = batch

  def spr_loss(params):
    _, predictions = TINY.apply(
      params, observations, actions, method='logits_and_predictions'
    )
    _, targets = TINY.apply(
      params, observations, futures, method='logits_and_projections'
    )
    mask = jnp.ones(actions.shape, bool)
    return jnp.mean(jax.vmap(spr.loss)(predictions, targets, mask))

  def value_loss(params):
    logits = TINY.apply(params, observations, method='logits')
    return -jnp.mean(jax.nn.log_softmax(logits)[:, 1, 2])

  for loss, idle in (
    (spr_loss, {'head'}),
    (value_loss, {'transition_model', 'predictor'}),
  ):
    gradients = jit(jax.grad(loss))(params)['params']
    for group, leaves in gradients.items():
      for leaf in jax.tree.leaves(leaves):
        assert np.all(np.isfinite(leaf))
        assert np.any(leaf) == (group not in idle)


def test_a_black_screen_gives_finite_gradients(batch, params):
  actions = batch[2]
  # At initialisation, the latent of a black screen and its projection are zero.
  fresh = jax.tree.map(lambda p: p * (p.ndim > 1), params)
  black = jnp.zeros((2, *SHAPE))

  def loss(params):
    logits, predictions = TINY.apply(
      params, black, actions, method='logits_and_predictions'
    )
    mask = jnp.ones(actions.shape, bool)
    losses = jax.vmap(spr.loss)(predictions, jnp.zeros_like(predictions), mask)
    return jnp.mean(losses) + jnp.mean(logits**2)

  gradients = jit(jax.grad(loss))(fresh)
  assert all(np.all(np.isfinite(g)) for g in jax.tree.leaves(gradients))


# Noise.


@functools.partial(jit, static_argnums=0)
def noisy_outputs(layer, tree, x, seed):
  return layer.apply({'params': tree}, x, rngs={'noise': jax.random.key(seed)})


def noisy_layer(inputs, outputs):
  """Returns a noisy layer and its parameters, all of different sizes."""
  rng = np.random.default_rng(0)
  shapes = {'kernel': (inputs, outputs), 'bias': (outputs,)}
  shapes |= {f'{k}_sigma': shape for k, shape in shapes.items()}
  tree = {
    k: rng.uniform(0.1, 1, shape).astype(np.float32)
    for k, shape in shapes.items()
  }
  return bbf_networks.NoisyDense(outputs), tree


def factors_of_noise(layer, tree, num):
  """Returns the noise of seed 1, of each input and of each output.

  The noise depends on no parameter; parameters are chosen to isolate it.

  Returns:
    Two float64 arrays, [num, inputs] and [num, outputs].
  """
  silent = {k: np.zeros_like(v) for k, v in tree.items()}
  inputs = len(tree['kernel'])
  ones = np.ones((num, inputs), np.float32)
  bias = silent | {'bias_sigma': np.ones_like(tree['bias'])}
  of_outputs = np.float64(noisy_outputs(layer, bias, ones, 1))
  of_inputs = []
  for i in range(inputs):
    kernel = silent | {'kernel_sigma': np.zeros_like(tree['kernel'])}
    kernel['kernel_sigma'][i] = 1
    product = np.float64(noisy_outputs(layer, kernel, ones, 1))
    of_inputs.append(product[:, 0] / of_outputs[:, 0])
    np.testing.assert_allclose(
      product, of_inputs[-1][:, None] * of_outputs, rtol=1e-5
    )
  return np.stack(of_inputs, axis=1), of_outputs


def test_noise_is_factorised():
  num = 5
  layer, tree = noisy_layer(inputs=3, outputs=4)
  x = np.random.default_rng(1).normal(size=(num, 3)).astype(np.float32)
  of_inputs, of_outputs = factors_of_noise(layer, tree, num)
  expected = np.zeros((num, 4))
  for b, i, j in np.ndindex(num, 3, 4):
    noise = of_inputs[b, i] * of_outputs[b, j]
    weight = tree['kernel'][i, j] + tree['kernel_sigma'][i, j] * noise
    expected[b, j] += weight * x[b, i]
  expected += tree['bias'] + tree['bias_sigma'] * of_outputs
  outputs = noisy_outputs(layer, tree, x, 1)
  np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)


def test_noise_is_the_signed_root_of_normal_noise():
  num = 2000
  # Equal numbers, so that noise drawn twice from one key would be visible.
  layer, tree = noisy_layer(inputs=4, outputs=4)
  factors = np.concatenate(factors_of_noise(layer, tree, num), axis=1)
  normal = np.sign(factors) * factors**2
  # The Kolmogorov-Smirnov distance to the normal distribution, at 0.1%.
  values = np.sort(normal.ravel())
  exact = [0.5 * (1 + math.erf(value / math.sqrt(2))) for value in values]
  steps = np.arange(len(values) + 1) / len(values)
  distance = np.max(np.abs([steps[1:] - exact, steps[:-1] - exact]))
  assert distance < 1.95 / math.sqrt(len(values))
  # Inputs, outputs and examples have independent noise.
  pairs = np.corrcoef(normal.T)[np.triu_indices(8, 1)]
  assert np.max(np.abs(pairs)) < 4.5 / math.sqrt(num)
  neighbours = np.corrcoef(normal[1:].ravel(), normal[:-1].ravel())[0, 1]
  assert np.abs(neighbours) < 4 / math.sqrt(len(values))


def test_noise_is_in_the_logits_alone(batch):
  observations, futures, actions = batch
  noisy = TINY.clone(noisy=True)
  params = made_up(noisy, actions=actions)
  twins = np.repeat(observations[:1], 2, axis=0)

  def outputs(method, last, seed):
    rngs = {'noise': jax.random.key(seed)} if seed else None
    return apply(noisy, params, twins, last, method=method, rngs=rngs)

  for method, last in (
    ('logits_and_predictions', actions),
    ('logits_and_projections', futures),
  ):
    still, vectors = outputs(method, last, seed=0)
    np.testing.assert_allclose(still[0], still[1], rtol=1e-6)
    for seed in (1, 2):
      logits, again = outputs(method, last, seed)
      assert np.all(logits != still)
      # Each example has its own noise.
      assert np.all(np.abs(logits[0] - logits[1]) > 1e-4)
      np.testing.assert_allclose(again, vectors, rtol=1e-6, atol=1e-7)


# Precision, populations, compilation.


def test_bfloat16_in_the_convolutions_alone(batch):
  observations, futures, actions = batch
  full = TINY.clone(hidden=64, num_atoms=51, v_max=10.0)
  narrow = full.clone(encoder=full.encoder.clone(dtype=jnp.bfloat16))
  params = made_up(narrow, actions=actions)
  assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(params))

  @functools.partial(jit, static_argnames=('network', 'method'))
  def run(network, params, last, method):
    outputs, state = network.apply(
      params,
      observations,
      last,
      method=method,
      capture_intermediates=True,
    )
    q = categorical.q_values(outputs[0], network.support)
    return (*outputs, q), state['intermediates']

  for method, last in (
    ('logits_and_predictions', actions),
    ('logits_and_projections', futures),
  ):
    expected, _ = run(full, params, last, method=method)
    outputs, inner = run(narrow, params, last, method=method)
    groups = set()
    for path, output in jax.tree_util.tree_leaves_with_path(inner):
      if path[-2].key == '__call__':
        groups.add(path[0].key)
        convolves = path[0].key in ('encoder', 'transition_model')
        assert output.dtype == (jnp.bfloat16 if convolves else jnp.float32)
    assert groups >= {'encoder', 'projection', 'head'}
    for exact, output in zip(expected, outputs, strict=True):
      assert output.dtype == jnp.float32
      assert np.any(output != output.astype(jnp.bfloat16))
      error = np.linalg.norm(output - exact, axis=-1)
      error /= np.linalg.norm(exact, axis=-1)
      assert 1e-4 < np.max(error) < 0.03


def test_a_population_equals_its_members(batch):
  observations, futures, actions = batch
  network = TINY.clone(noisy=True)

  def loss(params, key, observations):
    rngs = {'noise': key}
    logits, predictions = network.apply(
      params, observations, actions, method='logits_and_predictions', rngs=rngs
    )
    _, targets = network.apply(
      params, observations, futures, method='logits_and_projections', rngs=rngs
    )
    mask = jnp.ones(actions.shape, bool)
    losses = jax.vmap(spr.loss)(predictions, targets, mask)
    return jnp.mean(losses) + jnp.mean(logits**2)

  members = [
    (
      made_up(network, i, actions=actions),
      jax.random.key(i),
      (i + 1) / 3 * observations,
    )
    for i in range(3)
  ]
  population = jax.tree.map(lambda *xs: jnp.stack(xs), *members)
  together = jit(jax.vmap(jax.value_and_grad(loss)))(*population)
  member = jit(jax.value_and_grad(loss))
  alone = [member(*arguments) for arguments in members]
  assert len(np.unique([value for value, _ in alone])) == 3
  jax.tree.map(
    lambda one, *each: np.testing.assert_allclose(
      one, np.stack(each), rtol=1e-3, atol=1e-5
    ),
    together,
    *alone,
  )


def test_equal_networks_are_compiled_once():
  network = TINY.clone(encoder=bbf_networks.ImpalaEncoder((3, 5, 4)))
  assert network == TINY
  assert hash(network) == hash(TINY)
  assert network != TINY.clone(noisy=True)
