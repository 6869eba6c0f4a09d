"""Files that are written whole or not at all."""

from collections.abc import Callable, Iterator, Mapping
import errno
import os
import pathlib

_UNFINISHED = '.unfinished'


def write_files(contents: Mapping[pathlib.Path, bytes]) -> None:
  """Writes all of the files or, where one can't be written, none.

  Each file is written beside its place and synced to the disk; then all are
  renamed. Neither a kill nor a power failure leaves half of a file; between two
  renames it leaves some of the files new and some old.

  Args:
    contents: the content of each file; missing folders are made.

  Raises:
    OSError: a file can't be written, or a folder is in its place; all files are
      left as they were. If a rename fails, the files renamed before it have
      their new content.
  """
  unfinished: dict[pathlib.Path, pathlib.Path] = {}
  try:
    for path, content in contents.items():
      path = path.resolve()  # A link stays; the file it leads to is written.
      if path.exists() and not path.is_file():
        raise OSError(errno.EEXIST, 'this is there and no file', str(path))
      path.parent.mkdir(parents=True, exist_ok=True)
      # The name has the process in it: several may write the same file.
      suffix = f'.{os.getpid()}{_UNFINISHED}'
      unfinished[path] = path.with_name(path.name + suffix)
      with unfinished[path].open('wb') as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    for path, written in unfinished.items():
      written.replace(path)
  except BaseException:
    for written in unfinished.values():
      written.unlink(missing_ok=True)
    raise


def write_text(path: pathlib.Path, text: str) -> None:
  """Writes one UTF-8 file whole or not at all; see `write_files`."""
  write_files({path: text.encode()})


def walk(
  below: str | os.PathLike[str],
  on_error: Callable[[OSError], None] | None = None,
) -> Iterator[tuple[str, list[str], list[str]]]:
  """Walks through a folder as `os.walk` does, each folder once.

  It follows links, and goes in the order of the names.

  Args:
    below: the folder.
    on_error: is given the error of a folder that can't be listed; None raises
      it.

  Yields:
    A folder, the names of its folders and those of its files. Folders that are
    removed from the list are not visited.
  """

  def fail(error: OSError) -> None:
    raise error

  visited = set()
  for folder, subfolders, names in os.walk(
    below, onerror=on_error or fail, followlinks=True
  ):
    subfolders.sort()
    real = os.path.realpath(folder)
    if real in visited:
      subfolders.clear()
    else:
      visited.add(real)
      yield folder, subfolders, sorted(names)


def remove_unfinished(folder: pathlib.Path) -> None:
  """Removes the files that a killed process left half written in a folder.

  Call it only where no other process can be writing: in a claimed folder.
  """
  for path in folder.glob(f'*{_UNFINISHED}'):
    path.unlink(missing_ok=True)
