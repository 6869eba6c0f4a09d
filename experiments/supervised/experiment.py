"""The experiment that a gin file describes: settings, seeds, table, figure."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import difflib
from typing import Any

import gin

from experiments.supervised import paper, results
from experiments.supervised.report import correlations, figures, tables
from experiments.supervised.settings import Setting
from ht_rl.arguments import check_float, check_int, check_seed
from ht_rl.drawing import Figure


@dataclasses.dataclass(frozen=True)
class Experiment:
  """The settings that are run, and how results are shown.

  Attributes:
    settings: the settings by their names, in the order in which they run.
    seeds: each setting is run with each of them.
    seeds_at_once: number of seeds that train side by side in one program.
    evaluate_every: epochs of the whole training set between two evaluations.
    evaluate_after: epochs of each phase after which there is one too.
    checkpoint_seconds: seconds between two checkpoints.
    draw: makes a figure of the results.
    tabulate: makes a table of them.
  """

  settings: Mapping[str, Setting]
  seeds: tuple[int, ...]
  seeds_at_once: int
  evaluate_every: int
  evaluate_after: tuple[int, ...]
  checkpoint_seconds: float
  draw: Callable[[Sequence[results.Result]], Any]
  tabulate: Callable[[Sequence[results.Result]], tables.Table]


@gin.configurable('experiment')
def make_experiment(
  settings: Mapping[str, Mapping[str, Any]] | None = None,
  more_settings: Mapping[str, Mapping[str, Any]] | None = None,
  seeds: Sequence[int] = (1, 2, 3, 4, 5),
  seeds_at_once: int | None = None,
  evaluate_every: int = 5,
  evaluate_after: Sequence[int] = (),
  checkpoint_seconds: float = 60.0,
  draw: Callable[[Sequence[results.Result]], Any] | None = None,
  tabulate: Callable[
    [Sequence[results.Result]], tables.Table
  ] = tables.method_table,
) -> Experiment:
  """Makes the experiment that a gin file describes.

  Args:
    settings: for each name the fields of `Setting` by which it differs from
      those that the gin file gives (`Setting.model`, say).
    more_settings: others, in a gin file that adds to those of the file that it
      includes.
    seeds: different integers from 0 to 2**32 - 1.
    seeds_at_once: None for all of them.
    evaluate_every: an integer of at least 1. It counts epochs of the whole
      training set: a phase with a tenth of it is tested every ten times as many
      of its own epochs.
    evaluate_after: integers of at least 1, which count epochs of the phase.
      They show how soon it recovers from what methods did before it.
    checkpoint_seconds: a number of at least 0.
    draw: one of the functions of `experiments.supervised.report.figures`.
    tabulate: one of those of `experiments.supervised.report.tables`, or of
      `report.correlations`.

  Raises:
    ValueError: a value is outside its range, or a field is unknown.
  """
  if not isinstance(settings, Mapping) or not settings:
    raise ValueError(
      'experiment.settings must be a dictionary from names to what differs, '
      "such as {'WS': {}, 'HR': {'head_reset': True}}"
    )
  if more_settings is not None:
    settings = _with_more(settings, more_settings)
  if not callable(draw) or isinstance(draw, type):
    raise ValueError(
      f'experiment.draw must be a figure, such as @figures.bars, not {draw!r}'
    )
  if not isinstance(seeds, (tuple, list)) or not seeds:
    raise ValueError(
      f'experiment.seeds must be one or more seeds, as (1, 2), not {seeds!r}'
    )
  for seed in seeds:
    check_seed('experiment.seeds', seed)
  if len(set(seeds)) != len(seeds):
    raise ValueError(f'experiment.seeds must be different, not {seeds!r}')
  if seeds_at_once is None:
    seeds_at_once = len(seeds)
  check_int('experiment.seeds_at_once', seeds_at_once, 1)
  check_int('experiment.evaluate_every', evaluate_every, 1)
  if not isinstance(evaluate_after, (tuple, list)):
    raise ValueError(
      'experiment.evaluate_after must be a list of epochs, such as (1, 2, 5), '
      f'not {evaluate_after!r}'
    )
  for epoch in evaluate_after:
    check_int('experiment.evaluate_after', epoch, 1)
  check_float(
    'experiment.checkpoint_seconds', checkpoint_seconds, 0, float('inf')
  )
  return Experiment(
    {name: _make_setting(name, fields) for name, fields in settings.items()},
    tuple(seeds),
    seeds_at_once,
    evaluate_every,
    tuple(evaluate_after),
    float(checkpoint_seconds),
    draw,
    tabulate,
  )


@gin.configurable
def warm_starts(
  ratios: Sequence[float], noises: Sequence[float], epochs: int = 100
) -> dict[str, dict[str, Any]]:
  """Returns settings of warm starts from parts of the data with noisy labels.

  The first phase has the same number of gradient steps for every part of the
  data: for a tenth of it ten times as many epochs.

  Args:
    ratios: parts of the data that the first phase has, each in (0, 1].
    noises: shares of its labels that are wrong, each in [0, 1].
    epochs: epochs of the second phase, which has all data.

  Returns:
    The fields of all combinations, by name, for `experiment.settings`.

  References:
    Lee et al., 2024, section 3.1.
  """
  for name, values in (('ratios', ratios), ('noises', noises)):
    if not isinstance(values, (tuple, list)):
      raise ValueError(
        f'warm_starts.{name} must be a list, such as (0.1, 0.5), not {values!r}'
      )
  for ratio in ratios:
    check_float('warm_starts.ratios', ratio, 0, 1, above=True)
  for noise in noises:
    check_float('warm_starts.noises', noise, 0, 1)
  check_int('warm_starts.epochs', epochs, 1)
  return {
    f'ratio {ratio:g}, noise {noise:g}': {
      'ratios': (ratio, 1.0),
      'noises': (noise, 0.0),
      'epochs': paper.warm_start_epochs(ratio, epochs),
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
for _tabulate in (
  tables.grid_table,
  tables.continual_table,
  correlations.correlation_table,
):
  gin.external_configurable(_tabulate, module='tables')


def _with_more(
  settings: Mapping[str, Mapping[str, Any]], more: Any
) -> Mapping[str, Mapping[str, Any]]:
  """Returns both; raises ValueError where they name a setting twice."""
  if not isinstance(more, Mapping):
    raise ValueError(
      'experiment.more_settings must be a dictionary, as experiment.settings '
      f'is, not {more!r}'
    )
  for name in more:
    if name in settings:
      raise ValueError(
        f'experiment.more_settings must have new names: {name!r} is one of '
        'experiment.settings'
      )
  return {**settings, **more}


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
    # Without the lines that gin adds.
    raise ValueError(f'{name!r}: {str(error).splitlines()[0]}') from error


def with_unfinished(
  experiment: Experiment, finished: Sequence[results.Result]
) -> list[results.Result]:
  """Returns a result for each setting; unfinished ones have no rows."""
  there = {result.name: result for result in finished}
  return [
    there[name]
    if name in there
    else results.Result(
      name, setting.to_json(), experiment.seeds, setting.reported, []
    )
    for name, setting in experiment.settings.items()
  ]


def check_shown(experiment: Experiment) -> None:
  """Raises ValueError where the table or figure could not be made."""
  unfinished = with_unfinished(experiment, [])
  for name, make, kind, example in (
    ('draw', experiment.draw, Figure, 'figure, such as @figures.bars'),
    ('tabulate', experiment.tabulate, tables.Table, 'table of results'),
  ):
    try:
      shown = make(unfinished)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
      raise ValueError(
        f'experiment.{name} cannot show these settings: '
        f'{str(error).splitlines()[0]}'
      ) from error
    if not isinstance(shown, kind):
      raise ValueError(f'experiment.{name} must be a {example}')
  # Raises ImportError now where a package is missing.
  tables.markdown(experiment.tabulate(unfinished))
