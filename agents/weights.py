"""Stores the weights of a network in an npz file, without pickle.

Each array has the name of its path in the pytree, such as
`params.Conv_0.kernel`.
"""

import io
import pathlib
from typing import Any
import zipfile

import jax
import numpy as np

from agents import checkpoint
from agents.errors import CheckpointError
from ht_rl import files


def save(path: pathlib.Path, params: Any) -> None:
  """Writes a pytree of arrays, whole or not at all.

  Args:
    path: path of the file, such as `tortoise.npz`.
    params: pytree of arrays with dtypes of NumPy itself, so not bfloat16.

  Raises:
    OSError: the file can't be written.
  """
  content = io.BytesIO()
  arrays: dict[str, Any] = dict(checkpoint.flatten(params))
  np.savez(content, **arrays)
  files.write_files({path: content.getvalue()})


def load(path: pathlib.Path, template: Any) -> Any:
  """Reads a file that `save` wrote.

  Args:
    path: path of the file.
    template: pytree of the same structure, whose leaves have the expected
      shapes and dtypes.

  Returns:
    The template's tree with the arrays as its leaves.

  Raises:
    CheckpointError: the file can't be read, or belongs to another network.
  """
  try:
    with np.load(path, allow_pickle=False) as file:
      arrays = dict(file)
  except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
    raise CheckpointError(f'{path} cannot be read ({error})') from error
  params = checkpoint.unflatten(template, arrays)
  for ours, theirs in zip(
    jax.tree.leaves(params), jax.tree.leaves(template), strict=True
  ):
    if (ours.shape, ours.dtype) != (theirs.shape, theirs.dtype):
      raise CheckpointError(f'{path} is of a network with other settings')
  return params
