"""Summarizes runs and score files: aggregates, tables, figures, a report.

    python -m experiments.summarize runs --baselines=paper --report=report.html
    python -m experiments.summarize runs --compare drq_ht drq
    python -m experiments.summarize --plan=5

Each path is a folder of runs, a CSV or a JSON file with scores (see
`ht_rl.atari100k.score_files`); several are compared. The numbers go to standard
output. Exit codes: 0, done; 1, a figure or the report could not be written; 2,
a path or setting is wrong (a line for each problem); 75, stopped.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import math
import os
import pathlib

from absl import app, flags, logging

from experiments.command import (
  EXIT_FAILED,
  EXIT_STOPPED,
  EXIT_WRONG_SETTING,
  SettingsError,
  fail,
  parse_flags,
  print_out,
  say,
)
from ht_rl.atari100k import curves, paper, score_files, tables
from ht_rl.atari100k.comparison import Comparison, compare
from ht_rl.atari100k.games import GAMES
from ht_rl.atari100k.power import plan, plan_sentence
from ht_rl.atari100k.published import SYSTEMS
from ht_rl.atari100k.runs import ScoreFileError, by_method
from ht_rl.atari100k.summary import MissingGamesError, Summary, summarize
from ht_rl.atari100k.suspicions import suspicions
from ht_rl.files import write_files

_FORMAT = flags.DEFINE_enum(
  'format', 'table', list(tables.STYLES), 'Format of the numbers.'
)
_PLOTS = flags.DEFINE_string(
  'plots', None, 'Folder for the figures, as SVG and PNG.'
)
_REPORT = flags.DEFINE_string(
  'report', None, 'HTML file with all tables and figures.'
)
_KNOWN_BASELINES = ('paper', 'published')
_BASELINES = flags.DEFINE_list(
  'baselines',
  [],
  'Published numbers to compare with: paper (Lee et al., 2024, all scores), '
  'published (aggregates of other systems), or both.',
)
_PARTIAL = flags.DEFINE_bool(
  'partial', False, 'Compare the common games, even if some are missing.'
)
_COMPARE = flags.DEFINE_list(
  'compare',
  None,
  'Two methods, such as --compare drq_ht drq: differences with intervals, and '
  'the number of runs that they take.',
)
_DETECT = flags.DEFINE_float(
  'detect',
  None,
  'IQM difference for which --compare counts the runs; else the observed one.',
  lower_bound=1e-6,
)
_PLAN = flags.DEFINE_integer(
  'plan',
  None,
  'Runs per game of a planned experiment: prints the IQM difference that it '
  'can detect, if runs vary like those of the paths, or else of BBF.',
  lower_bound=2,
  upper_bound=10_000,
)
_LAST = flags.DEFINE_float(
  'last',
  None,
  'Part at the end of each curve whose mean is the score, such as 0.05; only '
  'for files of curves.',
  lower_bound=1e-6,
  upper_bound=1,
)
_I_MEAN_IT = flags.DEFINE_bool(
  'i_mean_it', False, 'Take scores as they are, even if they look wrong.'
)
_BOOTSTRAP_SEED = flags.DEFINE_integer(
  'bootstrap_seed', 0, 'Seed of the intervals, 0 or more.', lower_bound=0
)
_REPLICATES = flags.DEFINE_integer(
  'replicates',
  50_000,
  'Number of bootstrap replicates.',
  lower_bound=100,
  upper_bound=1_000_000,
)
_CONFIDENCE = flags.DEFINE_float(
  'confidence',
  0.95,
  'Confidence of the intervals.',
  lower_bound=0.5,
  upper_bound=0.999,
)
# Flags that --plan does not read, and those that it reads for paths alone.
_NOT_IN_A_PLAN = (
  'compare',
  'detect',
  'plots',
  'report',
  'format',
  'baselines',
  'replicates',
)
_OF_PATHS = ('partial', 'last', 'i_mean_it', 'bootstrap_seed')


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its exit code."""
  logging.set_verbosity(logging.WARNING)
  try:
    _check_flags(argv[1:])
    if _PLAN.value is not None:
      print_out(planned(argv[1:], _PLAN.value))
      return 0
    summary = run(argv[1:])
    comparison = compared(summary)
    text = tables.render(summary, _FORMAT.value, comparison)
    _write(summary, comparison)
    if _FORMAT.value == 'csv':  # CSV has no place for sentences.
      for sentence in () if comparison is None else comparison.sentences:
        say(sentence)
      for note in summary.notes:
        say(f'note: {note}')
    print_out(text)
  except ScoreFileError as error:
    for problem in error.problems:
      say(f'error: {problem}')
    return EXIT_WRONG_SETTING
  except SettingsError as error:
    return fail(error, EXIT_WRONG_SETTING)
  except ModuleNotFoundError as error:  # Our own messages have no name.
    advice = "this needs {}: pip install '.[analysis]'"
    return fail(
      SettingsError(advice.format(error.name)) if error.name else error,
      EXIT_WRONG_SETTING,
    )
  except (OSError, MemoryError) as error:
    return fail(_explained(error), EXIT_FAILED)
  except KeyboardInterrupt:
    say('stopped')
    return EXIT_STOPPED
  return 0


def _check_flags(paths: Sequence[str]) -> None:
  """Raises SettingsError for flags and paths that do not go together."""
  for flag in (_DETECT, _LAST, _CONFIDENCE):  # NaN is within all bounds.
    if flag.value is not None and math.isnan(flag.value):
      raise SettingsError(f'--{flag.name} must be a number, not nan')
  for name in _BASELINES.value:
    if name not in _KNOWN_BASELINES:
      raise SettingsError(
        f'flag --baselines={name}: value should be one of '
        f'<{"|".join(_KNOWN_BASELINES)}>'
      )
  if _REPORT.value == '':
    raise SettingsError('--report needs the name of a file')
  if _PLOTS.value == '':
    raise SettingsError('--plots needs the name of a folder')
  if _PLAN.value is not None:
    for name in (*_NOT_IN_A_PLAN, *(() if paths else _OF_PATHS)):
      if flags.FLAGS[name].present:
        without = '' if name in _NOT_IN_A_PLAN else ' without a path'
        raise SettingsError(f'--{name} means nothing beside --plan{without}')
  full = [os.path.realpath(path) for path in paths]
  for word, name in zip(paths, full, strict=True):
    if full.count(name) > 1:
      raise SettingsError(f'{word} is named {full.count(name)} times')
  report = pathlib.Path(_REPORT.value) if _REPORT.value else None
  if report is None or not report.exists():
    return
  if not report.is_file():
    raise SettingsError(f'--report: {report} exists and is not a file')
  for path in map(pathlib.Path, paths):
    if path.exists() and path.samefile(report):
      raise SettingsError(f'--report: {report} is one of the files to read')


def _write(summary: Summary, comparison: Comparison | None) -> None:
  """Writes the figures and the report, if asked for."""
  if not (_PLOTS.value or _REPORT.value):
    return
  # Here, since they load matplotlib.
  from ht_rl import drawing
  from ht_rl.atari100k import figures, report

  drawn = figures.all_figures(summary, comparison)
  if _PLOTS.value:
    files = drawing.write_figures(drawn, _PLOTS.value)
    say(f'{len(files)} pictures are in {_PLOTS.value}')
  if _REPORT.value:
    page = report.render(summary, drawn, comparison).encode(errors='replace')
    write_files({pathlib.Path(_REPORT.value): page})
    say(f'the report is {_REPORT.value}')


def _explained(error: OSError | MemoryError) -> Exception:
  """Returns the error with a message for the user."""
  if isinstance(error, MemoryError):
    return MemoryError('the memory is too small for so many runs or replicates')
  file = f'{error.filename}: ' if error.filename else ''
  return OSError(f'{file}{error.strerror or error}')


def run(paths: Sequence[str]) -> Summary:
  """Reads the scores and compares them, as the flags say.

  Args:
    paths: folders of runs and score files.

  Returns:
    The comparison.

  Raises:
    SettingsError: no path is given, or games are missing.
    ScoreFileError: something is wrong in what is under the paths, or looks
      wrong.
  """
  if not paths:
    raise SettingsError(
      'no path is given: for example python -m experiments.summarize runs'
    )
  read = score_files.read(paths, last=_LAST.value)
  runs = [run for run in read.runs if run.seed is not None]
  scores = by_method(runs)
  means = {
    name: {game: float(of[0]) for game, of in games.items()}
    for name, games in by_method(read.runs).items()
    if name not in scores
  }
  questions = suspicions({**scores, **_in_columns(means)})
  if questions and not _I_MEAN_IT.value:
    raise ScoreFileError(
      [f'{line} (--i_mean_it takes the scores)' for line in questions]
    )
  published = {}
  if 'paper' in _BASELINES.value:
    for name, aggregates in paper.AGGREGATES.items():
      if f'{name} (paper)' in {**scores, **means}:
        raise SettingsError(
          f'--baselines=paper: there is a method {name} (paper) already; give '
          'it another name'
        )
      published[f'{name} (paper)'] = aggregates
      means[f'{name} (paper)'] = paper.SCORES[name]
  try:
    summary = summarize(
      scores,
      means=means,
      published=published,
      partial=_PARTIAL.value,
      notes=read.notes,
      replicates=_REPLICATES.value,
      confidence=_CONFIDENCE.value,
      seed=_BOOTSTRAP_SEED.value,
    )
  except MissingGamesError as error:
    raise SettingsError(
      f'{error} (--partial compares the games that all have)'
    ) from error
  except ValueError as error:
    raise SettingsError(str(error)) from error
  if 'published' in _BASELINES.value:
    for system in SYSTEMS:
      if system.name in {**scores, **means}:
        raise SettingsError(
          f'--baselines=published: there is a method {system.name} already; '
          'give it another name'
        )
    if len(summary.games) < len(GAMES):
      raise SettingsError(
        '--baselines=published needs scores of all 26 games, over which the '
        'published aggregates are taken'
      )
    summary = dataclasses.replace(summary, with_published=True)
  if not (_PLOTS.value or _REPORT.value):
    return summary
  return curves.with_curves(summary, runs)


def _in_columns(
  means: Mapping[str, Mapping[str, float]],
) -> dict[str, dict[str, list[float]]]:
  return {
    name: {game: [mean] for game, mean in of.items()}
    for name, of in means.items()
  }


def compared(summary: Summary) -> Comparison | None:
  """Returns the comparison that --compare asks for, or None.

  Raises:
    SettingsError: it does not name two methods with runs.
  """
  if _COMPARE.value is None:
    if _DETECT.value is not None:
      raise SettingsError('--detect needs --compare')
    return None
  if len(_COMPARE.value) != 2:
    raise SettingsError(
      '--compare takes the names of two methods, such as --compare drq_ht drq, '
      f'not {len(_COMPARE.value)}'
    )
  first, second = _COMPARE.value
  try:
    return compare(summary, first, second, difference=_DETECT.value)
  except ValueError as error:
    raise SettingsError(f'--compare: {error}') from error


def planned(paths: Sequence[str], runs: int) -> str:
  """Returns the IQM difference an experiment can detect, a line per method.

  Args:
    paths: folders of runs and score files whose variation is taken; none takes
      that of BBF.
    runs: of each game and method.

  Raises:
    SettingsError: a method has too few runs.
    ScoreFileError: something is wrong in what is under the paths.
  """
  if not paths:
    sentence = plan_sentence(plan(runs, confidence=_CONFIDENCE.value), 26)
    return f'If runs vary like those of BBF: {sentence}\n'
  lines = []
  summary = run(paths)
  for note in summary.notes:
    say(f'note: {note}')
  for method in summary.methods:
    if not method.has_runs:
      continue
    try:
      made = plan(
        runs,
        method.normalized,
        confidence=_CONFIDENCE.value,
        seed=_BOOTSTRAP_SEED.value,
      )
    except ValueError as error:
      raise SettingsError(f'--plan: {method.name}: {error}') from error
    sentence = plan_sentence(made, len(method.normalized))
    lines.append(f'If runs vary like those of {method.name}: {sentence}\n')
  if not lines:
    raise SettingsError('--plan: there are no scores of single runs')
  return ''.join(lines)


def parse(argv: Sequence[str]) -> list[str]:
  """Parses the command line, in which --compare may have two words."""
  words = list(argv)
  if '--compare' in words:
    at = words.index('--compare')
    names = words[at + 1 : at + 3] or ['']
    is_pair = ',' in names[0] and pathlib.Path(names[-1]).exists()
    if len(names) == 2 and names[1][:1] != '-' and not is_pair:
      quoted = ['"' + name.replace('"', '""') + '"' for name in names]
      words[at : at + 3] = [f'--compare={",".join(quoted)}']
  return parse_flags(words)


if __name__ == '__main__':
  app.run(main, flags_parser=parse)
