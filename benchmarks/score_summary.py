"""Measures the time of score summaries: our bootstrap, rliable's, a report.

    python -m benchmarks.score_summary

The bootstrap gives the intervals of the four aggregates for 5 runs of 26 games;
ours and rliable's take turns on the same scores. The report is
`experiments.summarize` with all figures for a tree of 9 x 26 x 5 artificial
runs, in a separate process.
"""

from collections.abc import Mapping
import json
import pathlib
import platform
import subprocess
import sys
import tempfile
import time

from absl import app, flags, logging
import numpy as np
from rliable import library, metrics

from agents import atari
from ht_rl import atari100k
from ht_rl.atari100k import aggregates
from ht_rl.atari100k.run_folder import RunFolder

_ROUNDS = flags.DEFINE_integer('rounds', 5, 'Turns of each side.')
_REPLICATES = flags.DEFINE_integer('replicates', 50_000, 'Of the bootstrap.')

METHODS, RUNS = 9, 5


def draw_scores(seed: int) -> dict[str, np.ndarray]:
  """Normalised scores of each game's runs, about as skewed as real ones."""
  rng = np.random.default_rng(seed)
  return {game: rng.gamma(1, 1, RUNS) for game in atari100k.GAMES}


def time_ours(scores: Mapping[str, np.ndarray]) -> float:
  """Seconds for the intervals of all four aggregates."""
  begun = time.perf_counter()
  aggregates.aggregate_estimates(
    scores, np.random.default_rng(0), _REPLICATES.value
  )
  return time.perf_counter() - begun


def time_rliables(scores: Mapping[str, np.ndarray]) -> float:
  """Seconds for the same with rliable."""
  table = np.stack(list(scores.values()), axis=1)
  begun = time.perf_counter()
  library.get_interval_estimates(
    {'method': table},
    lambda x: np.array(
      [
        metrics.aggregate_iqm(x),
        metrics.aggregate_median(x),
        metrics.aggregate_mean(x),
        metrics.aggregate_optimality_gap(x),
      ]
    ),
    reps=_REPLICATES.value,
  )
  return time.perf_counter() - begun


def write_runs(base_dir: pathlib.Path) -> None:
  """Writes a tree of runs like those of `experiments.train`."""
  protocol = atari.PROTOCOL.as_dict()
  for method in range(METHODS):
    for game, normalized in draw_scores(method).items():
      random, human = atari100k.REFERENCE_SCORES[game]
      for seed, score in enumerate(random + (human - random) * normalized):
        run = RunFolder.of(base_dir, f'method{method}', game, seed)
        run.write_result(
          {
            'config': f'method{method}',
            'game': game,
            'seed': seed,
            'score': score,
            'returns': [score] * 100,
            'protocol': protocol,
          }
        )
        rows = [
          {'step': step, 'loss': 0.1, 'q': 1.0, 'gradient_norm': 1.0}
          for step in range(100, 100_001, 100)
        ]
        rows += [
          {'step': step, 'episode_return': score * step / 1e5}
          for step in range(500, 100_001, 500)
        ]
        lines = ''.join(json.dumps(row) + '\n' for row in rows)
        run.metrics_file.write_text(lines)


def time_report(base_dir: pathlib.Path) -> float:
  """Seconds for the whole command, with every picture and the report."""
  command = [sys.executable, '-m', 'experiments.summarize', str(base_dir)]
  begun = time.perf_counter()
  subprocess.run(
    [*command, f'--plots={base_dir}/plots', f'--report={base_dir}/report.html'],
    check=True,
    capture_output=True,
  )
  return time.perf_counter() - begun


def main(argv: list[str]) -> None:
  """Prints a table."""
  del argv
  logging.set_verbosity(logging.WARNING)  # rliable's.
  scores = draw_scores(0)
  print(
    f'{_REPLICATES.value:,} replicates of {RUNS} runs of 26 games, all four '
    f'aggregates, on {platform.machine()}; medians of {_ROUNDS.value} turns'
  )
  seconds = np.array(
    [(time_ours(scores), time_rliables(scores)) for _ in range(_ROUNDS.value)]
  )
  ours, theirs = np.median(seconds, axis=0)
  ratios = seconds[:, 1] / seconds[:, 0]
  print(f'ours      {ours:8.2f} s')
  print(f'rliable   {theirs:8.2f} s')
  print(
    f'ours is {np.median(ratios):.0f} times as fast (turn by turn: '
    f'{ratios.min():.0f} to {ratios.max():.0f})'
  )
  with tempfile.TemporaryDirectory() as folder:
    write_runs(pathlib.Path(folder))
    times = [time_report(pathlib.Path(folder)) for _ in range(_ROUNDS.value)]
  print(
    f'experiments.summarize of {METHODS} methods x 26 games x {RUNS} runs with '
    f'all pictures and the report: {np.median(times):.1f} s '
    f'({min(times):.1f} to {max(times):.1f})'
  )


if __name__ == '__main__':
  app.run(main)
