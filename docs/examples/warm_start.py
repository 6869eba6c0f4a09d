# /// script
# requires-python = ">=3.11"
# dependencies = ["ht_rl", "matplotlib", "scikit-learn"]
#
# [tool.uv.sources]
# ht_rl = { path = "../.." }
# ///
"""Loss of plasticity in a warm start, with and without restarts.

    python docs/examples/warm_start.py [picture.png]

A small version of the paper's warm start (sections 3 and 5.1): a network is
trained on a tenth of the data with half of its labels wrong, then on all data
with correct labels. It ends below a network trained on the second phase alone.
AdamW's learning rate, momentum and interval are the paper's, without warm-up
and clipping; the network is smaller and simpler, and the data are 1797 real
digits of 8x8 pixels.

All seeds of all methods train at once: vmap over one jitted scan. Draws the
learning curves with standard errors, prints the test accuracies and, in the
last line, the gain of Hare & Tortoise over the plain warm start.
"""

import sys

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np
import optax
from sklearn import datasets

import ht_rl

SEEDS = 12
SIZES = (128, 1280)  # Images in each phase; the other 517 are for testing.
WRONG = 64  # Number of wrong labels in phase 1.
BATCH, STEPS, MEASURE_EVERY = 32, 4000, 100  # In each phase.
# The paper restarts every ten epochs: the more data, the longer the interval.
TEN_EPOCHS = tuple(10 * size // BATCH for size in SIZES)
NEVER = (STEPS + 1, STEPS + 1)  # As None, but works under vmap.

# Momentum (with 0 the tortoise is the hare), interval in each phase, and weight
# of the learned parameters between the phases; the initial ones have the rest.
METHODS = {
  'from scratch': (0.0, NEVER, 0.0),
  'warm start': (0.0, NEVER, 1.0),
  'shrink & perturb': (0.0, NEVER, 0.2),
  'average alone': (0.999, NEVER, 1.0),
  'Hare & Tortoise': (0.999, TEN_EPOCHS, 1.0),
}
# Distinguishable with color blindness.
COLORS = ['#000000', '#d55e00', '#56b4e9', '#cc79a7', '#0072b2']
DASHES = [':', '-', '-.', '--', '-']
PANELS = [  # Title, phase and quantity.
  ('phase 1: wrong labels\nlearned by heart (%)', 0, 0),
  ('phase 1: distance from\nthe initial weights (%)', 0, 1),
  ('phase 2: test accuracy (%)\n', 1, 2),
]

PIXELS, DIGITS = map(jnp.asarray, datasets.load_digits(return_X_y=True))
PIXELS = (PIXELS - PIXELS.mean()) / PIXELS.std()


def init(key):
  """Returns weights and biases of three layers."""
  shapes = [(64, 64), (64, 64), (64, 10)]
  draw = jax.nn.initializers.he_normal()
  keys = jax.random.split(key, len(shapes))
  return [
    (draw(k, s), jnp.zeros(s[1])) for k, s in zip(keys, shapes, strict=True)
  ]


def logits(params, x):
  """Returns the logits of the network."""
  for weights, bias in params[:-1]:
    x = jax.nn.relu(x @ weights + bias)
  weights, bias = params[-1]
  return x @ weights + bias


def loss(params, x, labels):
  """Returns the mean cross-entropy."""
  return optax.softmax_cross_entropy_with_integer_labels(
    logits(params, x), labels
  ).mean()


def train(hare, tortoise, data, momentum, reset_every, measure, key):
  """Trains for one phase; returns both networks and the measurements."""
  optimizer = ht_rl.hare_tortoise(
    optax.adamw(1e-3, weight_decay=1e-4),
    momentum=momentum,
    reset_every=reset_every,
  )
  x, labels = data
  # Each phase re-initialises Adam, as in the paper, but not the tortoise.
  state = ht_rl.replace_tortoise(optimizer.init(hare), tortoise)

  def step(carry, key):
    hare, state = carry
    batch = jax.random.randint(key, [BATCH], 0, len(x))
    grads = jax.grad(loss)(hare, x[batch], labels[batch])
    updates, state = optimizer.update(grads, state, hare)
    return (optax.apply_updates(hare, updates), state), None

  def steps(carry, keys):
    (hare, state), _ = jax.lax.scan(step, carry, keys)
    return (hare, state), measure(ht_rl.tortoise_params(state))

  keys = jax.random.split(key, [STEPS // MEASURE_EVERY, MEASURE_EVERY])
  (hare, state), curves = jax.lax.scan(steps, (hare, state), keys)
  return hare, ht_rl.tortoise_params(state), curves


def experiment(key, momentum, reset_every, keep):
  """Returns curves [phase, point, quantity] in percent, for one seed."""
  keys = jax.random.split(key, 5)
  order = jax.random.permutation(keys[0], len(PIXELS))
  x, labels = PIXELS[order], DIGITS[order]
  wrong = (labels[:WRONG] + jax.random.randint(keys[1], [WRONG], 1, 10)) % 10
  noisy = labels.at[:WRONG].set(wrong)
  start = init(keys[2])

  test = slice(SIZES[1], None)

  def measure(params):
    learned = logits(params, x[:WRONG]).argmax(-1) == wrong
    moved = optax.tree.norm(optax.tree.sub(params, start))
    moved /= optax.tree.norm(start)
    right = logits(params, x[test]).argmax(-1) == labels[test]
    return 100 * jnp.stack([learned.mean(), moved, right.mean()])

  data = x[: SIZES[0]], noisy[: SIZES[0]]
  hare, tortoise, phase_1 = train(
    start, start, data, momentum, reset_every[0], measure, keys[3]
  )
  hare = optax.incremental_update(hare, start, keep)
  data = x[: SIZES[1]], labels[: SIZES[1]]
  _, _, phase_2 = train(
    hare, tortoise, data, momentum, reset_every[1], measure, keys[4]
  )
  return jnp.stack([phase_1, phase_2])


def standard_error(values):
  """Returns the standard error of the mean over seeds, the first axis."""
  return values.std(axis=0, ddof=1) / len(values) ** 0.5


def draw(curves, picture):
  """Draws curves {method: [seed, phase, point, quantity]}."""
  figure = Figure(figsize=(8, 3.2), layout='constrained')
  panels = figure.subplots(1, 3)
  steps = MEASURE_EVERY * np.arange(1, STEPS // MEASURE_EVERY + 1)
  for axes, (title, phase, quantity) in zip(panels, PANELS, strict=True):
    for name, color, dashes in zip(METHODS, COLORS, DASHES, strict=True):
      if phase == 0 and METHODS[name][2] < 1:
        continue  # In phase 1 it is the plain warm start.
      y = curves[name][:, phase, :, quantity]
      mean, error = y.mean(axis=0), standard_error(y)
      axes.plot(steps, mean, dashes, color=color, label=name)
      axes.fill_between(
        steps, mean - error, mean + error, color=color, alpha=0.2
      )
    axes.set_title(title, fontsize=10)
    axes.set_xlabel('gradient step')
  panels[2].set_ylim(90, 99)
  handles = panels[2].get_legend_handles_labels()
  figure.legend(*handles, loc='outside lower center', ncols=5, fontsize=9)
  figure.savefig(picture, dpi=150)


def main(picture: str = 'warm_start.png') -> dict[str, float]:
  """Trains, draws, prints and returns the mean test accuracies in percent."""
  keys = jax.random.split(jax.random.key(0), SEEDS)
  methods = map(jnp.array, zip(*METHODS.values(), strict=True))
  seeds = jax.vmap(experiment, (0, None, None, None))
  curves = jax.jit(jax.vmap(seeds, (None, 0, 0, 0)))(keys, *methods)
  curves = dict(zip(METHODS, np.asarray(curves), strict=True))
  draw(curves, picture)

  final = {name: values[:, -1, -1, -1] for name, values in curves.items()}
  for name, values in final.items():
    print(f'{name:20}{values.mean():.2f} +- {standard_error(values):.2f}')
  gain = final['Hare & Tortoise'] - final['warm start']
  print(
    f'Hare & Tortoise ends {gain.mean():.2f} +- {standard_error(gain):.2f} '
    'points above the plain warm start'
  )
  return {name: float(values.mean()) for name, values in final.items()}


if __name__ == '__main__':
  main(*sys.argv[1:])
