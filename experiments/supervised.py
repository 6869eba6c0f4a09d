"""Runs an experiment on warm-starting or continual learning, and draws it.

    python -m experiments.supervised --base_dir=runs \
      --gin_files=gin_configs/supervised/warm_start_mnist.gin

An experiment is a list of settings, each run with several seeds. Every phase of
a run is kept in `<base_dir>/phases/`: where it was stopped, the same command
goes on, and settings that begin alike share what they have in common. The same
command in several processes shares the work between them. The table and the
figure are in `<base_dir>/<config>/`, of what is finished so far.

Exit codes: 0, done; 1, a run failed (one line says why); 2, a setting is wrong
(one line says which); 75, it was asked to stop (SIGTERM, SIGINT) and has
written a checkpoint.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import dataclasses
import difflib
import functools
import json
import pathlib
import signal
import time
from typing import Any

from absl import app, flags, logging
import gin
import jax
import jax.numpy as jnp
import numpy as np

from agents import checkpoint
from agents.settings import check_float, check_int
from experiments import gin_flags
from experiments.command import (
  EXIT_FAILED,
  EXIT_STOPPED,
  EXIT_WRONG_SETTING,
  SettingsError,
  fail,
  one_line,
  parse_flags,
  say,
)
from experiments.config import check_effects, explain, load_config
from experiments.phase_runs import (
  DivergedError,
  PhaseRun,
  StoppedError,
  chain,
  is_finished,
)
from experiments.progress import Progress
from ht_rl import _writing
from ht_rl._figures import Figure, write_figures
from ht_rl.supervised import data, figures, models, results, tables
from ht_rl.supervised.schedule import Schedule
from ht_rl.supervised.settings import Setting
from ht_rl.supervised.training import Trainer

_DRAW_ONLY = flags.DEFINE_bool(
  'draw_only', False, 'Draw what is finished, and train nothing.'
)
flags.adopt_module_key_flags(gin_flags)

_POLL_SECONDS = 2.0


@dataclasses.dataclass(frozen=True)
class Experiment:
  """What is run, and how it is shown.

  Attributes:
    settings: the settings by their names, in the order in which they run.
    seeds: each setting is run with each of them.
    seeds_at_once: how many seeds train side by side in one program.
    evaluate_every: how many epochs of the whole training set lie between two
      evaluations.
    checkpoint_seconds: time between two checkpoints.
    draw: makes a figure of the results.
    tabulate: makes a table of them.
  """

  settings: Mapping[str, Setting]
  seeds: tuple[int, ...]
  seeds_at_once: int
  evaluate_every: int
  checkpoint_seconds: float
  draw: Callable[[Sequence[results.Result]], Any]
  tabulate: Callable[[Sequence[results.Result]], tables.Table]

  def groups(self) -> list[tuple[int, ...]]:
    """The seeds that train side by side."""
    size = self.seeds_at_once
    starts = range(0, len(self.seeds), size)
    return [self.seeds[start : start + size] for start in starts]


@gin.configurable('experiment')
def make_experiment(
  settings: Mapping[str, Mapping[str, Any]] | None = None,
  seeds: Sequence[int] = (1, 2, 3, 4, 5),
  seeds_at_once: int | None = None,
  evaluate_every: int = 5,
  checkpoint_seconds: float = 60.0,
  draw: Callable[[Sequence[results.Result]], Any] | None = None,
  tabulate: Callable[
    [Sequence[results.Result]], tables.Table
  ] = tables.method_table,
) -> Experiment:
  """Makes an experiment of what a gin file says.

  Args:
    settings: for each name the fields of `Setting` by which it differs from
      those that the gin file gives (`Setting.model`, say).
    seeds: integers of at least 0.
    seeds_at_once: None for all of them.
    evaluate_every: an integer of at least 1.
    checkpoint_seconds: a number of at least 0.
    draw: one of the functions of `ht_rl.supervised.figures`.
    tabulate: one of those of `ht_rl.supervised.tables`.

  Raises:
    ValueError: a value is outside its range, or a field is unknown.
  """
  if not isinstance(settings, Mapping) or not settings:
    raise ValueError(
      'experiment.settings must be a dictionary from names to what differs, '
      "such as {'WS': {}, 'HR': {'head_reset': True}}"
    )
  if not callable(draw):
    raise ValueError(
      f'experiment.draw must be a figure, such as @figures.bars, not {draw!r}'
    )
  if not isinstance(seeds, (tuple, list)) or not seeds:
    raise ValueError(
      f'experiment.seeds must be one or more seeds, as (1, 2), not {seeds!r}'
    )
  for seed in seeds:
    check_int('experiment.seeds', seed, 0)
  if len(set(seeds)) != len(seeds) or max(seeds) >= 2**32:
    raise ValueError(
      f'experiment.seeds must be different and below 2**32, not {seeds!r}'
    )
  if seeds_at_once is None:
    seeds_at_once = len(seeds)
  check_int('experiment.seeds_at_once', seeds_at_once, 1)
  check_int('experiment.evaluate_every', evaluate_every, 1)
  check_float(
    'experiment.checkpoint_seconds', checkpoint_seconds, 0, float('inf')
  )
  return Experiment(
    {name: _make_setting(name, fields) for name, fields in settings.items()},
    tuple(seeds),
    seeds_at_once,
    evaluate_every,
    float(checkpoint_seconds),
    draw,
    tabulate,
  )


@gin.configurable
def warm_starts(
  ratios: Sequence[float], noises: Sequence[float], epochs: int = 100
) -> dict[str, dict[str, Any]]:
  """Warm starts from parts of the data with noisy labels.

  The first phase has as many gradient steps whatever its part of the data: of a
  tenth of it ten times as many epochs.

  Args:
    ratios: parts of the data that the first phase has, each in (0, 1].
    noises: shares of its labels that are wrong, each in [0, 1].
    epochs: how often the second phase goes over all data.

  Returns:
    For `experiment.settings`: all combinations.

  References:
    Lee et al., 2024, section 3.1.
  """
  for ratio in ratios:
    check_float('warm_starts.ratios', ratio, 0, 1)
    if not ratio:
      raise ValueError('warm_starts.ratios must be numbers in (0, 1], not 0')
  return {
    f'ratio {ratio:g}, noise {noise:g}': {
      'ratios': (ratio, 1.0),
      'noises': (noise, 0.0),
      'epochs': (int(epochs / ratio + 1e-9), epochs),
    }
    for ratio in ratios
    for noise in noises
  }


_setting = gin.external_configurable(Setting, 'Setting')
for _draw in (
  figures.bars,
  figures.curves,
  figures.grid,
  figures.lines,
  figures.metrics,
):
  gin.external_configurable(_draw, module='figures')
gin.external_configurable(tables.grid_table, module='tables')


def _make_setting(name: str, fields: Mapping[str, Any]) -> Setting:
  if not isinstance(name, str) or not isinstance(fields, Mapping):
    raise ValueError(
      'experiment.settings must have a text for each name and a dictionary for '
      f'what differs, not {name!r}: {fields!r}'
    )
  known = [field.name for field in dataclasses.fields(Setting)]
  for field in fields:
    if field not in known:
      near = difflib.get_close_matches(field, known, n=1)
      hint = f': did you mean {near[0]}?' if near else ''
      raise ValueError(f'{name!r} has an unknown setting {field!r}{hint}')
  try:
    return _setting(**fields)
  except ValueError as error:
    # Not the lines that gin adds.
    raise ValueError(f'{name!r}: {str(error).splitlines()[0]}') from error


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its exit code."""
  if not flags.FLAGS['verbosity'].present:
    logging.set_verbosity(logging.WARNING)
  try:
    if len(argv) > 1:
      raise SettingsError(f'unexpected argument {argv[1]!r}')
    run(
      gin_flags.GIN_FILES.value,
      gin_flags.GIN_BINDINGS.value,
      gin_flags.BASE_DIR.value,
      draw_only=_DRAW_ONLY.value,
    )
  except SettingsError as error:
    return fail(error, EXIT_WRONG_SETTING)
  except (checkpoint.CheckpointError, DivergedError, OSError) as error:
    return fail(error, EXIT_FAILED)
  except StoppedError as error:
    say(f'{one_line(error)}; the same command goes on from there')
    return EXIT_STOPPED
  return 0


def run(
  gin_files: Sequence[str],
  gin_bindings: Sequence[str],
  base_dir: str,
  *,
  draw_only: bool = False,
) -> list[results.Result]:
  """Runs an experiment, or goes on with it, and draws it.

  Args:
    gin_files: configuration files.
    gin_bindings: settings that override theirs.
    base_dir: where everything is kept.
    draw_only: whether to draw what is finished, and train nothing.

  Returns:
    The results that are finished.

  Raises:
    SettingsError: a setting is wrong.
    StoppedError: a signal asked the process to stop.
    DivergedError: a loss was NaN or infinite; all other settings were run.
    checkpoint.CheckpointError: no checkpoint can be written or read.
    OSError: a file can't be written.
  """
  load_config(gin_files, gin_bindings)
  try:
    experiment = make_experiment()
    for setting in experiment.settings.values():
      _check(setting)
    _check_shown(experiment)
  except (ValueError, TypeError, ImportError) as error:
    raise SettingsError(explain(error)) from error
  check_effects()
  root = pathlib.Path(base_dir)
  folder = root / '+'.join(pathlib.Path(file).stem for file in gin_files)
  try:
    folder.mkdir(parents=True, exist_ok=True)
    config = gin.operative_config_str().encode()
    _writing.write_files({folder / 'operative_config.gin': config})
  except OSError as error:
    raise SettingsError(
      f'--base_dir: {folder} can not be written ({error.strerror})'
    ) from error
  diverged = {} if draw_only else _train(experiment, root)
  there = collect(experiment, root)
  _show(experiment, there, folder)
  if diverged:
    name, first = next(iter(diverged.items()))
    raise DivergedError(
      f'{len(diverged)} of {len(experiment.settings)} settings failed; '
      f'{name}: {one_line(first)}'
    )
  return there


def collect(
  experiment: Experiment, base_dir: pathlib.Path
) -> list[results.Result]:
  """What is finished of an experiment, a result for each setting that is."""
  there = []
  for name, setting in experiment.settings.items():
    rows: list[dict[str, Any]] = []
    seeds: tuple[int, ...] = ()
    for group in experiment.groups():
      runs = chain(base_dir, setting, group)
      if not all(phase_run.is_finished for phase_run in runs):
        continue
      of_group = [row for phase_run in runs for row in phase_run.rows]
      rows = _side_by_side(rows, of_group) if seeds else of_group
      seeds += group
    if seeds:
      there.append(
        results.Result(name, setting.to_json(), seeds, setting.reported, rows)
      )
  return there


def _side_by_side(
  left: list[dict[str, Any]], right: list[dict[str, Any]]
) -> list[dict[str, Any]]:
  """Joins the rows of two groups of seeds, where both have them."""
  place = results.PLACE
  others = {tuple(row[name] for name in place): row for row in right}
  joined = []
  for row in left:
    other = others.get(tuple(row[name] for name in place))
    if other is not None:
      joined.append(
        {k: x if k in place else x + other[k] for k, x in row.items()}
      )
  return joined


def _train(
  experiment: Experiment, base_dir: pathlib.Path
) -> dict[str, DivergedError]:
  """Trains all that is not finished; returns the settings that failed."""
  pending: dict[pathlib.Path, tuple[str, PhaseRun]] = {}
  for name, setting in experiment.settings.items():
    for group in experiment.groups():
      for phase_run in chain(base_dir, setting, group):
        # What settings have in common is trained as a part of the first.
        pending.setdefault(phase_run.folder, (name, phase_run))
  steps = {
    path: _schedule(phase_run).steps * len(phase_run.seeds)
    for path, (_, phase_run) in pending.items()
  }

  def done() -> int:
    return sum(n for path, n in steps.items() if is_finished(path))

  progress = Progress('training', 'step', sum(steps.values()), done())
  failed: dict[pathlib.Path, DivergedError] = {}
  with _stopping_on_signals() as stop:
    while pending:
      blocked = {}
      for path, (name, phase_run) in pending.items():
        previous = phase_run.previous
        if phase_run.is_finished:
          continue
        if previous is not None and previous.folder in failed:
          failed[path] = failed[previous.folder]
          continue
        if previous is not None and not previous.is_finished:
          blocked[path] = name, phase_run
          continue
        with phase_run.claimed() as held:
          if not held:
            blocked[path] = name, phase_run
            continue
          if phase_run.is_finished:  # By another process, a moment ago.
            continue
          before = done()

          def report(count: int, figures: Mapping[str, float]) -> None:
            count *= len(phase_run.seeds)  # noqa: B023
            progress.update(before + count, **figures)  # noqa: B023

          try:
            phase_run.train(
              _trainer(phase_run.setting, phase_run.seeds),
              evaluate_every=experiment.evaluate_every,
              checkpoint_seconds=experiment.checkpoint_seconds,
              report=report,
              stop=stop,
            )
          except DivergedError as error:
            failed[path] = error
            say(f'{name}: {one_line(error)}')
          else:
            say(f'{name}: {_phase_summary(phase_run)}')
      if blocked.keys() == pending.keys():
        if stop():
          raise StoppedError('stopped while other processes train')
        time.sleep(_POLL_SECONDS)
      pending = blocked
  progress.close()
  return {
    name: failed[phase_run.folder]
    for name, setting in experiment.settings.items()
    for group in experiment.groups()
    for phase_run in chain(base_dir, setting, group)
    if phase_run.folder in failed
  }


def _phase_summary(phase_run: PhaseRun) -> str:
  end = phase_run.rows[-1]
  accuracies = [
    f'{network} {np.mean(end[f"{network}_test_accuracy"]):.4f}'
    for network in results.NETWORKS
  ]
  return (
    f'phase {phase_run.phase + 1} of {phase_run.setting.num_phases} is '
    f'finished, test accuracy: {", ".join(accuracies)} '
    f'(seeds {", ".join(map(str, phase_run.seeds))})'
  )


@functools.lru_cache(maxsize=1)
def _trainer(setting: Setting, seeds: tuple[int, ...]) -> Trainer:
  """The trainer of the phases in turn; made anew it would compile again."""
  return Trainer(setting, seeds, _dataset(setting))


def _dataset(setting: Setting) -> data.Dataset:
  return _load(
    setting.dataset,
    setting.folder,
    setting.train_size,
    setting.validation_size,
  )


@functools.cache
def _load(
  name: str,
  folder: str | None,
  train_size: int | None,
  validation_size: int | None,
) -> data.Dataset:
  return data.load(
    name, folder, train_size=train_size, validation_size=validation_size
  )


def _check(setting: Setting) -> None:
  """Raises ValueError where a setting can't be run, before anything is."""
  for name in ('dataset', 'folder', 'model'):
    value = getattr(setting, name)
    if not isinstance(value, str) and (name, value) != ('folder', None):
      raise ValueError(f'{name} must be a text, not {value!r}')
  dataset = _dataset(setting)
  model = models.make_model(
    setting.model,
    dataset.num_classes,
    width=setting.width,
    crelu=setting.crelu,
    dtype=setting.dtype,
  )
  images = jnp.zeros((1, *dataset.train_images.shape[1:]))
  jax.eval_shape(model.init, jax.random.key(0), images)
  for phase_run in chain(pathlib.Path(), setting, (0,)):
    _schedule(phase_run)


def _check_shown(experiment: Experiment) -> None:
  """Raises ValueError where what is drawn at the end could not be."""
  unfinished = [
    results.Result(
      name, setting.to_json(), experiment.seeds, setting.reported, []
    )
    for name, setting in experiment.settings.items()
  ]
  for name, make, kind, example in (
    ('draw', experiment.draw, Figure, 'figure, such as @figures.bars'),
    ('tabulate', experiment.tabulate, tables.Table, 'table of results'),
  ):
    try:
      shown = make(unfinished)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
      raise ValueError(
        f'experiment.{name} can not show these settings: '
        f'{str(error).splitlines()[0]}'
      ) from error
    if not isinstance(shown, kind):
      raise ValueError(f'experiment.{name} must be a {example}')
  # Where a package is missing for it, that is said now too.
  tables.markdown(experiment.tabulate(unfinished))


def _schedule(phase_run: PhaseRun) -> Schedule:
  setting = phase_run.setting
  dataset = _dataset(setting)
  num_train = len(dataset.train_labels)
  size = setting.num_samples(phase_run.phase, num_train)
  return Schedule(setting, phase_run.phase, size, num_train)


def _show(
  experiment: Experiment,
  there: Sequence[results.Result],
  folder: pathlib.Path,
) -> None:
  """Writes the results, their table and their figure."""
  listed = [dataclasses.asdict(result) for result in there]
  text = json.dumps(listed, indent=1) + '\n'
  _writing.write_files({folder / 'results.json': text.encode()})
  if not there:
    say('nothing is finished yet')
    return
  try:
    table = experiment.tabulate(there)
    figure = experiment.draw(there)
  except ValueError as error:
    raise SettingsError(
      f'the results can not be shown: {one_line(error)}'
    ) from error
  written = tables.write_tables({'table': table}, folder)
  written += write_figures({'figure': figure}, folder)
  print(tables.markdown(table), end='', flush=True)
  say(f'written: {", ".join(map(str, written))}')


@contextlib.contextmanager
def _stopping_on_signals() -> Iterator[Callable[[], bool]]:
  """Gives a function that says whether SIGTERM or SIGINT asked to stop."""
  asked = False

  def stop(signum: int, frame: Any) -> None:
    nonlocal asked
    del signum, frame
    asked = True

  signals = (signal.SIGTERM, signal.SIGINT)
  before = [signal.signal(number, stop) for number in signals]
  try:
    yield lambda: asked
  finally:
    for number, handler in zip(signals, before, strict=True):
      signal.signal(number, handler)


if __name__ == '__main__':
  app.run(main, flags_parser=parse_flags)
