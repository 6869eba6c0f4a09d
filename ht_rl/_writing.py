"""Files that are written whole or not at all."""

from collections.abc import Mapping
import errno
import os
import pathlib


def write_files(contents: Mapping[pathlib.Path, bytes]) -> None:
  """Writes all of the files or, where one can't be written, none.

  Args:
    contents: of each file; folders that are missing are made.

  Raises:
    OSError: a file can't be written, or what is there is no file; older ones
      are left as they were.
  """
  unfinished: dict[pathlib.Path, pathlib.Path] = {}
  try:
    for path, content in contents.items():
      path = path.resolve()  # Of a link, what it leads to is written.
      if path.exists() and not path.is_file():
        raise OSError(errno.EEXIST, 'this is there and no file', str(path))
      path.parent.mkdir(parents=True, exist_ok=True)
      # Of this process alone: several may write the same file.
      suffix = f'.{os.getpid()}.unfinished'
      unfinished[path] = path.with_name(path.name + suffix)
      unfinished[path].write_bytes(content)
    for path, written in unfinished.items():
      written.replace(path)
  except BaseException:
    for written in unfinished.values():
      written.unlink(missing_ok=True)
    raise
