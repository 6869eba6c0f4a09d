"""DrQ learns Catch with a network that computes in bfloat16, as in float32.

Environment, agent and loop are those of `docs/examples/drq_jax.py`, with a
convolution. An agent that does not look at the ball catches one in five,
whatever it does: the column of the ball is uniform over five, and the paddle is
in one of them. So the random policy and each constant action expect `BLIND`.
"""

import dataclasses
import functools
import importlib.util
import pathlib

import jax
import numpy as np
import pytest

from agents.core.loop import Loop
from agents.core.networks import DuelingQNetwork

EXAMPLE = pathlib.Path(__file__).parents[3] / 'docs/examples/drq_jax.py'
BLIND = 1 / 5
SEEDS = 6
LATE = 900  # Steps at the end: 100 balls.


@pytest.mark.slow
def test_bfloat16_learns_as_float32_does():
  spec = importlib.util.spec_from_file_location('drq_jax', EXAMPLE)
  catch = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(catch)
  keys = jax.random.split(jax.random.key(0), SEEDS)

  def rewards(dtype):
    network = DuelingQNetwork(
      3, channels=(8,), kernels=(3,), strides=(2,), hidden=32, dtype=dtype
    )
    learner = dataclasses.replace(catch.LEARNER, network=network)
    train = functools.partial(catch.train, Loop(learner, replay_ratio=1))
    # One after another, since vmap makes grouped convolutions.
    return np.asarray(jax.jit(lambda keys: jax.lax.map(train, keys))(keys))

  late, whole = {}, {}
  for dtype in ('float32', 'bfloat16'):
    steps = rewards(dtype)
    late[dtype] = np.mean(steps[:, -LATE:] == 1, axis=1) * 9
    whole[dtype] = np.sum(steps == 1, axis=1) / np.sum(steps != 0, axis=1)
    # A blind agent has a standard deviation of 0.04 over 100 balls.
    assert late[dtype].min() > BLIND + 0.2, late
    assert late[dtype].mean() > BLIND + 0.6, late

  # Over 18 seeds the standard deviations are 0.01 (float32) and 0.04 (bfloat16)
  # at the end, and 0.03 and 0.04 over the whole run. So the means of six differ
  # by 0.02, one standard deviation, in both; the margin is five of these.
  for figures in (late, whole):
    difference = figures['bfloat16'].mean() - figures['float32'].mean()
    assert abs(difference) < 0.1, figures
