"""The claims of the paper, and what the committed results say about each."""

from collections.abc import Callable
import math
from typing import NamedTuple

from experiments.paper import items
from experiments.paper.csv_files import number
from experiments.paper.rendered import NOT_RUN, ROOT, Rows
from experiments.paper.supervised import Run, read_table, table_of, title
from experiments.paper.verdicts import (
  CONFIRMED,
  NOT_CONFIRMED,
  Settings,
  Verdict,
  above,
  best_above,
  difference,
  each_above,
  minus,
  not_run,
  scores,
  supervised,
)
from experiments.supervised.report.spread import Spread

# A correlation of this size is called strong.
STRONG = 0.7
# Two train accuracies so near each other are called equal.
EQUAL = 0.005


class Claim(NamedTuple):
  """A claim.

  Attributes:
    text: the claim, in one sentence.
    item: what `experiments.paper` prints it: a table or figure, or 'claims'.
    check: looks at the committed results.
  """

  text: str
  item: str
  check: Callable[[], Verdict]


def table() -> str:
  """Returns the table of all claims, as Markdown."""
  rows: Rows = [
    ['claim', 'state', 'scale', 'measured', 'command'],
    ['---'] * 5,
  ]
  for claim in CLAIMS:
    verdict = claim.check()
    command = f'`python -m experiments.paper {claim.item}`'
    state = f'**{verdict.state}**'
    rows.append([claim.text, state, verdict.scale, verdict.numbers, command])
  return '\n'.join(f'| {" | ".join(row)} |' for row in rows)


_GRID = items.on_fashion('warm_start')
_METHODS = items.on_fashion('methods')
# Augmentation is beside the controls: the paper has none on digits.
_SCHEDULE = items.on_fashion('controls_schedule')
_WARM = items.on_fashion('hare_tortoise', 'methods')
_OPTIMIZER = items.on_fashion('optimizer')
_CONTINUAL = items.on_fashion('continual')
_LIMITED = items.on_fashion('continual_limited')
_METRICS = items.on_fashion('metrics')
_MOMENTUM = items.on_fashion('ablation_momentum')
_INTERVAL = items.on_fashion('ablation_interval')


def _equal_training() -> Verdict:
  def verdict(settings: Settings) -> tuple[bool, str]:
    warm, fresh = settings['WS'].train.mean, settings['fresh'].train.mean
    return warm > fresh - EQUAL, f'WS {warm:.4f}, fresh {fresh:.4f}'

  return supervised(_METHODS, ('WS', 'fresh'), verdict)


def _both_cost() -> Verdict:
  both, little, wrong = (
    f'ratio {ratio}, noise {noise}'
    for ratio, noise in ((0.1, 0.5), (0.1, 0), (1, 0.5))
  )

  def verdict(settings: Settings) -> tuple[bool, str]:
    found = {name: minus(settings, name, both) for name in (little, wrong)}
    numbers = [f'{name} - {both}: {d}' for name, d in found.items()]
    return all(d.is_above for d in found.values()), '; '.join(numbers)

  return supervised(_GRID, (both, little, wrong), verdict)


def _averaged(run: Run, first: str, *others: str) -> Callable[[], Verdict]:
  """Checks that a tortoise has a higher test accuracy than those of others."""

  def verdict(settings: Settings) -> tuple[bool, str]:
    ours = settings[first]
    found = {
      other: difference(
        ours.tortoise,
        settings[other].tortoise,
        min(ours.seeds, settings[other].seeds),
      )
      for other in others
    }
    numbers = [f'{first} - averaged {other}: {d}' for other, d in found.items()]
    return all(d.is_above for d in found.values()), '; '.join(numbers)

  return lambda: supervised(run, (first, *others), verdict)


def _ahead_on_the_way() -> Verdict:
  """Checks that H&T has the highest mean over phase ends, all averaged."""
  others = ('WS', 'S&P 0.8', 'HR')
  mean = 'tortoise mean over phase ends'

  def verdict(settings: Settings) -> tuple[bool | None, str]:
    found = {x: _column(_LIMITED, x, mean) for x in ('H&T', *others)}
    if any(math.isnan(spread.mean) for spread in found.values()):
      return None, ''
    best = max(others, key=lambda name: found[name].mean)
    seeds = min(settings[name].seeds for name in ('H&T', best))
    gain = difference(found['H&T'], found[best], seeds)
    return gain.is_above, f'H&T - averaged {best}, the highest: {gain}'

  return supervised(_LIMITED, ('H&T', *others), verdict)


def _column(run: Run, setting: str, name: str) -> Spread:
  """Returns a column of the committed table of a run."""
  rows = {row['setting']: row for row in read_table(table_of(run))}
  return Spread(rows[setting][name], rows[setting][f'{name} std'])


def _drops() -> Verdict:
  """Checks that shrink & perturb and head resets lose accuracy by two errors.

  That of WS and of Hare & Tortoise is 0, since nothing changes the weights that
  they report between two phases.
  """
  run = _CONTINUAL
  names = ('S&P 0.8', 'HR')
  drop = 'drop at phase starts'

  def verdict(settings: Settings) -> tuple[bool, str]:
    found = {
      name: difference(
        _column(run, name, drop), Spread(0.0, 0.0), settings[name].seeds
      )
      for name in names
    }
    numbers = [f'{name} falls by {d}' for name, d in found.items()]
    return all(d.is_above for d in found.values()), '; '.join(numbers)

  return supervised(run, names, verdict)


def _rising_momentum() -> Verdict:
  names = [f'H&T {momentum}' for momentum in (0.9, 0.99, 0.999, 0.9999)]

  def verdict(settings: Settings) -> tuple[bool, str]:
    means = [settings[name].test.mean for name in names]
    gain = minus(settings, names[-1], names[0])
    is_true = means == sorted(means) and gain.is_above
    return is_true, f'{names[-1]} - {names[0]}: {gain}'

  return supervised(_MOMENTUM, names, verdict)


def _no_strong_correlation() -> Verdict:
  path = table_of(_METRICS)
  if not (ROOT / path).exists():
    return Verdict(NOT_RUN)
  rows = read_table(path)
  # A metric that is the same in all runs has no correlation.
  found = [(number(row, 'correlation', path), row) for row in rows]
  known = [(r, row.get('metric')) for r, row in found if not math.isnan(r)]
  if not known:
    return Verdict(NOT_RUN)
  strongest, metric = max(known, key=lambda pair: abs(pair[0]))
  points = max(number(row, 'points', path) for row in rows)
  return Verdict(
    CONFIRMED if abs(strongest) < STRONG else NOT_CONFIRMED,
    f'{title(_METRICS)}, {points:.0f} runs',
    f'the strongest, {metric}: {strongest:+.2f}',
  )


CLAIMS: tuple[Claim, ...] = (
  Claim(
    'A warm start on little data with wrong labels costs test accuracy.',
    'figure4',
    above(_METHODS, 'fresh', 'WS'),
  ),
  Claim('It costs no train accuracy.', 'table6', _equal_training),
  Claim(
    'With right labels, less data in phase 1 costs test accuracy.',
    'figure2',
    above(_GRID, 'ratio 1, noise 0', 'ratio 0.1, noise 0'),
  ),
  Claim(
    'With all data, wrong labels in phase 1 cost test accuracy.',
    'figure2',
    above(_GRID, 'ratio 1, noise 0', 'ratio 1, noise 0.5'),
  ),
  Claim(
    'Little data and wrong labels add up.',
    'figure2',
    _both_cost,
  ),
  Claim(
    "Other decay rates of Adam bring little: none recovers the warm start's "
    'loss.',
    'figure3',
    best_above(_OPTIMIZER, ('b1', 'b2'), claimed=False),
  ),
  Claim(
    'A larger epsilon of Adam recovers a part of the loss.',
    'figure3',
    best_above(_OPTIMIZER, ('eps',), claimed=True),
  ),
  Claim(
    'Methods for trainability (spectral decoupling, regenerative '
    'regularisation, ReDo, CReLU) do not raise test accuracy.',
    'figure4',
    best_above(_METHODS, ('Spectral', 'Regen', 'ReDo', 'CReLU'), claimed=False),
  ),
  Claim(
    'L2 regularisation raises test accuracy.',
    'figure4',
    best_above(_METHODS, ('L2',), claimed=True),
  ),
  Claim(
    'Data augmentation raises test accuracy.',
    'claims',
    above(_SCHEDULE, 'WS, augmented', 'WS'),
  ),
  Claim(
    'Shrink & perturb raises test accuracy.',
    'figure5',
    above(_METHODS, 'S&P 0.8', 'WS'),
  ),
  Claim(
    'Head reset does not raise it where the head is a small part of the '
    'network.',
    'figure4',
    best_above(_METHODS, ('HR',), claimed=False),
  ),
  Claim(
    'An average of the weights raises test accuracy.',
    'figure5',
    above(_METHODS, 'EMA', 'WS'),
  ),
  Claim(
    'Hare & Tortoise is better than an average and than self-distillation.',
    'figure5',
    above(_WARM, 'H&T', 'EMA', 'SD 1', 'SD 5', 'SD 10'),
  ),
  Claim(
    'Hare & Tortoise is better than re-initialisation.',
    'figure5',
    above(_WARM, 'H&T', 'S&P 0.8', 'HR'),
  ),
  Claim(
    'Hare & Tortoise surpasses a fresh network.',
    'figure5',
    above(_WARM, 'H&T', 'fresh'),
  ),
  Claim(
    '(Our control.) Hare & Tortoise is better than a fresh network and than '
    'shrink & perturb if their weights are averaged as well.',
    'claims',
    _averaged(_WARM, 'H&T', 'fresh', 'S&P 0.8'),
  ),
  Claim(
    '(Our control.) With augmentation, Hare & Tortoise is better than an '
    'average.',
    'claims',
    _averaged(_SCHEDULE, 'H&T, augmented', 'WS, augmented'),
  ),
  Claim(
    'In continual learning Hare & Tortoise is better than shrink & perturb.',
    'figure6',
    above(_CONTINUAL, 'H&T', 'S&P 0.8'),
  ),
  Claim(
    'In continual learning with 5000 old samples Hare & Tortoise is better '
    'than shrink & perturb.',
    'figure6',
    above(_LIMITED, 'H&T', 'S&P 0.8'),
  ),
  Claim(
    '(Our control.) In the mean over the phase ends of continual learning with '
    '5000 old samples Hare & Tortoise is better than the averages of a warm '
    'start, of shrink & perturb and of head resets.',
    'claims',
    _ahead_on_the_way,
  ),
  Claim(
    'In continual learning re-initialisation lowers test accuracy at the start '
    'of a phase.',
    'claims',
    _drops,
  ),
  Claim(
    'Tiny ImageNet loses more than CIFAR-10, whatever the network.',
    'figure7',
    not_run,
  ),
  Claim(
    'No metric after phase 1 is strongly correlated with the final accuracy.',
    'figure8',
    _no_strong_correlation,
  ),
  Claim(
    'Hare & Tortoise is better than a warm start for every momentum.',
    'figure9',
    each_above(_MOMENTUM, ('H&T 0.9', 'H&T 0.99', 'H&T 0.999', 'H&T 0.9999')),
  ),
  Claim('A larger momentum is better.', 'figure9', _rising_momentum),
  Claim(
    'Hare & Tortoise is better than a warm start for every interval.',
    'figure9',
    each_above(_INTERVAL, ('H&T 1', 'H&T 5', 'H&T 10', 'H&T 20', 'H&T 50')),
  ),
  Claim(
    'Hare & Tortoise raises the scores of DrQ on Atari-100k.',
    'table1',
    scores(items.ATARI, 'drq_ht', 'drq'),
  ),
  Claim(
    'Head resets every 20,000 steps raise the scores of DrQ more than Hare & '
    'Tortoise.',
    'table1',
    scores(items.ATARI, 'drq_hr20k', 'drq_ht'),
  ),
  Claim(
    'Head resets every 40,000 steps with Hare & Tortoise do as well as every '
    '20,000 steps.',
    'table1',
    scores(items.ATARI, 'drq_hr20k', 'drq_hr40k_ht', claimed=False),
  ),
  Claim(
    'Shrink & perturb lowers the scores of DrQ.',
    'table1',
    scores(items.ATARI, 'drq', 'drq_sp'),
  ),
  Claim(
    'Hare & Tortoise raises the IQM of BBF without self-supervision.',
    'table1',
    scores(items.ATARI, 'bbf_ht', 'bbf_no_ssl'),
  ),
)
