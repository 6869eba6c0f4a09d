"""Whether the committed results confirm a claim.

A claim that one accuracy is above another is confirmed where the difference of
the means over seeds is more than two standard errors; a claim that it is not,
where the difference is less. A claim that scores on Atari-100k are higher is
confirmed where the IQM is higher and the 95% interval of the difference
excludes 0; where a game has one run, where the IQM is higher and the sign test
over the games has p < 0.05. A claim that they are not is confirmed otherwise.
"""

from collections.abc import Callable, Mapping, Sequence
import math
from typing import NamedTuple

from experiments.paper import atari
from experiments.paper.rendered import (
  NONE,
  NOT_RUN,
)
from experiments.paper.supervised import (
  Measured,
  Run,
  committed,
  setting_names,
  title,
)
from experiments.supervised.report.selection import method
from experiments.supervised.report.spread import Spread
from ht_rl.atari100k.comparison import compare, format_p
from ht_rl.atari100k.summary import summarize

CONFIRMED, NOT_CONFIRMED = 'confirmed', 'not confirmed'

Settings = Mapping[str, Measured]


class Verdict(NamedTuple):
  """What the results say about a claim.

  Attributes:
    state: 'confirmed', 'not confirmed' or 'not run'.
    scale: data, network and seeds.
    numbers: in a few words.
  """

  state: str
  scale: str = NONE
  numbers: str = NONE


class Difference(NamedTuple):
  """The difference of two means, and its standard error."""

  value: float
  error: float

  def __str__(self) -> str:
    """Returns both."""
    return f'{self.value:+.4f} ± {self.error:.4f}'

  @property
  def is_above(self) -> bool:
    """Whether the first mean is the higher one, by two standard errors."""
    return self.value > 2 * self.error


def difference(first: Spread, second: Spread, seeds: int) -> Difference:
  """Returns the difference of two means over as many seeds.

  >>> print(difference(Spread(0.5, 0.03), Spread(0.25, 0.04), 25))
  +0.2500 ± 0.0100

  Args:
    first: mean and standard deviation of a seed.
    second: likewise.
    seeds: of each.
  """
  error = math.hypot(first.std, second.std) / math.sqrt(seeds)
  return Difference(first.mean - second.mean, error)


def supervised(
  run: Run,
  names: Sequence[str],
  verdict: Callable[[Settings], tuple[bool | None, str]],
) -> Verdict:
  """Checks a claim on the committed results of a run.

  Args:
    run: the run.
    names: of the settings that must be there, each with two seeds or more.
    verdict: returns whether the claim is true of them, or None if they do not
      tell, and the numbers.
  """
  found = committed(run)
  if any(name not in found for name in names):
    return Verdict(NOT_RUN)
  seeds = min(found[name].seeds for name in names)
  if seeds < 2:  # Then no difference has an error.
    return Verdict(NOT_RUN)
  is_true, numbers = verdict(found)
  if is_true is None:
    return Verdict(NOT_RUN)
  scale = f'{title(run)}, {seeds} seeds'
  return Verdict(CONFIRMED if is_true else NOT_CONFIRMED, scale, numbers)


def minus(settings: Settings, first: str, second: str) -> Difference:
  """Returns the difference of the test accuracies of two settings."""
  x, y = settings[first], settings[second]
  return difference(x.test, y.test, min(x.seeds, y.seeds))


def above(run: Run, first: str, *others: str) -> Callable[[], Verdict]:
  """Checks that a setting has a higher test accuracy than each of others."""

  def verdict(settings: Settings) -> tuple[bool, str]:
    found = {other: minus(settings, first, other) for other in others}
    numbers = [f'{first} - {other}: {d}' for other, d in found.items()]
    return all(d.is_above for d in found.values()), '; '.join(numbers)

  return lambda: supervised(run, (first, *others), verdict)


def each_above(run: Run, names: Sequence[str]) -> Callable[[], Verdict]:
  """Checks that each setting has a higher test accuracy than WS."""

  def verdict(settings: Settings) -> tuple[bool, str]:
    found = {name: minus(settings, name, 'WS') for name in names}
    worst = min(found, key=lambda name: found[name].value)
    return (
      all(d.is_above for d in found.values()),
      f'the lowest, {worst} - WS: {found[worst]}',
    )

  return lambda: supervised(run, (*names, 'WS'), verdict)


def best_above(
  run: Run, methods: Sequence[str], *, claimed: bool
) -> Callable[[], Verdict]:
  """Checks whether a setting of some methods has a higher accuracy than WS.

  One such setting decides. That there is none takes all settings of the methods
  in the gin files.
  """

  def check() -> Verdict:
    names = [name for name in committed(run) if method(name) in methods]
    wanted = [name for name in setting_names(run) if method(name) in methods]
    is_whole = set(names) == set(wanted)

    def verdict(settings: Settings) -> tuple[bool | None, str]:
      found = {name: minus(settings, name, 'WS') for name in names}
      higher = [name for name in names if found[name].is_above]
      best = max(higher or names, key=lambda name: found[name].value)
      is_true = bool(higher) == claimed if higher or is_whole else None
      return is_true, f'the highest, {best} - WS: {found[best]}'

    return supervised(run, (*names, 'WS'), verdict) if names else not_run()

  return check


def scores(
  needs: atari.Needs, first: str, second: str, *, claimed: bool = True
) -> Callable[[], Verdict]:
  """Checks whether a method has a higher IQM on Atari-100k than another.

  The full networks decide where both methods have a run of each game, or else
  the small ones.
  """

  def check() -> Verdict:
    by_scale = {
      'full': atari.committed_scores(needs),
      'small': atari.committed_small_scores(needs),
    }
    complete = {
      scale: {name: found[name] for name in (first, second)}
      for scale, found in by_scale.items()
      if all({*needs.games} <= {*found.get(x, {})} for x in (first, second))
    }
    if not complete:
      return Verdict(NOT_RUN)
    scale, pair = next(iter(complete.items()))
    compared = compare(summarize(pair), first, second)
    value, low, high = (float(x) for x in compared.differences['iqm'])
    numbers = f'IQM difference {value:+.3f}'
    if compared.has_intervals:
      numbers += f' [{low:+.3f}, {high:+.3f}]'
    else:
      wins, losses, p = compared.sign_test
      numbers += f'; better on {wins} games, worse on {losses}, {format_p(p)}'
    sizes = {len(runs) for of in pair.values() for runs in of.values()}
    runs = ' to '.join(map(str, sorted({min(sizes), max(sizes)})))
    runs += ' run' if sizes == {1} else ' runs'
    is_higher = compared.better == first and value > 0
    return Verdict(
      CONFIRMED if is_higher == claimed else NOT_CONFIRMED,
      f'{scale} network, {len(needs.games)} games, {runs} a game',
      numbers,
    )

  return check


def not_run() -> Verdict:
  """Returns the verdict on what no committed result can tell."""
  return Verdict(NOT_RUN)
