"""Each run of a population against the same run alone."""

import itertools
import re

import jax
import numpy as np
import pytest

from agents.core import memory, placement, population, strategies
from agents.core.loop import Due
from agents.core.population import Population
from agents.core.state import Outcome
from tests.agents.core import stories
from tests.agents.core.stories import (
  EXACT,
  SHAPE,
  STACKED,
  ULPS,
  WARM_UP,
  alone,
  make_loop,
  make_programs,
)


def cases():
  """Yields (agent, strategy, number of runs), the expensive ones as slow."""
  for name, strategy in itertools.product(
    stories.AGENTS, strategies.STRATEGIES
  ):
    # A program of more runs one after another compiles for minutes.
    most = 8 if strategy == 'unrolled' else 20
    basic = name in ('drq', 'bbf')
    for size in (1, 2, 4, most) if basic else (2, most):
      # `turns` compiles nothing for a new number.
      quick = (
        (basic and strategy == 'turns')
        or (name == 'drq' and size in (2, 20))
        or (name, strategy, size) == ('bbf', 'vmap', 4)
      )
      marks = () if quick else pytest.mark.slow
      yield pytest.param(name, strategy, size, size == most, marks=marks)


@pytest.mark.usefixtures('compile_fast')
@pytest.mark.parametrize(('name', 'strategy', 'size', 'learns'), [*cases()])
def test_a_run_of_a_population_is_the_run_alone(name, strategy, size, learns):
  seeds = range(3, 3 + size)
  runs = Population(make_loop(name), seeds, 4, strategy)
  told = stories.play(runs, seeds)
  assert len({tuple(story) for story in told}) > size // 2
  distances = [
    stories.distance(story, alone(name, seed))
    for seed, story in zip(seeds, told, strict=True)
  ]
  if strategy in EXACT:
    assert {found for found, _ in distances} == {0.0}
  else:
    far = [found for found in distances if found[0] > ULPS[name]]
    assert len(far) <= stories.SENSITIVE.get(name, 0.0) * size, far
  if learns:
    stories.assert_learn(runs, name)


def lowered(name, strategy, num_runs, platform):
  """Returns the program of a learning step of N runs, for a platform."""
  programs = make_programs(name)
  state = jax.eval_shape(programs.loop.learner.init, jax.random.PRNGKey(0))

  def stack(x):
    return jax.ShapeDtypeStruct((num_runs, *x.shape), x.dtype)

  one = Outcome(np.float32(0), np.bool_(0), np.bool_(0))
  step = jax.jit(
    strategies.stacked_step(programs, strategy), static_argnames='due'
  )
  traced = step.trace(
    jax.tree.map(stack, state),
    jax.tree.map(stack, one),
    jax.ShapeDtypeStruct((num_runs, *SHAPE), np.uint8),
    due=Due(1, reset=False),
  )
  return traced.lower(lowering_platforms=(platform,)).as_text()


def groups(text):
  """Returns the numbers of groups of all convolutions in a program."""
  found = re.findall(r'(?:feature|batch)_group_count = (\d+)', text)
  return {int(number) for number in found}


@pytest.mark.parametrize('name', ['drq', 'bbf'])
def test_no_convolution_is_grouped(name):
  vmapped = lowered(name, 'vmap', 3, 'cuda')
  assert 'convolution' not in vmapped
  assert 'dot_general' in vmapped
  mapped = lowered(name, 'map', 3, 'cuda')
  assert 'stablehlo.while' in mapped
  assert groups(mapped) == {1}
  # What is avoided.
  assert max(groups(lowered(name, 'grouped', 3, 'cuda'))) >= 3


@pytest.mark.usefixtures('compile_fast')
@pytest.mark.parametrize('strategy', ['turns', 'map'])
def test_a_run_that_is_left_out_changes_no_other(strategy):
  seeds = range(3, 7)
  runs = Population(make_loop('drq'), seeds, 4, strategy)
  told = stories.play(runs, seeds, leave={3: WARM_UP + 4})
  ulps = 0 if strategy in EXACT else ULPS['drq']
  for seed, story in zip(seeds, told[:3], strict=False):
    stories.assert_equal(story, alone('drq', seed), ulps)
  left = told[3]
  assert left == alone('drq', 6)[: len(left)]
  assert len(left) == WARM_UP + 4


def test_auto_takes_the_fastest(monkeypatch):
  seconds = {'turns': 3e-3, 'unrolled': 1e-3}
  make, names = placement.Divided, {}

  def make_and_note(name, *arguments):
    runs = make(name, *arguments)
    names[runs] = name
    return runs

  monkeypatch.setattr(placement, 'Divided', make_and_note)

  def time(loop, num_runs, runs):
    if isinstance(found := seconds[names[runs]], Exception):
      raise found
    return found

  monkeypatch.setattr(population, '_seconds_of_a_step', time)
  monkeypatch.setattr(population, 'candidates', lambda *_: list(seconds))
  lines = []
  loop = make_loop('drq')
  assert Population(loop, [1, 2], say=lines.append).strategy == 'unrolled'
  seconds['turns'] = 0.5e-3
  assert Population(loop, [1, 2], say=lines.append).strategy == 'turns'
  assert lines == [
    'a step of 2 runs takes: turns 3.0 ms, unrolled 1.0 ms; they go on by '
    "'unrolled'",
    'a step of 2 runs takes: turns 0.5 ms, unrolled 1.0 ms; they go on by '
    "'turns'",
  ]
  # One that does not fit is left out, but no other error is.
  no_memory = jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory')
  seconds['turns'] = no_memory
  assert Population(loop, [1, 2], say=lines.append).strategy == 'unrolled'
  assert lines[2:] == [
    'a step of 2 runs takes: turns too much memory, unrolled 1.0 ms; they go '
    "on by 'unrolled'",
  ]
  for last in (no_memory, jax.errors.JaxRuntimeError('INTERNAL: a driver')):
    seconds['unrolled'] = last
    with pytest.raises(jax.errors.JaxRuntimeError) as caught:
      Population(loop, [1, 2])
    assert caught.value is last


def test_what_auto_times():
  for num_runs in (1, 4, 100):
    assert population.candidates(num_runs, 'cpu') == ['turns']
  assert set(population.candidates(4, 'gpu')) == {*EXACT, *STACKED}
  assert 'unrolled' not in population.candidates(9, 'gpu')
  lines = []
  assert Population(make_loop('drq'), [1, 2], say=lines.append).strategy == (
    'turns'
  )
  assert lines == []


def test_runs_that_do_not_fit_in_memory(monkeypatch):
  learner = make_loop('drq').learner
  state = jax.eval_shape(learner.init, jax.random.PRNGKey(0))
  train = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state.train))
  # A replay of 18 frames of 20x20 pixels.
  monkeypatch.setattr(
    memory, 'available_memory', lambda: 4 * (train + 18 * 400)
  )
  memory.check_memory(learner, 4)
  with pytest.raises(
    ValueError, match=r'5 runs must fit .* enough for 4; name'
  ):
    Population(make_loop('drq'), range(5))


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (([],), 'the number of seeds must be an integer of at least 1'),
    (([1, 2], None, 'fast'), 'strategy must be'),
  ],
)
def test_a_wrong_argument(arguments, message):
  with pytest.raises(ValueError, match=message):
    Population(make_loop('drq'), *arguments)
