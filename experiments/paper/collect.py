"""Collects finished runs in small into the committed tables.

    python -m experiments.paper.collect --base_dir=RUNS

Adds all finished runs of small networks below RUNS to:

- `docs/results/atari100k_small.csv`: the score of each run of
  `gin_configs/small/small_*.gin`, with what made it;
- `docs/results/restarts_small.csv`: the same of `gin_configs/small/restarts`;
- `docs/results/restart_gap_small.csv`: of each run with restarts, how much of
  the hare's way they take back (`agents.core.restarts`), as the mean over each
  quarter of the restarts.

The commit is that of this checkout and the processor that of this machine,
unless --commit and --cpu name those that made the runs. A run that is in the
tables already stays as it is.
"""

from collections.abc import Iterator, Sequence
import csv
import datetime
import io
import pathlib
import platform
import subprocess
from typing import Any

from absl import app, flags
import numpy as np

from experiments import gin_flags
from experiments.command import SettingsError, guarded, parse_flags, say
from experiments.paper import restarts
from experiments.paper.atari import SMALL
from experiments.paper.rendered import RESULTS, ROOT
from ht_rl.atari100k.run_folder import RunFolder
from ht_rl.files import write_text

_COMMIT = flags.DEFINE_string('commit', None, 'The commit that made the runs.')
_CPU = flags.DEFINE_string('cpu', None, 'The processor that made the runs.')
flags.adopt_module_key_flags(gin_flags)

PREFIX = 'small_'
# Agent steps of Atari-100k.
STEPS = 100_000
FOLDER = ROOT / RESULTS


def finished(
  folder: pathlib.Path,
) -> Iterator[tuple[RunFolder, dict[str, Any]]]:
  """Yields the finished runs in small below a folder, and their results.

  A run of another length is a trial.
  """
  of_grid = set(restarts.configs())
  for path in sorted(folder.glob(f'{PREFIX}*/*/*/result.json')):
    run = RunFolder(path.parent)
    result = run.read_result()
    if result is None:
      continue
    steps = restarts.STEPS if result['config'] in of_grid else STEPS
    if result['protocol']['training_steps'] == steps:
      yield run, result


def score_row(
  run: RunFolder, result: dict[str, Any], made_by: str, made_on: str
) -> dict[str, Any]:
  """Returns the row of a run in the table of scores.

  Args:
    run: its folder.
    result: of the run.
    made_by: the commit.
    made_on: the processor.

  Raises:
    SettingsError: the result lacks something.
  """
  for key in ('returns', 'gradient_steps', 'training_seconds', 'versions'):
    if key not in result:
      raise SettingsError(f'{run.result_file} has no {key}: it is not a run')
  changed = run.result_file.stat().st_mtime
  date = datetime.datetime.fromtimestamp(changed, datetime.UTC).date()
  return {
    'algorithm': result['config'],
    'game': result['game'],
    'seed': result['seed'],
    'score': result['score'],
    'episodes': len(result['returns']),
    'training_steps': result['protocol']['training_steps'],
    'gradient_steps': result['gradient_steps'],
    'training_seconds': round(result['training_seconds']),
    'cpu': made_on,
    'jax': result['versions']['jax'],
    'commit': made_by,
    'date': date.isoformat(),
  }


def gap_row(run: RunFolder, result: dict[str, Any]) -> dict[str, Any] | None:
  """Returns the row of a run in the table of restarts; None without any."""
  gaps = run.curve('restart_gap').returns
  if len(gaps) < 4:
    return None
  quarters = [float(np.mean(part)) for part in np.array_split(gaps, 4)]
  return {
    'algorithm': result['config'],
    'game': result['game'],
    'seed': result['seed'],
    'restarts': len(gaps),
    **{f'quarter_{i}': round(x, 4) for i, x in enumerate(quarters, 1)},
  }


def cpu() -> str:
  """Returns the model of this machine's processor."""
  try:
    lines = pathlib.Path('/proc/cpuinfo').read_text('utf-8').splitlines()
  except OSError:
    lines = []
  models = [x.partition(':')[2] for x in lines if x.startswith('model name')]
  return models[0].strip() if models else platform.processor() or 'unknown'


def commit() -> str:
  """Returns the abbreviated commit of this checkout."""
  words = ['git', 'rev-parse', '--short=10', 'HEAD']
  done = subprocess.run(
    words, cwd=ROOT, check=False, capture_output=True, text=True
  )
  return done.stdout.strip() or 'unknown'


def table(rows: Sequence[dict[str, Any]]) -> str:
  """Returns rows of the same columns as CSV."""
  text = io.StringIO()
  writer = csv.DictWriter(text, list(rows[0]), lineterminator='\n')
  writer.writeheader()
  writer.writerows(rows)
  return text.getvalue()


def add(path: pathlib.Path, rows: Sequence[dict[str, Any]]) -> int:
  """Adds rows to a table; returns how many it has.

  Args:
    path: of the table, which need not exist.
    rows: of runs. A run that the table has stays as it is there.

  Raises:
    SettingsError: the table has other columns.
  """
  there: list[dict[str, Any]] = []
  if path.exists():
    with path.open(newline='', encoding='utf-8') as file:
      reader = csv.DictReader(file)
      there = list(reader)
    if rows and list(reader.fieldnames or []) != list(rows[0]):
      raise SettingsError(f'{path}: the columns must be {",".join(rows[0])}')
  by_run = {_run_of(row): row for row in [*rows, *there]}
  if by_run:
    write_text(path, table([by_run[run] for run in sorted(by_run)]))
  return len(by_run)


def _run_of(row: dict[str, Any]) -> tuple[str, str, int]:
  return row['algorithm'], row['game'], int(row['seed'])


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its exit code."""

  def action() -> None:
    if len(argv) > 1:
      raise SettingsError(f'unexpected argument {argv[1]!r}')
    for name in ('gin_files', 'gin_bindings'):
      if flags.FLAGS[name].present:
        raise SettingsError(f'--{name} has no effect on this command')
    base_dir = pathlib.Path(gin_flags.BASE_DIR.value)
    runs = list(finished(base_dir))
    if not runs:
      raise SettingsError(f'--base_dir: no finished run in small in {base_dir}')
    made_by, made_on = _COMMIT.value or commit(), _CPU.value or cpu()
    of_grid = restarts.configs()
    rows = [score_row(*run, made_by, made_on) for run in runs]
    in_grid = [row for row in rows if row['algorithm'] in of_grid]
    others = [row for row in rows if row['algorithm'] not in of_grid]
    scores = add(FOLDER / SMALL.name, others)
    scores += add(FOLDER / restarts.GRID.name, in_grid)
    gaps = [row for run in runs if (row := gap_row(*run)) is not None]
    restarted = add(FOLDER / 'restart_gap_small.csv', gaps)
    say(f'{scores} runs, {restarted} with restarts, in {FOLDER}')

  return guarded(action)


if __name__ == '__main__':
  app.run(main, flags_parser=parse_flags)
