"""The commit of this checkout."""

import functools
import pathlib
import subprocess

_ROOT = pathlib.Path(__file__).parents[1]


@functools.cache
def commit(root: pathlib.Path = _ROOT) -> str:
  """Returns the abbreviated commit, with `-dirty` if files differ from it.

  It is 'unknown' outside a checkout, and where git is not installed. It stays
  what it was at the first call: the modules of this process do, too.

  Args:
    root: of the checkout.
  """
  # Git would name the checkout above an installed package.
  if not (root / '.git').exists():
    return 'unknown'
  try:
    done = subprocess.run(
      ['git', 'describe', '--always', '--dirty', '--exclude=*', '--abbrev=10'],
      cwd=root,
      capture_output=True,
      text=True,
      check=False,
    )
  except OSError:
    return 'unknown'
  return done.stdout.strip() or 'unknown'
