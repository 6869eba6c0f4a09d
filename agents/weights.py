"""Stores the weights of a network in an npz file, without pickle.

Each array has the name of its path in the pytree, such as
`params.Conv_0.kernel`. NumPy has no bfloat16, which is stored as float32.
"""

import io
import pathlib
from typing import Any
import zipfile

import jax
import jax.numpy as jnp
import numpy as np

from agents import checkpoint
from agents.errors import CheckpointError
from ht_rl import files


def save(path: pathlib.Path, params: Any) -> None:
  """Writes a pytree of arrays, whole or not at all.

  Args:
    path: path of the file, such as `tortoise.npz`.
    params: pytree of arrays.

  Raises:
    OSError: the file can't be written.
  """
  content = io.BytesIO()
  arrays: dict[str, Any] = {
    name: array.astype(np.float32) if array.dtype == jnp.bfloat16 else array
    for name, array in checkpoint.flatten(params).items()
  }
  np.savez(content, **arrays)
  files.write_files({path: content.getvalue()})


def load(path: pathlib.Path, template: Any) -> Any:
  """Reads a file that `save` wrote.

  Args:
    path: path of the file.
    template: pytree of the same structure, whose leaves have the expected
      shapes. Floating arrays are cast to the dtypes of its leaves.

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

  def fit(ours: np.ndarray, theirs: Any) -> np.ndarray:
    both = (ours.dtype, theirs.dtype)
    is_cast = all(jnp.issubdtype(dtype, jnp.floating) for dtype in both)
    if ours.shape != theirs.shape or not (is_cast or both[0] == both[1]):
      raise CheckpointError(f'{path} is of a network with other settings')
    return ours.astype(theirs.dtype, copy=False)

  return jax.tree.map(fit, checkpoint.unflatten(template, arrays), template)
