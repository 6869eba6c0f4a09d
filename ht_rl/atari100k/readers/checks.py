"""Checks across files: duplicates, settings and protocols."""

from collections.abc import Iterable, Sequence

from ht_rl.atari100k.readers.content import capped
from ht_rl.atari100k.run_folder import first_line_only_in
from ht_rl.atari100k.runs import Run

# So many scores of one seed are episodes.
_EPISODES = 10


def clashes(runs: Sequence[Run]) -> list[str]:
  """Returns a line for each reason why the runs can't be compared.

  Scores that are there twice, methods with both runs and means, and methods
  whose runs have several configurations or protocols.
  """
  lines = _duplicates(runs)
  for method, own in _grouped(runs).items():
    lines += [
      *_runs_beside_means(method, own),
      *_several_settings(method, own),
      *_several_protocols(method, own),
    ]
  return lines


def protocol_notes(runs: Sequence[Run]) -> list[str]:
  """Returns notes on methods with another protocol than the others'.

  Also on those that were not trained for the 100,000 steps of Atari-100k.
  """
  of_known = [run for run in runs if run.protocol is not None]
  firsts = [own[0] for own in _grouped(of_known).values()]
  notes = [
    f'{run.method} was trained for {run.steps:,} agent steps, not for the '
    '100,000 of Atari-100k.'
    for run in firsts
    if run.steps != 100_000
  ]
  for run in firsts[1:]:
    if differences := _differences(firsts[0], run, but='training_steps'):
      notes.append(
        f'{firsts[0].method} and {run.method} are of different protocols: '
        f'{differences}.'
      )
  return notes


def _duplicates(runs: Sequence[Run]) -> list[str]:
  same: dict[tuple[str, str, int | None], list[Run]] = {}
  for run in runs:
    same.setdefault((run.method, run.game, run.seed), []).append(run)
  lines = []
  for (method, game, seed), group in same.items():
    which = 'the mean' if seed is None else f'seed {seed}'
    if len(group) >= _EPISODES:
      lines.append(
        f'{method} on {game}, {which}: it is there {len(group)} times, first '
        f'in {group[0].source}; if these are episodes of a run, give their mean'
      )
      continue
    lines += [
      f'{method} on {game}, {which}: it is there twice, in {group[0].source} '
      f'and in {run.source}'
      for run in group[1:]
    ]
  return capped(lines, '', 'scores are there twice')


def _runs_beside_means(method: str, runs: Sequence[Run]) -> list[str]:
  mean = next((run for run in runs if run.seed is None), None)
  single = next((run for run in runs if run.seed is not None), None)
  if mean is None or single is None:
    return []
  return [
    f'{method} must have either single runs or means over runs, not both as '
    f'in {single.source} and in {mean.source}'
  ]


def _several_settings(method: str, runs: Sequence[Run]) -> list[str]:
  configured = [run for run in runs if run.settings is not None]
  for run in configured[1:]:
    if run.settings != configured[0].settings:
      return [
        f'{method} must have runs of one configuration, but '
        f'{_setting_difference(configured[0], run)}; give the other one a gin '
        'file of its own'
      ]
  return []


def _several_protocols(method: str, runs: Sequence[Run]) -> list[str]:
  known = [run for run in runs if run.protocol is not None]
  for run in known[1:]:
    if differences := _differences(known[0], run):
      return [
        f'{method} must have runs of one protocol, not of {differences} as in '
        f'{known[0].source} and in {run.source}'
      ]
  return []


def _grouped(runs: Iterable[Run]) -> dict[str, list[Run]]:
  groups: dict[str, list[Run]] = {}
  for run in runs:
    groups.setdefault(run.method, []).append(run)
  return groups


def _setting_difference(run: Run, other: Run) -> str:
  """Says where the settings of two runs differ first."""
  for one, another in ((other, run), (run, other)):
    line = first_line_only_in(one.settings or '', another.settings or '')
    if line is not None:
      return f'only {one.source} has {line!r}'
  return f'{run.source} and {other.source} have theirs in another order'


def _differences(run: Run, other: Run, but: str = '') -> str:
  """Lists the differences between the protocols of two runs."""
  here, there = dict(run.protocol or {}), dict(other.protocol or {})
  return ', '.join(
    f'{key} {here.get(key)!r} and {there.get(key)!r}'
    for key in {**here, **there}
    # The frames follow from the steps.
    if key not in (but, 'frames') and here.get(key) != there.get(key)
  )
