"""Settings of Sphinx; `make docs` builds docs/build/html."""

import collections
import re
from typing import Any

from sphinx.application import Sphinx

project = 'ht_rl'
html_title = 'ht_rl: Hare & Tortoise'
copyright = 'the ht_rl authors'
extensions = [
  'myst_parser',
  'sphinx.ext.autodoc',
  'sphinx.ext.mathjax',
  'sphinx.ext.napoleon',
  'sphinx_copybutton',
]
exclude_patterns = ['build']
html_theme = 'furo'
default_role = 'literal'  # The role of single backticks in docstrings.
myst_enable_extensions = ['colon_fence', 'dollarmath']
myst_heading_anchors = 3
autodoc_default_options = {'members': True}
autodoc_member_order = 'bysource'
autodoc_typehints = 'none'  # The docstrings name types with their shapes.
napoleon_attr_annotations = False
napoleon_use_ivar = True
napoleon_use_rtype = False

# A class whose instances are the fields of a NamedTuple.
_FIELD = type(collections.namedtuple('_', 'field').field)


def skip_fields(app: Sphinx, what: str, name: str, value: Any, *_: Any) -> Any:
  """Skips fields that the docstring's Attributes section describes."""
  del app, what, name
  return True if isinstance(value, _FIELD) else None


def escape_shapes(app: Sphinx, *arguments: Any) -> None:
  """Keeps reST from reading the star of [B, *shape] as emphasis."""
  del app
  lines = arguments[-1]
  lines[:] = [re.sub(r'\*(?=\w*shape\b)', r'\\*', line) for line in lines]


def setup(app: Sphinx) -> None:
  """Connects the functions above to Sphinx's events."""
  app.connect('autodoc-skip-member', skip_fields)
  app.connect('autodoc-process-docstring', escape_shapes)
