"""Tables of accuracies, laid out like the paper's, with ours beside them."""

from collections.abc import Callable, Mapping, Sequence
import itertools
import math
import pathlib
from typing import NamedTuple

from experiments.paper.rendered import (
  NONE,
  NOT_RUN,
  ROOT,
  Part,
  Picture,
  Rendered,
  Rows,
  Table,
)
from experiments.paper.supervised import (
  Entries,
  Measured,
  Run,
  Seen,
  committed_picture,
  entries,
  read_table,
  see,
  table_of,
)
from experiments.supervised import paper
from experiments.supervised.report.correlations import (
  METRICS,
  correlation_table,
)
from experiments.supervised.report.selection import method
from experiments.supervised.report.spread import Spread

_IN_A_PICTURE = "The paper's numbers are in a picture alone."

# Returns the accuracy of the table: of Measured, its test or its train one.
Quantity = Callable[[Measured], Spread]


def test(measured: Measured) -> Spread:
  """Returns the test accuracy of the reported network."""
  return measured.test


def train(measured: Measured) -> Spread:
  """Returns the train accuracy."""
  return measured.train


class Panel(NamedTuple):
  """A table of an item.

  Attributes:
    title: its title.
    runs: what it is made of.
  """

  title: str
  runs: tuple[Run, ...]


def grid(
  base_dir: pathlib.Path,
  panel: Panel,
  quantity: Quantity,
  published: Callable[[str, float, float], paper.Accuracy | None] | None,
) -> Rendered:
  """Renders accuracies by ratio and noise (Tables 4 and 5, Figures 2 and 7).

  Args:
    base_dir: folder of all runs.
    panel: warm starts on several data sets.
    quantity: the accuracy.
    published: the paper's for a data set, ratio and noise; None where it has
      only a picture.
  """
  seen = [see(run, base_dir) for run in panel.runs]
  levels = list(itertools.product(paper.RATIOS, paper.NOISES))
  rows: Rows = [['ratio', 'noise'], *([f'{r:g}', f'{n:g}'] for r, n in levels)]
  for one in seen:
    names = {
      (setting.ratios[0], setting.noises[0]): name
      for name, setting in one.settings.items()
    }
    theirs = [
      published(_dataset(one), *level) if published else None
      for level in levels
    ]
    if any(theirs):
      cells = [f'{x.mean:.2f} ± {x.std:.4f}' if x else NONE for x in theirs]
      _add(rows, f'{one.title}: paper', cells)
    cells = [_cell(one, names.get(level), quantity) for level in levels]
    _add(rows, f'{one.title}: here', cells)
  return _rendered(base_dir, seen, [Table(panel.title, rows)])


def methods(
  base_dir: pathlib.Path,
  panel: Panel,
  quantity: Quantity,
  published: Mapping[str, Mapping[str, float]],
) -> Rendered:
  """Renders accuracies by method (Tables 6 and 7, Figure 4).

  Args:
    base_dir: folder of all runs.
    panel: the methods with their grids, on several data sets.
    quantity: the accuracy.
    published: the paper's, by data set and method.

  Returns:
    A row for each method of the paper: of its grid the setting with the best
    test accuracy.
  """
  seen = [see(run, base_dir) for run in panel.runs]
  names = list(next(iter(published.values())))
  rows: Rows = [['method'], *([name] for name in names)]
  for title, group in _by_title(seen).items():
    theirs = published.get(_dataset(group[0]))
    if theirs:
      cells = [f'{theirs[name]:.3f}' for name in names]
      _add(rows, f'{title}: paper', cells)
    cells = [_best(group, name, quantity) for name in names]
    _add(rows, f'{title}: here', cells)
  return _rendered(
    base_dir,
    seen,
    [Table(panel.title, rows)],
    'Of a method with a grid, the setting with the best test accuracy is '
    'shown, with its name.',
  )


def settings(
  base_dir: pathlib.Path, panels: Sequence[Panel], quantity: Quantity
) -> Rendered:
  """Renders accuracies by setting (Figures 3, 5, 6 and 9).

  Args:
    base_dir: folder of all runs.
    panels: each becomes a table.
    quantity: the accuracy.
  """
  everything, made = [], []
  for panel in panels:
    seen = [see(run, base_dir) for run in panel.runs]
    names = list(dict.fromkeys(name for one in seen for name in one.settings))
    rows: Rows = [['setting'], *([name] for name in names)]
    for one in seen:
      cells = [_cell(one, name, quantity) for name in names]
      _add(rows, f'{one.title}: here', cells)
    everything += seen
    made.append(Table(panel.title, rows))
  return _rendered(base_dir, everything, made, _IN_A_PICTURE)


def correlations(base_dir: pathlib.Path, panel: Panel) -> Rendered:
  """Renders correlations of metrics with the final accuracy (Figure 8).

  Args:
    base_dir: folder of all runs.
    panel: warm starts on several data sets. What is committed of one is the
      table of its correlations.
  """
  rows: Rows = [['metric'], *([name.replace('_', ' ')] for name in METRICS)]
  parts: list[Part] = []
  remarks: list[str] = []
  pictures: list[Picture] = []
  commands: list[str] = []
  for run in panel.runs:
    seen = see(run._replace(committed=''), base_dir)
    part, found = seen.part, entries(correlation_table(seen.finished))
    drawn = seen.pictures()
    path = table_of(run)
    if run.committed and (ROOT / path).exists():
      there = read_table(path)
      done = max(int(row['points']) for row in there)
      # As elsewhere, the larger number of runs counts.
      if done > part.done:
        found, part = there, part._replace(done=done, sources=(str(path),))
        drawn = committed_picture(run.committed)
    _add(rows, f'{seen.title}: here', [_correlation(row) for row in found])
    parts.append(part)
    remarks += seen.remarks
    pictures += drawn
    if part.done < part.needed:
      commands.append(run.command(base_dir))
  notes = [_IN_A_PICTURE, *remarks]
  return Rendered(parts, [Table(panel.title, rows)], notes, pictures, commands)


def _correlation(row: Entries) -> str:
  if not row['points']:
    return NOT_RUN
  r = row['correlation']
  shown = 'unknown' if math.isnan(r) else f'{r:+.2f}'
  return f'{shown} (n = {row["points"]:.0f})'


def _dataset(seen: Seen) -> str:
  """Returns the name of the data set of the paper; '' for a stand-in."""
  dataset = next(iter(seen.settings.values())).dataset
  return str(dataset) if seen.run.data.is_papers else ''


def _by_title(seen: Sequence[Seen]) -> dict[str, list[Seen]]:
  groups: dict[str, list[Seen]] = {}
  for one in seen:
    groups.setdefault(one.title, []).append(one)
  return groups


def _add(rows: Rows, head: str, cells: Sequence[str]) -> None:
  """Adds a column."""
  for row, cell in zip(rows, (head, *cells), strict=True):
    row.append(cell)


def _cell(seen: Seen, name: str | None, quantity: Quantity) -> str:
  if name is None or name not in seen.settings:
    return NONE
  return _text(seen, name, quantity) if name in seen.measured else NOT_RUN


def _best(group: Sequence[Seen], wanted: str, quantity: Quantity) -> str:
  asked = [(s, n) for s in group for n in s.settings if method(n) == wanted]
  found = {s.measured[n].test.mean: (s, n) for s, n in asked if n in s.measured}
  if not found:
    return NOT_RUN if asked else NONE
  seen, name = found[max(found)]
  text = _text(seen, name, quantity)
  return text if name == wanted else f'{text}, {name}'


def _text(seen: Seen, name: str, quantity: Quantity) -> str:
  measured = seen.measured[name]
  mean, std = quantity(measured)
  text = f'{mean:.4f}' if math.isnan(std) else f'{mean:.4f} ± {std:.4f}'
  if measured.seeds < len(seen.seeds):
    text += f' ({measured.seeds} of {len(seen.seeds)} seeds)'
  return text


def _rendered(
  base_dir: pathlib.Path,
  seen: Sequence[Seen],
  made: Sequence[Table],
  *notes: str,
) -> Rendered:
  return Rendered(
    [one.part for one in seen],
    made,
    [*notes, *(remark for one in seen for remark in one.remarks)],
    [picture for one in seen for picture in one.pictures()],
    [
      one.run.command(base_dir)
      for one in seen
      if one.part.done < one.part.needed
    ],
  )
