"""Collects finished runs in small into the committed tables.

    python -m experiments.paper.collect RUNS

Writes, from all finished runs of `gin_configs/small/small_*.gin` below RUNS:

- `docs/results/atari100k_small.csv`: the score of each run, with what made it;
- `docs/results/restart_gap_small.csv`: of each run with restarts, how much of
  the hare's way they take back (`agents.core.restarts`), as the mean over each
  quarter of the restarts.

Run it with the code that made the runs: the commit is that of this checkout.
"""

from collections.abc import Iterator, Sequence
import csv
import datetime
import io
import pathlib
import platform
import subprocess
import sys
from typing import Any

import numpy as np

from experiments.paper.rendered import RESULTS, ROOT
from ht_rl.atari100k.run_folder import RunFolder
from ht_rl.files import write_text

PREFIX = 'small_'
FOLDER = ROOT / RESULTS


def finished(
  folder: pathlib.Path,
) -> Iterator[tuple[RunFolder, dict[str, Any]]]:
  """Yields the finished runs in small below a folder, and their results."""
  for path in sorted(folder.glob(f'{PREFIX}*/*/*/result.json')):
    run = RunFolder(path.parent)
    result = run.read_result()
    if result is not None and result['protocol']['training_steps'] == 100_000:
      yield run, result


def score_row(run: RunFolder, result: dict[str, Any]) -> dict[str, Any]:
  """Returns the row of a run in the table of scores."""
  changed = (run.path / 'result.json').stat().st_mtime
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
    'cpu': cpu(),
    'jax': result['versions']['jax'],
    'commit': commit(),
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


def main(argv: Sequence[str]) -> int:
  """Writes the tables; returns the exit code."""
  if len(argv) != 1 or not pathlib.Path(argv[0]).is_dir():
    print('error: name the folder of all runs', file=sys.stderr)
    return 2
  runs = list(finished(pathlib.Path(argv[0])))
  if not runs:
    print(f'error: no finished run in small in {argv[0]}', file=sys.stderr)
    return 2
  scores = [score_row(*run) for run in runs]
  write_text(FOLDER / 'atari100k_small.csv', table(scores))
  gaps = [row for run in runs if (row := gap_row(*run)) is not None]
  if gaps:
    write_text(FOLDER / 'restart_gap_small.csv', table(gaps))
  print(f'{len(scores)} runs, {len(gaps)} with restarts')
  return 0


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
