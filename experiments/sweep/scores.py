"""The table of a sweep's scores."""

import shlex

from experiments.sweep.monitor import Monitor, Status
from ht_rl.atari100k.games import GAMES


def table(monitor: Monitor) -> str:
  """Returns the table of the finished runs, with intervals.

  Returns:
    The text; '' if no run of the 26 games has finished.
  """
  configs = dict.fromkeys(
    run.config
    for run, look in monitor.looks().items()
    if look.status is Status.DONE and run.game in GAMES
  )
  if not configs:
    return ''
  # Imported here, because they are slow to import and often not needed.
  from ht_rl.atari100k import score_files, tables
  from ht_rl.atari100k.runs import by_method
  from ht_rl.atari100k.summary import summarize

  base_dir = monitor.sweep.base_dir
  try:
    read = score_files.read([base_dir / config for config in configs])
    summary = summarize(by_method(read.runs), partial=True, notes=read.notes)
  except ValueError as error:
    return f'the scores cannot be summarized: {error}'
  return (
    f'{tables.render(summary)}\n'
    'For a report with figures: python -m experiments.summarize '
    f'{shlex.quote(str(base_dir))} --report=report.html'
  )
