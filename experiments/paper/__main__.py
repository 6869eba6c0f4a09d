"""Renders the tables and figures of the paper from the results at hand.

    python -m experiments.paper list
    python -m experiments.paper figure5
    python -m experiments.paper list --html=paper.html
    python -m experiments.paper claims
    python -m experiments.paper small
    python -m experiments.paper full
    python -m experiments.paper restarts

`list` names all tables and figures with the runs that each needs and the number
that are there. The name of one prints it: our numbers beside the paper's, and
the command that runs the rest. Results are read from --base_dir, and from the
tables in docs/results; nothing is trained. --html writes a page with the
pictures, of one item or, after `list`, of all. `claims` prints the table of
docs/results/index.md, `small` and `full` those of docs/results/atari100k.md,
`restarts` those of docs/choosing.md. Exit codes: 0, done; 1, a file cannot be
read or written; 2, a setting is wrong (one line says which).
"""

from collections.abc import Sequence
import difflib
import pathlib

from absl import app, flags

from experiments import gin_flags
from experiments.command import (
  SettingsError,
  SeveralSettingsError,
  guarded,
  parse_flags,
  print_out,
  say,
)
from experiments.paper import claims, full, restarts, small
from experiments.paper.items import ITEMS
from experiments.paper.page import page
from experiments.paper.rendered import (
  Rendered,
  Rows,
  stand_ins,
  state,
  text,
)
from ht_rl.atari100k.runs import ScoreFileError
from ht_rl.files import write_text
from ht_rl.text_tables import markdown

_HTML = flags.DEFINE_string(
  'html', None, 'HTML file for the tables and pictures.'
)
flags.adopt_module_key_flags(gin_flags)

# Words that print a table of the committed results alone.
_COMMITTED = {
  'claims': claims.table,
  'small': small.text,
  'full': full.text,
  'restarts': restarts.text,
}


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its exit code."""

  def action() -> None:
    word = _word(argv[1:])
    _check_flags(word)
    try:
      if word in _COMMITTED:
        print_out(_COMMITTED[word]() + '\n')
      else:
        _show(word, pathlib.Path(gin_flags.BASE_DIR.value))
    except ScoreFileError as error:
      raise SeveralSettingsError(error.problems) from error

  return guarded(action)


def _show(word: str, base_dir: pathlib.Path) -> None:
  """Prints the list or an item; writes the page."""
  names = list(ITEMS) if word == 'list' else [word]
  rendered = {name: ITEMS[name].render(base_dir) for name in names}
  overview = _overview(rendered)
  if word == 'list':
    print_out(markdown(overview, align='left') + '\n')
  else:
    print_out(text(word, ITEMS[word].title, rendered[word]))
  if _HTML.value is not None:
    items = [(name, ITEMS[name].title, item) for name, item in rendered.items()]
    write_text(pathlib.Path(_HTML.value), page(overview, items))
    say(f'the page is {_HTML.value}')


def _overview(rendered: dict[str, Rendered]) -> Rows:
  """Returns a row for each item: its title, its runs and its states."""
  rows: Rows = [['item', 'what', 'runs needed', 'state', 'stand-ins']]
  for name, item in rendered.items():
    needed = sum(part.needed for part in item.parts if part.is_papers)
    rows.append(
      [
        name,
        ITEMS[name].title,
        f'{needed:,}' if needed else 'none',
        state(item.parts),
        stand_ins(item.parts),
      ]
    )
  return rows


def _word(words: Sequence[str]) -> str:
  """Returns the item, 'list', or a word of `_COMMITTED`.

  Raises:
    SettingsError: it is none of them, or there is more than one.
  """
  known = ['list', *ITEMS, *_COMMITTED]
  if not words:
    raise SettingsError(
      'name an item, or list: for example python -m experiments.paper list'
    )
  if len(words) > 1:
    raise SettingsError(f'unexpected argument {words[1]!r}')
  word = words[0].lower()
  if word not in known:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.7)
    hint = f': did you mean {near[0]}?' if near else ''
    raise SettingsError(
      f'no item {words[0]!r}{hint or "; `list` names them all"}'
    )
  return word


def _check_flags(word: str) -> None:
  """Raises SettingsError if a flag is wrong or has no effect."""
  for name in ('gin_files', 'gin_bindings'):
    if flags.FLAGS[name].present:
      raise SettingsError(f'--{name} has no effect on experiments.paper')
  for name in ('base_dir', 'html'):
    if word in _COMMITTED and flags.FLAGS[name].present:
      raise SettingsError(f'--{name} has no effect on `{word}`')
  base_dir = gin_flags.BASE_DIR.value
  if flags.FLAGS['base_dir'].present and not pathlib.Path(base_dir).is_dir():
    raise SettingsError(f'--base_dir: no folder {base_dir!r}')
  if _HTML.value == '':
    raise SettingsError('--html needs the name of a file')


if __name__ == '__main__':
  app.run(main, flags_parser=parse_flags)
