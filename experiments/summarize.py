"""From runs and score files to the numbers of an Atari-100k paper.

    python -m experiments.summarize runs --baselines=paper --report=report.html

Each path is a folder of runs, a CSV or a JSON file with scores (see
`ht_rl.atari100k.score_files`); several are compared. The numbers go to the
standard output. Exit codes: 0, done; 1, a picture or report could not be
written; 2, a path or setting is wrong (a line for each problem).
"""

from collections.abc import Sequence
import os
import pathlib
import sys

from absl import app, flags

from experiments.command import (
  EXIT_FAILED,
  EXIT_WRONG_SETTING,
  SettingsError,
  fail,
  parse_flags,
  say,
)
from ht_rl.atari100k import curves, paper, score_files, tables
from ht_rl.atari100k._writing import write_files
from ht_rl.atari100k.summary import Summary, summarize

_FORMAT = flags.DEFINE_enum(
  'format', 'table', list(tables.STYLES), 'How the numbers are written.'
)
_PLOTS = flags.DEFINE_string(
  'plots', None, 'Folder for the figures, as SVG and PNG.'
)
_REPORT = flags.DEFINE_string(
  'report', None, 'HTML file for tables and figures on one page.'
)
_BASELINES = flags.DEFINE_enum(
  'baselines',
  None,
  ['paper'],
  'Numbers to set beside yours: those of Lee et al. (2024).',
)
_PARTIAL = flags.DEFINE_bool(
  'partial', False, 'Compare the games that all have, even if some are missing.'
)
_BOOTSTRAP_SEED = flags.DEFINE_integer(
  'bootstrap_seed', 0, 'Seed of the intervals, 0 or more.', lower_bound=0
)
_REPLICATES = flags.DEFINE_integer(
  'replicates', 50_000, 'Replicates of the bootstrap.', lower_bound=100
)
_CONFIDENCE = flags.DEFINE_float(
  'confidence', 0.95, 'Of the intervals.', lower_bound=0.5, upper_bound=0.999
)


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its exit code."""
  try:
    summary = run(argv[1:])
    text = tables.render(summary, _FORMAT.value)
    if _PLOTS.value:
      from ht_rl.atari100k import plots  # Only now: it loads matplotlib.

      files = plots.write_figures(summary, pathlib.Path(_PLOTS.value))
      say(f'{len(files)} pictures are in {_PLOTS.value}')
    if _REPORT.value:
      from ht_rl.atari100k import report

      page = report.render(summary).encode()
      write_files({pathlib.Path(_REPORT.value): page})
      say(f'the report is {_REPORT.value}')
  except score_files.ScoreFileError as error:
    for problem in error.problems:
      say(f'error: {problem}')
    return EXIT_WRONG_SETTING
  except SettingsError as error:
    return fail(error, EXIT_WRONG_SETTING)
  except OSError as error:
    return fail(error, EXIT_FAILED)
  try:
    sys.stdout.write(text)
    sys.stdout.flush()
  except BrokenPipeError:  # The reader, such as `head`, has seen enough.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
  return 0


def run(paths: Sequence[str]) -> Summary:
  """Reads the scores and compares them, as the flags say.

  Args:
    paths: folders of runs and score files.

  Returns:
    The comparison.

  Raises:
    SettingsError: no path is given, or games are missing.
    ScoreFileError: something is wrong in what is under the paths.
  """
  if not paths:
    raise SettingsError(
      'no path is given: for example python -m experiments.summarize runs'
    )
  read = score_files.read(paths)
  runs = [run for run in read.runs if run.seed is not None]
  scores = score_files.by_method(runs)
  means = {
    name: {game: float(of[0]) for game, of in games.items()}
    for name, games in score_files.by_method(read.runs).items()
    if name not in scores
  }
  published = {}
  if _BASELINES.value == 'paper':
    for name, aggregates in paper.AGGREGATES.items():
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
  except ValueError as error:
    hint = '' if _PARTIAL.value else ' (--partial compares what there is)'
    raise SettingsError(f'{error}{hint}') from error
  if not (_PLOTS.value or _REPORT.value):
    return summary
  return curves.with_curves(summary, runs)


if __name__ == '__main__':
  app.run(main, flags_parser=parse_flags)
