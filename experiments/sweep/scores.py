"""The scores of a sweep, as `experiments.summarize` writes them."""

from experiments.sweep.monitor import Monitor, Status
from ht_rl.atari100k.games import GAMES


def table(monitor: Monitor) -> str:
  """A table of the finished runs, with intervals.

  Returns:
    The text; '' where no run of the 26 games is finished.
  """
  configs = dict.fromkeys(
    run.config
    for run, look in monitor.looks().items()
    if look.status is Status.DONE and run.game in GAMES
  )
  if not configs:
    return ''
  # Only now: they are slow to import, and often not needed.
  from ht_rl.atari100k import score_files, tables
  from ht_rl.atari100k.runs import by_method
  from ht_rl.atari100k.summary import summarize

  base_dir = monitor.sweep.base_dir
  try:
    read = score_files.read([base_dir / config for config in configs])
    summary = summarize(by_method(read.runs), partial=True, notes=read.notes)
  except ValueError as error:
    return f'the scores can not be put together: {error}'
  return (
    f'{tables.render(summary)}\n'
    f'python -m experiments.summarize {base_dir} --report=report.html draws it'
  )
