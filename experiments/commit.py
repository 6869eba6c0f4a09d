"""The commit of this checkout."""

import pathlib
import subprocess


def commit() -> str:
  """Returns the abbreviated commit, with `-dirty` if files differ from it.

  It is 'unknown' outside a checkout, and where git is not installed.
  """
  try:
    done = subprocess.run(
      ['git', 'describe', '--always', '--dirty', '--exclude=*', '--abbrev=10'],
      cwd=pathlib.Path(__file__).parent,
      capture_output=True,
      text=True,
      check=False,
    )
  except OSError:
    return 'unknown'
  return done.stdout.strip() or 'unknown'
