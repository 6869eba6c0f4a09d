"""Tables 1 and 8: scores on Atari-100k, beside the paper's."""

import collections
from collections.abc import Mapping, Sequence
import pathlib
import shlex
from typing import NamedTuple

import numpy as np

from experiments.paper.finished import config_name, finished
from experiments.paper.rendered import (
  NOT_RUN,
  RESULTS,
  ROOT,
  Part,
  Picture,
  Rendered,
  Rows,
  Table,
)
from ht_rl import drawing
from ht_rl.atari100k import paper, score_files, tables
from ht_rl.atari100k.figures import games_plot, interval_plot
from ht_rl.atari100k.games import REFERENCE_SCORES
from ht_rl.atari100k.readers.checks import clashes
from ht_rl.atari100k.runs import Run, ScoreFileError, by_method
from ht_rl.atari100k.summary import Summary, summarize

# The committed scores, a row a run, with the columns algorithm (the gin file's
# name, or that of the paper's method), game, seed and score: of the paper's
# networks, and of small ones.
FULL = RESULTS / 'atari100k_full.csv'
SMALL = RESULTS / 'atari100k_small.csv'

_PAPER = ': paper'

# By game, the scores of the runs.
Scores = Mapping[str, np.ndarray]


class Needs(NamedTuple):
  """The runs of an item.

  Attributes:
    full: gin files of the paper's methods, by the names of these.
    small: gin files of the same with a small network.
    games: the games.
    seeds: the number of runs of each game, each with its own seed.
  """

  full: Mapping[str, str]
  small: Mapping[str, str]
  games: tuple[str, ...]
  seeds: int


class Seen(NamedTuple):
  """The runs that exist, and those that are missing.

  Attributes:
    parts: the state.
    scores: by method, those of the paper's networks.
    small: by method, those of small networks.
    remarks: what is left out and why.
    commands: run the rest.
  """

  parts: list[Part]
  scores: Mapping[str, Scores]
  small: Mapping[str, Scores]
  remarks: list[str]
  commands: list[str]


def see(needs: Needs, base_dir: pathlib.Path) -> Seen:
  """Looks for runs below a folder, and for the committed scores.

  Args:
    needs: the runs.
    base_dir: folder of all runs.

  Raises:
    SettingsError: a gin file cannot be read.
    RunFolderError: a run is damaged.
    ScoreFileError: the committed scores are wrong.
  """
  full = _found(needs, needs.full, FULL, base_dir)
  # DrQ(eps) is committed too, but is not a method of the paper.
  scores = by_method([run for run in full.runs if run.method in needs.full])
  in_small = _found(needs, needs.small, SMALL, base_dir)
  small = by_method(in_small.runs)
  remarks = [*full.left_out, *in_small.left_out]
  unknown = [method for method in small if method not in needs.full]
  if unknown:
    remarks.append(
      f'{SMALL}: the paper has no method {", ".join(unknown)}; left out.'
    )
  parts = {
    config: Part(
      config,
      len(needs.games) * needs.seeds,
      _count(scores.get(config, {}), needs.seeds),
      full.sources.get(config, ()),
    )
    for config in needs.full
  }
  small_parts = {}
  for config in needs.full:
    of = small.get(config, {})
    if of or config in needs.small:
      seeds = max((len(runs) for runs in of.values()), default=1)
      small_parts[config] = Part(
        f'{config}, in small',
        len(needs.games) * seeds,
        _count(of, seeds),
        in_small.sources.get(config, ()),
        is_papers=False,
      )
  return Seen(
    [*parts.values(), *small_parts.values()],
    scores,
    small,
    remarks,
    [
      *_command(needs, needs.full, base_dir, parts),
      *_command(needs, needs.small, base_dir, small_parts),
    ],
  )


def aggregates(base_dir: pathlib.Path, needs: Needs) -> Rendered:
  """Renders Table 1: the aggregates, with intervals where there are runs."""
  seen = see(needs, base_dir)
  summary = _summary(needs, seen)
  header, *found = tables.aggregate_rows(summary)
  of_name = {row[0]: row[1:] for row in found}
  rows: Rows = [header]
  for config in needs.full:
    for name, scores in _kinds(config, seen).items():
      if name in of_name:
        rows.append([name, *of_name[name]])
      else:
        state = f'{len(scores)} of {len(needs.games)} games'
        cells = [state if scores else NOT_RUN, *[''] * (len(header) - 2)]
        rows.append([name, *cells])
  pictures = []
  if any(method.has_runs for method in summary.methods):
    pictures = [
      Picture(summary.heading, lambda: drawing.png(interval_plot(summary)))
    ]
  return _rendered(seen, summary, [Table(summary.heading, rows)], pictures)


def scores(base_dir: pathlib.Path, needs: Needs) -> Rendered:
  """Renders Table 8: the mean score of each game, in game points."""
  seen = see(needs, base_dir)
  made = []
  groups = {
    'DrQ': [name for name in needs.full if name.startswith('drq')],
    'BBF': [name for name in needs.full if name.startswith('bbf')],
  }
  for title, configs in groups.items():
    kinds = {
      name: of
      for config in configs
      for name, of in _kinds(config, seen).items()
    }
    rows: Rows = [['game', 'random', 'human', *kinds]]
    for game in needs.games:
      references = [tables.points(x) for x in REFERENCE_SCORES[game]]
      cells = [
        _mean(of.get(game), 1 if name.endswith(_PAPER) else needs.seeds)
        for name, of in kinds.items()
      ]
      rows.append([game, *references, *cells])
    made.append(Table(f'{title}: mean scores in game points', rows))
  summary = _summary(needs, seen)
  pictures = []
  if any(method.has_runs for method in summary.methods):
    pictures = [
      Picture(
        'Human-normalised scores by game',
        lambda: drawing.png(games_plot(summary)),
      )
    ]
  return _rendered(seen, summary, made, pictures)


def committed_scores(needs: Needs) -> dict[str, dict[str, np.ndarray]]:
  """Returns the committed scores of full networks, by method and game."""
  return by_method(_asked(needs, _committed(needs.full, FULL)))


def committed_small_scores(needs: Needs) -> dict[str, dict[str, np.ndarray]]:
  """Returns the committed scores of small networks, by method and game."""
  return by_method(_asked(needs, _committed(needs.small, SMALL)))


class _Found(NamedTuple):
  """Runs of a kind.

  Attributes:
    runs: those below a folder, and the committed others.
    sources: by method, where they are.
    left_out: which runs below the folder do not count, and why.
  """

  runs: list[Run]
  sources: Mapping[str, tuple[str, ...]]
  left_out: list[str]


def _found(
  needs: Needs,
  gin_files: Mapping[str, str],
  file: pathlib.Path,
  base_dir: pathlib.Path,
) -> _Found:
  """Returns the runs of gin files, below a folder and in a committed file."""
  own, left_out = _below(gin_files, base_dir)
  own = _asked(needs, own)
  there = {(run.method, run.game, run.seed) for run in own}
  committed = [
    run
    for run in _asked(needs, _committed(gin_files, file))
    if (run.method, run.game, run.seed) not in there
  ]
  # A dictionary keeps each source once, in this order.
  sources: dict[str, dict[str, None]] = collections.defaultdict(dict)
  for run in own:
    folder = base_dir / config_name(gin_files[run.method])
    sources[run.method][str(folder)] = None
  for run in committed:
    sources[run.method][str(file)] = None
  return _Found(
    [*own, *committed],
    {method: tuple(of) for method, of in sources.items()},
    left_out,
  )


def _asked(needs: Needs, runs: Sequence[Run]) -> list[Run]:
  """Returns the runs of the games that are needed, of whatever seed."""
  return [run for run in runs if run.game in needs.games]


def _committed(gin_files: Mapping[str, str], file: pathlib.Path) -> list[Run]:
  """Returns the committed runs, with the names of the paper's methods.

  Raises:
    ScoreFileError: the file is wrong, or a run is there under both names.
  """
  if not (ROOT / file).exists():
    return []
  methods = {config_name(of): method for method, of in gin_files.items()}
  runs = [
    run._replace(method=methods.get(run.method, run.method))
    for run in score_files.read([ROOT / file]).runs
  ]
  if problems := clashes(runs):
    raise ScoreFileError(problems)
  return runs


def _kinds(config: str, seen: Seen) -> dict[str, Scores]:
  """Returns the paper's scores of a method, those here, those in small."""
  published = {game: np.array([x]) for game, x in paper.SCORES[config].items()}
  kinds: dict[str, Scores] = {
    config + _PAPER: published,
    f'{config}: here': seen.scores.get(config, {}),
  }
  if config in seen.small:
    kinds[f'{config}: here, in small'] = seen.small[config]
  return kinds


def _summary(needs: Needs, seen: Seen) -> Summary:
  """Compares the methods that have a score of every game with the paper's."""
  runs: dict[str, Scores] = {}
  published: dict[str, Mapping[str, float]] = {}
  for config in needs.full:
    theirs, *ours = _kinds(config, seen).items()
    published[theirs[0]] = paper.AGGREGATES[config]
    runs |= {name: of for name, of in ours if set(needs.games) <= set(of)}
  means = {config + _PAPER: paper.SCORES[config] for config in needs.full}
  return summarize(runs, means=means, published=published)


def _rendered(
  seen: Seen,
  summary: Summary,
  made: Sequence[Table],
  pictures: Sequence[Picture],
) -> Rendered:
  notes = [*seen.remarks, *summary.notes]
  if seen.small:
    notes.append(
      '"In small" is a small network (gin_configs/small), which the paper does '
      'not have.'
    )
  return Rendered(seen.parts, made, notes, pictures, seen.commands)


def _below(
  gin_files: Mapping[str, str], base_dir: pathlib.Path
) -> tuple[list[Run], list[str]]:
  """Returns the finished runs below a folder, and what is left out."""
  methods = {file: method for method, file in gin_files.items()}
  found, left_out = finished(list(methods), base_dir)
  runs = [
    Run(
      methods[run.gin_file],
      run.result['game'],
      run.result['seed'],
      float(run.result['score']),
      str(run.folder.result_file),
    )
    for run in found
  ]
  return runs, left_out


def _command(
  needs: Needs,
  gin_files: Mapping[str, str],
  base_dir: pathlib.Path,
  parts: Mapping[str, Part],
) -> list[str]:
  """Returns the command that runs what the parts lack, or none."""
  files = [
    file
    for method, file in gin_files.items()
    if parts[method].done < parts[method].needed
  ]
  if not files:
    return []
  runs = max(part.needed for part in parts.values()) // len(needs.games)
  seeds = f'0-{runs - 1}' if runs > 1 else '0'
  return [
    f'python -m experiments.sweep run --games=all --seeds={seeds} '
    f'--base_dir={shlex.quote(str(base_dir))} --gin_files={",".join(files)}'
  ]


def _count(scores: Scores, seeds: int) -> int:
  """Returns the number of runs, of each game at most so many seeds."""
  return sum(min(len(of), seeds) for of in scores.values())


def _mean(scores: np.ndarray | None, runs: int) -> str:
  """Returns a mean, with the number of runs if there are fewer than wanted."""
  if scores is None:
    return NOT_RUN
  mean = tables.points(float(np.mean(scores)))
  return mean if len(scores) >= runs else f'{mean} (n = {len(scores)})'
