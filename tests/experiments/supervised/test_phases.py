import itertools
import math

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from scipy import stats

from experiments.supervised import phases

CONTINUAL = tuple(k / 10 for k in range(1, 11))
CLEAN = (0.0,) * 10


def by_class(num_classes, each):
  return np.repeat(np.arange(num_classes), each)


def make(labels, ratios, noises, seed=0, **options):
  num_classes = int(labels.max()) + 1
  return phases.make_phases(
    labels, num_classes, ratios, noises, seed, **options
  )


@st.composite
def plans(draw):
  shares = st.lists(st.floats(0.05, 1.0), min_size=1, max_size=5)
  ratios = sorted(draw(shares))
  noises = [draw(st.floats(0.0, 1.0)) for _ in ratios]
  labels = by_class(draw(st.integers(2, 6)), draw(st.integers(10, 20)))
  return labels, ratios, noises, draw(st.integers(0, 2**63))


@settings(max_examples=60, deadline=None)
@given(plans())
def test_phases_grow_and_are_as_noisy_as_asked(plan):
  labels, ratios, noises, seed = plan
  made = make(labels, ratios, noises, seed)
  before = set()
  for phase, ratio, noise in zip(made, ratios, noises, strict=True):
    assert phase.indices.dtype == phase.labels.dtype == np.int32
    now = set(phase.indices.tolist())
    assert len(now) == len(phase.indices) == round(len(labels) * ratio)
    assert before <= now <= set(range(len(labels)))
    # Every replaced label is a wrong one, so they can be counted.
    wrong = np.sum(phase.labels != labels[phase.indices])
    assert wrong == round(len(phase.indices) * noise)
    assert set(phase.labels.tolist()) <= set(labels.tolist())
    before = now


@settings(max_examples=40, deadline=None)
@given(
  plans(),
  st.integers(0, 100),
  st.sampled_from(['uniform', 'reservoir', 'lowest_index']),
)
def test_a_buffer_holds_seen_samples_and_leaves_the_new_ones_alone(
  plan, size, policy
):
  labels, ratios, noises, seed = plan
  ratios = [*np.unique(ratios)]  # With nothing new, nothing might be left.
  if len({round(len(labels) * r) for r in ratios}) < len(ratios):
    ratios = ratios[:1]
  whole = make(labels, ratios, noises[: len(ratios)], seed)
  limited = make(
    *(labels, ratios, [0.0] * len(ratios), seed),
    buffer_size=size,
    buffer_policy=policy,
  )
  seen, before = set(), set()
  for phase, everything in zip(limited, whole, strict=True):
    indices = phase.indices.tolist()
    new = set(everything.indices.tolist()) - seen
    old = set(indices) - new
    assert len(set(indices)) == len(indices)
    assert new <= set(indices)
    assert old <= seen
    assert len(old) == min(size, len(seen))
    if policy == 'lowest_index':
      assert old == set(sorted(seen)[:size])
    if policy == 'reservoir':
      assert old <= before
    before = set(indices)
    np.testing.assert_array_equal(phase.labels, labels[phase.indices])
    seen |= new


@pytest.mark.parametrize(
  'options',
  [
    {'noise_mode': 'uniform'},
    {'buffer_size': 7},
    {'buffer_size': 7, 'buffer_policy': 'reservoir'},
    {},
  ],
)
def test_a_seed_gives_the_same_phases_again_and_another_gives_others(options):
  labels = by_class(10, 20)
  plan = (labels, (0.1, 0.5, 1.0), (0.5, 0.4, 0.1))
  one, again = (make(*plan, seed=3, **options) for _ in range(2))
  other = make(*plan, seed=4, **options)
  for first, second, third in zip(one, again, other, strict=True):
    np.testing.assert_array_equal(first.indices, second.indices)
    np.testing.assert_array_equal(first.labels, second.labels)
    assert not np.array_equal(first.indices, third.indices)


def test_subsets_do_not_depend_on_the_noise():
  labels = by_class(10, 50)
  ratios = (0.1, 0.4, 1.0)
  clean = make(labels, ratios, (0, 0, 0))
  for mode in ('exclude_true', 'uniform'):
    noisy = make(labels, ratios, (0.5, 0.1, 0.9), noise_mode=mode)
    for one, other in zip(clean, noisy, strict=True):
      np.testing.assert_array_equal(one.indices, other.indices)


def test_the_smaller_subset_of_a_seed_is_part_of_the_larger():
  labels = by_class(10, 50)
  sets = [
    set(make(labels, (ratio, 1.0), (0.5, 0))[0].indices.tolist())
    for ratio in (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
  ]
  assert all(a < b for a, b in itertools.pairwise(sets))


def test_every_sample_is_drawn_equally_often():
  labels = by_class(2, 20)
  counts = np.zeros(40)
  classes = []
  for seed in range(2000):
    (phase,) = make(labels, (0.25,), (0,), seed)
    counts[phase.indices] += 1
    classes.append(np.sum(phase.labels))
  # Draws without replacement: 30/40 of the variance that chi-square expects.
  assert stats.chi2.sf(np.sum((counts - 500) ** 2 / 500) * 4 / 3, 39) > 0.001
  # Not class by class: hypergeometric, 10 of 40 of which 20 are of class 1.
  assert np.mean(classes) == pytest.approx(5, abs=0.15)
  assert np.var(classes) == pytest.approx(10 / 4 * 30 / 39, rel=0.12)


def test_wrong_labels_are_uniform_over_the_wrong_classes():
  labels = by_class(5, 4000)
  (phase,) = make(labels, (1.0,), (0.5,))
  true = labels[phase.indices]
  wrong = phase.labels != true
  assert wrong.sum() == 10_000
  table = np.zeros((5, 5), int)
  np.add.at(table, (true[wrong], phase.labels[wrong]), 1)
  assert not table.diagonal().any()
  assert stats.chisquare(table[~np.eye(5, dtype=bool)]).pvalue > 0.001


def test_uniform_labels_are_right_by_chance():
  labels = by_class(5, 4000)
  (phase,) = make(labels, (1.0,), (1.0,), noise_mode='uniform')
  table = np.zeros((5, 5), int)
  np.add.at(table, (labels[phase.indices], phase.labels), 1)
  assert stats.chisquare(table.ravel()).pvalue > 0.001
  (half,) = make(labels, (1.0,), (0.5,), noise_mode='uniform')
  wrong = np.sum(half.labels != labels[half.indices])
  deviation = math.sqrt(10_000 * 0.8 * 0.2)
  assert wrong == pytest.approx(8000, abs=4 * deviation)


def test_noise_is_redrawn_in_each_phase():
  labels = by_class(10, 1000)
  first, second = make(labels, (1.0, 1.0), (0.5, 0.5))
  one, other = np.empty(10_000, int), np.empty(10_000, int)
  one[first.indices] = first.labels
  other[second.indices] = second.labels
  both = (one != labels) & (other != labels)
  # Two independent halves share a quarter, 2500 with a deviation of 25; a
  # ninth of the labels in it agree.
  assert both.sum() == pytest.approx(2500, abs=150)
  assert np.mean(one[both] == other[both]) == pytest.approx(1 / 9, abs=0.03)


def test_old_samples_get_noise_too():
  labels = by_class(10, 1000)
  warm, full = make(labels, (0.5, 1.0), (0.0, 0.5))
  old = np.isin(full.indices, warm.indices)
  wrong = full.labels != labels[full.indices]
  # 5000 wrong, of which half among the old: hypergeometric, deviation 25.
  assert wrong[old].sum() == pytest.approx(2500, abs=150)


def test_presets_have_the_sizes_of_the_paper():
  labels = by_class(10, 6000)
  sizes = {
    (1.0,): [60_000],
    (0.1, 1.0): [6000, 60_000],
    (1.0, 1.0): [60_000, 60_000],
    CONTINUAL: [6000 * k for k in range(1, 11)],
  }
  for ratios, expected in sizes.items():
    made = make(labels, ratios, (0.0,) * len(ratios))
    assert [len(phase.indices) for phase in made] == expected


def test_a_uniform_buffer_has_all_classes_alike_and_is_redrawn():
  labels = by_class(10, 5000)
  made = make(labels, CONTINUAL, CLEAN, buffer_size=5000)
  histogram = np.zeros(10)
  for phase in made[1:]:
    assert len(phase.indices) == 10_000
    buffer = phase.indices[:5000]
    counts = np.bincount(labels[buffer], minlength=10)
    assert stats.chisquare(counts).pvalue > 1e-4
    histogram += counts
  assert stats.chisquare(histogram).pvalue > 0.001
  # Not of what the phase before had, but a ninth of all that was seen.
  share = np.isin(made[-1].indices[:5000], made[0].indices).mean()
  assert share == pytest.approx(1 / 9, abs=0.02)
  share = np.isin(made[-1].indices[:5000], made[-2].indices[:5000]).mean()
  assert share == pytest.approx(1 / 9, abs=0.02)
  # Afresh also where there is nothing new.
  _, one, other = make(
    labels, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), buffer_size=5000
  )
  assert np.isin(one.indices, other.indices).mean() == pytest.approx(
    1 / 10, abs=0.02
  )


def test_a_reservoir_is_a_uniform_sample_of_all_that_was_seen():
  labels = by_class(2, 15)
  counts = np.zeros(30)
  for seed in range(2000):
    last = make(
      *(labels, (0.4, 0.7, 1.0, 1.0), (0.0,) * 4),
      seed,
      buffer_size=6,
      buffer_policy='reservoir',
    )[-1]
    counts[last.indices] += 1
  assert counts.sum() == 6 * 2000
  assert stats.chisquare(counts).pvalue > 0.001


def test_a_reservoir_by_hand():
  # Algorithm R, a sample at a time.
  numbers = np.random.default_rng(3)
  expected = list(range(100, 105))
  for i in range(40):
    place = int(numbers.integers(0, i + 1))
    if i >= 5 and place < 5:
      expected[place] = 100 + i
  stream = np.arange(100, 140)
  found = phases._reservoir(stream, 5, np.random.default_rng(3))
  assert found.tolist() == expected
  assert expected != list(range(100, 105))


# The numbers of classes that a simulation of the released code's buffer found
# for phases 5 to 10, where it does take the samples that come first.
@pytest.mark.parametrize(
  ('num_classes', 'expected'),
  [
    (10, [(3, 3), (2, 3), (2, 2), (2, 2), (2, 2), (2, 2)]),
    (100, [(n - 1, n + 1) for n in (26, 20, 17, 15, 13, 12)]),
  ],
)
def test_the_first_samples_are_of_few_classes(num_classes, expected):
  labels = by_class(num_classes, 50_000 // num_classes)
  made = make(
    *(labels, CONTINUAL, CLEAN),
    buffer_size=5000,
    buffer_policy='lowest_index',
  )
  assert len(np.unique(labels[made[1].indices[:5000]])) == num_classes
  for phase, (low, high) in zip(made[4:], expected, strict=True):
    assert low <= len(np.unique(labels[phase.indices[:5000]])) <= high


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ({'labels': [[0, 1]]}, 'labels must be of shape [samples], not [1, 2]'),
    ({'labels': []}, 'labels must be of shape [samples], not [0]'),
    ({'labels': [0, 1, 2]}, 'labels must be from 0 to 1, not from 0 to 2'),
    ({'labels': [-1, 1]}, 'labels must be from 0 to 1, not from -1 to 1'),
    ({'num_classes': 1}, 'num_classes must be an integer of at least 2, not 1'),
    (
      {'ratios': (), 'noises': ()},
      'ratios and noises must have a number for each phase, not 0 and 0',
    ),
    (
      {'noises': (0.5, 0.0)},
      'ratios and noises must have a number for each phase, not 1 and 2',
    ),
    ({'ratios': (0.0,)}, 'ratios must be a number from above 0 to 1, not 0.0'),
    ({'ratios': (1.1,)}, 'ratios must be a number from above 0 to 1, not 1.1'),
    (
      {'ratios': (0.5, 0.1), 'noises': (0, 0)},
      'ratios must never decrease, since they say how much has been seen: not '
      '(0.5, 0.1)',
    ),
    ({'noises': (-0.1,)}, 'noises must be a number from 0 to 1, not -0.1'),
    ({'noises': (1.5,)}, 'noises must be a number from 0 to 1, not 1.5'),
    (
      {'noise_mode': 'gauss'},
      "noise_mode must be 'exclude_true' or 'uniform', not 'gauss'",
    ),
    (
      {'buffer_policy': 'first'},
      "buffer_policy must be 'uniform' or 'reservoir' or 'lowest_index', "
      "not 'first'",
    ),
    (
      {'buffer_size': -1},
      'buffer_size must be an integer of at least 0, not -1',
    ),
    (
      {'ratios': (0.1,)},
      'phase 1 has no samples: 0.1 of 4 is too little',
    ),
  ],
)
def test_errors_say_what_is_wrong(arguments, message):
  good = {
    'labels': [0, 1, 0, 1],
    'num_classes': 2,
    'ratios': (1.0,),
    'noises': (0.0,),
    'seed': 0,
  }
  phases.make_phases(**good)
  with pytest.raises(ValueError) as error:  # noqa: PT011 -- compared below
    phases.make_phases(**{**good, **arguments})
  assert str(error.value) == message
