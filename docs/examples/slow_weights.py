# /// script
# requires-python = ">=3.11"
# dependencies = ["ht_rl", "matplotlib"]
#
# [tool.uv.sources]
# ht_rl = { path = "../.." }
# ///
"""Draws hare and tortoise under each rule, on a noisy target that jumps.

    python docs/examples/slow_weights.py [picture.png]

One weight follows a target by SGD: 0 for 150 updates, then 1. Every gradient
has noise, the same for all rules. The picture shows one draw of the noise. The
table gives the mean distance of hare and tortoise from the target after the
jump, over 1000 draws.
"""

import sys

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np
import optax

import ht_rl

STEPS, JUMP, EVERY, MU, DRAWS = 300, 150, 25, 0.95, 1000
SGD = optax.sgd(0.15)
TARGET = np.where(np.arange(STEPS) < JUMP, 0.0, 1.0)

RULES: dict[str, optax.GradientTransformationExtraArgs] = {
  'average alone': ht_rl.hare_tortoise(SGD, momentum=MU),
  'average with warm-up': ht_rl.hare_tortoise(
    SGD, momentum=ht_rl.momentum_warm_up(MU)
  ),
  'Polyak average': ht_rl.hare_tortoise(
    SGD, momentum=lambda count: count / (count + 1.0)
  ),
  'periodic copy': ht_rl.hare_tortoise(SGD, momentum=0.0, update_every=EVERY),
  'Hare & Tortoise': ht_rl.hare_tortoise(SGD, momentum=MU, reset_every=EVERY),
  'soft restarts': ht_rl.hare_tortoise(
    SGD, momentum=MU, reset_every=EVERY, reset_strength=0.5
  ),
  'Lookahead': ht_rl.hare_tortoise(
    SGD, momentum=0.5, update_every=EVERY, reset_every=EVERY
  ),
  'Elastic Reset': ht_rl.elastic_reset(SGD, momentum=MU, reset_every=EVERY),
}


def follow(optimizer, start: float = 0.5) -> np.ndarray:
  """Returns the weights [2 (hare, tortoise), draw, update]."""
  noise = jax.random.normal(jax.random.key(0), (STEPS, DRAWS))

  def step(carry, inputs):
    weight, state = carry
    target, noise = inputs
    gradient = weight - target + noise
    updates, state = optimizer.update(gradient, state, weight)
    weight = optax.apply_updates(weight, updates)
    return (weight, state), (weight, ht_rl.tortoise_params(state))

  weight = jnp.full(DRAWS, start)
  inputs = jnp.asarray(TARGET, jnp.float32), noise
  _, weights = jax.lax.scan(step, (weight, optimizer.init(weight)), inputs)
  return np.swapaxes(weights, 1, 2)


def draw(paths: dict[str, np.ndarray], picture: str) -> None:
  """Draws a panel for each rule."""
  figure = Figure(figsize=(9, 4.4), layout='constrained')
  panels = figure.subplots(2, 4, sharex=True, sharey=True).flat
  for ax, (name, path) in zip(panels, paths.items(), strict=True):
    hare, tortoise = path[:, 0]
    ax.plot(TARGET, color='0.6', linestyle=':', label='target')
    ax.plot(hare, color='#e08214', linewidth=0.8, label='hare')
    ax.plot(tortoise, color='#542788', linewidth=1.8, label='tortoise')
    ax.set_title(name, size=9)
    ax.spines[['top', 'right']].set_visible(False)
  figure.supxlabel('updates', size=9)
  handles, labels = ax.get_legend_handles_labels()
  figure.legend(handles, labels, loc='outside upper center', ncols=3)
  figure.savefig(picture, dpi=150)


def main(picture: str = 'slow_weights.png') -> dict[str, np.ndarray]:
  """Runs, draws and prints all rules; returns their paths."""
  paths = {name: follow(optimizer) for name, optimizer in RULES.items()}
  draw(paths, picture)
  print('distance to the target after the jump     hare  tortoise')
  for name, path in paths.items():
    hare, tortoise = np.abs(path - TARGET)[..., JUMP:].mean(axis=(1, 2))
    print(f'{name:<38} {hare:8.3f} {tortoise:8.3f}')
  return paths


if __name__ == '__main__':
  main(*sys.argv[1:])
