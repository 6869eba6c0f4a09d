"""Exceptions that end a run early."""


class StoppedError(Exception):
  """A run was asked to stop, and has written a checkpoint."""


class DivergedError(Exception):
  """A loss was NaN or infinite: the run cannot continue."""


class ReplayError(ValueError):
  """A saved episode does not replay as it was."""


class CheckpointError(Exception):
  """A checkpoint could not be written, or none could be read."""


def is_out_of_memory(error: Exception) -> bool:
  """Returns whether Python, or JAX on any device, is out of memory."""
  # JAX raises a RuntimeError with the name of a status code.
  return isinstance(error, MemoryError) or (
    isinstance(error, RuntimeError) and 'RESOURCE_EXHAUSTED' in str(error)
  )
