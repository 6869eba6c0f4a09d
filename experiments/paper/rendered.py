"""The parts of a rendered item: its state, tables and pictures."""

from collections.abc import Callable, Sequence
import dataclasses
import pathlib
from typing import NamedTuple, TypeAlias

from ht_rl.text_tables import markdown

ROOT = pathlib.Path(__file__).parents[2]
RESULTS = pathlib.Path('docs', 'results')

NOT_RUN = 'not run'
# Stands where the paper has no number, or a method does not apply.
NONE = '\N{EN DASH}'

Rows: TypeAlias = list[list[str]]


class Part(NamedTuple):
  """The state of a part of an item.

  Attributes:
    title: its data with their network, or its method.
    needed: number of runs that it needs.
    done: how many of them are there.
    sources: where these are.
    is_papers: whether the paper has this part. False for a stand-in: other data
      or a smaller network.
    experiment: its name, where there is more than one on the same data.
  """

  title: str
  needed: int
  done: int
  sources: tuple[str, ...] = ()
  is_papers: bool = True
  experiment: str = ''

  def __str__(self) -> str:
    """Returns the state in a few words."""
    name = f'{self.title}, {self.experiment}' if self.experiment else self.title
    done = f'{self.done} of {self.needed} runs' if self.done else NOT_RUN
    return f'{name}: {done}'


class Picture(NamedTuple):
  """A picture.

  Attributes:
    caption: what it shows, and where it is from.
    png: returns its bytes.
  """

  caption: str
  png: Callable[[], bytes]


class Table(NamedTuple):
  """A table: its title, and its rows of texts, the header first."""

  title: str
  rows: Rows


@dataclasses.dataclass(frozen=True)
class Rendered:
  """An item, rendered from the results that are there.

  Attributes:
    parts: the state of each part.
    tables: the numbers, beside the paper's.
    notes: what a reader must know, one sentence each.
    pictures: drawn from the results, or committed with them.
    commands: run what is missing.
  """

  parts: Sequence[Part] = ()
  tables: Sequence[Table] = ()
  notes: Sequence[str] = ()
  pictures: Sequence[Picture] = ()
  commands: Sequence[str] = ()


def state(parts: Sequence[Part]) -> str:
  """Returns the state of an item in a few words.

  >>> state([Part('CIFAR-10', 40, 0), Part('CIFAR-100', 40, 5)])
  '5 of 80 runs'
  >>> state([Part('CIFAR-10', 40, 0)]), state([Part('CIFAR-10', 40, 40)])
  ('not run', 'done')
  >>> state([])
  'nothing to run'

  Args:
    parts: of the item; stand-ins do not count.
  """
  own = [part for part in parts if part.is_papers]
  needed, done = sum(p.needed for p in own), sum(p.done for p in own)
  if not needed:
    return 'nothing to run'
  if not done:
    return NOT_RUN
  return 'done' if done == needed else f'{done} of {needed} runs'


def stand_ins(parts: Sequence[Part]) -> str:
  """Returns the states of the stand-ins that are there, on one line."""
  there: dict[str, Part] = {}
  for part in parts:
    if not part.is_papers:
      same = there.get(part.title, Part(part.title, 0, 0))
      there[part.title] = same._replace(
        needed=same.needed + part.needed, done=same.done + part.done
      )
  return '; '.join(str(part) for part in there.values() if part.done)


def text(name: str, title: str, item: Rendered) -> str:
  """Returns an item as Markdown, with a newline at its end.

  Args:
    name: of the item, such as 'figure5'.
    title: what it shows.
    item: its state, tables, pictures and commands.
  """
  lines = [f'# {name}: {title}', '', f'State: {state(item.parts)}']
  lines += [f'- {line}' for line in part_lines(item.parts)]
  for table in item.tables:
    lines += ['', f'**{table.title}**', '', markdown(table.rows)]
  if item.notes or item.pictures:
    lines += ['', *(f'note: {note}' for note in item.notes)]
    lines += [f'picture: {picture.caption}' for picture in item.pictures]
  if item.commands:
    lines += ['', 'To run the rest:', '']
    lines += [f'    {command}' for command in item.commands]
  return '\n'.join(lines) + '\n'


def part_lines(parts: Sequence[Part]) -> list[str]:
  """Returns a line for each part: its state, and where its results are."""
  lines = []
  for part in parts:
    line = str(part)
    if part.done:
      line += f' ({", ".join(part.sources)})'
    lines.append(line if part.is_papers else f'{line}, a stand-in')
  return lines
