"""Training against plain loops, and what it must leave alone."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.supervised import models, preprocessing
from experiments.supervised.data import Dataset
from experiments.supervised.settings import Setting
from experiments.supervised.training import Trainer
from experiments.supervised.training import state as state_lib
import ht_rl

pytestmark = pytest.mark.usefixtures('compile_fast')

SEEDS = (3, 8)


def make_dataset(num_train=40, shape=(4, 4, 1)):
  rng = np.random.default_rng(0)
  labels = np.sort(np.arange(num_train) % 6).astype(np.int32)
  images = rng.integers(0, 256, (num_train, *shape), np.uint8)
  test_images = rng.integers(0, 256, (30, *shape), np.uint8)
  test_labels = rng.integers(0, 6, 30).astype(np.int32)
  channels = shape[-1]
  return Dataset(
    name='noise',
    train_images=images,
    train_labels=labels,
    test_images=test_images,
    test_labels=test_labels,
    num_classes=6,
    mean=(0.4,) * channels,
    std=(0.3,) * channels,
  )


DATASET = make_dataset()


@functools.cache  # Each compiles for seconds, and keeps nothing of a run.
def make_trainer(seeds=SEEDS, **fields):
  fields = {
    # With Adam's usual eps rounding would become steps: the biases that batch
    # normalisation takes away have gradients of zero.
    'eps': 1e-3,
    'ratios': (0.5, 1.0),
    'epochs': (3, 2),
    'batch_size': 8,
    'width': 0.1,
    'momentum': 0.75,
    **fields,
  }
  return Trainer(Setting(**fields), seeds, DATASET)


def run_phase(trainer, phase, state=None, epochs=None, between=None):
  """Returns the states after 0, 1, 2, ... epochs, as NumPy arrays."""
  state = trainer.begin_phase(phase, state)
  states = [jax.tree.map(np.array, state)]
  for epoch in range(epochs or trainer.schedule(phase).epochs):
    state, figures = trainer.epoch(phase, epoch, state)
    states.append(jax.tree.map(np.array, state))
    if between is not None:
      between(state, figures)
  return states


def assert_equal(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


def assert_differ(a, b):
  pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  assert any(np.any(x != y) for x, y in pairs)


def of_seed(tree, i):
  return jax.tree.map(lambda x: x[i], tree)


def adam(state):
  """The moments and counts of Adam."""
  return {k: optax.tree.get(state.opt_state, k) for k in ('mu', 'nu')}


PENALTIES = {
  'spectral_decoupling': 0.5,
  'regenerate': 2.0,
  'self_distillation': 3.0,
  'weight_decay': 0.3,
  'b1': 0.5,
  'b2': 0.9,
}


@pytest.mark.parametrize('fields', [{}, PENALTIES], ids=['plain', 'all'])
def test_a_phase_is_a_plain_loop(fields):
  # One batch an epoch: then its order is all that a permutation changes.
  trainer = make_trainer(
    batch_size=64,
    epochs=(12, 1),
    reset_steps=5,
    max_grad_norm=0.2,
    **fields,
  )
  states = run_phase(trainer, 0)
  setting = trainer.schedule(0).setting
  (indices, labels), i = (np.asarray(x) for x in trainer._phases[0]), 1
  images = preprocessing.normalize(
    DATASET.train_images[indices[i]], DATASET.mean, DATASET.std
  )
  model = models.make_model('mlp', 6, width=0.1)
  one_hot = jax.nn.one_hot(labels[i], 6)
  first = of_seed(states[0], i)
  hare, stats = first.params, first.batch_stats
  slow, slow_stats = first.params, first.batch_stats
  optimizer = optax.adamw(
    lambda count: 1e-3 * min(count, 1),  # A tenth of twelve steps is one.
    b1=setting.b1,
    b2=setting.b2,
    eps=setting.eps,
    weight_decay=setting.weight_decay,
  )
  opt_state = optimizer.init(hare)

  def loss_fn(params, stats, slow, slow_stats):
    outputs, updated = model.apply(
      {'params': params, 'batch_stats': stats},
      images,
      train=True,
      mutable=['batch_stats'],
    )
    log_q = nn.log_softmax(outputs.logits)
    loss = -jnp.mean(jnp.sum(one_hot * log_q, axis=1))
    loss += setting.spectral_decoupling * jnp.mean(outputs.logits**2)
    distance = [
      jnp.sum((w - w_0) ** 2)
      for w, w_0 in zip(
        jax.tree.leaves(params), jax.tree.leaves(first.params), strict=True
      )
    ]
    loss += setting.regenerate * sum(distance)
    teacher = model.apply({'params': slow, 'batch_stats': slow_stats}, images)
    log_p = nn.log_softmax(teacher.logits)
    divergence = jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=1)
    loss += setting.self_distillation * jnp.mean(divergence) / 6
    return loss, updated['batch_stats']

  for step in range(1, 13):
    grads, stats = jax.grad(loss_fn, has_aux=True)(
      hare, stats, slow, slow_stats
    )
    norm = np.sqrt(sum(np.sum(np.square(g)) for g in jax.tree.leaves(grads)))
    assert np.isfinite(norm)  # At the initial weights too.
    grads = optax.tree.scale(min(1.0, 0.2 / norm), grads)
    updates, opt_state = optimizer.update(grads, opt_state, hare)
    hare = optax.apply_updates(hare, updates)

    def average(s, h):
      return 0.75 * s + 0.25 * h

    slow = jax.tree.map(average, slow, hare)
    slow_stats = jax.tree.map(average, slow_stats, stats)
    if step % 5 == 0:
      hare, stats = slow, slow_stats
    state = of_seed(states[step], i)
    ours = (
      state.params,
      state.batch_stats,
      ht_rl.tortoise_params(state.opt_state),
      state.tortoise_stats,
    )
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
    jax.tree.map(close, ours, (hare, stats, slow, slow_stats))


def test_restarts_take_the_statistics_along_and_leave_adam_alone():
  # 3 steps an epoch; restarts after the first and third.
  trainer = make_trainer(reset_epochs=2, augment=True, epochs=(3, 3))
  plain = make_trainer(augment=True, epochs=(3, 3))
  state, others = None, None
  for phase in (0, 1):
    states = run_phase(trainer, phase, state)
    others = run_phase(plain, phase, state)
    for epoch in (1, 2, 3):
      tortoise = ht_rl.tortoise_params(states[epoch].opt_state)
      if epoch == 2:
        assert_differ(states[epoch].params, tortoise)
      else:
        assert_equal(states[epoch].params, tortoise)
        assert_equal(states[epoch].batch_stats, states[epoch].tortoise_stats)
    # After the first one all but the hare is as it is without (two programs,
    # so to rounding).
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-9),
      adam(states[1]),
      adam(others[1]),
    )
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
      ht_rl.tortoise_params(states[1].opt_state),
      ht_rl.tortoise_params(others[1].opt_state),
    )
    state = states[-1]


def test_the_tortoise_walks_on_into_the_next_phase():
  trainer = make_trainer()
  last = run_phase(trainer, 0)[-1]
  first = jax.tree.map(np.array, trainer.begin_phase(1, last))
  assert_equal(
    ht_rl.tortoise_params(first.opt_state),
    ht_rl.tortoise_params(last.opt_state),
  )
  assert_equal(first.tortoise_stats, last.tortoise_stats)
  assert_equal(first.params, last.params)
  assert_equal(first.batch_stats, last.batch_stats)
  assert not any(np.any(m) for m in jax.tree.leaves(adam(first)))


@pytest.mark.parametrize(
  ('fields', 'head_of', 'backbone_of'),
  [
    ({'head_reset': True}, 'first', 'last'),
    ({'shrink': 1.0}, 'first', 'first'),
    ({}, 'last', 'last'),
  ],
)
def test_what_is_done_between_two_phases(fields, head_of, backbone_of):
  trainer = make_trainer(**fields)
  states = run_phase(trainer, 0)
  sources = {'first': states[0].params, 'last': states[-1].params}
  began = jax.tree.map(np.array, trainer.begin_phase(1, states[-1]))
  assert_equal(began.params['head'], sources[head_of]['head'])
  assert_equal(began.params['backbone'], sources[backbone_of]['backbone'])
  assert_equal(began.batch_stats, states[-1].batch_stats)


def test_seeds_are_runs_of_their_own():
  together = run_phase(make_trainer(augment=True, epochs=(3, 3)), 0)[-1]
  for i, seed in enumerate(SEEDS[1:], start=1):
    alone = run_phase(
      make_trainer(seeds=(seed,), augment=True, epochs=(3, 3)), 0
    )[-1]
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a[i], b[0], rtol=1e-3, atol=1e-6),  # noqa: B023
      *(together, alone),
    )
  assert_differ(of_seed(together, 0), of_seed(together, 1))


def test_an_average_leaves_the_hare_as_it_is():
  plain = run_phase(make_trainer(), 0)[-1]
  averaged = run_phase(make_trainer(momentum=0.9), 0)[-1]
  assert_equal(plain.params, averaged.params)
  assert_equal(plain.batch_stats, averaged.batch_stats)
  assert_differ(
    ht_rl.tortoise_params(plain.opt_state),
    ht_rl.tortoise_params(averaged.opt_state),
  )


def test_looking_on_changes_nothing():
  trainer = make_trainer(reset_epochs=2, augment=True, epochs=(3, 3))

  def look(state, figures):
    trainer.evaluate(0, state)
    trainer.measure(0, state)

  looked_at = run_phase(trainer, 0, between=look)[-1]
  assert_equal(looked_at, run_phase(trainer, 0)[-1])


def test_a_stored_state_goes_on_to_the_same_bits():
  trainer = make_trainer(reset_epochs=2, augment=True, epochs=(3, 3))
  states = run_phase(trainer, 0)
  # By a trainer that has nothing to do with the first.
  other = make_trainer.__wrapped__(reset_epochs=2, augment=True, epochs=(3, 3))
  state = other.restore(states[1])
  for epoch in (1, 2):
    state, _ = other.epoch(0, epoch, state)
  assert_equal(state, states[-1])
  shapes = jax.tree.map(lambda x: (x.shape, x.dtype), trainer.template(0))
  assert shapes == jax.tree.map(lambda x: (x.shape, x.dtype), states[1])


def test_phases_of_one_shape_share_a_program():
  fields = {
    'ratios': (0.5, 0.5, 0.5, 1.0),
    'noises': (1.0, 1.0, 0.0, 0.0),
    'epochs': (3, 3, 3, 3),
  }
  trainer = make_trainer(**fields)
  programs = [trainer._train_epoch(phase) for phase in range(4)]
  assert programs[0] is programs[1] is programs[2]
  assert programs[3] is not programs[0]
  for name, values in {
    'learning_rate': (1e-3, 1e-4, 1e-3, 1e-3),
    'reset_epochs': (2, None, 2, 2),
    'epochs': (3, 2, 3, 3),
  }.items():
    trainer = make_trainer(**{**fields, name: values})
    programs = [trainer._train_epoch(phase) for phase in range(4)]
    assert programs[0] is programs[2]
    assert programs[1] is not programs[0]


def test_streams_are_the_numbers_of_one_seed_after_the_other():
  keys = jax.vmap(jax.random.key)(jnp.array(SEEDS))
  purpose = (state_lib.Stream.EPOCH, 3, 1999)
  got = jax.random.key_data(state_lib.streams(keys, *purpose))
  for seed, data in zip(SEEDS, got, strict=True):
    key = jax.random.key(seed)
    for number in purpose:
      key = jax.random.fold_in(key, number)
    np.testing.assert_array_equal(data, jax.random.key_data(key))


def test_each_epoch_sees_every_sample_once():
  trainer = make_trainer(learning_rate=1e-30, weight_decay=0.0)
  seen = []
  model = trainer._network.model
  apply = model.apply

  def spy(variables, inputs, **kwargs):
    if kwargs.get('train'):
      jax.debug.callback(lambda x: seen.append(np.asarray(x)), inputs)
    return apply(variables, inputs, **kwargs)

  object.__setattr__(model, 'apply', spy)
  state, _ = trainer.epoch(0, 0, trainer.begin_phase(0))
  jax.block_until_ready(state)
  jax.effects_barrier()
  assert sorted(len(x) for x in seen) == [4, 4, 8, 8, 8, 8]
  indices = np.asarray(trainer._phases[0].indices)
  images = (DATASET.train_images[indices.ravel()] / 255 - 0.4) / 0.3

  def rows(x):
    x = np.round(np.reshape(x, (len(x), -1)), 3)
    return x[np.lexsort(x.T)]

  np.testing.assert_allclose(
    rows(np.concatenate(seen)), rows(images), atol=2e-3
  )


def test_evaluation_is_of_the_whole_test_set():
  trainer = make_trainer()
  state = run_phase(trainer, 0)[-1]
  figures = trainer.evaluate(0, trainer.restore(state))
  model = models.make_model('mlp', 6, width=0.1)
  images = (DATASET.test_images / 255 - 0.4) / 0.3
  networks = {
    'hare': (state.params, state.batch_stats),
    'tortoise': (ht_rl.tortoise_params(state.opt_state), state.tortoise_stats),
  }
  for name, (params, stats) in networks.items():
    for i in range(2):
      variables = {'params': params, 'batch_stats': stats}
      logits = np.asarray(
        model.apply(of_seed(variables, i), images).logits, float
      )
      order = np.argsort(-logits, axis=1)
      ranks = np.argmax(order == DATASET.test_labels[:, None], axis=1)
      log_sum = np.log(np.exp(logits).sum(axis=1))
      loss = log_sum - logits[np.arange(30), DATASET.test_labels]
      assert figures[f'{name}_test_accuracy'][i] == np.mean(ranks == 0)
      assert figures[f'{name}_test_top5'][i] == np.mean(ranks < 5)
      np.testing.assert_allclose(
        figures[f'{name}_test_loss'][i], loss.mean(), rtol=1e-4
      )


def test_measurements_of_a_network_that_is_known():
  trainer = make_trainer()
  states = run_phase(trainer, 0)
  figures = trainer.measure(0, trainer.restore(states[-1]))
  first, last = of_seed(states[0].params, 1), of_seed(states[-1].params, 1)
  kernels = [
    (last[part][name]['kernel'], first[part][name]['kernel'])
    for part, name in (
      ('backbone', 'hidden_0'),
      ('backbone', 'hidden_1'),
      ('head', 'output'),
    )
  ]
  expected = {
    'weight_magnitude': sum(np.mean(w**2) for w, _ in kernels),
    'weight_distance': sum(np.mean((w - w_0) ** 2) for w, w_0 in kernels),
    'weight_norm': sum(
      np.linalg.norm(w) / w.size for w in map(np.ravel, jax.tree.leaves(last))
    ),
  }
  for name, value in expected.items():
    np.testing.assert_allclose(figures[name][1], value, rtol=1e-4)
  # All 20 samples of the phase: 512 are more than there are.
  indices = np.asarray(trainer._phases[0].indices)[1]
  images = (DATASET.train_images[indices] / 255 - 0.4) / 0.3
  model = models.make_model('mlp', 6, width=0.1)
  variables = {
    'params': states[-1].params,
    'batch_stats': states[-1].batch_stats,
  }
  features = np.asarray(model.apply(of_seed(variables, 1), images).features)
  np.testing.assert_allclose(
    figures['zero_activations'][1], np.mean(features == 0), rtol=1e-5
  )
  sigma = np.linalg.svd(features.astype(float), compute_uv=False)
  rank = 1 + np.sum(np.cumsum(sigma) / sigma.sum() < 0.99)
  assert figures['feature_rank'][1] == rank


def test_redo_recycles_before_an_epoch_and_a_later_phase():
  # Every second epoch; a threshold above all scores.
  trainer = make_trainer(redo=1e3, redo_every=2)
  plain = run_phase(make_trainer(), 0)
  seen = []
  (method,) = trainer._network.setting.all_methods
  redo = trainer._renew(method)

  def spy(keys, state, *rest):
    before = jax.tree.map(np.array, state)
    after = redo(keys, state, *rest)
    seen.append((before, jax.tree.map(np.array, after)))
    return after

  trainer._renewals[method] = spy
  states = run_phase(trainer, 0)
  assert_equal(states[2], plain[2])
  assert_differ(states[3].params, plain[3].params)
  run_phase(trainer, 1, states[3], epochs=1)
  assert len(seen) == 2
  assert_equal(seen[0][0], states[2])
  for before, after in seen:
    assert not after.params['head']['output']['kernel'].any()
    assert not any(
      np.any(m['backbone']['hidden_0']['kernel']) for m in adam(after).values()
    )
    assert_differ(after.params['backbone'], before.params['backbone'])
    assert_equal(
      ht_rl.tortoise_params(after.opt_state),
      ht_rl.tortoise_params(before.opt_state),
    )


def test_augmented_images_are_what_is_learned_from():
  plain = run_phase(make_trainer(), 0)[-1]
  assert_differ(
    plain, run_phase(make_trainer(augment=True, epochs=(3, 3)), 0)[-1]
  )


def test_steps_alone_are_an_epoch_in_a_scan(monkeypatch):
  scanned = run_phase(make_trainer(augment=True, epochs=(3, 3)), 0)[-1]
  monkeypatch.setattr(Trainer, '_steps_alone', True)
  trainer = make_trainer.__wrapped__(augment=True, epochs=(3, 3))
  alone = run_phase(trainer, 0)[-1]
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6),
    *(scanned, alone),
  )


def test_bfloat16_computes_near_to_float32():
  full = make_trainer()
  half = make_trainer(dtype='bfloat16')
  losses = []
  for trainer in (full, half):
    state, figures = trainer.epoch(0, 0, trainer.begin_phase(0))
    losses.append(np.asarray(figures['train_loss']))
    assert {x.dtype.name for x in jax.tree.leaves(state.params)} == {'float32'}
  np.testing.assert_allclose(*losses, rtol=2e-2)
  assert_differ(*losses)
