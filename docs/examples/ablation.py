# /// script
# requires-python = ">=3.11"
# dependencies = ["ht_rl", "matplotlib", "scikit-learn"]
#
# [tool.uv.sources]
# ht_rl = { path = "../.." }
# ///
"""Ablation of momentum and interval in the experiment of warm_start.py.

    python docs/examples/ablation.py [picture.png]

Trains a grid of settings with all seeds at once and prints the test accuracy of
the tortoise. The interval is given in two ways: in epochs, as in the paper, so
that it is ten times as long in phase 2 as in phase 1, which has a tenth of the
data; and in gradient steps, equal in both phases.
"""

import sys

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np
import warm_start

SEEDS = 5
MOMENTA = (0.9, 0.99, 0.995, 0.999, 0.9995)
EPOCHS = {
  n: tuple(n * size // warm_start.BATCH for size in warm_start.SIZES)
  for n in (1, 3, 10, 30, 100)
}
STEPS = {n: (n, n) for n in (10, 40, 100, 400, 1000, 4000)}
PANELS: dict[str, dict] = {
  'restart every ... epochs': EPOCHS,
  'restart every ... gradient steps': STEPS | {'never': warm_start.NEVER},
}


def draw(panels, plain, picture):
  """Draws the means over seeds; color shows the gain over plain."""
  figure = Figure(figsize=(8, 3.4), layout='constrained')
  widths = [len(intervals) for intervals in PANELS.values()]
  axes = figure.subplots(1, 2, sharey=True, width_ratios=widths)
  for ax, (title, intervals) in zip(axes, PANELS.items(), strict=True):
    gain = panels[title].mean(axis=-1) - plain.mean()
    # Readers with color blindness can distinguish brown and purple.
    image = ax.imshow(gain, cmap='PuOr', vmin=-1.5, vmax=1.5, aspect='auto')
    for (i, j), points in np.ndenumerate(gain):
      color = 'white' if abs(points) > 0.9 else 'black'
      text = f'{plain.mean() + points:.1f}'
      ax.text(j, i, text, ha='center', va='center', color=color)
    ax.set_xticks(range(len(intervals)), intervals)
    ax.set_xlabel(title)
  axes[0].set_yticks(
    range(len(MOMENTA)), [f'{mu}\n({1 / (1 - mu):.0f} steps)' for mu in MOMENTA]
  )
  axes[0].set_ylabel('momentum (horizon)')
  figure.colorbar(
    image, ax=axes, label='points above the plain warm start', extend='both'
  )
  figure.savefig(picture, dpi=150)


def main(picture: str = 'momentum_and_interval.png') -> np.ndarray:
  """Trains, draws, prints and returns accuracies [cell, seed]."""
  warm_start.MEASURE_EVERY = warm_start.STEPS  # Measure only at the end.
  intervals = [i for panel in PANELS.values() for i in panel.values()]
  cells = [(0.0, warm_start.NEVER, 0.0), (0.0, warm_start.NEVER, 1.0)]
  cells += [(mu, every, 1.0) for mu in MOMENTA for every in intervals]
  columns = [jnp.array(column) for column in zip(*cells, strict=True)]
  keys = jax.random.split(jax.random.key(0), SEEDS)
  seeds = jax.vmap(warm_start.experiment, (0, None, None, None))
  curves = jax.jit(jax.vmap(seeds, (None, 0, 0, 0)))(keys, *columns)
  accuracies = np.asarray(curves[:, :, -1, -1, -1])  # [cell, seed]
  scratch, plain = accuracies[:2]
  grid = accuracies[2:].reshape(len(MOMENTA), len(intervals), SEEDS)
  panels = dict(zip(PANELS, np.split(grid, [len(EPOCHS)], axis=1), strict=True))
  draw(panels, plain, picture)
  print(f'from scratch {scratch.mean():.2f}, warm start {plain.mean():.2f}')
  for title, panel in PANELS.items():
    print(f'\n{title:>40}\nmomentum' + ''.join(f'{i:>8}' for i in panel))
    for mu, row in zip(MOMENTA, panels[title].mean(axis=-1), strict=True):
      print(f'{mu:8}' + ''.join(f'{x:8.2f}' for x in row))
  error = warm_start.standard_error((accuracies - plain).T)
  print(
    f'\nstandard error of a difference from the warm start: '
    f'{np.median(error):.2f} (median)'
  )
  return accuracies


if __name__ == '__main__':
  main(*sys.argv[1:])
