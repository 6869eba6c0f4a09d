"""All items in one HTML page, which needs no network and no scripts."""

import base64
from collections.abc import Sequence
import pathlib

import jinja2

from experiments.paper.rendered import Rendered, Rows, part_lines, state

_TEMPLATE = pathlib.Path(__file__).with_name('page.html.jinja')


def page(overview: Rows, items: Sequence[tuple[str, str, Rendered]]) -> str:
  """Returns an HTML document, to be written as UTF-8.

  Args:
    overview: the table of all items and their states.
    items: name, title and content of each.
  """
  environment = jinja2.Environment(
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  template = environment.from_string(_TEMPLATE.read_text('utf-8'))
  return template.render(
    overview=overview,
    items=[
      (
        name,
        title,
        {
          'state': state(item.parts),
          'parts': part_lines(item.parts),
          'tables': item.tables,
          'notes': item.notes,
          'commands': item.commands,
          'pictures': [
            {'caption': picture.caption, 'uri': _uri(picture.png())}
            for picture in item.pictures
          ],
        },
      )
      for name, title, item in items
    ],
  )


def _uri(png: bytes) -> str:
  return f'data:image/png;base64,{base64.b64encode(png).decode("ascii")}'
