"""Comparisons of methods, filled by hand: their numbers mean nothing."""

import dataclasses

import numpy as np
import pytest

from ht_rl.atari100k.aggregates import METRICS, Estimate
from ht_rl.atari100k.games import GAMES, REFERENCE_SCORES
from ht_rl.atari100k.summary import Curve, Method, Summary

THRESHOLDS = np.linspace(0, 8, 161)
ROWS = (
  'drq',
  'drq_sp',
  'drq_ht',
  'drq_hr20k',
  'drq_hr40k',
  'drq_hr40k_ht',
  'bbf_no_ssl',
  'bbf_ht',
  'bbf',
)
SCRIPT = 'a<script>alert("1")</script> & \'b\''
LONG = '$x_1$ ' + 'and_so_on-' * 7 + 'to_the_end'


def around(value, spread, low=-np.inf, high=np.inf):
  ends = np.clip([value - spread, value + spread], low, high)
  return Estimate(np.asarray(value), *ends)


def in_points(normalized):
  return {
    game: x * (REFERENCE_SCORES[game].human - REFERENCE_SCORES[game].random)
    + REFERENCE_SCORES[game].random
    for game, x in normalized.items()
  }


def make_method(rng, name, games=GAMES, sizes=(5,), source=None):
  """A method with runs; its games have as many as `sizes`, in turn."""
  skill = rng.uniform(0.1, 1)
  normalized = {
    game: rng.lognormal(i % 5 - 2, 0.4, sizes[i % len(sizes)]) * skill - 0.03
    for i, game in enumerate(games)
  }
  fall = np.exp(-THRESHOLDS / rng.uniform(0.3, 2))
  steps = np.arange(1, 11) * 10_000
  return Method(
    name=name,
    scores=in_points(normalized),
    normalized=normalized,
    estimates={
      metric: around(rng.uniform(0.05, 1.5), rng.uniform(0.02, 0.2))
      for metric in METRICS
    },
    profile=around(fall, 0.04, 0, 1),
    curve=None
    if source is None
    else Curve(steps, around(skill * np.sqrt(steps / 1e5), 0.03), source),
  )


def make_means(rng, name, games=GAMES, is_published=False):
  """A method of which only means are known."""
  normalized = {game: rng.lognormal(-1, 1, 1) for game in games}
  return Method(
    name=name,
    scores=in_points(normalized),
    normalized=normalized,
    estimates={
      metric: Estimate(rng.uniform(0.05, 1.5), np.nan, np.nan)
      for metric in (METRICS if is_published else ('median', 'mean'))
    },
    is_published=is_published,
  )


def make_summary(rng, methods, games=GAMES, notes=()):
  names = [method.name for method in methods if method.has_runs]
  return Summary(
    methods=tuple(methods),
    games=games,
    thresholds=THRESHOLDS,
    improvement={
      (x, y): around(rng.uniform(0, 1), rng.uniform(0.01, 0.2), 0, 1)
      for x in names
      for y in names
      if x != y
    },
    notes=notes,
    replicates=12_345,
    confidence=0.9,
    seed=67,
  )


@pytest.fixture(scope='session')
def nine():
  """Nine methods with runs and curves, three published ones, all games."""
  rng = np.random.default_rng(0)
  methods = [
    make_method(rng, name, source='evaluation episodes') for name in ROWS
  ]
  methods += [
    make_means(rng, f'{name} (paper)', is_published=True) for name in ROWS[-3:]
  ]
  return make_summary(rng, methods)


@pytest.fixture(scope='session')
def single():
  """One method, without a curve."""
  rng = np.random.default_rng(1)
  return make_summary(rng, [make_method(rng, 'drq_ht')])


@pytest.fixture(scope='session')
def published():
  """Nothing but published values."""
  rng = np.random.default_rng(2)
  return make_summary(
    rng, [make_means(rng, name, is_published=True) for name in ROWS]
  )


@pytest.fixture(scope='session')
def partial():
  """Two games, difficult names, uneven runs, unknown values, notes."""
  rng = np.random.default_rng(3)
  games = ('Breakout', 'Pong')
  methods = [
    make_method(rng, SCRIPT, games, (3, 5), 'evaluation episodes'),
    make_method(rng, LONG, games, (2,), 'training episodes'),
    make_means(rng, 'only means', games),
  ]
  notes = ('<b>bold</b> & so on.', 'Another note.')
  return make_summary(rng, methods, games, notes)


@pytest.fixture(scope='session')
def without_intervals():
  """Two methods with one run of each game."""
  rng = np.random.default_rng(4)
  methods = [make_method(rng, name, GAMES, (1,)) for name in ('one', 'other')]

  def unsure(estimate):
    unknown = np.full_like(estimate.value, np.nan)
    return Estimate(estimate.value, unknown, unknown)

  methods = [
    dataclasses.replace(
      method,
      estimates={k: unsure(x) for k, x in method.estimates.items()},
      profile=unsure(method.profile),
    )
    for method in methods
  ]
  summary = make_summary(rng, methods)
  return dataclasses.replace(
    summary,
    improvement={pair: unsure(x) for pair, x in summary.improvement.items()},
  )
