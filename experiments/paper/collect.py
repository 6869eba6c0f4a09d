"""Collects finished runs of Atari-100k into the committed tables.

    python -m experiments.paper.collect --base_dir=RUNS

Adds all finished runs below RUNS that have the settings of their gin file to:

- `docs/results/atari100k_small.csv`: the score of each run of
  `gin_configs/small/small_*.gin`, with what made it;
- `docs/results/atari100k_full.csv`: the same of the paper's networks, and of
  `gin_configs/drq_eps.gin`;
- `docs/results/restarts_small.csv`: the same of `gin_configs/small/restarts`;
- `docs/results/restart_gap.csv`: of each run with restarts, how much of the
  hare's way they take back (`agents.core.restarts`), as the mean over each
  quarter of the restarts.

A run that is in the tables already stays as it is.
"""

from collections.abc import Callable, Sequence
import csv
import datetime
import io
import pathlib
from typing import Any

from absl import app, flags
import numpy as np

from experiments import gin_flags
from experiments.command import SettingsError, guarded, parse_flags, say
from experiments.paper import restarts
from experiments.paper.atari import FULL, SMALL
from experiments.paper.csv_files import csv_rows
from experiments.paper.finished import Finished, finished
from experiments.paper.items import ATARI
from experiments.paper.rendered import RESULTS, ROOT
from ht_rl.files import write_files

flags.adopt_module_key_flags(gin_flags)

FOLDER = ROOT / RESULTS
# Which runs each table of scores has.
TABLES = {
  SMALL.name: [*ATARI.small.values()],
  FULL.name: [*ATARI.full.values(), 'gin_configs/drq_eps.gin'],
  restarts.GRID.name: restarts.gin_files(),
}
# These entries of a result go into the tables of scores.
NEEDED = (
  'returns',
  'gradient_steps',
  'training_seconds',
  'cpu',
  'versions',
  'commit',
)


def identity(run: Finished) -> dict[str, str]:
  """Returns the columns of a row that tell which run it is."""
  names = {'algorithm': 'config', 'game': 'game', 'seed': 'seed'}
  return {column: str(run.result[key]) for column, key in names.items()}


def score_row(run: Finished) -> dict[str, Any]:
  """Returns the row of a run in the table of scores.

  Raises:
    SettingsError: the result lacks something.
  """
  result = run.result
  for key in NEEDED:
    if key not in result:
      raise SettingsError(f'{run.folder.result_file} has no {key}')
  changed = run.folder.result_file.stat().st_mtime
  date = datetime.datetime.fromtimestamp(changed, datetime.UTC).date()
  return {
    **identity(run),
    'score': result['score'],
    'episodes': len(result['returns']),
    'training_steps': result['protocol']['training_steps'],
    'gradient_steps': result['gradient_steps'],
    'training_seconds': round(result['training_seconds']),
    'cpu': result['cpu'],
    'jax': result['versions']['jax'],
    'commit': result['commit'],
    'date': date.isoformat(),
  }


def gap_row(run: Finished) -> dict[str, Any] | None:
  """Returns the row of a run in the table of restarts; None without any."""
  gaps = run.folder.curve('restart_gap').returns
  if len(gaps) < 4:
    return None
  quarters = [float(np.mean(part)) for part in np.array_split(gaps, 4)]
  return {
    **identity(run),
    'restarts': len(gaps),
    **{f'quarter_{i}': round(x, 4) for i, x in enumerate(quarters, 1)},
  }


def table(rows: Sequence[dict[str, Any]]) -> str:
  """Returns rows of the same columns as CSV."""
  text = io.StringIO()
  writer = csv.DictWriter(text, list(rows[0]), lineterminator='\n')
  writer.writeheader()
  writer.writerows(rows)
  return text.getvalue()


def added(
  path: pathlib.Path,
  runs: Sequence[Finished],
  row_of: Callable[[Finished], dict[str, Any] | None],
) -> list[dict[str, Any]]:
  """Returns the rows of a table with the runs that it lacks.

  Args:
    path: of the table, which need not exist.
    runs: the runs. Those that the table has stay as they are there.
    row_of: returns the row of a run; None for none.

  Raises:
    SettingsError: the table has other columns, or a row or a run is damaged.
  """
  there: list[dict[str, Any]] = [*csv_rows(path)] if path.exists() else []
  new = [
    run
    for run in runs
    if not any(identity(run).items() <= row.items() for row in there)
  ]
  rows = [row for run in new if (row := row_of(run)) is not None]
  if not rows:
    return there
  if there and list(there[0]) != list(rows[0]):
    raise SettingsError(f'{path}: the columns must be {",".join(rows[0])}')
  for row in there:
    if not row['seed'].isdecimal():
      raise SettingsError(
        f'{path}: the seed {row["seed"]!r} must be a whole number'
      )
  return sorted(
    [*there, *rows], key=lambda x: (x['algorithm'], x['game'], int(x['seed']))
  )


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its exit code."""

  def action() -> None:
    if len(argv) > 1:
      raise SettingsError(f'unexpected argument {argv[1]!r}')
    for name in ('gin_files', 'gin_bindings'):
      if flags.FLAGS[name].present:
        raise SettingsError(f'--{name} has no effect on this command')
    base_dir = pathlib.Path(gin_flags.BASE_DIR.value)
    gin_files = [file for files in TABLES.values() for file in files]
    runs, left_out = finished(gin_files, base_dir)
    for sentence in left_out:
      say(f'warning: {sentence}')
    if not runs:
      raise SettingsError(f'--base_dir: no finished run in {base_dir}')
    tables = {}
    for name, files in TABLES.items():
      if of_table := [run for run in runs if run.gin_file in files]:
        tables[FOLDER / name] = added(FOLDER / name, of_table, score_row)
    gaps = FOLDER / restarts.GAPS.name
    tables[gaps] = added(gaps, runs, gap_row)
    # All at once: a damaged run or table leaves every file as it is.
    texts = {path: table(rows) for path, rows in tables.items() if rows}
    write_files({path: text.encode() for path, text in texts.items()})
    for path in texts:
      say(f'{path}: {len(tables[path])} runs')

  return guarded(action)


if __name__ == '__main__':
  app.run(main, flags_parser=parse_flags)
