"""The runs of a sweep as commands, for other programs that start them."""

import shlex

from experiments import gin_flags
from experiments.sweep.monitor import Monitor, Status


def commands(monitor: Monitor) -> list[str]:
  """Returns a command for each run that is not done, with the run's index."""
  sweep = monitor.sweep
  folder = shlex.quote(str(sweep.base_dir))
  number = {run: i for i, run in enumerate(sweep.runs)}
  begin = shlex.join(
    ['python', '-m', 'experiments.sweep', 'attempt', *gin_flags.passed_on()]
  )
  return [
    f'{begin} {folder} {number[run]}  # {run}'
    for run in monitor.runs
    if monitor.look(run).status is not Status.DONE
  ]
