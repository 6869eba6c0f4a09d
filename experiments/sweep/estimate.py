"""Estimates of time and disk, from the finished runs of a sweep."""

from collections.abc import Mapping
import datetime
import shutil
from typing import NamedTuple

from experiments.sweep.monitor import Monitor, Status, logged_step
from experiments.sweep.plan import Run
from ht_rl.atari100k.run_folder import RunFolderError

# At most this many finished runs of each configuration are read.
_SAMPLE = 5


class Cost(NamedTuple):
  """The cost of a run.

  Attributes:
    training: seconds of training.
    other: seconds of start and evaluation.
    disk: bytes of its folder when finished.
  """

  training: float
  other: float
  disk: float


def costs(monitor: Monitor) -> dict[str, Cost]:
  """Returns the mean cost of the finished runs of each configuration."""
  samples: dict[str, list[Cost]] = {}
  for run, look in monitor.looks().items():
    sample = samples.setdefault(run.config, [])
    if look.status is Status.DONE and len(sample) < _SAMPLE:
      seconds = [x.seconds for x in look.history.attempts if x.seconds]
      folder = monitor.sweep.folder(run)
      try:
        training = (folder.read_result() or {}).get('training_seconds', 0.0)
        files = [path for path in folder.path.rglob('*') if path.is_file()]
        disk = sum(path.stat().st_size for path in files)
      except (RunFolderError, OSError):  # It may be removing its checkpoints.
        continue
      sample.append(Cost(training, max(0.0, sum(seconds) - training), disk))
  return {
    config: Cost(*(sum(of) / len(sample) for of in zip(*sample, strict=True)))
    for config, sample in samples.items()
    if sample
  }


def steps_done(monitor: Monitor) -> dict[Run, int]:
  """Returns the logged steps of the runs that were begun and are not done."""
  return {
    run: logged_step(monitor.sweep, run)
    for run, look in monitor.looks().items()
    if look.status is Status.RUNNING
    or (look.status is Status.WAITING and look.history.attempts)
  }


def seconds_left(
  monitor: Monitor,
  costs: Mapping[str, Cost],
  steps: Mapping[Run, int],
  at_once: int,
) -> float | None:
  """Returns the time until all runs are done.

  Args:
    monitor: status of the runs.
    costs: cost of a run of each configuration. A configuration without one gets
      the mean of the others.
    steps: agent steps of the runs that were begun; 0 for the others.
    at_once: number of runs at the same time.

  Returns:
    Seconds; None if `costs` is empty.
  """
  if not costs:
    return None
  known = list(costs.values())
  mean = Cost(*(sum(of) / len(known) for of in zip(*known, strict=True)))
  left = [0.0]
  for run, look in monitor.looks().items():
    if look.status in (Status.RUNNING, Status.WAITING):
      cost = costs.get(run.config, mean)
      all_steps = monitor.sweep.configurations[run.config].training_steps
      done = min(1.0, steps.get(run, 0) / all_steps)
      left.append((1 - done) * cost.training + cost.other)
  # At the end fewer runs are left than could run at once.
  return max(sum(left) / max(1, at_once), *left)


def dry_run(monitor: Monitor) -> list[str]:
  """Returns lines that list the runs and estimate their cost."""
  looks = monitor.looks()
  lines = [f'{look.status:8} {run}' for run, look in looks.items()]
  measured = costs(monitor)
  to_do: dict[str, int] = {}
  for run, look in looks.items():
    if look.status in (Status.RUNNING, Status.WAITING):
      to_do[run.config] = to_do.get(run.config, 0) + 1
  disk = 0.0
  for config, count in to_do.items():
    if config not in measured:
      lines.append(f'{config}: no finished run, so its cost is unknown')
      continue
    cost = measured[config]
    disk += count * cost.disk
    lines.append(
      f'{config}: {count} runs to do, each with {duration(cost.training)} of '
      f'training, {duration(cost.other)} of start and evaluation, and '
      f'{size(cost.disk)} of disk when finished'
    )
  seconds = seconds_left(monitor, measured, steps_done(monitor), 1)
  if seconds:
    lines.append(f'in all: {duration(seconds)}, one run after another')
  there = monitor.sweep.base_dir
  while not there.exists():
    there = there.parent
  free = shutil.disk_usage(there).free
  short = ': too little' if disk > free else ''
  unknown = ' and what is unknown' if to_do.keys() - measured.keys() else ''
  lines.append(
    f'disk: {size(disk)}{unknown} to be written, {size(free)} free{short}'
  )
  return lines


def duration(seconds: float) -> str:
  """Returns a duration as text.

  >>> duration(3661.4)
  '1:01:01'
  """
  return str(datetime.timedelta(seconds=round(seconds)))


def size(count: float) -> str:
  """Returns a number of bytes as text.

  >>> [size(x) for x in (12, 3_400_000, 5.6e9)]
  ['0 MB', '3 MB', '5.6 GB']
  """
  return f'{count / 1e9:.1f} GB' if count >= 1e9 else f'{count / 1e6:.0f} MB'
