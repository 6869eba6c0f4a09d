"""Checkpoints of arrays: written whole or not at all, checked when read.

Orbax writes and renames. This module adds a digest over all files, which
detects a damaged checkpoint, and the return to the checkpoint before it. Orbax
is never given a damaged checkpoint to read, because its threads would print
tracebacks. Nothing here unpickles a file.
"""

from collections.abc import Callable
import functools
import hashlib
import logging
import os
import pathlib
import shutil
import sys
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from agents.errors import CheckpointError

_DIGEST = 'sha256'


class Checkpoints:
  """Writes and reads the checkpoints of one run; keeps the newest two.

  Attributes:
    directory: folder of the checkpoints: one subfolder each, named by the step.
  """

  def __init__(self, directory: str | pathlib.Path):
    """Opens a folder, which need not exist, and removes unfinished writes.

    Args:
      directory: the folder.

    Raises:
      CheckpointError: it is no folder.
    """
    self.directory = pathlib.Path(directory).absolute()
    if os.path.lexists(self.directory) and not self.directory.is_dir():
      raise CheckpointError(f'{self.directory} must be a folder; move it away')
    # Orbax logs each of its steps through absl, warns of matters of clusters,
    # and complains of files that this module rejects by their digest. When one
    # write fails, asyncio logs an error for each of the others.
    logging.getLogger('absl').addFilter(_is_not_from_orbax)
    logging.getLogger('asyncio').addFilter(_is_not_from_orbax)
    self._manager = ocp.CheckpointManager(
      self.directory,
      options=ocp.CheckpointManagerOptions(
        max_to_keep=2,
        enable_async_checkpointing=False,
      ),
    )
    # Remove unfinished writes: those without Orbax's final rename, and those
    # without a digest. (Orbax would remove the first kind in a thread, and fail
    # if another process does the same.)
    for path in self.directory.glob('*.orbax-checkpoint-tmp*'):
      if path.is_symlink() or not path.is_dir():
        path.unlink()
      else:
        shutil.rmtree(path)
    for step in set(self._manager.all_steps(read=True)) - set(self.steps()):
      self._manager.delete(step)

  def steps(self) -> list[int]:
    """Returns the steps of the complete checkpoints, oldest first."""
    return sorted(
      step
      for step in self._manager.all_steps(read=True)
      if (self._folder(step) / _DIGEST).exists()
    )

  def save(self, step: int, state: Any) -> None:
    """Writes a checkpoint, unless that step already has one.

    Args:
      step: the agent step.
      state: a pytree of arrays.

    Raises:
      CheckpointError: it could not be written. Earlier checkpoints are intact.
    """
    if step in self.steps():
      return
    arrays = ocp.args.StandardSave(flatten(state))
    hook = sys.unraisablehook
    sys.unraisablehook = functools.partial(_unraisable, hook)
    try:
      if not self._manager.save(step, args=arrays):  # It raises no error.
        raise ValueError('there is one of a later step')
      unfinished = self._folder(step) / f'{_DIGEST}.unfinished'
      unfinished.write_text(_digest(self._folder(step)))
      unfinished.replace(self._folder(step) / _DIGEST)
    except Exception as error:  # From tensorstore or the system: many types.
      kept = self.steps()
      raise CheckpointError(
        f'could not write the checkpoint of step {step} to {self.directory} '
        f'({_first_line(error)}); '
        + (
          f'the one of step {kept[-1]} is whole'
          if kept
          else 'there is no other'
        )
      ) from error
    # Not restored after a failure: the other writes may end later.
    sys.unraisablehook = hook

  def restore(
    self, say: Callable[[str], None], last: int | None = None
  ) -> tuple[int, dict] | None:
    """Reads the newest undamaged checkpoint.

    Damaged checkpoints after it are removed, so that the run can write them
    again.

    Args:
      say: called with one line for each damaged checkpoint.
      last: the largest step to restore; later checkpoints are removed. None for
        no limit.

    Returns:
      The step and the arrays, by their paths in the pytree (see `unflatten`);
      None if there is no checkpoint.

    Raises:
      CheckpointError: there are checkpoints, and none can be read.
    """
    if last is not None:
      self.remove_from(last + 1)
    damaged = []
    for step in reversed(self.steps()):
      try:
        folder = self._folder(step)
        if (folder / _DIGEST).read_text() != _digest(folder):
          raise ValueError('its digest does not match')
        arrays = self._manager.restore(step, args=ocp.args.StandardRestore())
        arrays = {name: np.asarray(array) for name, array in arrays.items()}
      except Exception as error:  # A damaged file can raise anything.
        damaged.append((step, _first_line(error)))
        continue
      for bad, why in damaged:
        say(
          f'the checkpoint of step {bad} is damaged ({why}); '
          f'going on from that of step {step}'
        )
        self._manager.delete(bad)
      return step, arrays
    if damaged:
      raise CheckpointError(
        f'no checkpoint in {self.directory} can be read; move the folder away '
        'to start the run again'
      )
    return None

  def remove_from(self, first: int) -> None:
    """Deletes the checkpoints of a step and of all later steps.

    Args:
      first: the step.
    """
    for step in reversed(self.steps()):
      if step >= first:
        self._manager.delete(step)

  def remove(self) -> None:
    """Deletes all checkpoints; call nothing else afterwards.

    Raises:
      OSError: a file can't be deleted.
    """
    self._manager.close()
    shutil.rmtree(self.directory)

  def _folder(self, step: int) -> pathlib.Path:
    return self.directory / str(step)


def unflatten(template: Any, arrays: dict[str, np.ndarray]) -> Any:
  """Puts the arrays of a checkpoint back into their pytree.

  Args:
    template: a pytree of the same structure (its leaves are not read).
    arrays: arrays by path, as `Checkpoints.restore` returns them.

  Returns:
    The template's tree with the arrays as its leaves.

  Raises:
    CheckpointError: the paths differ from the template's.
  """
  paths, tree = jax.tree_util.tree_flatten_with_path(template)
  names = [_name(path) for path, _ in paths]
  if set(names) != set(arrays):
    differing = sorted(set(names) ^ set(arrays))
    raise CheckpointError(
      f'the checkpoint does not fit this program: {differing[0]!r} is in only '
      'one of the two'
    )
  return jax.tree.unflatten(tree, [arrays[name] for name in names])


def flatten(state: Any) -> dict[str, np.ndarray]:
  """Returns the arrays of a pytree by their paths; see `unflatten`."""
  paths, _ = jax.tree_util.tree_flatten_with_path(state)
  return {_name(path): np.asarray(leaf) for path, leaf in paths}


def _name(path: tuple) -> str:
  return jax.tree_util.keystr(path, simple=True, separator='.')


def _digest(folder: pathlib.Path) -> str:
  """Returns a digest of the names and contents of all files in a folder."""
  digest = hashlib.sha256()
  for path in sorted(folder.rglob('*')):
    if path.is_file() and path.stem != _DIGEST:
      with path.open('rb') as file:
        content = hashlib.file_digest(file, 'sha256').hexdigest()
      digest.update(f'{path.relative_to(folder)} {content}\n'.encode())
  return digest.hexdigest()


def _first_line(error: Exception) -> str:
  lines = str(error).splitlines()
  return lines[0][:120] if lines else type(error).__name__


def _is_not_from_orbax(record: logging.LogRecord) -> bool:
  return 'orbax' not in record.pathname + record.getMessage()


def _unraisable(hook: Callable[[Any], None], unraisable: Any) -> None:
  """Ignores what tensorstore's threads raise after a failed save."""
  if str(unraisable.exc_value) != 'Event loop is closed':
    hook(unraisable)
