"""Trains many configurations on many games with many seeds.

    python -m experiments.sweep run --games=all --seeds=0-4 --base_dir=runs \
      --gin_files=gin_configs/drq.gin,gin_configs/drq_ht.gin
    python -m experiments.sweep status runs [--watch] [--json]
    python -m experiments.sweep retry runs

`run` without --gin_files continues all runs of the sweep in --base_dir. The
status of a run follows from its folder. So several sweeps, `experiments.train`
commands and machines can share one --base_dir, be killed, and be started again.
Exit codes: 0, all runs are done; 1, a run failed; 2, a setting is wrong (one
line for each); 75, stopped.
"""

from collections import Counter
from collections.abc import Callable, Sequence
import contextlib
import json
import os
import pathlib
import shlex
import time

from absl import app, flags

from experiments import gin_flags, locks
from experiments.command import (
  SettingsError,
  guarded,
  on_stop_signals,
  parse_flags,
  print_out,
  say,
)
from experiments.exit_codes import EXIT_FAILED, EXIT_STOPPED
from experiments.launchers import options as launcher_options
from experiments.sweep import (
  estimate,
  options,
  plan,
  preflight,
  printed,
  scores,
  view,
)
from experiments.sweep.driver import Driver
from experiments.sweep.history import Outcome
from experiments.sweep.monitor import Monitor, Status, as_json
from ht_rl.atari100k.run_folder import RunFolderError

flags.adopt_module_key_flags(gin_flags)
flags.adopt_module_key_flags(options)

_WATCH_SECONDS = 2.0


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its exit code."""
  code = 0

  def action() -> None:
    nonlocal code
    if len(argv) < 2 or argv[1] not in _COMMANDS:
      raise SettingsError(
        f'the first word must be one of {", ".join(_COMMANDS)}: for example '
        'python -m experiments.sweep status runs'
      )
    options.check_flags(argv[1])
    code = _COMMANDS[argv[1]](argv[2:])

  return guarded(action) or code


def run(words: Sequence[str]) -> int:
  """Starts or continues a sweep; returns the exit code."""
  if words:
    raise SettingsError(f'unexpected argument {words[0]!r}')
  base_dir = pathlib.Path(gin_flags.BASE_DIR.value)
  launcher_options.runs_per_device()  # Raises if it is wrong.
  if gin_flags.GIN_FILES.value:
    asked = preflight.check(
      gin_files=gin_flags.GIN_FILES.value,
      gin_bindings=gin_flags.GIN_BINDINGS.value,
      games=options.GAMES.value,
      seeds=options.SEEDS.value,
    )
    runs = asked.runs
    sweep = plan.extend(
      base_dir,
      asked.configurations,
      runs,
      options.RETRIES.value,
      dry_run=options.DRY_RUN.value,
    )
  else:
    for name in ('gin_bindings', 'games', 'seeds'):
      if flags.FLAGS[name].present:
        raise SettingsError(f'--{name} needs --gin_files')
    plan.load(base_dir)  # Raises if there is none.
    sweep = plan.extend(
      base_dir, {}, (), options.RETRIES.value, dry_run=options.DRY_RUN.value
    )
    runs = plan.in_order(sweep.runs)
  monitor = Monitor(sweep, runs)
  monitor.refresh()
  if options.DRY_RUN.value:
    print_out(''.join(f'{line}\n' for line in estimate.dry_run(monitor)))
    return 0
  if launcher_options.EXECUTOR.value == 'print':
    print_out(''.join(f'{line}\n' for line in printed.commands(monitor)))
    return 0
  launcher_options.say_devices()
  with view.View(monitor) as shown:
    memory, _ = monitor.footprint()
    launcher = launcher_options.launcher(base_dir, memory, len(sweep.runs))
    driver = Driver(monitor, launcher, shown.say)
    with on_stop_signals(driver.stop):
      driver.run(lambda driver: shown.show(driver.status))
  _remove_leftovers(monitor)
  return _tell_the_end(driver)


def _remove_leftovers(monitor: Monitor) -> None:
  """Removes the checkpoints that a kill right after a result left."""
  for run, look in monitor.looks().items():
    folder = monitor.sweep.folder(run)
    if look.status is not Status.DONE or not folder.checkpoints.exists():
      continue
    with (
      contextlib.suppress(RunFolderError, OSError),  # They only take space.
      locks.hold(folder.lock_file) as held,
    ):
      settings = folder.read_settings()
      # A sweep does not parse settings: what names it may keep them.
      if held and settings is not None and 'keep_checkpoints' not in settings:
        folder.remove_leftovers(keep_checkpoints=False)


def _tell_the_end(driver: Driver) -> int:
  """Prints the table and the failed runs; returns the exit code."""
  monitor = driver.monitor
  if table := scores.table(monitor):
    print_out(f'{table}\n')
  statuses = Counter(driver.status(run) for run in monitor.runs)
  for line in (
    view.counts(statuses),
    *view.failures(monitor, driver.lost),
  ):
    say(line)
  return EXIT_FAILED if statuses[Status.FAILED] else 0


def status(words: Sequence[str]) -> int:
  """Shows the status of the runs; returns the exit code."""
  sweep = plan.load(_base_dir(words))
  monitor = Monitor(sweep, plan.in_order(sweep.runs))
  monitor.refresh()
  was_stopped = options.WATCH.value and _watch(monitor)
  if options.JSON.value:
    print_out(json.dumps(as_json(monitor)) + '\n')
  else:
    print_out(''.join(f'{line}\n' for line in view.all_lines(monitor)))
  if was_stopped:
    return EXIT_STOPPED
  failed = any(x.status is Status.FAILED for x in monitor.looks().values())
  return EXIT_FAILED if failed else 0


def _watch(monitor: Monitor) -> bool:
  """Shows the status until no run waits or runs, or a signal stops it.

  Returns:
    Whether a signal stopped it.
  """
  asked_to_stop: list[bool] = []
  with (
    on_stop_signals(lambda: asked_to_stop.append(True)),
    view.View(monitor) as shown,
  ):
    while not asked_to_stop:
      statuses = {look.status for look in monitor.looks().values()}
      if not statuses & {Status.RUNNING, Status.WAITING}:
        return False
      shown.show(lambda run: monitor.look(run).status)
      time.sleep(_WATCH_SECONDS)
      monitor.refresh()
  return True


def retry(words: Sequence[str]) -> int:
  """Lets failed runs be tried again; returns the exit code."""
  sweep = plan.load(_base_dir(words))
  monitor = Monitor(sweep, plan.in_order(sweep.runs))
  monitor.refresh()
  # The cause may be another run of the same configuration.
  causes = {
    look.cause_run: None
    for look in monitor.looks().values()
    if look.cause_run is not None
  }
  forgiven = plan.forgive(sweep, causes)
  command = ['python', '-m', 'experiments.sweep', 'run']
  say(
    f'failed runs are going to be tried again ({len(forgiven)} were marked) by '
    'a running sweep, or by '
    f'`{shlex.join([*command, f"--base_dir={sweep.base_dir}"])}`'
  )
  return 0


def attempt(words: Sequence[str]) -> int:
  """Makes one attempt at the run of an index; returns its exit code."""
  if len(words) != 2 or not words[1].isdigit():
    raise SettingsError(
      'attempt needs a folder and an index: for example attempt runs 12'
    )
  sweep = plan.load(_base_dir(words[:1]))
  number = int(words[1])
  if number >= len(sweep.runs):
    raise SettingsError(
      f'there is no run {number}; the {len(sweep.runs)} runs count from 0'
    )
  run = sweep.runs[number]
  monitor = Monitor(
    sweep, [other for other in sweep.runs if other.config == run.config]
  )
  monitor.refresh()
  cause = monitor.look(run).cause
  if cause is not None and cause.outcome is Outcome.WRONG_SETTING:
    raise SettingsError(f'{monitor.look(run).cause_run}: {cause.last_line}')
  argv = sweep.attempt(run)
  os.execv(argv[0], argv)


def _base_dir(words: Sequence[str]) -> pathlib.Path:
  if len(words) != 1:
    raise SettingsError(
      'one folder must be named: for example python -m experiments.sweep '
      'status runs'
    )
  return pathlib.Path(words[0])


_COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
  'run': run,
  'status': status,
  'retry': retry,
  'attempt': attempt,
}


if __name__ == '__main__':
  app.run(main, flags_parser=parse_flags)
