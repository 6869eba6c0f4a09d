import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.supervised import optimizer


def by_hand(params, grads, lr, warmup, decay, b1, b2, eps, max_norm):
  """The weights after each step, float64: clipping, Adam, decay."""
  weights = {k: np.float64(v) for k, v in params.items()}
  m = dict.fromkeys(weights, 0.0)
  v = dict.fromkeys(weights, 0.0)
  after = []
  for k, g in enumerate(grads):
    norm = np.sqrt(sum((np.float64(x) ** 2).sum() for x in g.values()))
    rate = lr * min(k / warmup, 1) if warmup else lr
    for name in weights:
      x = np.float64(g[name]) * min(1, max_norm / norm)
      m[name] = b1 * m[name] + (1 - b1) * x
      v[name] = b2 * v[name] + (1 - b2) * x**2
      m_hat = m[name] / (1 - b1 ** (k + 1))
      v_hat = v[name] / (1 - b2 ** (k + 1))
      step = m_hat / (np.sqrt(v_hat) + eps) + decay * weights[name]
      weights[name] = weights[name] - rate * step
    after.append(dict(weights))
  return after


@pytest.mark.parametrize(
  ('warmup_steps', 'others'),
  [
    (4, {}),
    (0, {}),
    (4, {'b1': 0.5, 'b2': 0.99, 'eps': 1e-2, 'max_grad_norm': 0.1}),
  ],
)
def test_adamw_is_clipping_then_adam_with_decay(warmup_steps, others):
  rng = np.random.default_rng(0)
  shapes = {'kernel': (3, 2), 'bias': (2,)}

  def draw(scale):
    return {
      k: np.float32(scale * rng.normal(size=s)) for k, s in shapes.items()
    }

  params = draw(1.0)
  # Some are longer than what they are clipped to, some shorter.
  grads = [draw(scale) for scale in (1.0, 0.01, 0.03, 5.0, 0.02, 1.0)]
  expected = by_hand(
    params,
    grads,
    0.1,
    warmup_steps,
    0.3,
    others.get('b1', 0.9),
    others.get('b2', 0.999),
    others.get('eps', 1e-8),
    others.get('max_grad_norm', 0.5),
  )
  tx = optimizer.adamw(
    0.1, warmup_steps=warmup_steps, weight_decay=0.3, **others
  )
  state = tx.init(params)
  for k, g in enumerate(grads):
    updates, state = jax.jit(tx.update)(g, state, params)
    params = jax.tree.map(jnp.add, params, updates)
    for name in shapes:
      np.testing.assert_allclose(params[name], expected[k][name], atol=3e-6)


def test_first_step_moves_no_weight_but_the_moments():
  tx = optimizer.adamw(0.1, warmup_steps=2, weight_decay=0.3)
  params = {'kernel': jnp.ones(3)}
  updates, state = tx.update({'kernel': jnp.ones(3)}, tx.init(params), params)
  np.testing.assert_array_equal(updates['kernel'], 0)
  # The gradient's norm of sqrt(3) became 0.5.
  moment = 0.1 * 0.5 / np.sqrt(3)
  moments = [
    x
    for path, x in jax.tree.leaves_with_path(state)
    if '.mu' in jax.tree_util.keystr(path)
  ]
  np.testing.assert_allclose(moments, [[moment] * 3], rtol=1e-6)


def test_warmup_rises_and_stays():
  schedule = optimizer.warmup(3e-3, 10)
  rates = [float(schedule(jnp.int32(k))) for k in (0, 1, 5, 9, 10, 11, 10**6)]
  np.testing.assert_allclose(
    rates, [0, 3e-4, 15e-4, 27e-4, 3e-3, 3e-3, 3e-3], rtol=1e-6
  )


def test_without_warmup_the_first_step_has_the_full_rate():
  assert float(optimizer.warmup(3e-3, 0)(0)) == 3e-3


def test_negative_warmup_is_refused():
  with pytest.raises(ValueError, match='at least 0, not -1'):
    optimizer.warmup(0.1, -1)
